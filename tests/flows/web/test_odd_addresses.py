"""Whatever stands in an address, the answer is a page: never a fault, on either database."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from openpyxl import load_workbook

from connectors.contract import Kind
from flows.cycle.systems import now
from flows.serve.web.rendering import shown_value
from flows.serve.web.rights import Grant, Role
from flows.serve.web.spreadsheet import write_excel
from flows.show.cycle_lines import read_cycle_lines
from tasks.ledger import (
    AccountFilters,
    CycleEnd,
    CycleKind,
    CycleState,
    Known,
    Ledger,
    Link,
    LogAction,
    LogEntry,
    LogStatus,
    Modified,
    StagedState,
)
from tests.flows.web.company import found_company, write_jobs
from tests.flows.web.conftest import PASSWORD, token_of
from tests.flows.web.worlds import Asked, Asking, pages_of
from tests.servers.starting import DatabaseServer

JOB = "hr-to-scim"
PEOPLE = {"vera": Grant(Role.VIEWER), "hella": Grant(Role.HELPDESK), "maria": Grant(Role.APPROVER)}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def company(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """The company's pages, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("odd")
    url = None
    if request.param == "postgresql":
        server: DatabaseServer = request.getfixturevalue("postgresql_server")
        url = server.create_database("odd_addresses")
    with pytest.MonkeyPatch.context() as patch:
        yield from _company(folder, url, patch)


@pytest.fixture
def changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """The same, for a test that changes something."""
    yield from _company(tmp_path, None, monkeypatch)


def _company(folder: Path, url: str | None, patch: pytest.MonkeyPatch) -> Iterator[Asked]:
    patch.setenv("PROVISOR_HOME", str(folder / "state"))
    patch.setenv("SCIM_TOKEN", "x")
    patch.delenv("PREFECT_API_URL", raising=False)
    write_jobs(folder)
    with Ledger.open(url, folder / "state") as ledger:
        found_company(ledger, now())
        with pages_of(ledger, folder, PEOPLE) as asked:
            yield asked


NUMBERS = ("0", "-1", "", "٣", "1e3", "0x1", " 1", "9" * 19, str(2**63), "9" * 5_000)
TEXTS = ("%ED%A0%80", "%FF%FE", "%EE%80%80", "%F4%8F%BF%BF", "%1F", "%1F%1F", "%0A", "%20x%20", "%25%5C_", "x" * 3_000)
"""Halves of surrogate pairs, bytes that are no UTF-8, the first private and the very last character, separators."""
LISTS = {
    "/": ("show",),
    "/search": ("q",),
    f"/jobs/{JOB}": ("through",),
    f"/jobs/{JOB}/cycles": ("before",),
    f"/jobs/{JOB}/cycles/1": ("action", "q", "after"),
    f"/jobs/{JOB}/log.csv": ("cycle",),
    "/approvals": ("done",),
    f"/approvals/{JOB}": ("item", "q", "after"),
    "/access": ("at", "job", "group", "who", "department", "state", "kind", "after"),
    "/access.csv": ("who", "at"),
}
"""Every parameter that a page reads."""


def test_what_is_no_number_of_a_cycle_is_no_page(company: Asked) -> None:
    """Numbers that no database takes and no language reads, and what only looks like one."""
    for number in filter(None, NUMBERS):
        answer = company.visitors["vera"].get(f"/jobs/{JOB}/cycles/{quote(number)}")
        assert answer.status_code == 404, number


@pytest.mark.parametrize("path", LISTS)
def test_no_parameter_is_a_fault(company: Asked, path: str) -> None:
    """Alone, twice, and where nothing else is asked."""
    for name in LISTS[path]:
        for value in ("%EE%80%80", "%ED%A0%80", "%1F", quote("٣"), "-1", "9" * 5_000):
            answer = company.visitors["vera"].get(f"{path}?{name}={value}&{name}={value}")
            assert answer.status_code in ({200, 404} if name == "action" else {200, 303}), (name, value)
        assert company.visitors["vera"].get(f"{path}?{name}=a%00&{name}=b").status_code == 400


