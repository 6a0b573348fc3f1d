"""A recording and the mapping it is read by: found by name, by flag, beside the file, or by what the file holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from connectors.recordings.binding import Binder, TypeOf
from connectors.recordings.faults import Faults, RecordingError, nearest
from connectors.recordings.mapping import Csv, Mapping, load_mapping
from connectors.recordings.mcap_reader import contents, is_mcap, read_mcap
from connectors.recordings.piece import Piece
from connectors.recordings.tabular import header_of, is_parquet, read_table
from operators.frames import Frames

HERE = Path(__file__).parent
MAPPINGS = HERE / "mappings"
SHIPPED = {
    "nab": HERE / "data" / "ambient_temperature_system_failure.csv.gz",
    "husky": HERE / "data" / "husky_45s.mcap",
    "citylearn": HERE / "data" / "Building_1_with_weather.csv.gz",
}
"""Cuts of public recordings that come with twinflow, by name."""
TABLES = (".csv", ".csv.gz", ".tsv", ".txt", ".parquet", ".pq")


def is_recording(path: Path) -> bool:
    """Whether the ending of a file is one of ours.

    >>> is_recording(Path("x.csv.gz")), is_recording(Path("x.ndjson"))
    (True, False)
    """
    return path.name.lower().endswith((*TABLES, ".mcap"))


@dataclass(frozen=True)
class Recording:
    """A file with its mapping; may be read any number of times.

    Attributes:
        device: whose it is; "" where a column of the file says so.
        chosen: how the mapping was found, in words.
    """

    path: Path
    mapping: Mapping
    device: str
    chosen: str
    binder: Binder
    chunk_bytes: int = 1 << 20
    faults: Faults = field(default_factory=Faults)

    def pieces(self, faults: Faults | None = None) -> Iterator[Piece]:
        """Everything that can be read, in file order; what cannot is added to `faults` (or to those of the recording).

        Raises:
            RecordingError, MappingError: file, mapping and twin type do not fit.
        """
        noted = self.faults if faults is None else faults
        if self.mapping.kind == "mcap":
            return read_mcap(self.path, self.mapping, self.device, self.binder, faults=noted)
        return read_table(self.path, self.mapping, self.device, self.binder, chunk_bytes=self.chunk_bytes, faults=noted)


def open_recording(
    path: Path | str,
    mapping: str | Path | None = None,
    *,
    device: str = "",
    type_of: TypeOf | None = None,
    chunk_bytes: int = 1 << 20,
) -> Recording:
    """A recording by path, or one of SHIPPED by name.

    Args:
        mapping: name of a shipped mapping or path of a mapping file; found by itself when left out.
        device: name of the device, instead of what the mapping says.
        type_of: twin type of a device; signals and units are checked against it and converted.

    Raises:
        RecordingError: there is no such file, or no mapping fits it, or several do.
        MappingError: the mapping file does not hold together.
    """
    file = Path(path)
    if not file.exists() and str(path) in SHIPPED:
        file = SHIPPED[str(path)]
    if not file.is_file():
        why = "is a folder" if file.is_dir() else "there is no such file"
        raise RecordingError(what=str(path), why=why, fix=f"give a file, or one of {', '.join(SHIPPED)}")
    if not is_recording(file):
        raise RecordingError(what=str(path), why="is of no known kind", fix=f"known: {', '.join(TABLES)}, .mcap")
    chosen, how = _choose(file, mapping)
    if (chosen.kind == "mcap") != is_mcap(file):
        raise RecordingError(what=str(file), why=f"{chosen.source} is for {chosen.kind}", fix="name another mapping")
    if device and chosen.device_column:
        fix = "leave out --device"
        raise RecordingError(what=str(file), why=f"column {chosen.device_column!r} names its devices", fix=fix)
    name = "" if chosen.device_column else device or chosen.device_of(file)
    return Recording(file, chosen, name, how, Binder(chosen, type_of), chunk_bytes)


def read_recording(
    path: Path | str,
    mapping: str | Path | None = None,
    *,
    device: str = "",
    type_of: TypeOf | None = None,
    chunk_bytes: int = 1 << 20,
    first_offset: int = 0,
    faults: Faults | None = None,
) -> Iterator[Frames]:
    """A recording as messages of the wire contract, keyed by device, as read_ndjson gives those of a file.

    Raises:
        RecordingError, MappingError: see open_recording and Recording.pieces.

    >>> frames = next(read_recording("nab"))
    >>> frames.value(0)
    b'{"device":"nab-ambient_temperature_system_failure","ts":1372896000000000000,"signals":{"value":69.88083514}}'
    """
    recording = open_recording(path, mapping, device=device, type_of=type_of, chunk_bytes=chunk_bytes)
    offset = first_offset
    for piece in recording.pieces(faults):
        frames = Frames.of(piece.messages(), keys=[d.encode() for d in piece.device], first_offset=offset)
        offset = frames.end_offset
        yield frames


def shipped_mappings() -> dict[str, Path]:
    """Mappings that come with twinflow, by name."""
    return {p.stem: p for p in sorted(MAPPINGS.glob("*.yaml"))}


def _choose(file: Path, wanted: str | Path | None) -> tuple[Mapping, str]:
    shipped = shipped_mappings()
    if wanted is not None:
        if str(wanted) in shipped:
            return load_mapping(shipped[str(wanted)]), f"shipped mapping {wanted}"
        if not Path(wanted).is_file():
            raise RecordingError(what=f"mapping {wanted}", why="there is none", fix=nearest(str(wanted), shipped))
        return load_mapping(Path(wanted)), f"mapping {wanted}"
    beside = file.with_name(file.name + ".mapping.yaml")
    if beside.is_file():
        return load_mapping(beside), f"mapping {beside.name} beside it"
    held = contents(file).topics if is_mcap(file) else set(header_of(file, Csv())) if is_parquet(file) else set()
    fitting = {name: m for name, path in shipped.items() if _fits(file, m := load_mapping(path), held)}
    if len(fitting) == 1:
        name, mapping = next(iter(fitting.items()))
        return mapping, f"what it holds fits the shipped mapping {name}"
    why = (
        f"the mappings {', '.join(fitting)} fit it" if fitting else f"no shipped mapping fits it ({', '.join(shipped)})"
    )
    fix = f"give --mapping, or write {beside.name} beside it (docs/replay.md)"
    raise RecordingError(what=str(file), why=why, fix=fix)


def _fits(file: Path, mapping: Mapping, held: set[str]) -> bool:
    """Whether all that the mapping needs is there, and it has a word on every column there is."""
    if (mapping.kind == "mcap") != is_mcap(file):
        return False
    if mapping.kind == "mcap":
        return set(mapping.topics) <= held
    header = set(held or header_of(file, mapping.csv))
    return set(mapping.columns) <= header <= mapping.known_columns
