"""Works out what takes a finished cycle back: the inverse of its lines in the provisioning log, a plan like any other.

Disabled accounts are enabled and enabled ones disabled, attributes get their old values, members go and come back;
accounts that were created are disabled, or deleted if asked; deleted ones are created again if asked, from what the log
kept of them. Every account is looked at first, by its id. Where it is not as the cycle left it, somebody has changed it
since: then the undo is refused, or leaves the entry alone if asked.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from connectors.contract import Action, Kind, Snapshot, Value, no_entries, no_members
from connectors.errors import ErrorCode, ProvisorError
from flows.cycle.preview import Decision, judge
from flows.cycle.sight import Sight
from flows.cycle.systems import Systems, recall
from tasks.effects import to_look_at
from tasks.elsewhere import refuse_elsewhere
from tasks.extract import Facts, needs_of, survey
from tasks.job import Job
from tasks.knowledge import look_at
from tasks.ledger import REDACTED, Cycle, CycleState, Ledger, LinkState, LogStatus
from tasks.lost import judge_attempts, settle_attempts
from tasks.mapping import Held, redacted_paths, referenced_paths
from tasks.plan import Block, Cause, EntryPlan, Plan, Wave
from tasks.plan.blocks import Later
from tasks.plan.compare import canonical
from tasks.plan.people import People
from tasks.plan.references import order_creates, unowned_id

NAMED = 20
"""Entries that a refusal names."""

A_DAY = timedelta(days=1)
"""How far a clock may go back while a cycle runs."""

_UNFINISHED = (CycleState.RUNNING, CycleState.CRASHED)


class UndoRefusedError(ProvisorError):
    """A cycle cannot be taken back as it was asked for; nothing was written."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person wants of an undo besides the usual."""

    recreate: bool = False
    """Deleted accounts are created again."""
    delete_created: bool = False
    """Created accounts are deleted, not disabled."""
    leave_alone: bool = False
    """What cannot be taken back is left alone, instead of refusing everything."""


@dataclass(slots=True)
class Deed:
    """Everything that a cycle did to one entry."""

    kind: Kind
    anchor: str
    target_id: str
    label: str = ""
    actions: set[Action] = field(default_factory=set)
    old: dict[str, Value] = field(default_factory=dict)
    new: dict[str, Value] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    """Ids of members."""
    removed: list[str] = field(default_factory=list)

    def note(self, action: Action, modified: Iterable[Mapping[str, Any]]) -> None:
        """Adds a line of the log, later than those before."""
        self.actions.add(action)
        for one in modified:
            if action is Action.ADD_MEMBERS:
                self.added += one["new"]
            elif action is Action.REMOVE_MEMBERS:
                self.removed += one["old"]
            else:
                self.old.setdefault(one["name"], one["old"])
                self.new[one["name"]] = one["new"]


@dataclass(slots=True)
class Step:
    """One change that takes something back."""

    wave: Wave
    action: Action
    deed: Deed
    after: dict[str, Value] = field(default_factory=dict)
    before: dict[str, Value] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    """Ids of members."""
    state: LinkState = LinkState.ACTIVE


def deeds_of(ledger: Ledger, cycle: Cycle) -> list[Deed]:
    """What a cycle did, by the provisioning log, in order of kinds and anchors.

    That a later cycle read back what came of a change makes it no deed of that one. What was done in part counts as far
    as it was done; an orphan belongs to no entry.
    """
    lines = ledger.log(cycle.job, sent_by=cycle.id, since=cycle.began - A_DAY, limit=None)
    partly = (lines["status"] == LogStatus.WARNING) & (lines["code"] != ErrorCode.DUPLICATE_TARGET_ENTRIES)
    done = (lines["status"] == LogStatus.SUCCESS) | partly
    deeds: dict[tuple[Kind, str], Deed] = {}
    lines = lines.loc[done.to_numpy(dtype=bool)].iloc[::-1]
    columns = (lines[name] for name in ("kind", "anchor", "target_id", "label", "action", "modified"))
    for kind, anchor, target_id, label, action, modified in zip(*columns, strict=True):
        deed = deeds.setdefault((Kind(kind), anchor), Deed(Kind(kind), anchor, target_id, label))
        deed.note(Action(action), modified or ())
    return [deeds[key] for key in sorted(deeds)]


