"""Transactions that read before they write, as Prefect's do, at the same time in one SQLite file."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration

from flows.serving.application import lock_when_transactions_begin


@pytest.fixture(autouse=True)
def _begin_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(AioSqliteConfiguration, "begin_transaction", AioSqliteConfiguration.begin_transaction)
        yield


async def count_up(file: Path, writers: int) -> int:
    """Returns the counter after so many transactions that read it, wait, and write it raised by one."""
    database = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{file}", timeout=60.0)
    engine = await database.engine()
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE counter (value INTEGER)"))
        await connection.execute(sa.text("INSERT INTO counter VALUES (0)"))

    async def raise_by_one() -> None:
        async with await database.session(engine) as session, database.begin_transaction(session):
            value = (await session.execute(sa.text("SELECT value FROM counter"))).scalar_one()
            await asyncio.sleep(0.1)
            await session.execute(sa.text(f"UPDATE counter SET value = {value + 1}"))

    try:
        await asyncio.gather(*(raise_by_one() for _ in range(writers)))
        async with engine.connect() as connection:
            return int((await connection.execute(sa.text("SELECT value FROM counter"))).scalar_one())
    finally:
        await engine.dispose()


def test_transactions_that_read_and_then_write_wait_for_each_other(tmp_path: Path) -> None:
    with pytest.raises(sa.exc.OperationalError, match="database is locked"):
        asyncio.run(count_up(tmp_path / "as_it_is.db", writers=4))
    lock_when_transactions_begin()
    assert asyncio.run(count_up(tmp_path / "here.db", writers=4)) == 4