@pytest.mark.parametrize("page", ["people", "groups", "jobs", "approvals", "errands", "belongings/hr-to-scim/user"])
def test_no_name_in_a_path_is_a_fault(company: Asked, page: str) -> None:
    """What is not there is not there; an entry that is not known has no belongings either."""
    for text in TEXTS:
        for path in (f"/{page}/{text}", f"/{page}/{JOB}/{text}", f"/{page}/{text}/000001"):
            status = company.visitors["hella"].get(path).status_code
            assert status == (200 if page.startswith("belongings") else 404), path


ENDS = (" ", "\n", "\x1f", "\u00ad", "\u0301", "\ue000", "\U0010ffff", "a&b=c#d", "x" * 510)
"""What keys may end in: of each kind so many that a page ends in it."""


@pytest.mark.parametrize(
    "key", ["a?b", "line\nbreak", "tab\tx", "%2e%2e", "a%2fb", "a/../b", "a\\b", "50%", "Zoë", "x" * 600]
)
def test_signing_in_leads_to_the_person_whatever_the_key(changing: Asked, key: str) -> None:
    """The address is kept as it was sent."""
    vera = changing.visitors["vera"].http
    changing.ledger.directory.put(JOB, [Known(Kind.USER, key, "Wanted Person", "", {}, "")])
    path = f"/people/{JOB}/{quote(key, safe='')}"
    assert "Wanted Person" in vera.get(path).text
    vera.cookies.clear()
    form = vera.get(path, follow_redirects=True).text
    found = re.search(r'name="to" value="([^"]*)"', form)
    assert found is not None
    fields = {"login": "vera", "password": PASSWORD, "to": html.unescape(found[1]), "form_token": token_of(form)}
    assert "Wanted Person" in vera.post("/sign-in", data=fields, follow_redirects=True).text


ODD_KEYS = (
    ".",
    "..",
    "...",
    "/",
    "a//b",
    "a/../b",
    "\\",
    "a;b",
    "tab\there",
    "line\nbreak",
    "cr\rhere",
    "\x85",
    "\ud7ff",
    "%2e",
)
"""Keys that browsers and proxies change in a path, or in the value of a field."""


def as_browsers_go(address: str) -> str:
    """An address as a browser asks for it: parts that are dots, also encoded ones, lead up. Source: WHATWG URL, 4.4."""
    path, mark, query = address.partition("?")
    parts: list[str] = []
    for part in path.replace("\\", "/").split("/")[1:]:
        dots = part.lower().replace("%2e", ".")
        if dots == "..":
            parts = [*parts[:-1], ""]
        else:
            parts.append("" if dots == "." else part)
    assert "//" not in path  # which proxies make one of
    assert not re.search("%2f|%5c|%0|%1", path.lower())  # which some refuse
    return "/" + "/".join(parts) + mark + query


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_browser_comes_to_every_entry(changing: Asked, key: str) -> None:
    """From the list of access, and on to what the entry should be."""
    vera = changing.visitors["vera"]
    changing.ledger.directory.put(JOB, [Known(Kind.USER, key, "Wanted Person", "", {}, "")])
    page = vera.get("/search?q=wanted").text
    found = re.search(r'href="([^"]*)">(?:<bdi>)?Wanted', page)
    assert found is not None, page
    person = vera.get(as_browsers_go(html.unescape(found[1])))
    assert (person.status_code, "Wanted Person</bdi></h1>" in person.text) == (200, True)
    further = re.search(r'hx-get="([^"]*belongings[^"]*)"', person.text)
    assert further is not None
    assert vera.get(as_browsers_go(html.unescape(further[1]))).status_code == 200


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_tick_means_the_entry_whatever_its_key(changing: Asked, key: str) -> None:
    """What a browser sends of the field: line ends become CR LF. The page that asks again carries the same key."""
    ledger = changing.ledger
    some = ledger.staged(JOB)
    ledger.put_staged(JOB, [replace(some[0], anchor=key, label="Wanted Person", target_id="wanted")])
    maria, path = changing.visitors["maria"], f"/approvals/{JOB}"
    page = maria.get(path).text
    value = re.search(r'name="anchor" value="([^"]*)" aria-label="Tick Wanted', page)
    assert value is not None
    for to in (path, f"{path}/decision"):
        fields = dict(re.findall(r'name="(item|digest|looked|shown|number)" value="([^"]*)"', page))
        sent = re.sub("\r?\n|\r", "\r\n", html.unescape(value[1]))
        page = maria.post(to, **fields, about="only", decision="reject", reason="x", anchor=[sent]).text
        value = re.search(r'name="anchor" value="([^"]*)"', page) or value
    assert [one.anchor for one in ledger.staged(JOB) if one.state is StagedState.REJECTED] == [key]
    assert maria.post(path, about="only", decision="reject", reason="x", anchor=["a%00"]).status_code == 400