def decide_undo(job: Job, systems: Systems, ledger: Ledger, number: int, wishes: Wishes, *, now: datetime) -> Decision:
    """What takes a cycle of the job back, judged by the guards. Writes nothing.

    Raises: FatalError, UndoRefusedError.
    """
    cycle = _finished(ledger, job, number)
    deeds = deeds_of(ledger, cycle)
    if not deeds:
        raise UndoRefusedError(f"Cycle {number} of {job.name} changed nothing in the target: there is nothing to undo.")
    facts = survey(systems.source, systems.target)
    groups = ledger.anchors(job.name, Kind.GROUP, [id_ for deed in deeds for id_ in deed.removed])
    recalled = recall(ledger, job, now)
    current = _look(job, systems, facts, _ids(deeds, groups), recalled.recent)
    refuse_elsewhere(job, recalled.links.links, current, before=recalled.target)
    undo = _Undo(job, ledger, facts, current, wishes, recalled.links.elsewhere)
    for deed in sorted(deeds, key=lambda deed: Action.DELETE not in deed.actions):  # groups ask who comes back
        undo.take_back(deed)
    if undo.refused and not wishes.leave_alone:
        raise UndoRefusedError(_refusal(number, job.name, undo.refused))
    plan = undo.plan(cycle, now)
    history = replace(recalled.history, source_counts=(), source_members=None)
    nobody = Snapshot(plan.source, no_entries(), no_entries(), no_members(), read_at=now)
    how = f"Of the target, the {sum(map(len, undo.ids.values())):,} entries that cycle {number} changed were looked at."
    return judge(job, systems, plan, facts, history, sight=Sight(current, how), source=nobody)


def find_out_first(job: Job, systems: Systems, ledger: Ledger, cycle: Cycle, *, now: datetime) -> None:
    """Closes what other cycles left unanswered, by what the target shows, before anything is sent on top of it.

    Creates stay open for the next cycle: they have to be looked for. Raises: FatalError.
    """
    attempts = [one for one in ledger.open_attempts(job.name) if one.action is not Action.CREATE]
    if not attempts:
        return
    facts, recalled, ids = survey(systems.source, systems.target), recall(ledger, job, now), to_look_at(attempts)
    current = _look(job, systems, facts, {kind: sorted(some) for kind, some in ids.items()}, recalled.recent)
    verdicts = judge_attempts(
        attempts,
        job,
        recalled.links,
        current,
        facts.target,
        looked=ids,
        regained=(),
        wanted=(),
        adopted={},
        now=now,
    )
    settle_attempts(ledger, cycle, verdicts, now=now)


def _finished(ledger: Ledger, job: Job, number: int) -> Cycle:
    cycle = ledger.cycle_numbered(job.name, number)
    if cycle is None:
        raise UndoRefusedError(f"The job {job.name} has no cycle {number}: see provisor log {job.name}.")
    if cycle.state in _UNFINISHED:
        raise UndoRefusedError(
            f"Cycle {number} of {job.name} has not come to an end ({cycle.state}): nobody knows all that it did. "
            "Run the job first; then its last cycle can be undone."
        )
    return cycle


def _refusal(number: int, job: str, refused: Sequence[Held]) -> str:
    named = "".join(f"\n  {one.kind} {_name(one.label, one.anchor)}: {one.reason}" for one in refused[:NAMED])
    more = f"\n  … and {len(refused) - NAMED:,} more" if len(refused) > NAMED else ""
    return (
        f"Cycle {number} of {job} cannot be undone as it is: {len(refused):,} entries stand against it. Nothing was "
        f"written. With --leave-alone everything else is taken back.{named}{more}"
    )


def _name(label: str, anchor: str) -> str:
    return f"{label} ({anchor})" if label and label != anchor else anchor


def _ids(deeds: Iterable[Deed], groups: Collection[str]) -> dict[Kind, list[str]]:
    """Ids of all to look at: entries that were changed, and members who are to come back, ``groups`` among them."""
    ids: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for deed in deeds:
        if Action.DELETE not in deed.actions:
            ids[deed.kind].add(deed.target_id)
        for member in deed.removed:
            ids[Kind.GROUP if member in groups else Kind.USER].add(member)
    return {kind: sorted(some) for kind, some in ids.items()}


