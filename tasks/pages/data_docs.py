"""Data Docs: what came of the data checks, cycle by cycle, as pages that need no network."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from tasks.expectations import CheckResult
from tasks.ledger import Cycle, CycleState
from tasks.pages.layout import forget_all_but, keep_page, numbered, render
from tasks.pages.run_report import STATES

KEPT = 100
"""Cycles of a job whose results are kept."""
_NAMED = 200
"""Keys of failing rows that are kept for each check."""
_SHOWN = 30
"""Cycles whose results stand beside a check."""


@dataclass(frozen=True, slots=True)
class Line:
    """One check on a page."""

    result: CheckResult
    history: Sequence[tuple[int, bool]]
    """Number of a cycle and whether the check held, the oldest first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One cycle of the index."""

    number: int
    began: datetime
    kind: str
    state: tuple[str, str]
    checks: int
    failed: int
    stopped: bool


def keep_data_docs(
    folder: Path, cycle: Cycle, state: CycleState, results: Sequence[CheckResult], *, report: str
) -> Path:
    """Writes the page and the results of a cycle, and the index anew; gives the page's path. Raises: OSError.

    ``report``: address of the run's report.
    """
    found = [replace(one, keys=one.keys[:_NAMED]) for one in results]
    about = {"cycle": cycle.number, "kind": str(cycle.kind), "state": str(state), "began": cycle.began.isoformat()}
    document = {"meta": {"job": cycle.job, **about}, "success": all(one.success for one in found)}
    document["results"] = [one.as_json() for one in found]
    keep_page(folder, f"{cycle.number}.json", orjson.dumps(document, default=str).decode())
    path = keep_page(folder, f"{cycle.number}.html", _page(cycle, state, found, _read(folder), report))
    forget_all_but(folder, KEPT)
    known = _read(folder)
    entries = [_entry(number, one) for number, one in reversed(known.items())]
    keep_page(folder, "index.html", render("docs_index.html.j2", job=cycle.job, entries=entries))
    return path


def _page(
    cycle: Cycle, state: CycleState, results: Sequence[CheckResult], known: Mapping[int, Any], report: str
) -> str:
    earlier = {number: _successes(one) for number, one in list(known.items())[-_SHOWN:]}
    frames: dict[str, list[Line]] = {}
    for result in sorted(results, key=lambda one: one.success):
        name = _identity(result.as_json())
        history = [(number, found[name]) for number, found in earlier.items() if name in found]
        frames.setdefault(str(result.frame), []).append(Line(result, history))
    return render(
        "docs_cycle.html.j2",
        cycle=cycle,
        state=STATES[state],
        frames=dict(sorted(frames.items())),
        checks=len(results),
        failed=sum(not one.success for one in results),
        report=report,
        named=50,
    )


def _read(folder: Path) -> dict[int, Any]:
    """The results that are kept, by number of the cycle, the oldest first; what cannot be read is left out."""
    found = {}
    for number, path in numbered(folder, ".json").items():
        try:
            found[number] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
    return found


def _identity(result: Mapping[str, Any]) -> str:
    """The same text for the same check in another cycle."""
    config = result["expectation_config"]
    meta = config["meta"]
    about = {"column": config["kwargs"].get("column")} if "builtin" in meta else config["kwargs"]
    return json.dumps([meta["frame"], config["type"], about], sort_keys=True, default=str)


def _successes(document: Mapping[str, Any]) -> dict[str, bool]:
    results: Iterable[Mapping[str, Any]] = document["results"]
    return {_identity(one): bool(one["success"]) for one in results}


def _entry(number: int, document: Mapping[str, Any]) -> Entry:
    meta, results = document["meta"], document["results"]
    failed = [one for one in results if not one["success"]]
    return Entry(
        number=number,
        began=datetime.fromisoformat(meta["began"]),
        kind=meta["kind"],
        state=STATES[CycleState(meta["state"])],
        checks=len(results),
        failed=len(failed),
        stopped=any(one["expectation_config"]["meta"]["on_failure"] == "stop" for one in failed),
    )
