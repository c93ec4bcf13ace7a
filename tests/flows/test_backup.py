"""``provisor backup`` and ``restore``: the ledger of one moment, private files, nothing that was read of systems."""

import sqlite3
import stat
import tarfile
from pathlib import Path

import pytest

from connectors.errors import SettingsError
from flows.cli.backup import back_up, restore
from tasks.ledger import Ledger
from tests.flows.workplace import Command


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a ledger, what was read, reports, and Prefect's own files."""
    home = tmp_path / "state"
    home.mkdir()
    Ledger.open(None, home).close()
    for name in (
        "approvals.key",
        "snapshots/hr/source/users.parquet",
        "snapshots/hr/target/users.parquet",
        "snapshots/hr/desired/1.parquet",
        "reports/hr/1.html",
        "prefect/keys.json",
        "prefect/server.log",
    ):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    with sqlite3.connect(home / "prefect/prefect.db") as prefect:
        prefect.execute("CREATE TABLE block (name)")
    return home


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_there_and_back(state: Path, tmp_path: Path) -> None:
    """What people decided and what was done comes back; the blocks of Prefect too; what was read does not."""
    file, other = tmp_path / "backup.tar.gz", tmp_path / "other"
    back_up(state, file, elsewhere=False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    about, aside = restore(file, other, replace=False)
    assert (about.ledger, aside) == (True, None)
    assert files_of(other) == {
        *("ledger.sqlite", "approvals.key", "snapshots/hr/desired/1.parquet", "reports/hr/1.html"),
        *("prefect/prefect.db", "prefect/keys.json"),
    }
    Ledger.open(None, other).close()
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in [other, other / "ledger.sqlite"]} == {0}


def test_a_ledger_that_is_written_meanwhile_is_copied_as_of_one_moment(state: Path, tmp_path: Path) -> None:
    """A transaction that has not ended is not in the copy, and does not stand in its way."""
    with sqlite3.connect(state / "ledger.sqlite", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("CREATE TABLE half (a)")
        back_up(state, tmp_path / "backup.tar.gz", elsewhere=False)
        writer.execute("ROLLBACK")
    restore(tmp_path / "backup.tar.gz", tmp_path / "other", replace=False)
    with sqlite3.connect(tmp_path / "other/ledger.sqlite") as copy:
        assert copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchone() is None


def test_state_that_is_there_is_moved_aside_and_never_lost(state: Path, tmp_path: Path) -> None:
    """Without being asked to replace it, nothing changes."""
    file = tmp_path / "backup.tar.gz"
    back_up(state, file, elsewhere=False)
    (state / "reports/hr/2.html").write_text("newer")
    before = files_of(state)
    with pytest.raises(SettingsError, match="holds state already"):
        restore(file, state, replace=False)
    assert files_of(state) == before
    _, aside = restore(file, state, replace=True)
    assert aside is not None
    assert files_of(aside) == before
    assert not (state / "reports/hr/2.html").exists()


@pytest.mark.parametrize("damage", ["cut", "foreign", "newer", "climbing", "linked"])
def test_what_is_no_backup_changes_nothing(state: Path, tmp_path: Path, damage: str) -> None:
    """A torn file, somebody else's archive, one of a newer Provisor, two that would write elsewhere."""
    file = tmp_path / "backup.tar.gz"
    back_up(state, file, elsewhere=False)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    else:
        about = '{"made": "x", "provisor": "9", "revision": "%s", "ledger": false}' % (
            "9999" if damage == "newer" else "0001"
        )
        (tmp_path / "about").write_text(about)
        with tarfile.open(file, "w:gz") as archive:
            archive.add(tmp_path / "about", "x" if damage == "foreign" else "provisor-backup.json")
            if damage == "linked":
                link = tarfile.TarInfo("reports")
                link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
                archive.addfile(link)
                archive.add(tmp_path / "about", "reports/outside")
            else:
                archive.add(tmp_path / "about", "../outside")
    before = files_of(state)
    with pytest.raises(SettingsError):
        restore(file, state, replace=True)
    assert files_of(state) == before
    assert not (tmp_path / "outside").exists()
    assert not list(tmp_path.glob("state.*"))


def test_the_commands_say_what_they_did(
    state: Path, tmp_path: Path, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In sentences, with where everything is."""
    monkeypatch.setenv("PROVISOR_HOME", str(state))
    file = tmp_path / "backup.tar.gz"
    done = provisor("backup", file)
    assert (done.status, str(file) in done.out) == (0, True)
    refused = provisor("restore", file)
    assert "--replace moves it aside" in refused.err
    done = provisor("restore", file, "--replace")
    assert (done.status, "provisor plan JOB" in done.out) == (0, True)
