"""The dashboard process: `python -m dashboards.serve --port 8050`. Loopback only."""

from __future__ import annotations

import argparse
import os

import uvicorn

LOOPBACK = "127.0.0.1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=int(os.environ.get("TWINFLOW_PORT", "8050")))
    port = parser.parse_args().port
    os.environ["TWINFLOW_PORT"] = str(port)
    uvicorn.run("dashboards.app:build", factory=True, host=LOOPBACK, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
