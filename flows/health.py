"""`/healthz` and `/metrics` of a flow process, on loopback, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def serve(port: int, why_not: Callable[[], str], metrics: Callable[[], Mapping[str, float]]) -> ThreadingHTTPServer:
    """Start answering: `/healthz` is 200 when `why_not` gives "", else 503 with its words.

    Args:
        port: on loopback; 0 takes any free one (see `server_address`).
        why_not: why the flow does not serve, "" when it does.
        metrics: current values by Prometheus name, told in its text format.

    >>> import urllib.request
    >>> server = serve(0, lambda: "", lambda: {"twinflow_records_total": 3})
    >>> address = f"http://127.0.0.1:{server.server_address[1]}"
    >>> urllib.request.urlopen(address + "/healthz").read(), urllib.request.urlopen(address + "/metrics").read()
    (b'ok', b'twinflow_records_total 3\\n')
    >>> server.shutdown(); server.server_close()
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = 404, "not found; there are /healthz and /metrics"
            if self.path == "/healthz":
                why = why_not()
                status, text = (503, why) if why else (200, "ok")
            elif self.path == "/metrics":
                status, text = 200, "".join(f"{name} {value:.17g}\n" for name, value in metrics().items())
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: probes come every second."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
