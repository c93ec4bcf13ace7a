"""``provisor why``: the page says what decided, for everybody in the demo's two days and for everybody else."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cycle.systems import CLOCK, open_ledger
from flows.show.console import Terminal
from flows.show.plan import table
from flows.show.why import AmbiguousError, Evidence, gather
from flows.show.why_page import _show_listing, as_json, show
from flows.show.why_sentence import sentence
from tasks.job import load_job
from tests.flows.plain import plain_runs
from tests.flows.workplace import EXPORT, Said, Workplace, at
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

GOLDEN = Path(__file__).parents[1] / "golden" / "why"
CAST = {person["fate"]: person for person in json.loads((EXPORT / "events.json").read_text(encoding="utf-8"))["cast"]}
DAY_ONE = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY_TWO = DAY_ONE + timedelta(days=1)
CONTRACTOR = "out of scope since clauses employeeType NOT EQUALS contractor (employeeType is contractor)"

CAUSES = {
    "joiner": ["Created in cycle 2 on 2026-03-03: in scope, and no account of the target matches."],
    "mover_department": ["Updated in cycle 2 on 2026-03-03: changed in the source", "department:", "→"],
    "renamed": ["Updated in cycle 2 on 2026-03-03: changed in the source", "userName:", "name.familyName:"],
    "leaver_gone": ["Disabled in cycle 2 on 2026-03-03: gone from the source."],
    "leaver_terminated": ["Disabled in cycle 2 on 2026-03-03: disabled in the source."],
    "rehired": [
        "Created in cycle 2 on 2026-03-03: in scope and active now",
        "cycle 1 had passed it over (disabled in the source)",
    ],
    "unchanged": ["Created in cycle 1 on 2026-03-02", "Since then everything is as it should be."],
    "left_scope": [
        f"Disabled in cycle 2 on 2026-03-03: {CONTRACTOR}",
        "department EQUALS IT Operations (department is",
    ],
    "entered_scope": [
        "Created in cycle 2 on 2026-03-03: in scope since employeeType NOT EQUALS contractor (employeeType is",
        "cycle 1 had passed it over (out of scope",
    ],
    "never_in_scope": [f"No account: {CONTRACTOR}"],
    "title_cleared": ["Updated in cycle 2 on 2026-03-03: changed in the source (title:", "→ nothing)"],
    "manager_healed": ["Updated in cycle 2 on 2026-03-03: changed in the source (manager: nothing →"],
}
"""What the sentence about each fate must name."""


def ask(workplace: Workplace, identity: str, moment: datetime = DAY_TWO) -> Evidence:
    """What is known about somebody now."""
    with open_ledger() as ledger:
        return gather(load_job(workplace.job), identity, ledger, now=moment)


def page_of(evidence: Evidence) -> str:
    """The page as text."""
    text = StringIO()
    show(Console(file=text, width=240, highlight=False, soft_wrap=True), evidence)
    return text.getvalue()


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """The demo after its second day."""
    with ScimService(max_page_size=500) as service, pytest.MonkeyPatch.context() as patch:
        made = Workplace.make(tmp_path_factory.mktemp("why"), url=service.url).use(EXPORT)
        patch.setenv("PROVISOR_HOME", str(made.home))
        patch.setenv("SCIM_TOKEN", "a-token")
        service.seed(users=[{"userName": "svc-backup@example.com", "displayName": "Backup", "active": True}])
        for moment, export in ((DAY_ONE, EXPORT), (DAY_TWO, EXPORT / "next")):
            made.use(export)
            with at(moment), plain_runs():
                report = made.cycle()
            assert report.exit_status == 0, report.message
        yield made


@pytest.fixture(scope="module")
def known(two_days: Workplace) -> Callable[[str], Evidence]:
    """What is known about each of the cast; asked once."""
    return cache(lambda fate: ask(two_days, CAST[fate]["employeeId"]))


@pytest.mark.parametrize("fate", CAUSES)
def test_the_sentence_names_the_cause(known: Callable[[str], Evidence], fate: str) -> None:
    """Each of the twelve people of the demo: what was done in which cycle, and what decided it."""
    said = sentence(known(fate))
    assert [part for part in CAUSES[fate] if part not in said] == [], said


def test_everybody_of_the_cast_is_asked_about() -> None:
    """A fate added to the demo has to be explained as well."""
    assert set(CAST) == set(CAUSES)


@pytest.mark.parametrize("fate", CAUSES)
def test_the_page_is_reviewed_as_text(
    known: Callable[[str], Evidence], fate: str, golden: Callable[[Path, str], None]
) -> None:
    """The whole page of each of them, without what differs from run to run."""
    text = page_of(known(fate))
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", text)
    golden(GOLDEN / f"{fate}.txt", "\n".join(line.rstrip() for line in text.splitlines()))


@pytest.mark.parametrize(
    "identity",
    ["000015", "SIOBHAN.OBRIEN@example.com", "Siobhan.MacCarthy@example.com", "id"],
)
def test_somebody_is_found_by_anchor_id_and_names_of_now_and_of_once(two_days: Workplace, identity: str) -> None:
    """Whoever asks has a name, and not always the present one."""
    known = ask(two_days, "000015")
    assert known.target_id is not None
    names = {line.label for line in known.log if line.label}
    asked = known.target_id if identity == "id" else identity
    if "@" in identity:
        asked = sorted(names)[0].upper() if identity.isupper() or identity.startswith("SIO") else sorted(names)[-1]
    found = ask(two_days, asked)
    assert found.who == known.who


def test_an_account_that_is_nobodys_is_said_to_be_left_alone(two_days: Workplace) -> None:
    """In the target only: found by its name, and the answer is that Provisor does not own it."""
    found = ask(two_days, "SVC-backup@example.com")
    assert found.who is not None
    assert found.who.anchor is None
    assert sentence(found).startswith("Not Provisor's: the account is in the target")


def test_nobody_is_an_answer(two_days: Workplace) -> None:
    """Exit status 0: that nobody of that name is known is what was asked."""
    found = ask(two_days, "nobody@example.com")
    assert as_json(found)["known"] is False
    assert sentence(found) == "Nobody called nobody@example.com is in the source, the target or the log of hr-to-scim."


def test_a_group_is_explained_too(two_days: Workplace) -> None:
    """By its name as well."""
    group = ask(two_days, "G0041")
    assert sentence(group).startswith("Created in cycle 2 on 2026-03-03")
    assert ask(two_days, group.label).who == group.who


# --- what holds somebody back ----------------------------------------------------------------------------------------


def person(small: Workplace) -> dict[str, str]:
    """An employee who is active."""
    return next(row for row in small.rows() if (row["employeeType"], row["status"]) == ("employee", "active"))


def test_before_the_first_cycle_the_plan_is_the_answer(small: Workplace) -> None:
    """Somebody who was never touched."""
    who = person(small)
    said = sentence(ask(small, who["employeeId"]))
    assert said == "The next cycle will create it: in scope, and no account of the target matches."


def test_a_refused_entry_names_code_attempts_and_advice(small: Workplace, service: ScimService) -> None:
    """The failure, the next attempt, and what to do; then the wait."""
    who = person(small)
    service.set_fault("error", status=400, method="POST", path="^/Users", contains=who["userPrincipalName"])
    with at(DAY_ONE):
        small.cycle("reconcile")
    found = ask(small, who["employeeId"], DAY_ONE)
    assert sentence(found).startswith("The next cycle will create it")
    assert "Failed in cycle 1 on 2026-03-02: UnprocessableEntity" in sentence(found)
    with at(DAY_ONE + timedelta(minutes=1)):
        small.cycle("reconcile")
    found = ask(small, who["employeeId"], DAY_ONE + timedelta(minutes=2))
    page = as_json(found)
    assert sentence(found).startswith(
        "Left alone (UnprocessableEntity): Waits until 2026-03-02 06:41 UTC after 2 attempts"
    )
    assert page["escrow"]["attempts"] == 2
    assert "Correct it in the source" in page["escrow"]["advice"]


def test_held_changes_name_guard_and_cause(small: Workplace, provisor: Callable[..., Said]) -> None:
    """Staged: who waits, since when, what the guard says, and why it was planned; then who decided."""
    small.cycle()
    rows = small.rows()
    small.write_rows(rows[: len(rows) // 2])
    small.cycle()
    gone = next(row for row in rows[len(rows) // 2 :] if (row["employeeType"], row["status"]) == ("employee", "active"))
    anchor = gone["employeeId"]
    now = CLOCK.get()()
    said = sentence(ask(small, anchor, now))
    assert said.startswith("Waits for approval to disable since ")
    assert said.endswith("The reason to disable: gone from the source.")
    assert provisor("reject", "hr-to-scim", "--only", anchor, "--why", "on leave", "--by", "eve").status == 0
    said = sentence(ask(small, anchor, CLOCK.get()()))
    assert "rejected by eve" in said
    assert "on leave" in said


def test_an_unreadable_row_and_a_protected_account(small: Workplace) -> None:
    """Both are left alone, each with its own reason."""
    who, other = [row for row in small.rows() if (row["employeeType"], row["status"]) == ("employee", "active")][:2]
    small.cycle()
    small.save(protect=[who["userPrincipalName"]])
    small.change(who["employeeId"], lambda row: row | {"status": "terminated"})
    found = ask(small, who["employeeId"])
    assert found.protected
    assert "The account is protected" in sentence(found)
    rows = small.rows()
    small.write_rows([*rows, other | {"jobTitle": "Somebody else"}])  # copies that are alike would count once
    assert sentence(ask(small, other["employeeId"])).startswith("Left alone: its row in the source could not be read")


def test_several_of_one_name_are_listed(small: Workplace, provisor: Callable[..., Said]) -> None:
    """Nobody guesses who is meant."""
    one, other = [row for row in small.rows() if row["employeeType"] == "employee"][:2]
    small.change(other["employeeId"], lambda row: row | {"userPrincipalName": one["userPrincipalName"]})
    with pytest.raises(AmbiguousError, match=f"{one['employeeId']}.*{other['employeeId']}"):
        ask(small, one["userPrincipalName"])
    assert provisor("why", small.job, one["userPrincipalName"]).status == 2
    assert "Several entries of the source" in sentence(ask(small, one["employeeId"]))


def test_when_the_target_is_away_the_ledger_answers(small: Workplace, provisor: Callable[..., Said]) -> None:
    """What happened can be said at any time; what a cycle would do cannot."""
    who = person(small)
    small.cycle()
    small.document["target"]["url"] = "http://127.0.0.1:9/v2"
    small.save()
    said = provisor("why", small.job, who["employeeId"], "--json")
    assert said.status == 0
    document: dict[str, Any] = said.document
    assert document["why"].startswith("Created in cycle 1")
    assert document["outage"]
    assert [line["action"] for line in document["log"]][-1] == "create"


def test_a_paused_job_says_so(small: Workplace, provisor: Callable[..., Said]) -> None:
    """Nothing will happen to anybody until it is resumed."""
    small.cycle()
    assert provisor("pause", small.job, "--why", "migration", "--by", "eve").status == 0
    said = provisor("why", small.job, person(small)["employeeId"])
    assert re.search(r"paused +since .* by eve: migration", said.out)
    assert "not before the job is resumed" in said.out


def test_redacted_values_are_on_no_page(small: Workplace, provisor: Callable[..., Said]) -> None:
    """Neither as source value, nor as mapping, nor as what the target has, nor in the log."""
    who = person(small)
    small.change(who["employeeId"], lambda row: row | {"jobTitle": "Planted Title 77"})
    small.document["users"]["attributes"]["title"] = {"expression": "[jobTitle]", "redact": True}
    small.save().cycle()
    for words in ((), ("--json",)):
        said = provisor("why", small.job, who["employeeId"], *words)
        assert "Planted" not in said.out + said.err
        assert "[Redact]" in said.out


def test_a_table_that_does_not_fit_is_told_in_records() -> None:
    """Folded cells can be neither read nor copied; where no terminal is, each row is one line, however long."""
    listing = table("attribute", "the mapping gives")
    listing.add_row("userName", "a-rather-long-address@example.com")
    texts = {}
    for width, terminal in ((80, True), (40, True), (40, False)):
        text = StringIO()
        _show_listing(Terminal(width=width, force_terminal=terminal, file=text, color_system=None), listing)
        texts[width, terminal] = [line.rstrip() for line in text.getvalue().splitlines()]
    head, row = texts[80, True]
    assert (head.split()[0], row) == ("attribute", "userName   a-rather-long-address@example.com")
    assert texts[40, False] == [head, row]
    assert texts[40, True] == [
        "userName",
        "  the mapping gives",
        "  a-rather-long-address@example.com",
    ]
