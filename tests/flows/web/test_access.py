"""Who has, or had, access to what: on pages, in exports, and for machines."""

import csv
import io
import zipfile
from datetime import timedelta

import httpx

from connectors.contract import Kind
from flows.cycle.systems import now
from tasks.ledger import AccountFilters, CycleKind, Known, Ledger, Link, LinkState, LogAction, LogEntry, LogStatus
from tests.flows.web.company import JOBS
from tests.flows.web.conftest import Served


def _do(ledger: Ledger, action: LogAction, anchor: str, days: int) -> None:
    moment = now() - timedelta(days=days)
    cycle = ledger.begin_cycle("hr-to-scim", CycleKind.INCREMENTAL, fingerprint="f1", now=moment)
    ledger.log_entries(cycle, [LogEntry(Kind.USER, action, LogStatus.SUCCESS, anchor, label=anchor)], now=moment)
    if action is LogAction.DELETE:
        ledger.drop_links("hr-to-scim", Kind.USER, [anchor])
    else:
        state = LinkState.DISABLED if action is LogAction.DISABLE else LinkState.ACTIVE
        link = Link(Kind.USER, anchor, f"id-hr-to-scim-{anchor}", label=anchor, state=state)
        ledger.record(cycle, [], [], now=moment, links=[link])


def test_access_on_a_date_is_what_it_was(changing: Served) -> None:
    """Before, between and after: created, disabled, enabled again, deleted, and before anything is known."""
    _do(changing.ledger, LogAction.DISABLE, "000001", 30)
    _do(changing.ledger, LogAction.ENABLE, "000001", 20)
    _do(changing.ledger, LogAction.DISABLE, "000002", 10)
    _do(changing.ledger, LogAction.DELETE, "000002", 5)

    def at(days: int) -> dict[str, LinkState]:
        found = changing.ledger.lookup.accounts_at(["hr-to-scim"], AccountFilters(), now() - timedelta(days=days))
        return {one.anchor: one.state for one in found}

    assert at(41) == {}
    assert at(35)["000001"] is LinkState.ACTIVE
    assert at(25)["000001"] is LinkState.DISABLED
    assert at(15)["000001"] is LinkState.ACTIVE
    assert at(15)["000002"] is LinkState.ACTIVE
    assert at(7)["000002"] is LinkState.DISABLED
    assert "000002" not in at(1)
    assert len(at(1)) == 7


def test_the_page_filters_and_says_what_is_not_known(served: Served) -> None:
    """By department, state and date; a date before the first cycle has no answer."""
    client = served.client("vera")
    page = client.get("/access?department=Legal&job=hr-to-scim").text
    assert "Östen Öberg" in page
    assert "Dagmar Holm" not in page
    assert "Nothing is known before" in client.get("/access?at=2001-01-01").text
    assert "is no date" in client.get("/access?at=soon").text
    assert "Nobody has such an account." in client.get("/access?state=disabled").text


def test_pages_of_a_list_meet_without_gap_or_double(served: Served) -> None:
    """Following Next shows each account of each job once."""
    import re

    client = served.client("vera")
    seen: list[tuple[str, str]] = []
    path = "/access"
    for _ in range(5):
        page = client.get(path).text
        seen += re.findall(r'href="/people/([^/"]+)/([^"]+)">', page)
        following = re.search(r'href="(/access\?after=[^"]+)"', page)
        if following is None:
            break
        path = following[1].replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 32


def test_exports_have_the_question_on_top(served: Served) -> None:
    """CSV and Excel hold the same rows."""
    client = served.client("vera")
    rows = list(csv.reader(io.StringIO(client.get("/access.csv?job=hr-to-scim").text)))
    assert rows[0][0].startswith("Access at ")
    assert rows[1][:4] == ["job", "target", "kind", "name"]
    assert len(rows) == 10
    book = client.get("/access.xlsx?job=hr-to-scim")
    with zipfile.ZipFile(io.BytesIO(book.content)) as opened:
        sheet = opened.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count("<row ") == 10
    assert "<f>" not in sheet  # no formula


def test_metrics_are_for_this_machine(served: Served) -> None:
    """Cycles, changes, failures, waits and the age of the last good cycle, by job."""
    said = httpx.get(f"{served.url}/metrics").text
    assert 'provisor_cycles_total{job="hr-to-scim",state="staged"} 1.0' in said
    assert 'provisor_changes_total{change="created",job="hr-to-scim"} 8.0' in said
    assert 'provisor_failures_total{job="hr-to-slack"} 1.0' in said
    assert 'provisor_waiting_changes{job="hr-to-scim"} 4.0' in said
    assert 'provisor_job_state{job="sql-to-scim",state="quarantined"} 1.0' in said
    assert 'provisor_last_good_cycle_age_seconds{job="hr-to-slack"}' in said
    assert "Holm" not in said
    assert httpx.get(f"{served.url}/health").json() == {"status": "ok"}


