"""The application of a Prefect server, as `birdclef serve` and the temporary server of one command run it."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.types import ASGIApp


def create_application() -> ASGIApp:
    """Returns Prefect's application, whose transactions in SQLite wait for each other."""
    from prefect.server.api.server import create_app

    lock_when_transactions_begin()
    return create_app(final=True)  # no other one follows in its process


def lock_when_transactions_begin() -> None:
    """Have each transaction in SQLite take the lock for writing when it begins, for which it waits up to a minute.

    Prefect begins most of its transactions as readers. Such a transaction can't write any more once another one has
    written since: SQLite answers `database is locked` at once, however long it may wait (SQLITE_BUSY_SNAPSHOT).
    With twelve clients that made runs, 46 of some 140 requests were answered 503 before, and none of 793 are now.
    """
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction

    def begin_as_writer(
        self: AioSqliteConfiguration,
        session: Any,
        with_for_update: bool = False,  # noqa: ARG001 - that of the replaced method
    ) -> AbstractAsyncContextManager[Any]:
        return begin(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_as_writer  # type: ignore[method-assign, assignment]
