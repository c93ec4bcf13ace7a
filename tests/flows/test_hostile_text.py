"""Names that attack whoever looks at them: through every command, every artifact, the logs and the pages."""

import csv
import json
import re
import unicodedata
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, LogFilter, LogFilterFlowRunId

from flows.cycle.pages import docs_folder, reports_folder
from tests.flows.workplace import ROOT, Command, Workplace

FORGED = "FORGED 2026-01-01 approved by admin"
EVIL = (
    f"\x1b]0;owned\x07\x1b[2J\x9b31mEv\u202elive\n{FORGED}\n# Approved ![b](http://evil.example/x.png) <img src=x> a|b"
)
"""Sets a title, clears the screen, turns the reading order, begins a line, and is live Markdown and HTML."""
PEOPLE = 30
LOOKS = (
    ("plan", "{job}", "--all", "--format", "markdown"),
    *(("plan", "{job}", "--all"), ("plan", "{job}", "--json"), ("status", "{job}"), ("status", "{job}", "--json")),
    *(("log", "{job}"), ("log", "{job}", "--format", "json"), ("log", "{job}", "--format", "csv")),
    *(("why", "{job}", "{who}"), ("why", "{job}", "{who}", "--json"), ("check", "{job}")),
    *(
        ("explain", "[surname]", "--job", "{job}", "--entry", "{who}"),
        ("explain", "--job", "{job}", "--entry", "{who}"),
    ),
    *(("explain", "[a]", "--attr", "a={evil}"), ("explain", "{evil}"), ("history", "{job}", "{who}")),
    *(
        ("history", "{job}", "{who}", "--json"),
        ("diff", "{job}", "1", "2", "--all"),
        ("diff", "{job}", "1", "2", "--json"),
    ),
    *(("on-demand", "{job}", "{who}", "--plan-only"), ("on-demand", "{job}", "{who}", "--plan-only", "--json")),
    *(("report", "{job}"), ("approve", "{job}", "--only", "{evil}"), ("pause", "{job}", "--why", "{evil}")),
    *(("status", "{job}"), ("run", "{job}"), ("resume", "{job}"), ("reject", "{job}", "--json", "--by", "{evil}")),
)
"""Every command that shows something of the data."""


@pytest.fixture
def hostile(workplace: Workplace, small_export: Path, plain_runs: None) -> Workplace:
    """Two days of such a company."""
    return _two_days(workplace, small_export)


@pytest.fixture
def hostile_in_prefect(workplace: Workplace, small_export: Path, prefect_api: str) -> Workplace:
    """The same, as runs in Prefect."""
    return _two_days(workplace, small_export)


def _two_days(workplace: Workplace, small_export: Path) -> Workplace:
    """A first day with names like this everywhere, and a second one on which most leave, and a guard holds them."""
    workplace.use(small_export)
    people = [row for row in workplace.rows() if row["status"] == "active" and row["employeeType"] != "contractor"]
    for number, row in enumerate(people[:PEOPLE]):
        row |= {"surname": f"{EVIL} {number}", "jobTitle": EVIL, "manager": ""}
    people[0]["userPrincipalName"] = people[0]["mail"] = f"{EVIL}@example.com"
    people[0]["employeeId"] = f"id-{EVIL}"
    workplace.write_rows(people[:PEOPLE])
    groups = workplace.export / "groups.csv"
    with groups.open(encoding="utf-8", newline="") as file:
        named = [row | {"name": f"{EVIL} {row['name']}"} for row in csv.DictReader(file)]
    with groups.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(named[0]))
        writer.writeheader()
        writer.writerows(named)
    workplace.document["limits"]["removals"] = {"count": 2, "fraction": 0.1, "minimum": 1}
    check = {"expect_column_values_to_not_match_regex": {"column": "surname", "regex": "Ev"}, "on_failure": "warn"}
    workplace.save(checks={"source.users": [check]})
    workplace.cycle()
    workplace.write_rows([row | {"jobTitle": f"{EVIL} chief"} for row in workplace.rows()[20:]])
    workplace.cycle()
    return workplace


