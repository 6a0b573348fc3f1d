class LZ4FrameDecompressor:
    eof: bool
    needs_input: bool
    unused_data: bytes | None
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...

class LZ4FrameCompressor:
    def __init__(self, *, compression_level: int = ...) -> None: ...
    def begin(self, source_size: int = ...) -> bytes: ...
    def compress(self, data: bytes) -> bytes: ...
    def flush(self) -> bytes: ...

BLOCKSIZE_MAX64KB: int

def compress(
    data: bytes,
    compression_level: int = ...,
    block_size: int = ...,
    content_checksum: bool = ...,
    block_linked: bool = ...,
    store_size: bool = ...,
    *,
    block_checksum: bool = ...,
) -> bytes: ...
def decompress(data: bytes) -> bytes: ...
