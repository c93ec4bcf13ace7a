"""Files as a target: an app's import drop, kept as the whole state, and written as changes where the app wants those.

Each load writes whole files beside the old ones and puts them in their place, so that a reader sees the old state or
the new one and never a half (``connectors.csv.drop_files``). A file that is not there yet begins with the columns that
the job names.
"""

import json
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from connectors.columns import EdgeColumns, SwitchColumn, demand_both
from connectors.contract import Action, Attribute, Change, Family, Kind, Reach, Sameness, Write
from connectors.csv.drop_files import Entry, locked, mark_of, read_rows, replace_file, write_rows
from connectors.errors import ErrorCode, RetryableError, SettingsError
from connectors.kit.system import (
    ENTRY,
    KEY,
    MEMBERS,
    Asked,
    Done,
    Edge,
    Effect,
    Held,
    Known,
    Limits,
    Look,
    Opening,
    Page,
    Partly,
    Refused,
    Sought,
    Step,
    Switch,
    System,
    Verdict,
    table,
)
from connectors.kit.values import text_key
from connectors.kit.wires import BlockingWire
from connectors.rows import nearest, text_of
from connectors.settings import Name, Settings

PACK = 10_000
"""Changes that are written at once."""
FORMATS = (".csv", ".jsonl", ".json", ".parquet")
TRIES = 5
"""How often a load begins again because somebody else has written the files meanwhile."""


class EntryDrop(Settings):
    """A file with one entry per row."""

    path: Path
    """The file: .csv, .jsonl, .json or .parquet, in a folder that is there."""
    key: Name
    """Column that identifies an entry for ever; a mapping gives it when the entry is created."""
    columns: tuple[Name, ...] = ()
    """Columns of a file that is not there yet."""

    @model_validator(mode="after")
    def _known_format(self) -> Self:
        if self.path.suffix not in FORMATS:
            raise ValueError(f"{self.path.name} must end with {', '.join(FORMATS)}")
        return self


class PersonDrop(EntryDrop):
    """A file with one person per row."""

    enabled: SwitchColumn | None = None
    """Column that disables an account. Without it, accounts cannot be disabled."""


class EdgeDrop(EdgeColumns):
    """A file with one membership per row."""

    path: Path
    """The file, as for entries."""


class FileTargetSettings(Settings):
    """The files of an app."""

    users: PersonDrop
    """One person per row."""
    groups: EntryDrop | None = None
    """One group per row."""
    members: EdgeDrop | None = None
    """One membership per row."""
    changes: Path | None = None
    """Folder for change files: one JSON Lines file per load, never modified afterwards."""

    @model_validator(mode="after")
    def _members_need_groups(self) -> Self:
        demand_both(self.groups, self.members)
        return self

    def place(self, *, folder: Path) -> str:
        """The file of the people: links are followed."""
        return str((folder / self.users.path).resolve())

    def drop(self, kind: Kind) -> EntryDrop | None:
        """The section of one kind."""
        return self.users if kind is Kind.USER else self.groups


# Files