def test_a_list_of_accounts_goes_on_after_any_key(changing: Asked) -> None:
    """Each account of each job comes once, whatever its key ends in."""
    ledger, keys = (
        changing.ledger,
        [f"{place}{number:02}{end}" for place, end in enumerate(ENDS) for number in range(30)],
    )
    keys += [f"{end}k" for end in ENDS]
    for job in (JOB, "contractors"):
        cycle = ledger.begin_cycle(job, CycleKind.INCREMENTAL, fingerprint="f", now=now())
        ledger.record(cycle, [], [], now=now(), links=[Link(Kind.USER, key, f"{job}{key}") for key in keys])
    expected = sorted((one.anchor, one.job) for one in ledger.lookup.accounts(ledger.jobs(), AccountFilters()))
    assert _followed(changing.visitors["vera"], "/access") == expected, "not each account once, in order"


def _followed(client: Asking, path: str) -> list[tuple[str, str]]:
    """What a list shows, page after page: key and job."""
    seen = []
    for _ in range(20):
        page = client.get(path).text
        seen += [
            (unquote(key), job)
            for job, key in re.findall(r'class="person" href="/people/([^/"]+)/(?:\?key=)?([^"]+)"', page)
        ]
        following = re.search(r'href="([^"]*(?:\?|&|&amp;)after=[^"#]+)', page)
        if following is None:
            return seen
        path = html.unescape(following[1])
    raise AssertionError("the list does not end")


def test_what_waits_is_turned_page_by_page(changing: Asked) -> None:
    """By links and by buttons, with and without a search, whatever the keys are: everybody once."""
    ledger = changing.ledger
    one = ledger.staged(JOB)[0]
    ledger.drop_staged(JOB, ledger.staged(JOB))
    keys = [f"{number:03}{ENDS[number % len(ENDS)]}" for number in range(51 * len(ENDS))]
    ledger.put_staged(JOB, [replace(one, anchor=key, label="of many") for key in keys])
    page, maria = f"/approvals/{JOB}", changing.visitors["maria"]
    assert [key for key, _ in _followed(changing.visitors["vera"], f"{page}?q=many")] == keys
    seen, answer = [], maria.get(page).text
    while True:
        seen += re.findall(r'class="person" href="/people/[^/]+/(?:\?key=)?(\d{3})', answer)
        turn = re.search(r'name="turn" value="(after:[^"]*)"', answer)
        if turn is None or len(seen) > len(keys):
            break
        fields = dict(re.findall(r'type="hidden" name="(item|digest)" value="([^"]*)"', answer))
        answer = maria.post(page, **fields, turn=turn[1]).text
    assert seen == [key[:3] for key in keys]


def test_a_page_goes_on_where_it_was_though_its_last_entry_is_gone(changing: Asked) -> None:
    """Somebody else has decided about it meanwhile: the list does not begin again."""
    ledger = changing.ledger
    one = ledger.staged(JOB)[0]
    ledger.put_staged(JOB, [replace(one, anchor=f"1{n:05}", label=f"many.{n}@example.com") for n in range(120)])
    gone = next(held for held in ledger.staged(JOB) if held.anchor == "100049")
    ledger.drop_staged(JOB, [gone])
    page = changing.visitors["vera"].get(f"/approvals/{JOB}?q=many&after=100049").text
    assert re.findall(r'class="person" href="/people/[^/]+/(\d+)"', page)[0] == "100050"


VALUES = (
    None,
    True,
    3,
    -(2**62),
    2**80,
    1.5,
    "",
    "text",
    [],
    [1, 2],
    ["a", None],
    [["a"], [{"b": [1]}]],
    [{"value": "u1", "primary": True}],
    {},
    {"a": {"b": None}},
    {"value": ["x"]},
)


