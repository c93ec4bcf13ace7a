"""What all tests share: golden files, no skipped test where CI is set, and no test that fails by being slow."""

import gc
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadGroupScheduling

from tests.quick_ledgers import replaying
from tests.servers import directories
from tests.servers.starting import DatabaseServer, StartError, postgresql

# Thousands of tests and all libraries are alive for as long as the process is; to look through them for garbage each
# time that some is there was a tenth of the time of all tests.
gc.set_threshold(50_000, 20, 100)

# Prefect sets up its logging once in a process, whichever test comes to it first.
for logger in ("", "FLOW_RUNS_", "TASK_RUNS_"):
    os.environ[f"PREFECT_LOGGING_HANDLERS_CONSOLE_{logger}LEVEL"] = "CRITICAL"

# No process of a test stays after it; tests of those that do say so.
os.environ["PROVISOR_STAY_MINUTES"] = "0"
# What a shell starts in the background ignores Ctrl-C, and so would everything that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("untimed", deadline=None, max_examples=100 if os.environ.get("PROVISOR_LONG") else 25)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files anew instead of comparing with them"
    )


TOGETHER = {
    "directories": (
        "tests/connectors/ldap/test_lost_answers.py",
        "tests/connectors/ldap/test_source.py",
        "tests/connectors/ldap/test_target.py",
        "tests/flows/test_directories.py",
        "tests/servers/test_directories.py",
    ),
    "provisor up": tuple(f"tests/flows/browser/test_{name}.py" for name in ("alone", "pages", "up")),
}
"""Files that run in one process, because what they share takes long to start, by a name for them.

The marker ``xdist_group`` would say it in the files themselves, but with this pytest it does nothing.
"""
GROUPS = {file: name for name, files in TOGETHER.items() for file in files}


class OneFileOneWorker(LoadGroupScheduling):
    """Tests of one file run in one process, because they share what is expensive to start; so do ``TOGETHER``.

    Files are dealt out in the order of their names. The costly ones lie in tests/flows, and thousands of quick ones
    come after them, so that both processes end at the same time.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return GROUPS.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadGroupScheduling | None:
    """For ``--dist loadgroup --no-loadscope-reorder``."""
    return OneFileOneWorker(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compares a text with a golden file; with ``--update-golden`` writes the file, to be reviewed as text."""

    def compare(path: Path, text: str) -> None:
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path.name} is not there: run with --update-golden and review it"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[DatabaseServer]:
    """PostgreSQL, one server for all tests of this process; each makes a database of its own in it."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _quick_ledgers() -> Iterator[None]:
    """A new ledger takes a few milliseconds: see ``tests/quick_ledgers.py``."""
    from tasks.ledger.migrations import run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "upgrade", replaying(run.upgrade))
        yield


@contextmanager
def _started(
    start: Callable[[], AbstractContextManager[directories.Directory]],
) -> Iterator[directories.Directory]:
    """A server, or a skipped test that says what to install."""
    pytest.importorskip("ldap", reason="python-ldap is not installed: make test EXTRAS=dev,ldap")
    try:
        server = start()
        directory = server.__enter__()
    except StartError as error:
        pytest.skip(str(error))
    try:
        yield directory
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def openldap() -> Iterator[directories.Directory]:
    """OpenLDAP, one for all tests of this process."""
    with _started(directories.openldap) as directory:
        yield directory


@pytest.fixture(scope="session")
def ds389() -> Iterator[directories.Directory]:
    """389 Directory Server, one for all tests of this process."""
    with _started(directories.ds389) as directory:
        yield directory


@pytest.fixture(scope="session")
def samba() -> Iterator[directories.Directory]:
    """Samba as a domain controller of Active Directory, one for all tests of this process."""
    with _started(directories.samba) as directory:
        yield directory


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI is set, everything that a test needs is there, so a test that is skipped has failed."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which counts as failed here: {report.longrepr}"
    return report
