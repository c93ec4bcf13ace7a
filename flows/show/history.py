"""What jobs wanted, cycle by cycle: ``provisor diff`` and ``provisor history``. Only what is kept here is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd
from rich.markup import escape

from connectors.contract import Kind, Value
from connectors.errors import ProvisorError
from flows.cycle.home import home
from flows.show.console import Terminal
from flows.show.log import record_of, why
from flows.show.plan import shown
from tasks.history import LABEL, DesiredState, Difference, History, Kept, KindDifference, compare, plain
from tasks.ledger import REDACTED, Ledger, LogLine
from tasks.plan.blocks import STANDING

_SPOKEN = {STANDING: "standing"}


class HistoryError(ProvisorError):
    """What was asked for is not kept, or there never was such a thing."""


def history_of(job: str) -> History:
    """What is kept of a job's desired states."""
    return History(home() / "snapshots" / job / "desired")


# --- two cycles ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compared:
    """Two cycles of a job, and what was wanted otherwise in the second one."""

    job: str
    cycles: tuple[int, int]
    kept: tuple[Kept, Kept]
    """What is kept of them; the same where both wanted the same."""
    difference: Difference

    def as_json(self) -> dict[str, Any]:
        """Plain values for machines."""
        sides = {
            side: {"cycle": cycle, "state_of_cycle": kept.cycle, "began": kept.began.isoformat()}
            for side, cycle, kept in zip(("from", "to"), self.cycles, self.kept, strict=True)
        }
        kinds = {f"{kind}s": _kind_json(one, self.kept) for kind, one in self.difference.entries.items()}
        members = {"added": _edges(self.difference.added), "removed": _edges(self.difference.removed)}
        return {"job": self.job, **sides, "counts": self.counts, **kinds, "memberships": members}

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How much of what."""
        found = {
            f"{kind}s": {
                "joined": len(one.joined),
                "left": len(one.left),
                "changed": int(one.changed["anchor"].nunique()),
            }
            for kind, one in self.difference.entries.items()
        }
        members = {"added": len(self.difference.added), "removed": len(self.difference.removed)}
        return {**found, "memberships": members}


def diff_cycles(job: str, first: int, second: int) -> Compared:
    """What changed between what two cycles wanted. Raises: HistoryError."""
    history = history_of(job)
    kept = _covering(history, job, first), _covering(history, job, second)
    if kept[0] == kept[1]:
        nothing = _content(history, kept[0], job)
        return Compared(job, (first, second), kept, compare(nothing, nothing))
    difference = compare(_content(history, kept[0], job), _content(history, kept[1], job))
    return Compared(job, (first, second), kept, difference)


def _covering(history: History, job: str, cycle: int) -> Kept:
    found = history.covering(cycle)
    if found is None:
        raise HistoryError(f"What cycle {cycle} of {job} wanted is not kept; there is {_there(history)}.")
    return found


def _there(history: History) -> str:
    ranges = [str(one.cycle) if one.cycle == one.until else f"{one.cycle} to {one.until}" for one in history.kept]
    return f"what the cycles {', '.join(ranges)} wanted" if ranges else "nothing yet: each finished cycle stores it"


def _content(history: History, kept: Kept, job: str) -> DesiredState:
    state = history.read(kept)
    if state is None:
        raise HistoryError(f"What cycle {kept.cycle} of {job} wanted cannot be read: its files are damaged.")
    return state


def _kind_json(one: KindDifference, kept: Sequence[Kept]) -> dict[str, Any]:
    hidden = {path for side in kept for paths in side.redacted.values() for path in paths}
    changed: dict[str, dict[str, Any]] = {}
    for anchor, label, name, old, new, redacted in _rows(one.changed):
        entry = changed.setdefault(anchor, {"anchor": anchor, "label": label, "attributes": []})
        values = {"redacted": True} if redacted else {"old": old, "new": new}
        entry["attributes"].append({"name": name, **values})
    return {
        "joined": list(_entries(one.joined, hidden)),
        "left": list(_entries(one.left, hidden)),
        "changed": list(changed.values()),
        "newly_mapped": list(one.mapped),
        "no_longer_mapped": list(one.unmapped),
    }


def _rows(changed: pd.DataFrame) -> Iterator[tuple[str, str, str, Value, Value, bool]]:
    columns = (changed[name].tolist() for name in ("anchor", "label", "attribute", "old", "new", "hidden"))
    for anchor, label, name, old, new, hidden in zip(*columns, strict=True):
        yield anchor, label, _SPOKEN.get(name, name), old, new, hidden


def _entries(frame: pd.DataFrame, hidden: set[str]) -> Iterator[dict[str, Any]]:
    paths = [path for path in frame.columns if path not in (LABEL, STANDING)]
    columns = [frame[path].tolist() for path in paths]
    for row, (anchor, label, standing) in enumerate(zip(frame.index, frame[LABEL], frame[STANDING], strict=True)):
        cells = {path: plain(column[row]) for path, column in zip(paths, columns, strict=True)}
        values = {path: REDACTED if path in hidden else value for path, value in cells.items() if value is not None}
        yield {"anchor": anchor, "label": label, "standing": standing, "attributes": values}


def _edges(frame: pd.DataFrame) -> list[dict[str, str]]:
    pairs = zip(frame["group"].tolist(), frame["member"].tolist(), strict=True)
    return [{"group": group, "member": member} for group, member in pairs]


def show_diff(out: Terminal, found: Compared, *, limit: int | None) -> None:
    """Who joined, left and changed, at most ``limit`` of each (None: all of them), counts last."""
    first, second = found.cycles
    out.print(f"[bold]{escape(found.job)}[/]: from cycle {first} to cycle {second}")
    for kind, one in found.difference.entries.items():
        _show_entries(out, "[green]+ joined[/]", kind, one.joined, limit)
        _show_entries(out, "[red]- left[/]", kind, one.left, limit)
        _show_changed(out, kind, one.changed, limit)
        for paths, verb in ((one.mapped, "newly mapped"), (one.unmapped, "no longer mapped")):
            if paths:
                out.print(f"  [yellow]![/] {verb} for {kind}s: {escape(', '.join(paths))}")
    for frame, sign in ((found.difference.added, "[green]+ member[/]"), (found.difference.removed, "[red]- member[/]")):
        for edge in _edges(frame if limit is None else frame.head(limit)):
            out.print(f"  {sign} {escape(edge['member'])} of {escape(edge['group'])}")
        _say_more(out, len(frame), limit)
    parts = [
        f"{count:,} {what} {name}" if name == "memberships" else f"{count:,} {name} {what}"
        for name, counts in found.counts.items()
        for what, count in counts.items()
        if count
    ]
    out.print(f"[bold]{', '.join(parts) or 'Nothing was wanted otherwise'}.[/]")


def _show_entries(out: Terminal, sign: str, kind: Kind, frame: pd.DataFrame, limit: int | None) -> None:
    head = frame if limit is None else frame.head(limit)
    for anchor, label, standing in zip(head.index, head[LABEL], head[STANDING], strict=True):
        out.print(f"  {sign} {kind} {_named(label, anchor)} [dim]· {standing}[/]")
    _say_more(out, len(frame), limit)


def _show_changed(out: Terminal, kind: Kind, changed: pd.DataFrame, limit: int | None) -> None:
    anchors = changed["anchor"].drop_duplicates()
    head = changed if limit is None else changed[changed["anchor"].isin(anchors.head(limit))]
    last = ""
    for anchor, label, name, old, new, hidden in _rows(head):
        if anchor != last:
            out.print(f"  [yellow]~ changed[/] {kind} {_named(label, anchor)}")
            last = anchor
        out.print(f"      {_change(name, old, new, hidden=hidden)}")
    _say_more(out, len(anchors), limit)


def _change(name: str, old: Value, new: Value, *, hidden: bool) -> str:
    values = "(redacted) changed" if hidden else f"[red]{shown(old)}[/] → [green]{shown(new)}[/]"
    return f"{escape(name)}  {values}"


def _named(label: str, anchor: str) -> str:
    return f"{escape(label)} [dim]({escape(anchor)})[/]" if label and label != anchor else escape(anchor)


def _say_more(out: Terminal, count: int, limit: int | None) -> None:
    if limit is not None and count > limit:
        out.print(f"    [dim]… and {count - limit:,} more of these[/]")


# --- one entry through time ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to an entry: what it should be changed, or something was done about it."""

    time: datetime
    cycle: int | None
    what: str
    """joined, changed, left, known (of the oldest state that is kept), or an action of the log."""
    status: str = ""
    """Of the log; empty where it is about the desired state."""
    detail: str = ""
    attributes: Sequence[dict[str, Any]] = ()
    """``{name, old, new}`` each, or ``{name, redacted}``."""
    groups: Sequence[dict[str, str]] = ()
    """Memberships that came or went: ``{change, group, member}``."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for machines."""
        return {
            "time": self.time.isoformat(),
            "cycle": self.cycle,
            "about": "log" if self.status else "desired state",
            "what": self.what,
            "status": self.status or None,
            "detail": self.detail or None,
            "attributes": list(self.attributes),
            "memberships": list(self.groups),
        }