def _look(
    job: Job,
    systems: Systems,
    facts: Facts,
    ids: Mapping[Kind, Sequence[str]],
    recent: Mapping[Kind, Collection[str]],
) -> Snapshot:
    """These entries as they are now; the whole target where a guard counts who is left in a group.

    ``recent``: ids to which something was sent a moment ago. A target may show these only in a while: what it does not
    show at first is not gone.
    """
    wanted = needs_of(job, facts.traits).target
    if job.limits.administrators.groups:
        listed = systems.target.read(wanted)
        unseen = {kind: [id_ for id_ in some if id_ not in listed.entries(kind).index] for kind, some in ids.items()}
        return look_at(listed, unseen, systems.target, wanted, late=recent)

    def fetched(kind: Kind) -> Snapshot:
        late = not set(ids[kind]).isdisjoint(recent.get(kind, ()))
        return systems.target.fetch(kind, ids[kind], wanted, late=late)

    users = fetched(Kind.USER)
    if wanted.groups is None or not ids[Kind.GROUP]:
        return users
    groups = fetched(Kind.GROUP)
    return replace(users, groups=groups.groups, members=groups.members)


class _Undo:
    """Collects the changes that take deeds back."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        facts: Facts,
        current: Snapshot,
        wishes: Wishes,
        elsewhere: "Callable[[Kind, Sequence[str]], Mapping[str, str]]",
    ) -> None:
        self._job, self._ledger, self._facts, self._wishes = job, ledger, facts, wishes
        self._current = current
        self._members: dict[str, set[str]] = {
            str(group): set(members) for group, members in current.members.groupby("group")["member"]
        }
        self._links = {kind: ledger.links(job.name, kind) for kind in Kind}
        self._elsewhere = elsewhere
        self._rules = job.rules
        self._anchors = {
            kind: dict(zip(links["target_id"], links.index, strict=True)) for kind, links in self._links.items()
        }
        self._gone: dict[Kind, dict[str, str]] = {kind: {} for kind in Kind}
        self.steps: list[Step] = []
        self.refused: list[Held] = []
        self.left: list[Held] = []
        self.unchanged = dict.fromkeys(Kind, 0)
        self.ids: dict[Kind, set[str]] = {kind: set() for kind in Kind}

    def take_back(self, deed: Deed) -> None:
        """Adds what takes one entry back; or why that cannot be."""
        self.ids[deed.kind].add(deed.target_id)
        if Action.DELETE in deed.actions:
            self._create_again(deed)
            return
        current = self._values(deed)
        if current is None:
            if Action.CREATE not in deed.actions and (deed.old or deed.removed):
                self._refuse(deed, "it is no longer in the target.")
            return
        if (owner := self._other_owner(deed)) is not None:
            self._refuse(deed, owner)
            return
        if (problem := self._unknown(deed)) is not None:
            self._refuse(deed, problem)
            return
        moved = [path for path in deed.new if not self._is(deed, path, current[path], deed.new[path])]
        if Action.CREATE in deed.actions:
            if self._is_unmade(deed, current):  # by an undo of which a part waits, say, or one that died
                moved = [path for path in moved if path != self._switch(deed.kind)]
            if moved:
                self._refuse(deed, f"{', '.join(moved)} changed in the target since.")
            elif self._unmake(deed, current):
                return
        else:
            strange = [path for path in moved if not self._is(deed, path, current[path], deed.old[path])]
            if strange:
                self._refuse(deed, f"{', '.join(strange)} changed in the target since.")
                return
            self._restore(deed, current, [path for path in deed.new if path not in moved])
        self._regroup(deed)

    # -- what is there ------------------------------------------------------------------------------------------------

    def _values(self, deed: Deed) -> dict[str, Value] | None:
        """What the entry holds now, None where it is gone."""
        frame = self._current.entries(deed.kind)
        if deed.target_id not in frame.index:
            return None
        row = frame.loc[deed.target_id]
        return {path: canonical(row[path]) for path in frame.columns} | {
            path: None for path in deed.new if path not in frame.columns
        }

    def _other_owner(self, deed: Deed) -> str | None:
        """Why an account is not the entry's own any more, None where it is: only linked accounts are changed."""
        links = self._links[deed.kind]
        if deed.anchor in links.index and links.at[deed.anchor, "target_id"] == deed.target_id:
            return None
        if (job := self._elsewhere(deed.kind, [deed.target_id]).get(deed.target_id)) is not None:
            return f"the account {deed.target_id} now belongs to the job {job}."
        if (anchor := self._anchors[deed.kind].get(deed.target_id)) is not None:
            return f"the account {deed.target_id} now belongs to {anchor}."
        return f"the account {deed.target_id} is not linked to it any more, and only linked accounts are changed."

    def _unknown(self, deed: Deed) -> str | None:
        """Why nobody knows what the entry was like before, None where the log says it."""
        rules = self._rules.get(deed.kind)
        hidden = sorted(path for path in deed.new if REDACTED in (deed.old[path], deed.new[path]))
        if hidden and Action.CREATE not in deed.actions:
            return f"the log has no value of {', '.join(hidden)}, because the job redacts it."
        mapped = {*(rules.attributes if rules is not None else ()), self._switch(deed.kind)}
        strange = sorted(path for path in deed.new if path not in mapped)
        if strange:
            return f"the job no longer maps {', '.join(strange)}; restore the mapping until the undo is done."
        if not deed.new and deed.actions & {Action.UPDATE, Action.ENABLE, Action.DISABLE}:
            return "the log does not say what was changed."
        return None

    def _switch(self, kind: Kind) -> str | None:
        return self._facts.traits.switch if kind is Kind.USER else None

    def _is(self, deed: Deed, path: str, now: Value, value: Value) -> bool:
        """True when the target holds the value, however it spells it. What is redacted, nobody can tell."""
        if value == REDACTED:
            return True
        if path in self._references(deed.kind):
            return set(self._as_ids(now)) == set(self._as_ids(value))
        return bool(_plain(now) == _plain(value))

    def _references(self, kind: Kind) -> frozenset[str]:
        rules = self._rules.get(kind)
        return referenced_paths(rules) if rules is not None else frozenset()

    def _as_ids(self, value: Value) -> list[str]:
        """Ids of what a value refers to: by id, as an element, or by anchor as plans have it."""
        if value is None:
            return []
        if isinstance(value, list | tuple):
            return [id_ for item in value for id_ in self._as_ids(item)]
        if isinstance(value, Mapping):
            return self._as_ids(value.get("value"))
        links = self._links[Kind.USER]
        if value in self._anchors[Kind.USER]:
            return [str(value)]
        return [str(links.at[value, "target_id"]) if value in links.index else unowned_id(value) or str(value)]

    # -- what takes it back -------------------------------------------------------------------------------------------

    def _refuse(self, deed: Deed, why: str) -> None:
        self.refused.append(Held(deed.kind, deed.anchor, ErrorCode.CONFLICT, why, label=deed.label))

    def _leave(self, deed: Deed, why: str) -> None:
        self.left.append(Held(deed.kind, deed.anchor, ErrorCode.NOT_PERMITTED, why, label=deed.label))

    def _is_unmade(self, deed: Deed, current: Mapping[str, Value]) -> bool:
        """True for an account that was created switched on and is off now, where no more than that is wanted."""
        switch = self._switch(deed.kind)
        created_on = switch in deed.new and deed.new[switch] is not False
        return not self._wishes.delete_created and created_on and current.get(switch or "") is False

    def _unmake(self, deed: Deed, current: Mapping[str, Value]) -> bool:
        """Disables or deletes what was created; True when nothing is left to be done about it."""
        switch = self._switch(deed.kind)
        if self._wishes.delete_created:
            if self._facts.traits.does(deed.kind, Action.DELETE):
                held = {path: value for path, value in current.items() if value is not None}
                self.steps.append(Step(Wave.DELETE, Action.DELETE, deed, before=held))
            else:
                self._leave(deed, "It was created, and the target cannot delete.")
            return True
        if switch is None:
            self._leave(
                deed, f"It was created, and a {deed.kind} cannot be disabled here; --delete-created deletes it."
            )
        elif current.get(switch) is not False:
            step = Step(Wave.DISABLE, Action.DISABLE, deed, {switch: False}, {switch: True}, state=LinkState.DISABLED)
            self.steps.append(step)
        else:
            self.unchanged[deed.kind] += 1
        return False

    def _create_again(self, deed: Deed) -> None:
        hidden = sorted(path for path, value in deed.old.items() if value == REDACTED)
        if not self._wishes.recreate:
            self._leave(deed, "It was deleted; --recreate creates it again, under another id.")
        elif deed.anchor in self._links[deed.kind].index:
            self._refuse(deed, "it was deleted, and the entry has another account by now.")
        elif not deed.old:
            self._refuse(deed, "the log does not say what was deleted.")
        elif hidden:
            self._refuse(deed, f"the log has no value of {', '.join(hidden)}, because the job redacts it.")
        else:
            self._gone[deed.kind][deed.target_id] = deed.anchor
            wave = Wave.CREATE_USERS if deed.kind is Kind.USER else Wave.GROUPS
            state = LinkState.DISABLED if deed.old.get(self._switch(deed.kind) or "") is False else LinkState.ACTIVE
            self.steps.append(Step(wave, Action.CREATE, deed, dict(deed.old), state=state))

    def _restore(self, deed: Deed, current: Mapping[str, Value], paths: Sequence[str]) -> None:
        """Gives attributes their old values; those that have them already are left out."""
        paths = [path for path in paths if not self._is(deed, path, deed.new[path], deed.old[path])]
        if not paths:
            self.unchanged[deed.kind] += bool(deed.new)
            return
        switch, action = self._switch(deed.kind), Action.UPDATE
        if switch in paths and deed.old[switch] is False and len(paths) > 1:
            # What switches somebody off goes by itself: no other attribute of the request can be refused in its place.
            self._restore(deed, current, [path for path in paths if path != switch])
            paths = [switch]
        if switch in paths:
            action = Action.DISABLE if deed.old[switch] is False else Action.ENABLE
        links = self._links[deed.kind]
        state = LinkState(str(links.at[deed.anchor, "state"])) if deed.anchor in links.index else LinkState.ACTIVE
        if action is not Action.UPDATE:
            state = LinkState.DISABLED if action is Action.DISABLE else LinkState.ACTIVE
        wave = Wave.GROUPS if deed.kind is Kind.GROUP else Wave.UPDATE_USERS
        wave = Wave.DISABLE if action is Action.DISABLE else wave
        after = {path: deed.old[path] for path in paths}
        self.steps.append(Step(wave, action, deed, after, {path: current[path] for path in paths}, state=state))

    def _regroup(self, deed: Deed) -> None:
        """Takes members out that were added, and puts back those that were taken out."""
        members = self._members.get(deed.target_id, set())
        surplus = [id_ for id_ in deed.added if id_ in members]
        missing = [id_ for id_ in deed.removed if id_ not in members]
        lost = [id_ for id_ in missing if not self._comes_back(id_)]
        if lost:
            missing = [id_ for id_ in missing if id_ not in set(lost)]
            self._leave(deed, f"{len(lost)} of the members that were removed have no account in the target any more.")
        for wave, action, ids in (
            (Wave.REMOVE_MEMBERS, Action.REMOVE_MEMBERS, surplus),
            (Wave.ADD_MEMBERS, Action.ADD_MEMBERS, missing),
        ):
            size = self._facts.traits.members_per_change
            for start in range(0, len(ids), size):
                self.steps.append(Step(wave, action, deed, members=ids[start : start + size]))

    def _comes_back(self, id_: str) -> bool:
        """True for an account that is there, or is created again."""
        there = any(id_ in self._current.entries(kind).index for kind in Kind)
        return there or any(id_ in again for again in self._gone.values())

    # -- the plan ------------------------------------------------------------------------------------------------------

    def plan(self, cycle: Cycle, now: datetime) -> Plan:
        """Everything collected as a plan."""
        notes: list[Held] = []
        reason = f"undo of cycle {cycle.number}"
        blocks = [block for steps in self._alike() for block in self._blocks(steps, reason, notes)]
        held = [*self.left, *self.refused]
        return Plan(
            job=self._job.name,
            fingerprint=self._job.fingerprint(),
            made_at=now,
            source=f"cycle {cycle.number} of {cycle.began:%Y-%m-%d %H:%M} UTC, undone",
            target=self._current.system,
            blocks=sorted(blocks, key=lambda block: (block.wave, block.level, block.kind, block.action)),
            entries={kind: self._entries(kind) for kind in self._rules},
            held=held,
            notes=notes,
            source_count=dict.fromkeys(Kind, 0),
            target_count={kind: len(self._current.entries(kind)) for kind in Kind},
            group_sizes=self._current.members["group"].value_counts(),
            incomplete=(),
        )

    def _alike(self) -> list[list[Step]]:
        """Steps that go into one block: one action on one kind, with references that are known the same way."""
        alike: dict[tuple[Any, ...], list[Step]] = {}
        for step in self.steps:
            key = (step.wave, step.deed.kind, step.action, step.action is Action.CREATE or self._by_anchor(step))
            alike.setdefault(key, []).append(step)
        return [alike[key] for key in sorted(alike)]

    def _by_anchor(self, step: Step) -> bool:
        """True where something is referred to that has no id yet: an account that is created again."""
        named = {id_ for path in self._references(step.deed.kind) for id_ in self._as_ids(step.after.get(path))}
        again = {**self._gone[Kind.USER], **self._gone[Kind.GROUP]}
        return any(id_ in again or id_ in again.values() for id_ in (*named, *step.members))

    def _blocks(self, steps: Sequence[Step], reason: str, notes: list[Held]) -> list[Block]:
        first = steps[0]
        rows = [step.deed for step in steps]
        creating = first.action is Action.CREATE
        table = pd.DataFrame(
            {
                "anchor": pd.Series([deed.anchor for deed in rows], dtype="str"),
                "target_id": pd.Series([None if creating else deed.target_id for deed in rows], dtype="str"),
                "label": pd.Series([deed.label for deed in rows], dtype="str"),
                "reason": pd.Series([reason] * len(rows), dtype="str"),
                "state": pd.Series([step.state.value for step in steps], dtype="str"),
            }
        )
        if first.members:
            return [self._member_block(steps, table)]
        if first.action in (Action.DISABLE, Action.DELETE):
            table["cause"] = Cause.UNDONE
        rules = self._rules.get(first.deed.kind)
        references = self._references(first.deed.kind) if creating or self._by_anchor(first) else frozenset()
        block = Block(
            wave=first.wave,
            kind=first.deed.kind,
            action=first.action,
            table=table,
            after=self._frame([self._written(step, references) for step in steps]),
            before=None if creating else self._frame([step.before for step in steps]),
            touched=None if creating else _touched([step.after for step in steps]),
            references=references,
            redacted=redacted_paths(rules) if rules is not None else frozenset(),
        )
        if first.action is Action.DELETE:
            return [replace(block, after=None, touched=None)]
        if not creating:
            return [block]
        reachable = pd.Index([*self._links[Kind.USER].index, *self._gone[Kind.USER].values()], dtype="str")
        return order_creates(block, reachable, notes, people=People(accounts=reachable))

    def _written(self, step: Step, by_anchor: Collection[str]) -> dict[str, Value]:
        """The values to write, references as ids of the target, or as anchors."""
        written = dict(step.after)
        for path in self._references(step.deed.kind) & set(written):
            ids = self._as_ids(written[path])
            if path in by_anchor:
                ids = [self._gone[Kind.USER].get(id_) or self._anchors[Kind.USER].get(id_) or id_ for id_ in ids]
            several = isinstance(written[path], list)
            written[path] = ids if several else next(iter(ids), None)
        return written

    def _member_block(self, steps: Sequence[Step], table: pd.DataFrame) -> Block:
        first = steps[0]
        again = {**self._gone[Kind.GROUP], **self._gone[Kind.USER]}
        known = {**self._anchors[Kind.GROUP], **self._anchors[Kind.USER], **again}
        members = [[known.get(id_, f"account {id_}") for id_ in step.members] for step in steps]
        table = table.drop(columns="state").assign(members=pd.Series(members, dtype=object))
        if not self._by_anchor(first):
            table["member_ids"] = pd.Series([step.members for step in steps], dtype=object)
        if first.action is Action.REMOVE_MEMBERS:
            table["cause"] = Cause.UNDONE
        return Block(wave=first.wave, kind=first.deed.kind, action=first.action, table=table)

    @staticmethod
    def _frame(rows: Sequence[Mapping[str, Value]]) -> pd.DataFrame:
        paths = sorted({path for row in rows for path in row})
        return pd.DataFrame({path: _column([row.get(path) for row in rows]) for path in paths}, index=range(len(rows)))

    def _entries(self, kind: Kind) -> EntryPlan:
        links = self._links[kind]
        return EntryPlan(
            kind=kind,
            blocks=[],
            held=[],
            notes=[],
            unchanged=self.unchanged[kind],
            settling=Later(pd.DataFrame),
            dropped=[],
            population=int((links["state"] == LinkState.ACTIVE.value).sum()),
            known=pd.Series(links.index, index=pd.Index(links["target_id"], dtype="str"), dtype="str"),
        )


def _touched(rows: Sequence[Mapping[str, Value]]) -> pd.DataFrame:
    paths = sorted({path for row in rows for path in row})
    return pd.DataFrame({path: [path in row for row in rows] for path in paths}, index=range(len(rows)))


def _column(values: Sequence[Value]) -> pd.Series:
    """A column of the type that its values have."""
    types = {type(value) for value in values if value is not None}
    if types <= {str}:
        return pd.Series(values, dtype="str")
    return pd.Series(values, dtype="boolean" if types == {bool} else object)


def _plain(value: Value) -> Value:
    """A value as targets may keep it: in another case, in another order, nothing as the empty text."""
    found = canonical(value, fold=True)
    return None if found == "" else found