def test_an_attribute_may_be_called_and_hold_anything(changing: Asked) -> None:
    """On the cycle's page, in its searches, on the person's page, in the report's lines, and as CSV."""
    ledger = changing.ledger
    cycle = ledger.begin_cycle(JOB, CycleKind.INCREMENTAL, fingerprint="f1", now=now())
    modified = [
        Modified(name, old, new)
        for name in ("members", "old", "items", "urn:x:y", "")
        for old, new in zip(VALUES, reversed(VALUES), strict=True)
    ]
    lines = [
        LogEntry(kind, action, LogStatus.SUCCESS, "000005", label="bold", modified=[one])
        for kind, action in (
            (Kind.USER, LogAction.UPDATE),
            (Kind.GROUP, LogAction.UPDATE),
            (Kind.USER, LogAction.DRIFT),
        )
        for one in modified
    ]
    ledger.log_entries(cycle, lines, now=now())
    ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, {"updated": 1}, now=now(), source="HR", target="Intranet"))
    number = cycle.number
    for path in (
        f"/jobs/{JOB}/cycles/{number}",
        f"/jobs/{JOB}/cycles/{number}?action=update",
        f"/jobs/{JOB}/cycles/{number}?q=bold",
        f"/jobs/{JOB}/log.csv?cycle={number}",
        f"/people/{JOB}/000005",
        f"/groups/{JOB}/000005",
    ):
        assert changing.visitors["vera"].get(path).status_code == 200, path
    again = ledger.cycle_numbered(JOB, number)
    assert again is not None
    assert read_cycle_lines(ledger, again, first=50, now=now()).page.sections


def test_every_value_can_be_shown() -> None:
    """Whatever a system holds: bytes, dates, numbers of any length, keys that are no text."""
    for value in (*VALUES, b"\xff\xfe", now(), now().date(), {(1, 2): 3}, 10**5_000, float("nan")):
        assert shown_value(value)
    assert "2 bytes" in shown_value(b"\xff\xfe")


def test_a_sheet_holds_every_text() -> None:
    """What a spreadsheet would compute, control characters, and more than a cell can hold."""
    texts = ("=1+1", "@SUM(A1)", "a\x0bb\x00c", "http://example.com", "x" * 40_000)
    path = write_excel([texts], heading_row=0)
    try:
        (row,) = load_workbook(path).active.iter_rows()
    finally:
        path.unlink()
    assert [cell.data_type for cell in row] == ["s"] * len(texts)
    assert [len(str(cell.value)) for cell in row[3:]] == [18, 32_767]


def test_no_link_puts_a_sentence_on_a_page(company: Asked) -> None:
    """What was done is said after a form of ours alone; the words of a link stay in the fields of forms."""
    forged, vera = "Call 555 to keep your account", company.visitors["vera"]
    words = quote(forged)
    for path in (
        f"/approvals?done={words}&count=3&job=hr-to-scim",
        f"/approvals?note={words}&seal=x",
        f"/jobs/{JOB}?told={words}",
        f"/jobs/{JOB}?note={words}&seal={'0' * 64}",
        f"/access?at={words}",
        f"/jobs/{JOB}?through={words}",
    ):
        page = re.sub(r'value="[^"]*"', "", vera.get(path).text)
        assert forged not in page, path


def test_what_was_done_is_said_to_who_did_it(changing: Asked) -> None:
    """On the page that the form leads to; the same address says nothing to others, nor with other words."""
    maria, page = changing.visitors["maria"], f"/approvals/{JOB}"
    form = dict(re.findall(r'type="hidden" name="(item|digest)" value="([^"]*)"', maria.get(page).text))
    form |= {"about": "only", "decision": "reject", "reason": "ticket", "anchor": "000001"}
    asked = maria.post(page, **form).text
    form |= dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked))
    form.pop("form_token")
    leads_to = maria.post(f"{page}/decision", **form).headers["Location"]
    said = "Rejected: 1 entry of hr-to-scim. It is left alone."
    assert said in maria.get(leads_to).text
    assert said not in changing.visitors["vera"].get(leads_to).text
    assert "2 entries" not in maria.get(leads_to.replace("1+entry", "2+entries")).text