@dataclass(slots=True)
class Life:
    """One entry through time."""

    job: str
    kind: Kind
    anchor: str
    label: str
    events: list[Event] = field(default_factory=list)
    """The oldest first."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for machines."""
        entry = {"kind": str(self.kind), "anchor": self.anchor, "label": self.label}
        return {"job": self.job, "entry": entry, "events": [event.as_json() for event in self.events]}


def life_of(ledger: Ledger, job: str, identity: str) -> Life:
    """Everything that is known of an entry, by its anchor, target id, or name. Raises: HistoryError."""
    history = history_of(job)
    kind, anchor = _meant(ledger, history, job, identity)
    lines = [
        line
        for chunk in ledger.log_chunks(job, identity=anchor)
        for line in chunk
        if line.anchor == anchor and line.kind == kind
    ]
    wanted = list(_wanted(history, kind, anchor))
    label = next((line.label for line in lines if line.label), "") or _label_in(history, kind, anchor) or anchor
    done = [_logged(line) for line in reversed(lines)]
    # What was wanted stands before what was done about it: a cycle begins before it writes its first line.
    return Life(job, kind, anchor, label, sorted([*wanted, *done], key=lambda event: event.time))


def _meant(ledger: Ledger, history: History, job: str, identity: str) -> tuple[Kind, str]:
    found = set(history.find(identity))
    for anchor in ledger.identities(job, identity):
        found |= {(kind, anchor) for kind in Kind if ledger.link(job, kind, anchor) is not None}
        lines = (line for chunk in ledger.log_chunks(job, identity=anchor, limit=50) for line in chunk)
        found |= {(Kind(line.kind), anchor) for line in lines if line.anchor == anchor}
    exact = {one for one in found if one[1] == identity}
    candidates = sorted(exact or found, key=lambda one: (list(Kind).index(one[0]), one[1]))
    if not candidates:
        raise HistoryError(f"{job} knows nobody called {identity}: give an anchor, an id in the target, or a name.")
    if len({anchor for _, anchor in candidates}) > 1:
        names = ", ".join(f"{kind} {anchor}" for kind, anchor in candidates[:10])
        raise HistoryError(f"{len(candidates)} entries match {identity}: {names}. Give the anchor of one.")
    return candidates[0]


