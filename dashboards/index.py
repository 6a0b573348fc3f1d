"""Streamlit's index page with our head and with boxes of the final size in its empty root."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = """
<meta name="color-scheme" content="light dark"><script src="/tf/theme.js"></script>
<link rel="preload" href="/tf/vendor/inter-latin-wght-normal.woff2" as="font" type="font/woff2" crossorigin>
<link rel="stylesheet" href="/tf/tokens.css"><link rel="stylesheet" href="/tf/vendor/uPlot.min.css">
<link rel="stylesheet" href="/tf/shell.css"><link rel="stylesheet" href="/tf/views.css">
<link rel="stylesheet" href="/tf/pages.css">
<script type="module" src="/tf/start.js"></script>
"""
BOXES = """<div id="root"><div class="tf-boot" aria-hidden="true"><div class="tf-boot-top">twinflow</div>
<div class="tf-boot-time"></div><div class="tf-boot-body"><i></i><i></i><i></i></div></div></div>"""


class IndexPage:
    """Rewrites answers of type text/html to a GET of a page; everything else passes untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self.app(scope, receive, send)
            return
        plain = [(k, v) for k, v in scope["headers"] if k not in (b"accept-encoding", b"if-none-match", b"range")]
        start: Message | None = None
        body = bytearray()

        async def rewrite(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if "text/html" in Headers(raw=message["headers"]).get("content-type", ""):
                    start = message
                    return
            elif start is not None:
                body.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                page = with_head(body.decode()).encode()
                headers = MutableHeaders(raw=start["headers"])
                headers["content-length"] = str(len(page))
                headers["cache-control"] = "no-cache"
                await send(start)
                message = {"type": "http.response.body", "body": page}
            await send(message)

        await self.app({**scope, "headers": plain}, receive, rewrite)


def with_head(page: str) -> str:
    """The index page with our part.

    >>> "tf-boot" in with_head('<head></head><div id="root"></div>')
    True
    """
    return page.replace("</head>", HEAD + "</head>", 1).replace('<div id="root"></div>', BOXES, 1)
