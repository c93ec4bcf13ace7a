"""What each role sees: names first, jobs that are theirs, and nothing that is not."""

import csv
import io

import pytest

from connectors.contract import Kind
from flows.cycle.systems import now
from tasks.ledger import Board, CycleKind, LogAction, LogEntry, LogStatus, Modified
from tasks.pages.board import overview_of
from tests.flows.web.conftest import Served

ALL_ROLES = ("vera", "hella", "maria", "otto")


def test_the_overview_says_who_needs_a_person(served: Served) -> None:
    """Names before numbers, the reason, the button; and all jobs with their state."""
    page = served.client("vera").get("/").text
    assert "3 of 4 jobs need a person" in page
    assert "Disable 4 of 8 users of hr-to-scim" in page
    assert "מיכאל כהן" in page
    assert "Siobhán O&#39;Brien" in page or "and 2 more" in page
    assert "Disabling 4 of 8 users is more than the limit of 2" in page
    assert "The target refuses the token (401)." in page
    assert "paused by jonas.weber: domain move" in page


def test_a_job_that_has_never_run_is_not_called_fine() -> None:
    """Nothing is known about it yet."""
    found = overview_of([Board("hr-to-scim", [])], {}, now=now())
    assert (found.headline, len(found.rows)) == ("No job has run yet", 1)


@pytest.mark.parametrize("text", ["osten", "ÖBERG ost", "osten.oberg@example.com", "000002", "id-hr-to-scim-000002"])
def test_a_person_is_found_by_any_name(served: Served, text: str) -> None:
    """Without regard to case, accents and order; keys and ids as a whole."""
    client = served.client("hella")
    page = client.http.get("/search", params={"q": text}, follow_redirects=True).text
    assert "Östen Öberg" in page


def test_nobody_is_said_to_be_nobody(served: Served) -> None:
    """With what was searched."""
    page = served.client("hella").get("/search?q=xyzzy").text
    assert "No person or group matches" in page
    assert "4 jobs were searched" in page


def test_a_person_has_one_page_over_all_jobs(served: Served) -> None:
    """Which accounts, which failure, what is coming, and what was done."""
    page = served.client("hella").get("/people/hr-to-scim/000004").text
    assert "<bdi>Dagmar Holm</bdi>" in page
    assert "Slack takes no title while the profile is being edited." in page
    assert "Somebody has to decide: disable." in page
    assert "It is tried again by the next cycle from then on" in page
    assert "in scope, and no account of the target matches" in page
    assert 'href="/jobs/' not in page  # helpdesk reads no jobs


def test_a_cycle_shows_old_and_new(served: Served) -> None:
    """Who was changed how, and what waits."""
    page = served.client("vera").get("/jobs/hr-to-scim/cycles/2").text
    assert "Held: disable 4" in page
    assert "was </span><bdi>Analyst</bdi>" in page
    found = served.client("vera").get("/jobs/hr-to-scim/cycles/2?q=bold").text
    assert "bold.tables" in found or "Bold" in found
    assert "Nothing matches." in served.client("vera").get("/jobs/hr-to-scim/cycles/2?q=nobody-of-this-name").text


def test_a_job_shows_its_rules_and_limits(served: Served) -> None:
    """Mappings as formulas, filters, leavers, guards with numbers."""
    page = served.client("vera").get("/jobs/hr-to-scim").text
    for text in (
        "<code>[mail]</code>",
        "department EQUALS Legal",
        "the account is disabled",
        "4, at most",
        "every 20 minutes",
    ):
        assert text in page
    assert "Plan now" not in page
    assert "Plan now" in served.client("otto").get("/jobs/hr-to-scim").text


@pytest.mark.parametrize(
    ("path", "roles"),
    [
        ("/", ALL_ROLES),
        ("/search?q=holm", ALL_ROLES),
        ("/people/hr-to-scim/000004", ALL_ROLES),
        ("/belongings/hr-to-scim/user/000004", ALL_ROLES),
        ("/people/hr-to-slack/000004", ("vera", "hella", "otto")),
        ("/jobs/hr-to-scim", ("vera", "maria", "otto")),
        ("/jobs/hr-to-scim/cycles", ("vera", "maria", "otto")),
        ("/jobs/hr-to-scim/cycles/1", ("vera", "maria", "otto")),
        ("/jobs/hr-to-scim/log.csv", ("vera", "maria", "otto")),
        ("/jobs/hr-to-slack", ("vera", "otto")),
        ("/jobs/hr-to-slack/failures", ("vera", "otto")),
        ("/jobs/nothing-like-it", ()),
        ("/jobs/hr-to-scim/cycles/99", ()),
        ("/people/hr-to-scim/nobody", ()),
        ("/approvals", ALL_ROLES),
        ("/approvals/hr-to-scim", ("vera", "maria", "otto")),
        ("/approvals/hr-to-slack", ("vera", "otto")),
        ("/access", ("vera", "maria", "otto")),
        ("/sign-ins", ("otto",)),
    ],
)
def test_each_role_sees_its_own_pages(served: Served, path: str, roles: tuple[str, ...]) -> None:
    """Other roles' pages by their address are as if they were not there."""
    for login in ALL_ROLES:
        answer = served.client(login).get(path)
        assert answer.status_code == (200 if login in roles else 404), (login, path)


def test_lists_hold_only_what_is_theirs(served: Served) -> None:
    """An approver of one job finds, counts and exports nobody of another one; for helpdesk there is no list."""
    maria = served.client("maria")
    assert "hr-to-slack" not in maria.get("/").text
    assert "hr-to-slack" not in maria.get("/search?q=dagmar").text
    rows = list(csv.reader(io.StringIO(maria.get("/access.csv").text)))
    assert {row[0] for row in rows[2:]} == {"hr-to-scim"}
    for path in ("/access", "/access.csv", "/access.xlsx"):
        assert served.client("hella").get(path).status_code == 404, path


def test_members_have_names(changing: Served) -> None:
    """What was done to a group says who, and not ids that no person knows; names are text here too."""
    ledger = changing.ledger
    cycle = ledger.begin_cycle("hr-to-slack", CycleKind.INCREMENTAL, fingerprint="f2", now=now())
    gone = [f"id-hr-to-slack-00000{number}" for number in (2, 7)]
    line = LogEntry(
        Kind.GROUP,
        LogAction.REMOVE_MEMBERS,
        LogStatus.SUCCESS,
        "g1",
        label="Legal",
        reason="no longer a member in the source",
        modified=[Modified("members", [*gone, "id-of-nobody-we-know"], None)],
    )
    ledger.log_entries(cycle, [line], now=now())
    client = changing.client("vera")
    assert "Members removed from 1 group" in client.get(f"/jobs/hr-to-slack/cycles/{cycle.number}").text
    for path in (f"/jobs/hr-to-slack/cycles/{cycle.number}", "/groups/hr-to-slack/g1"):
        page = client.get(path).text
        assert "Östen Öberg" in page, path
        assert "id-of-nobody-we-know" in page, path
        assert gone[0] not in page, path
        assert not {"\u0007", "\u202e"} & set(page), path
