"""What the pages have worked out by commands: who asked is known, and nobody else sees it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.contract import Action, Kind
from flows.cycle.home import ASKED_BY
from flows.decisions.initiator import initiator
from flows.decisions.persons import own_identity
from flows.serve.web.errands import BusyError, ErrandKind, Errands
from flows.serve.web.pages_of_jobs import _what_is_done
from tasks.ledger import Ledger

NOW = datetime(2026, 12, 1, 9, 42, tzinfo=UTC)


def test_what_somebody_asked_for_is_theirs(tmp_path: Path) -> None:
    """The same asked twice is done once; another person finds nothing; too much at once is refused."""
    errands = Errands(tmp_path / "errands")
    first = errands.begin(ErrandKind.WHY, "hr", ["--help"], login="vera", now=NOW, anchor="1")
    assert errands.begin(ErrandKind.WHY, "hr", ["--help"], login="vera", now=NOW, anchor="1") is first
    assert errands.find(first.id, login="vera", now=NOW) is first
    assert errands.find(first.id, login="otto", now=NOW) is None
    assert errands.find("another", login="vera", now=NOW) is None
    for number in (2, 3):
        errands.begin(ErrandKind.WHY, "hr", ["--help"], login="vera", now=NOW, anchor=str(number))
    with pytest.raises(BusyError):
        errands.begin(ErrandKind.WHY, "hr", ["--help"], login="vera", now=NOW, anchor="4")
    errands.end_all()
    assert errands.find(first.id, login="vera", now=NOW) is None
    assert list((tmp_path / "errands").iterdir()) == []


def test_no_folder_of_this_machine_is_told(tmp_path: Path) -> None:
    """What a command says of a file names the file; helpdesk learns nothing of where it is."""
    jobs = tmp_path / "a company's jobs"
    errands = Errands(tmp_path / "state" / "errands")
    words = ["on-demand", "--plan-only", "--json", "--", str(jobs / "hr.yaml"), "1"]
    begun = errands.begin(ErrandKind.PREVIEW, "hr", words, login="hella", now=NOW)
    assert begun.process is not None
    begun.process.terminate()
    begun.process.wait()
    said = f"{jobs}/hr.yaml:1: users: http://example.com/v2/Users and {tmp_path}/state/keys cannot be read."
    (tmp_path / "state" / "errands" / f"{begun.id}.err").write_text(said)
    (tmp_path / "state" / "errands" / f"{begun.id}.out").write_text(json.dumps({"why": said}))
    without = "hr.yaml:1: users: http://example.com/v2/Users and keys cannot be read."
    assert errands.complaint(begun) == without
    assert errands.document(begun) == {"why": without}
    errands.end_all()


def test_a_plan_counts_people_and_memberships() -> None:
    """One figure for one thing: a group that loses two members is not one change beside an account that is disabled."""
    groups = [{"kind": "group", "action": "remove members", "members": ["a", "b"]}] * 2
    assert _what_is_done(Action.REMOVE_MEMBERS, Kind.GROUP, groups) == "Remove 4 members from 2 groups"
    assert _what_is_done(Action.DISABLE, Kind.USER, [{}] * 300) == "Disable 300 users"


def test_the_log_names_who_asked_on_the_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside the account that the server runs under: whoever writes a name into the environment is there as well."""
    monkeypatch.setenv(ASKED_BY, "hella")
    with Ledger.open(None, tmp_path) as ledger:
        assert initiator(ledger, "hr-to-scim") == f"hella, on the pages, by {own_identity().shown}"
