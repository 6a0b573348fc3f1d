"""Child processes of `twinflow up`: started in order, watched, restarted, drained; nothing survives its owner."""