def _label_in(history: History, kind: Kind, anchor: str) -> str:
    for kept in reversed(history.kept):
        state = history.read_entry(kept, kind, anchor)
        if state is not None and kind in state.entries and len(state.entries[kind]):
            return str(state.entries[kind][LABEL].iloc[0])
    return ""


def _wanted(history: History, kind: Kind, anchor: str) -> Iterator[Event]:
    """What the entry should have been, state by state, where that changed."""
    before: DesiredState | None = None
    for kept in history.kept:
        state = history.read_entry(kept, kind, anchor)
        if state is None:
            continue
        first = before is None
        if before is None:
            nothing = {one: frame.iloc[:0] for one, frame in state.entries.items()}
            before = DesiredState(nothing, state.members.iloc[:0], state.redacted)
        yield from _step(compare(before, state), kind, kept, first=first)
        before = state


def _step(difference: Difference, kind: Kind, kept: Kept, *, first: bool) -> Iterator[Event]:
    one = difference.entries.get(kind)
    edges = [
        {"change": change, **edge}
        for change, frame in (("added", difference.added), ("removed", difference.removed))
        for edge in _edges(frame)
    ]
    hidden = {path for paths in kept.redacted.values() for path in paths}
    what, detail, attributes = "changed", "", []
    if one is not None and len(one.joined):
        (entry,) = _entries(one.joined, hidden)
        what, detail = "known" if first else "joined", entry["standing"]
        attributes = [{"name": name, "old": None, "new": value} for name, value in entry["attributes"].items()]
    elif one is not None and len(one.left):
        what, detail = "left", "no longer in scope, or gone from the source"
    elif one is not None:
        attributes = [
            {"name": name, "redacted": True} if redacted else {"name": name, "old": old, "new": new}
            for _, _, name, old, new, redacted in _rows(one.changed)
        ]
    if what != "changed" or attributes or edges:
        yield Event(kept.began, kept.cycle, what, detail=detail, attributes=attributes, groups=edges)


def _logged(line: LogLine) -> Event:
    attributes = record_of(line)["modified"] or []
    return Event(line.time, line.cycle, line.action, line.status, why(line), attributes)


def show_life(out: Terminal, life: Life) -> None:
    """One timeline, the oldest first."""
    out.print(f"[bold]{escape(life.job)}[/]: {life.kind} {_named(life.label, life.anchor)}")
    if not life.events:
        out.print("Nothing is recorded about it any more.")
    colours = {"success": "green", "failure": "red", "skipped": "yellow", "warning": "yellow"}
    for event in life.events:
        cycle = "" if event.cycle is None else f"cycle {event.cycle}"
        colour = colours.get(event.status, "cyan")
        mark = escape(event.status) if event.status else "wanted"
        detail = f" [dim]· {escape(event.detail)}[/]" if event.detail else ""
        out.print(f"{event.time:%Y-%m-%d %H:%M:%S}  {cycle:<10} [{colour}]{mark:<8}[/] {escape(event.what)}{detail}")
        for one in event.attributes if event.what != "create" else ():
            hidden = bool(one.get("redacted"))
            out.print(f"      {_change(one['name'], one.get('old'), one.get('new'), hidden=hidden)}")
        for edge in event.groups:
            sign = "[green]+[/]" if edge["change"] == "added" else "[red]-[/]"
            out.print(f"      {sign} {escape(edge['member'])} in {escape(edge['group'])}")
