"""Runs a Prefect server as `prefect server start` does; `python -m flows.serving.server HOST PORT`.

A server without a password gets requests of its own pages and of programs only. No page shows the server in a frame.
"""

import sys

import uvicorn

from flows.serving.application import create_application
from flows.serving.framing import NeverFramed
from flows.serving.own_pages import OwnPagesOnly, is_loopback
from flows.settings import apply_settings


def run_server(host: str, port: int) -> None:
    """Run a Prefect server until SIGTERM or SIGINT.

    Args:
        host: Address on which it listens.
        port: Port on which it listens.

    Raises:
        ValueError: If no password is set, and other machines or all web pages reach the server.
    """
    apply_settings()  # before Prefect is imported, which then reads them
    from prefect.settings import get_current_settings

    settings = get_current_settings().server
    application = create_application()
    if not settings.api.auth_string:
        origins = settings.api.cors_allowed_origins.split(",")
        if "*" in origins:
            raise ValueError(
                "PREFECT_SERVER_CORS_ALLOWED_ORIGINS=* lets every web page call the server, and whoever calls it can "
                "execute commands. Name the origins, or set PREFECT_SERVER_API_AUTH_STRING=user:password."
            )
        if not is_loopback(host):
            raise ValueError(
                f"Other machines reach {host}, and whoever calls the server can execute commands. Set "
                "PREFECT_SERVER_API_AUTH_STRING=user:password, or listen on 127.0.0.1."
            )
        application = OwnPagesOnly(application, origins)
    uvicorn.run(
        NeverFramed(application),
        host=host,
        port=port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )


if __name__ == "__main__":
    run_server(sys.argv[1], int(sys.argv[2]))
