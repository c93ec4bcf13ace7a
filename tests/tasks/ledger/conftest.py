"""Every test that takes ``ledger`` runs on both databases."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from tasks.ledger import Cycle, CycleKind, Ledger
from tasks.ledger.migrations import VERSION_TABLE
from tasks.ledger.tables import SCHEMA
from tests.servers.starting import DatabaseServer

NUMBERS = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str | None, Path]:
    """Address and home of a ledger that nobody has opened yet."""
    home = tmp_path / "home"
    if request.param == "sqlite":
        return None, home
    server: DatabaseServer = request.getfixturevalue("postgresql_server")
    return server.create_database(f"ledger_{next(NUMBERS)}"), home


@pytest.fixture(scope="session")
def _kept_database(postgresql_server: DatabaseServer) -> str:
    return postgresql_server.create_database("ledger_kept")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str | None, Path]:
    """Address and home of a ledger that knows nothing; on PostgreSQL a new one each time would take a second."""
    home = tmp_path / "home"
    if request.param == "sqlite":
        return None, home
    url: str = request.getfixturevalue("_kept_database")
    forget_everything(url)
    return url, home


def forget_everything(url: str) -> None:
    """Empties the tables of a ledger on PostgreSQL, if there are any; what nobody lets go of in time is an error."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("SET lock_timeout = '10s'")
        there = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [SCHEMA]).fetchall()
        tables = [f"{SCHEMA}.{name}" for (name,) in there if name != VERSION_TABLE]
        filled = [name for name in tables if connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()]
        if filled:
            connection.execute(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE")


@pytest.fixture
def open_ledger(empty_place: tuple[str | None, Path]) -> Iterator[Callable[[], Ledger]]:
    """Opens the same ledger again and again, each time as another process would."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Ledger.open(*empty_place))


@pytest.fixture
def ledger(open_ledger: Callable[[], Ledger]) -> Ledger:
    """An empty ledger."""
    return open_ledger()


@pytest.fixture
def now() -> datetime:
    """A moment with microseconds, so that losing them shows."""
    return datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC)


@pytest.fixture
def cycle(ledger: Ledger, now: datetime) -> Cycle:
    """The first cycle of the job ``hr``."""
    return ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f1", now=now)