def unseen(text: str) -> list[str]:
    """Characters that do something; line feeds are looked at by ``forged``, and tabs between cells are ours."""
    return [letter for letter in text if letter not in "\n\t" and does_something(letter)]


def does_something(letter: str) -> bool:
    """True for controls and for what turns the reading order."""
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(letter) in turning


def forged(text: str) -> list[str]:
    """Lines that the data has begun; a cell of a table that is folded stays in its column."""
    return [line for line in text.splitlines() if re.match(r" {0,3}[>#-]* ?(?:FORGED|Approved)", line)]


def test_no_command_lets_a_name_do_anything(hostile: Workplace, provisor: Command) -> None:
    """Nothing of a name reaches the terminal but what can be seen, and no line of the output is its own."""
    said = []
    who = hostile.rows()[0]["employeeId"]
    for words in LOOKS:
        call = [word.format(job=hostile.job, who=who, evil=EVIL) for word in words]
        found = provisor(*call)
        assert "Traceback" not in found.err, (words, found.err)
        for stream in (found.out, found.err):
            text = stream.replace("\r\n", "\n") if "csv" in words else stream
            assert (words, unseen(text), forged(text)) == (words, [], [])
        if "--json" in words:
            json.loads(found.out)
        said.append(found.out + found.err)
    assert sum(r"\x1b]0;owned" in text or r"\u001b]0;owned" in text for text in said) >= 12


def test_nothing_in_prefect_is_live(hostile_in_prefect: Workplace) -> None:
    """Logs, states, artifacts and their descriptions: no control, no forged line, no image, link, tag or heading."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(like_="hr-to-scim ·")))
        mine = {str(run.id): run for run in runs}
        lines = [
            line.message
            for run in runs
            for line in client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
        ]
        found = _artifacts(client, list(mine))
    pages = [one for one in found if one["type"] == "markdown"]
    assert any("Held back by guards" in one["data"] for one in pages)
    told = [
        one["data"] if isinstance(one["data"], str) else json.dumps(one["data"], ensure_ascii=False) for one in found
    ]
    told += [one["description"] or "" for one in found]
    for text in [*lines, *told, *(run.state.message or "" for run in runs if run.state is not None)]:
        assert unseen(text) == []
        assert forged(text) == []
    assert [line for line in lines if "\n" in line] == []
    live = re.compile(r"(?<!\\)(?:!\[|\]\(http|<img|https?://evil)")
    assert [one for one in found if one["type"] == "table" and live.findall(str(one["data"]))] == []
    for one in pages:
        shown = re.sub(r"!\[Changes per cycle\]\(data:image/svg\+xml;base64,[A-Za-z0-9+/=]+\)", "", one["data"])
        assert live.findall(shown + (one["description"] or "")) == []


def _artifacts(client: SyncPrefectClient, runs: list[str]) -> list[dict[str, str]]:
    answer = client.request("POST", "/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": runs}}})
    return list(answer.json())


def test_pages_hold_text(hostile: Workplace) -> None:
    """Reports and Data Docs: data is text, and what is not seen is spelled."""
    pages = [*reports_folder("hr-to-scim").glob("*.html"), *docs_folder("hr-to-scim").glob("*.html")]
    assert len(pages) >= 4
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert unseen(text) == []
        assert "<img src=x" not in text
        assert forged(text) == []


def test_everything_is_shown_in_one_place() -> None:
    """Standard output is written to by the modules that make things printable, and by nobody else."""
    allowed = {
        "flows/cli/answering.py": "say, complain, and the one JSON document",
        "flows/show/json_out.py": "JSON in parts",
        "flows/show/console.py": "what people see",
        "flows/cli/looking.py": "CSV, whose cells are printable",
        "flows/cli/entra_import/command.py": "a job file",
        "flows/cli/warm_process.py": "opens the stream for the command that it forks, and writes nothing",
        "flows/serve/warm.py": "empties the stream before it hands it over",
    }
    found = {
        str(path.relative_to(ROOT))
        for folder in ("flows", "tasks", "connectors")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(
            r"(?<![\w.])print\(|sys\.stdout(?!\.(?:isatty|flush))|\.file\.write\(", path.read_text(encoding="utf-8")
        )
    }
    assert found == set(allowed)
