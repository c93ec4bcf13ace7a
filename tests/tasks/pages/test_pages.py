"""Pages for a browser: complete, self-contained, and deaf to markup in names."""

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from connectors.contract import Kind
from connectors.errors import ErrorCode
from tasks.ledger import CycleKind, CycleState, LogAction, LogLine
from tasks.mapping import Held
from tasks.pages import data_docs, keep_data_docs, keep_report, run_report
from tasks.pages.charts import HEIGHT, WIDTH, changes_over
from tasks.pages.cycle_page import CyclePage, CycleTotals, cycle_page
from tasks.pages.layout import numbered, took
from tasks.pages.run_report import report_page
from tests.tasks.pages.samples import MARKUP, NAMES, SECRET, checked, cycles, report, results
from tests.tasks.plan.worlds import NOW

VOID = {"meta", "img", "link", "br", "input", "hr"}


class Page(HTMLParser):
    """Reads a page as a browser would: its tags, its text, what it asks for from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.asked: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], "tags that nothing closes"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.asked += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")], "a handler of events"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def pages(folder: Path) -> dict[str, Page]:
    """One page of each sort."""
    cycle = cycles()[0]
    keep_data_docs(folder, cycle, CycleState.STAGED, results(), report="../../reports/hr-to-app/42.html")
    return {
        "report": Page(report_page(report(), cycle, cycles(), checked(), docs="../../docs/hr-to-app/42.html")),
        "docs": Page((folder / "42.html").read_text(encoding="utf-8")),
        "index": Page((folder / "index.html").read_text(encoding="utf-8")),
    }


def test_names_are_text_and_never_markup(tmp_path):
    """Whatever a person or a group is called, and whatever a target said about them."""
    found = pages(tmp_path)
    for name, page in found.items():
        assert not {"img", "script", "iframe", "object", "link", "form"} & set(page.tags), name
    for name in NAMES:
        assert name in found["report"].text
    assert MARKUP in found["docs"].text


def test_pages_need_nothing_from_anywhere(tmp_path):
    """They are read years later, offline, and tell nobody that they are read."""
    for name, page in pages(tmp_path).items():
        assert all(re.fullmatch(r"[\w./-]+\.(html|json)", address) for address in page.asked), name
        assert "@import" not in page.text
        assert "url(" not in page.text


def test_a_report_says_what_happened_with_its_numbers():
    """Counts, guards, failures with advice, attributes, memberships, times: in words, without raw data."""
    text = Page(report_page(report(), cycles()[0], cycles(), checked(), docs="d.html")).text
    for said in (
        "hr-to-app · cycle 42 Waiting for approval",
        "1,204created",
        "98,712unchanged",
        "Conflict · 9 entries",
        "Find the account that has the value.",
        "and 4 more",
        "provisor approve hr-to-app",
        "41.4 s",
        "csv people.csv → scim https://app.example.com/v2",
        "Data Docs of this cycle",
    ):
        assert said in text, said
    assert len(re.findall(r"[0-9]updated", text)) == 1, "a count stands there for each action that adds to it"
    assert not re.search(r"[{}]|None of|datetime|<Action|CycleState", text.replace("{{ 7*7 }}", ""))


def test_redacted_values_are_never_in_a_report():
    """That a redacted attribute changed is told, not what to."""
    html = report_page(report(), cycles()[0], cycles(), checked())
    assert "nickName" in html
    assert SECRET not in html


def _done() -> CyclePage:
    """Changes of people with odd names, one of them approved."""
    names = {("user", str(number)): name for number, name in enumerate(NAMES)}
    lines = [_line(number, LogAction.UPDATE, "changed in the source") for number in range(len(NAMES))]
    approved = [_line(0, LogAction.APPROVE, f"disable: approved by Maria Lindqvist: HR has confirmed it {MARKUP}")]
    gone = [_line(0, LogAction.DISABLE, "gone from the source")]
    tally = Counter({("update", "success"): 300, ("disable", "success"): 1, ("approve", "success"): 1})
    totals = CycleTotals(tally)
    return cycle_page(cycles()[0], totals, {LogAction.UPDATE: lines, LogAction.DISABLE: gone}, [], approved, names)


def _line(number: int, action: LogAction, reason: str) -> LogLine:
    modified = [{"name": "title", "old": "Clerk", "new": f"Boss {NAMES[number]}"}] if action == "update" else None
    who = (NAMES[number], str(number), f"t{number}", reason, None, "", modified, 5, None, "", "", "")
    return LogLine(number, NOW, "hr-to-app", 42, "user", action, "success", *who)


def test_a_report_says_what_was_done_to_whom_and_who_allowed_it() -> None:
    """Names, old and new values, the decision with its reason; what is left out is counted, and names are text."""
    page = Page(report_page(report(), cycles()[0], cycles(), checked(), done=_done()))
    for said in (
        "Changed 300",
        "Clerk → Boss 李小龙",
        "Disabled 1 · gone from the source",
        "approved by Maria Lindqvist: HR has confirmed it",
        "and 291 more",
    ):
        assert said in page.text, said
    assert not {"img", "script", "a"} & set(page.tags)


def test_left_alone_is_one_figure() -> None:
    """The tile counts it; what the log says once, and what a person has rejected, goes by other words."""
    made = report()
    decided = Held(Kind.USER, "7", ErrorCode.DECIDED, "rejected by Maria", label="Seven")
    made.held, made.counts = [decided], {**made.counts, "held": 0}
    skipped = [_line(number, LogAction.SKIP, "not in scope") for number in range(3)]
    totals = CycleTotals(Counter({("skip", "skipped"): 14}))
    done = cycle_page(cycles()[0], totals, {LogAction.SKIP: skipped}, [], [], {})
    said = Page(report_page(made, cycles()[0], cycles(), checked(), done=done)).text
    assert re.findall(r"([0-9]+) ?left alone|Left alone ?([0-9]*)", said) == [("0", "")]
    assert "Noted for the first time 14" in said
    assert "Not done, as decided" in said


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"staged": 1048, "staged_memberships": 748}, "300 accounts, and with them 748 memberships"),
        ({"staged": 1}, "1 account"),
        ({"staged": 3, "staged_groups": 3}, "3 groups"),
        (
            {"staged": 9, "staged_groups": 1, "staged_memberships": 6},
            "2 accounts and 1 group, and with them 6 memberships",
        ),
        ({"staged": 12, "staged_memberships": 12}, "12 memberships"),
        ({}, ""),
    ],
)
def test_what_waits_is_counted_as_what_it_is(counts: dict[str, int], said: str) -> None:
    """Accounts as accounts, and the memberships that go with them beside them."""
    assert cycle_page(replace(cycles()[0], counts=counts), CycleTotals(), {}, [], [], {}).held == said


def test_a_decision_is_about_everybody_it_was_made_for() -> None:
    """The page shows twenty people of each kind; what one person approved at once is counted whole."""
    lines = [_line(number, LogAction.APPROVE, "disable: approved by Maria") for number in range(3)]
    totals = CycleTotals(decided={("approve", "disable: approved by Maria", NOW): 298})
    (one,) = cycle_page(cycles()[0], totals, {}, [], lines, {}).decisions
    assert (one.count, len(one.names) + one.more) == (298, 298)


@pytest.mark.parametrize("state", list(CycleState))
def test_every_state_has_a_page(state):
    """Also a cycle that was stopped before it had a plan, and one that did nothing."""
    bare = replace_report(state)
    page = Page(report_page(bare, cycles()[0], cycles(1), None))
    assert "hr-to-app" in page.text
    nothing = [replace(one, counts={}) for one in cycles(3)]
    assert "Changes per cycle" not in Page(report_page(bare, nothing[0], nothing, None)).text


def replace_report(state: CycleState):
    made = report(state)
    made.counts, made.failures, made.held, made.notes, made.guards, made.findings = {}, [], [], [], [], []
    made.seconds, made.error, made.kind = {}, "The target does not answer.", CycleKind.INITIAL
    return made


@pytest.mark.parametrize("count", [1, 2, 9, 30])
def test_bars_stay_inside_the_chart(count):
    """However many cycles there are and whatever they did; nothing lies on anything else."""
    chart = changes_over(list(reversed(cycles(count))))
    assert chart is not None
    for part in chart.parts:
        assert 0 <= part.x <= part.x + part.width <= WIDTH
        assert 0 <= part.y <= part.y + part.height <= HEIGHT
    assert all(4 <= y <= HEIGHT for y, _ in chart.ticks)
    assert len({text for _, text in chart.labels}) == len(chart.labels) <= 15


def test_reports_and_docs_are_bounded(tmp_path, monkeypatch):
    """The last cycles' pages are kept; older ones go with all that belongs to them; the index has what there is."""
    monkeypatch.setattr(run_report, "KEPT", 3)
    monkeypatch.setattr(data_docs, "KEPT", 3)
    for cycle in reversed(cycles(6)):
        made = report()
        made.cycle = cycle.number
        keep_report(tmp_path / "reports", made, cycle, cycles(6), None)
        keep_data_docs(tmp_path / "docs", cycle, CycleState.DONE, results(), report="")
    assert list(numbered(tmp_path / "reports")) == [40, 41, 42]
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {
        "index.html",
        *(f"{number}.{kind}" for number in (40, 41, 42) for kind in ("html", "json")),
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*.*"))
    assert re.findall(r">#(\d+)", (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")) == ["42", "41", "40"]


def test_docs_show_how_a_check_fared_before(tmp_path):
    """A check that failed and holds again has both beside it; the results are in Great Expectations' format."""
    for cycle, good in zip(reversed(cycles(3)), (True, False, True), strict=True):
        path = keep_data_docs(tmp_path, cycle, CycleState.DONE, results(good=good), report="")
    html = path.read_text(encoding="utf-8")
    assert re.findall(r'<i class="(\w*)" title="cycle (\d+)', html)[3:6] == [("", "40"), ("no", "41"), ("", "42")]
    document = json.loads((tmp_path / "41.json").read_bytes())
    [failed] = [one for one in document["results"] if one["expectation_config"]["kwargs"].get("column") == "mail"]
    assert failed["result"]["unexpected_count"] == 380
    assert len(failed["result"]["unexpected_index_list"]) == 200
    assert document["success"] is False


def test_a_damaged_result_is_left_out(tmp_path):
    """One broken file does not keep the next cycle from having its page."""
    [before, cycle] = reversed(cycles(2))
    keep_data_docs(tmp_path, before, CycleState.DONE, results(), report="")
    (tmp_path / "41.json").write_text("{", encoding="utf-8")
    keep_data_docs(tmp_path, cycle, CycleState.DONE, results(), report="")
    assert "#41" not in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (83.2, "1 min 23 s"), (7_384, "2 h 03 min")]
)
def test_lengths_of_time_are_said_as_people_do(seconds, said):
    """Nobody reads 7384.0."""
    assert took(seconds) == said