def _listed(ledger: Ledger, *names: str, complete: bool = True) -> None:
    """A cycle whose listing shows accounts that belong to no entry."""
    cycle = ledger.begin_cycle("hr-to-scim", CycleKind.RECONCILE, fingerprint="f1", now=now())
    found = {f"id-{name}": (name.title(), f"{name}@example.com") for name in names}
    ledger.unmanaged.keep(cycle, Kind.USER, found, complete=complete, now=now())


def test_accounts_that_belong_to_no_entry_are_told_apart(changing: Served) -> None:
    """By app, on the page and in exports; those that Provisor made are orphaned, and lead to their entry."""
    ledger, lost = changing.ledger, "id-hr-to-scim-000004"
    ledger.drop_links("hr-to-scim", Kind.USER, ["000004"])
    cycle = ledger.begin_cycle("hr-to-scim", CycleKind.RECONCILE, fingerprint="f1", now=now())
    found = {"id-<b>": ("<b>Root</b>", "root"), lost: ("", "dagmar.holm@example.com")}
    ledger.unmanaged.keep(cycle, Kind.USER, found, complete=True, now=now())
    client = changing.client("vera")

    apps = client.get("/access?job=hr-to-scim").text
    assert "2 unmanaged" in apps
    assert "1 orphaned" in apps
    page = client.get("/access?state=unmanaged").text
    assert "&lt;b&gt;Root" in page
    assert "made outside Provisor" in page
    assert "/people/hr-to-scim/000004" in page
    orphaned = client.get("/access?state=orphaned").text
    assert "Root" not in orphaned
    assert "dagmar.holm@example.com" in orphaned
    rows = list(csv.reader(io.StringIO(client.get("/access.csv?state=unmanaged").text)))
    assert [(row[5], row[6], row[7]) for row in rows[2:]] == [
        ("", "id-<b>", "unmanaged"),
        ("000004", lost, "orphaned"),
    ]
    assert "no date, person, group or department" in client.get("/access?state=unmanaged&at=2026-01-01").text

    ledger.record(cycle, [], [], now=now(), links=[Link(Kind.USER, "000004", lost, label="Dagmar")])
    assert lost not in client.get("/access.csv?state=unmanaged").text  # it has an owner, before the next listing


def test_what_a_listing_may_not_have_shown_is_kept(changing: Served) -> None:
    """What an incomplete listing leaves out may be there; what a complete one leaves out is not."""
    ledger = changing.ledger

    def there() -> list[str]:
        return [one.label for one in ledger.unmanaged.accounts(["hr-to-scim"], Kind.USER, limit=10)]

    _listed(ledger, "ada", "bea")
    _listed(ledger, "cleo", complete=False)
    assert there() == ["Ada", "Bea", "Cleo"]
    _listed(ledger, "bea")
    assert there() == ["Bea"]


def test_access_is_asked_for_by_name(served: Served) -> None:
    """By any name, login or key, in all apps."""
    client = served.client("vera")
    page = client.get("/access?who=oberg").text
    assert "Östen Öberg" in page
    assert "Dagmar" not in page
    rows = list(csv.reader(io.StringIO(client.get("/access.csv?who=osten").text)))
    assert {(row[0], row[5]) for row in rows[2:]} == {(job, "000002") for job in JOBS}
    assert "Nobody has such an account." in client.get("/access?who=nobody-is-called-so").text


def test_a_name_that_many_have_is_told(changing: Served) -> None:
    """More entries match than are looked through: the page, the export and the command say that some are left out."""
    known = [
        Known(Kind.USER, f"9{number:05}", f"Twin {number}", details={"department": "Twins"}) for number in range(210)
    ]
    changing.ledger.directory.put("hr-to-scim", known)
    client = changing.client("vera")
    assert "More entries match this name" in client.get("/access?who=twin&job=hr-to-scim").text
    assert "More entries match this name" in client.get("/access.csv?who=twin&job=hr-to-scim").text
    assert "More entries match this name" not in client.get("/access?who=osten&job=hr-to-scim").text


def test_a_department_is_the_same_now_and_on_a_date(served: Served) -> None:
    """As it is written: another spelling is another department, whenever it is asked for."""
    ledger = served.ledger
    for department, many in (("Legal", 2), ("legal", 0)):
        filters = AccountFilters(department=department)
        assert len(list(ledger.lookup.accounts(["hr-to-scim"], filters))) == many
        assert len(ledger.lookup.accounts_at(["hr-to-scim"], filters, now())) == many
