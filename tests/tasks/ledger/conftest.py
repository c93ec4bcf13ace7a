"""Every test that takes ``ledger`` runs on both databases."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.ledger import Cycle, CycleKind, Ledger
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


@pytest.fixture
def open_ledger(place: tuple[str | None, Path]) -> Iterator[Callable[[], Ledger]]:
    """Opens the same ledger again and again, each time as another process would."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Ledger.open(*place))


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
