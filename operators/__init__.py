"""The dataflow vocabulary: pure cores over columns, and the thin step around each."""