@dataclass(slots=True)
class State:
    """Everything that the files hold."""

    entries: dict[Kind, dict[str, Entry]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    columns: dict[Kind, list[str]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    found: dict[Kind | None, list[dict[str, Any]]] = field(default_factory=dict)
    """Rows as they stand in the files, by kind, memberships under None: what nobody changes stays as it is."""
    keys: dict[Kind, list[str]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    """Keys of the rows of entries in the order of the files."""
    edges: dict[tuple[str, str], tuple[Entry, dict[str, Any] | None]] = field(default_factory=dict)
    """Each with its row as text, and as it stands in the file; None for a new one."""
    edge_columns: list[str] = field(default_factory=list)
    odd: list[tuple[Entry, dict[str, Any] | None]] = field(default_factory=list)
    """Rows of memberships without a group or a member."""


class Drop(BlockingWire):
    """The wire to the files: one request is one state that is put in the place of the one before."""

    def __init__(self, settings: FileTargetSettings, opening: Opening) -> None:
        super().__init__(self._write, pace=opening.pace, clock=opening.clock)
        self.address = settings.users.path.name
        self._settings, self._folder = settings, opening.folder
        self._lock = threading.Lock()

    def read(self) -> State:
        """The files as they are now. Raises: SettingsError."""
        state, settings = State(), self._settings
        for kind in Kind:
            drop = settings.drop(kind)
            if drop is None:
                continue
            names, rows, state.found[kind] = read_rows(self._folder / drop.path, drop.columns)
            if drop.key not in names:
                near = nearest(drop.key, names)
                hint = f"Did you mean {near!r}?" if near else "Name its columns: a file that is not there yet has none."
                raise SettingsError(f"{drop.path} has no column {drop.key!r}. {hint}")
            state.columns[kind] = names
            for row in rows:
                key = row.get(drop.key)
                if key is None or key in state.entries[kind]:
                    raise SettingsError(f"{drop.path} has a row without {drop.key}, or two with the same; correct it.")
                state.entries[kind][key] = row
            state.keys[kind] = list(state.entries[kind])
        if settings.members is not None:
            self._read_members(state, settings.members)
        return state

    def _read_members(self, state: State, section: EdgeDrop) -> None:
        path = self._folder / section.path
        state.edge_columns, rows, state.found[None] = read_rows(path, (section.group, section.member))
        for row, before in zip(rows, state.found[None], strict=True):
            group, member = row.get(section.group), row.get(section.member)
            if group is None or member is None:
                state.odd.append((row, before))
            else:
                state.edges[group, member] = (row, before)

    def _write(self, steps: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Carries out steps on the state and writes it.

        One process writes at a time, and none on top of what it has not read. Raises: SettingsError where it cannot be
        written, RetryableError where somebody else keeps writing.
        """
        with self._lock, locked((self._folder / self._settings.users.path).parent):
            for _ in range(TRIES):
                seen = self._marks()
                state = self.read()
                answers = [_carry_out(self._settings, state, step) for step in steps]
                done = [step for step, answer in zip(steps, answers, strict=True) if answer[0] in ("made", "done")]
                if self._marks() != seen:
                    continue
                try:
                    if done and self._settings.changes is not None:
                        self._tell_changes(self._folder / self._settings.changes, done)
                    self._put(state, {(step[0], step[1]) for step in done})
                except OSError as error:
                    raise SettingsError(f"The files cannot be written: {error.strerror}.") from error
                return answers
            raise RetryableError(f"Somebody else writes {self.address} again and again; nothing was written.")

    def _marks(self) -> list[Any]:
        settings = self._settings
        sections = (settings.users, settings.groups, settings.members)
        return [mark_of(self._folder / one.path) for one in sections if one is not None]

    def _put(self, state: State, done: set[tuple[str, Any]]) -> None:
        settings, touched = self._settings, {about for _, about in done}
        for kind in Kind:
            drop = settings.drop(kind)
            if drop is not None and kind in touched:
                before = {str(key): row for key, row in zip(state.keys[kind], state.found[kind], strict=True)}
                rows = [(entry, before.get(key)) for key, entry in state.entries[kind].items()]
                write_rows(self._folder / drop.path, state.columns[kind], rows, like=state.found[kind])
        if settings.members is not None and ("members" in touched or any(verb == "delete" for verb, _ in done)):
            edges = [*state.edges.values(), *state.odd]
            write_rows(self._folder / settings.members.path, state.edge_columns, edges, like=state.found[None])

    @staticmethod
    def _tell_changes(folder: Path, done: Sequence[tuple[Any, ...]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        last = max((int(path.stem) for path in folder.glob("*.jsonl") if path.stem.isdigit()), default=0)
        rows = [{"action": step[0], "kind": str(step[1]), "key": step[2], "values": step[3]} for step in done]
        replace_file(folder / f"{last + 1:06d}.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def _carry_out(settings: FileTargetSettings, state: State, step: tuple[Any, ...]) -> tuple[Any, ...]:
    verb, kind, key, values = step
    if verb in ("join", "leave"):
        return _fill(settings, state, verb, key, values)
    drop = settings.drop(kind)
    assert drop is not None
    entries = state.entries[kind]
    if verb == "delete":
        if entries.pop(key, None) is None:
            return ("gone",)
        side = 0 if kind is Kind.GROUP else 1
        state.edges = {edge: row for edge, row in state.edges.items() if key != edge[side]}
        return ("done",)
    if verb == "create":
        key = values.get(drop.key)
        if key is None:
            return ("no key", drop.key)
        if key in entries:
            return ("taken", drop.key)
        entries[key] = {**dict.fromkeys(state.columns[kind]), **values}
        return ("made", key)
    if key not in entries:
        return ("gone",)
    entries[key] = {**entries[key], **values}
    return ("done",)


def _fill(settings: FileTargetSettings, state: State, verb: str, group: str, members: Sequence[str]) -> tuple[Any, ...]:
    section = settings.members
    assert section is not None
    if group not in state.entries[Kind.GROUP]:
        return ("gone",)
    unknown = [member for member in members if verb == "join" and member not in state.entries[Kind.USER]]
    for member in members:
        if verb == "leave":
            state.edges.pop((group, member), None)
        elif member not in unknown:
            state.edges.setdefault((group, member), ({section.group: group, section.member: member}, None))
    return ("done", unknown)


# The system


async def traits(wire: Drop, settings: FileTargetSettings) -> Known:
    """Columns are the attributes, all of them text."""
    state: State = await wire.run(wire.read)
    switch = None
    if (enabled := settings.users.enabled) is not None:
        on, off = (None if word is None else text_of(word) for word in (enabled.on, enabled.off))
        switch = Switch.words(enabled.column, on=on, off=off)
    known: dict[Kind, dict[str, Attribute]] = {}
    for kind in Kind:
        drop = settings.drop(kind)
        known[kind] = table(
            *(
                Attribute(
                    name,
                    same=Sameness.EXACT,
                    unique=Reach.SYSTEM if drop is not None and name == drop.key else None,
                    required=drop is not None and name == drop.key,
                    write=Write.ON_CREATE if drop is not None and name == drop.key else Write.ALWAYS,
                )
                for name in state.columns[kind]
            )
        )
    return Known(
        users=known[Kind.USER],
        groups=known[Kind.GROUP],
        switch=switch,
        families=(Family("group", per_call=10_000),) if settings.groups is not None else (),
        limits=Limits(find=10_000, fetch=10_000, page=100_000, pack=PACK, settles_in_s=0.0),
        settings=settings,
    )


async def check(wire: Drop, known: Known) -> str:
    """Reads the files."""
    state: State = await wire.run(wire.read)
    return f"The files can be read: {len(state.entries[Kind.USER]):,} people in {wire.address}."


async def pages(wire: Drop, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Everything at once: a file is one moment."""
    state: State = await wire.run(wire.read)
    entries = state.entries[asked.kind]
    edges = [Edge(*edge) for edge in state.edges] if asked.members else []
    yield Page([{KEY: key, **entry} for key, entry in entries.items()], total=len(entries), edges=edges)


async def look(wire: Drop, known: Known, sought: Sought) -> Page:
    """Rows by key or by value."""
    state: State = await wire.run(wire.read)
    same = Sameness.EXACT if sought.path == KEY else known.attribute(sought.kind, sought.path).same
    wanted = {text_key(same, str(value)) for value in sought.values}
    rows = []
    for key, entry in state.entries[sought.kind].items():
        held = key if sought.path == KEY else entry.get(sought.path)
        if held is not None and text_key(same, held) in wanted:
            rows.append({KEY: key, **entry})
    keys = {row[KEY] for row in rows}
    edges = [Edge(*edge) for edge in state.edges if edge[0] in keys] if sought.kind is Kind.GROUP else []
    return Page(rows, edges=edges)


def steps(known: Known, change: Change, held: Held | None) -> list[Step] | Done | Refused:
    """One step for each change; its request is a row of data."""
    kind, key, values = change.kind, change.target_id, dict(change.attributes)
    match change.action:
        case Action.CREATE:
            values = {path: value for path, value in values.items() if value is not None}
            return [Step(("create", kind, None, values), {ENTRY}, Effect.ONCE, lane="write")]
        case Action.DELETE:
            return [Step(("delete", kind, key, {}), {ENTRY}, lane="write")]
        case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
            verb = "join" if change.joins else "leave"
            return [Step((verb, "members", key, list(change.members)), {MEMBERS}, lane="write")]
        case _:
            return [Step(("update", kind, key, values), set(values), lane="write")]


def verdict(known: Known, step: Step, answer: Any) -> Verdict:
    """What came of one step."""
    match answer:
        case ("made", key):
            return Done(key)
        case ("done", [*unknown]) if unknown:
            return Partly({one: Refused(ErrorCode.INVALID_ANCHOR, one, "The user is not there.") for one in unknown})
        case ("done", *_):
            return Done()
        case ("taken", path):
            return Refused(ErrorCode.CONFLICT, path, "Another row has this key.")
        case ("no key", path):
            return Refused(ErrorCode.MISSING_VALUES, path, "A new row needs a key: map this column.")
        case ("gone",) if step.request[0] == "delete":
            return Look("The row is not there.")
        case _:
            return Refused(ErrorCode.INVALID_ANCHOR, text="The row is not there.")


SYSTEM = System(
    name="csv",
    settings=FileTargetSettings,
    open=Drop,
    traits=traits,
    check=check,
    pages=pages,
    look=look,
    steps=steps,
    verdict=verdict,
    pack=lambda known, together: [step.request for step in together],
    unpack=lambda known, together, answer: list(answer),
    in_flight=1,
)
