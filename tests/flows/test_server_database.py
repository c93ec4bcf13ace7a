"""A Prefect server on SQLite goes on when a statement has failed and two connections want to write."""

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from flows.serve.server_database import let_writers_queue

PATIENCE_S = 60
"""How long SQLite waits for a lock: as long as in Prefect, so that a busy machine alone makes nobody give up."""


@asynccontextmanager
async def _engine(database: Path) -> AsyncIterator[AsyncEngine]:
    """Its connections are closed whatever happens: one that is not would fail a test that comes later."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}", connect_args={"timeout": PATIENCE_S})
    try:
        yield engine
    finally:
        await engine.dispose()


def _insert(number: int) -> sa.TextClause:
    return sa.text(f"INSERT INTO numbers VALUES ({number})")


async def _two_who_read_and_write(database: Path) -> list[int]:
    async with _engine(database) as engine, engine.connect() as one, engine.connect() as other:
        await one.execute(sa.text("PRAGMA journal_mode = WAL"))
        await one.execute(sa.text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
        await one.commit()

        async def append(connection: AsyncConnection) -> None:
            await connection.execute(sa.text("BEGIN DEFERRED"))
            last = await connection.scalar(sa.text("SELECT coalesce(max(number), 0) FROM numbers"))
            await asyncio.sleep(0.2)
            await connection.execute(_insert(last + 1))
            await connection.commit()

        await asyncio.gather(append(one), append(other))
        found = await one.execute(sa.text("SELECT number FROM numbers ORDER BY number"))
        numbers = list(found.scalars())
        await one.commit()
    return numbers


async def _scene(database: Path) -> list[int]:
    async with _engine(database) as engine, engine.connect() as waiting, engine.connect() as holding:
        await waiting.execute(sa.text("PRAGMA journal_mode = WAL"))
        await waiting.execute(sa.text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
        await waiting.execute(_insert(1))
        await waiting.commit()
        kept = []
        try:
            await waiting.execute(_insert(1))
        except sa.exc.IntegrityError as error:
            kept.append(error)  # with its traceback, and that with the cursor
        await waiting.rollback()
        await holding.execute(_insert(2))  # has the write lock until the loop comes back to it
        write = asyncio.create_task(waiting.execute(_insert(3)))
        await asyncio.sleep(0.5)
        assert len(kept) == 1
        kept.clear()
        gc.collect()
        await holding.commit()
        await write
        found = await waiting.execute(sa.text("SELECT number FROM numbers ORDER BY number"))
        numbers = list(found.scalars())
        await waiting.commit()
    return numbers


@pytest.fixture(autouse=True)
def _queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "connect", sqlite3.connect)
    let_writers_queue()


def test_writers_queue(tmp_path: Path) -> None:
    """Two that begin as readers and then write: the second one waits, and sees what the first one has written."""
    assert asyncio.run(_two_who_read_and_write(tmp_path / "some.sqlite")) == [1, 2]


def test_the_end_of_a_failed_statement_does_not_hold_the_loop(tmp_path: Path) -> None:
    """A traceback ends while its connection waits for the lock that another one has: both go on.

    In Python 3.11, without the module, they wait for each other until SQLite says that the database is locked.
    """
    assert asyncio.run(_scene(tmp_path / "some.sqlite")) == [1, 2, 3]
