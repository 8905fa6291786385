"""Lets no page show the server's pages inside itself, where a user would click on them unknowingly (clickjacking)."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class NeverFramed:
    """An ASGI application whose answers browsers show in no frame.

    Browsers read `frame-ancestors` of Content Security Policy Level 3, section 6.4.2, and old ones `X-Frame-Options`
    of RFC 7034.
    """

    def __init__(self, application: ASGIApp) -> None:
        """Guard an application."""
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("Content-Security-Policy", "frame-ancestors 'none'")  # holds beside any other policy
                headers["X-Frame-Options"] = "DENY"
            await send(message)

        await self._application(scope, receive, send_unframed)
