"""Refuses requests that pages of other sites, open in a browser on this machine, send to a server without a password.

Prefect's setting of origins stops a page only where the browser asks before it sends a request. Browsers send forms,
text and WebSockets without asking. A site may also let its own name point to this machine (DNS rebinding); its page
then has the same origin as the server. So the server looks at the headers `Origin` and `Host`, which no page can forge.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_POLICY_VIOLATION = 1008  # status of a closed WebSocket, RFC 6455, section 7.4.1


class OwnPagesOnly:
    """An ASGI application that refuses what pages of other sites send, and passes the rest on."""

    def __init__(self, application: ASGIApp, origins: Collection[str]) -> None:
        """Guard an application.

        Args:
            application: ASGI application that only this machine reaches.
            origins: Further origins whose pages may call it, such as that of a proxy in front.
        """
        self._application = application
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] in {"http", "websocket"}:
            headers = Headers(scope=scope)
            if refusal := find_refusal(headers.get("host", ""), headers.get("origin"), self._origins):
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "another site"})
                else:
                    await PlainTextResponse(refusal, 403)(scope, receive, send)
                return
        await self._application(scope, receive, send)


def find_refusal(host: str, origin: str | None, origins: Collection[str]) -> str | None:
    """Returns why a request is refused and what to do; None if the server's own page or a program sends it.

    Args:
        host: The request's header `Host`, such as `127.0.0.1:4200`.
        origin: The request's header `Origin`; None: it has none, as requests by programs.
        origins: Origins whose pages may call the server beside its own.
    """
    remedy = "If the server lies behind this address, set PREFECT_SERVER_CORS_ALLOWED_ORIGINS to its origin, such as "
    known = {_place(each) for each in origins} - {""}
    if not (is_loopback(_name(host)) or host in known):
        return f"The server of birdclef does not answer to the name {host!r}. {remedy}https://{host or 'HOST'}."
    if origin is None or origin in origins or (origin != "null" and _place(origin) == host):
        return None
    return f"A page of {origin} may not call the server of birdclef. {remedy}{origin}."


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches a server that listens on `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _place(origin: str) -> str:
    """Returns host and port of an origin; an empty text if it has none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Returns the name or address in a header `Host`, without its port; an empty text if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
