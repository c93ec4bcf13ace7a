"""Entries that failed wait before they are tried again, longer and longer, and never delay anybody else. Pure.

The first retry is in the next cycle, then the gaps double. What an entry waits with is what failed: as soon as its
desired state is another one, it is tried at once. Taking something away never waits: who leaves would keep access.

Source: Microsoft Entra ID, "Application provisioning in quarantine status" and the provisioning logs (an object that
fails is retried, then less and less often, for 28 days); the gaps are not published there.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

import numpy as np

from connectors.contract import REMOVALS, Action, Kind
from connectors.errors import ErrorCode
from tasks.expressions import compile_expression
from tasks.expressions.tree import Call, walk
from tasks.job import EscrowRules, Job
from tasks.ledger import NEVER, Escrow
from tasks.mapping import Held
from tasks.plan import Block, Plan
from tasks.plan.compare import fingerprints

Key: TypeAlias = tuple[Kind, str]
"""Kind and anchor of an entry."""


_DIFFERENT_EVERY_TIME = frozenset({"Guid", "Now", "RandomString", "SelectUniqueValue"})
"""Functions whose value may differ between two cycles although nobody changed anything."""


@dataclass(frozen=True, slots=True)
class Failed:
    """One change that was not done."""

    kind: Kind
    anchor: str
    label: str
    action: Action
    code: ErrorCode | None
    message: str

    @property
    def key(self) -> Key:
        return self.kind, self.anchor


@dataclass(slots=True)
class Settled:
    """What a load changes about the entries in escrow."""

    put: list[Escrow] = field(default_factory=list)
    drop: dict[Kind, list[str]] = field(default_factory=dict)
    """Anchors by kind."""


def gap(attempts: int, rules: EscrowRules) -> timedelta:
    """How long an entry waits after so many failures in a row; after the first one not at all."""
    if attempts <= 1:
        return timedelta(0)
    doublings = min(attempts - 2, 32)
    return min(rules.first_gap * (1 << doublings), rules.longest_gap)


def given_up(escrow: Escrow) -> bool:
    """True for an entry that is no longer tried by itself."""
    return escrow.next_attempt >= NEVER


def withhold(
    plan: Plan, escrows: Sequence[Escrow], job: Job, *, now: datetime, at_once: Collection[str] = frozenset()
) -> Plan:
    """The plan without the changes of entries that wait; each of these is held, and says until when and why.

    Removals never wait, nor does anybody whose anchor is in ``at_once``, nor an entry whose desired state has changed
    since it failed.
    """
    due = {(one.kind, one.anchor): one for one in escrows if one.next_attempt > now and one.anchor not in at_once}
    if not due:
        return plan
    wanted = digests(plan.blocks, due, job)
    waiting = {key: one for key, one in due.items() if key in wanted and one.fingerprint in (None, wanted[key])}
    blocks = []
    for block in plan.blocks:
        if block.action in REMOVALS:
            blocks.append(block)
            continue
        waits = block.table["anchor"].isin([anchor for kind, anchor in waiting if kind is block.kind]).to_numpy(bool)
        if not waits.all():
            blocks.append(block.take(~waits) if waits.any() else block)
    return replace(plan, blocks=blocks, held=[*plan.held, *map(_held, waiting.values())])


def after_load(
    known: Iterable[Escrow], failed: Iterable[Failed], plan: Plan, job: Job, *, now: datetime, carried_out: bool
) -> Settled:
    """Who goes into escrow, who stays for how long, and who comes out, after the plan was carried out.

    ``carried_out``: the cycle came to its end. Who was in the plan and has not failed has succeeded then, and who was
    not in it, nor held, is no longer wanted, unless the source was incomplete. Otherwise nobody comes out.
    """
    before = {(one.kind, one.anchor): one for one in known}
    failures = _one_each(failed)
    wanted = digests(plan.blocks, failures, job)
    settled = Settled(put=[_after(failures[key], before.get(key), wanted.get(key), job, now) for key in failures])
    if carried_out:
        held = {(one.kind, one.anchor) for one in plan.held}
        tried = _in_plan(plan.blocks, before) if plan.doubts else before.keys()
        for kind, anchor in tried:
            if (kind, anchor) not in failures and (kind, anchor) not in held:
                settled.drop.setdefault(kind, []).append(anchor)
    return settled


def _in_plan(blocks: Iterable[Block], keys: Collection[Key]) -> list[Key]:
    """Those of the entries that something is to be done about, in their order."""
    anchors: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for block in blocks:
        anchors[block.kind].update(block.table["anchor"])
    return [(kind, anchor) for kind, anchor in keys if anchor in anchors[kind]]


def digests(blocks: Iterable[Block], keys: Collection[Key], job: Job) -> dict[Key, int]:
    """A signed 64-bit digest per entry of what its changes are to bring about: desired attributes, members to add.

    Removals, and attributes that are made up anew in every cycle, have no part in it; without the rest there is none.
    """
    anchors = {kind: [anchor for of, anchor in keys if of is kind] for kind in Kind}
    made_up = _made_up(job)
    states: dict[Key, int] = {}
    members: dict[Key, set[str]] = {}
    for block in blocks:
        rows = block.table["anchor"].isin(anchors[block.kind]).to_numpy(bool)
        if block.action in REMOVALS or not rows.any():
            continue
        names = block.table["anchor"][rows]
        if block.desired is not None:
            lasting = [path for path in block.desired.columns if path not in made_up.get(block.kind, ())]
            found = fingerprints(block.desired.loc[rows, lasting])
            for anchor, digest in zip(names, found.tolist(), strict=True):
                states.setdefault((block.kind, anchor), digest)
        elif "members" in block.table:
            for anchor, adds in zip(names, block.table["members"][rows], strict=True):
                members.setdefault((block.kind, anchor), set()).update(adds)
    return {key: _digest(states.get(key), members.get(key, ())) for key in {**states, **members}}


def _digest(state: int | None, members: Collection[str]) -> int:
    text = "\x1f".join([str(state), *sorted(members)])
    return int(np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), dtype=np.int64)[0])


def _made_up(job: Job) -> Mapping[Kind, frozenset[str]]:
    """Paths whose value may be another one in every cycle, by kind."""
    return {
        kind: frozenset(
            path
            for path, mapping in rules.attributes.items()
            if mapping.expression is not None
            and any(
                isinstance(node, Call) and node.name in _DIFFERENT_EVERY_TIME
                for node in walk(compile_expression(mapping.expression).tree)
            )
        )
        for kind, rules in job.rules.items()
    }


def _one_each(failed: Iterable[Failed]) -> dict[Key, Failed]:
    """One failure per entry: what has to wait rather than a removal, the last of several."""
    chosen: dict[Key, Failed] = {}
    for one in failed:
        known = chosen.get(one.key)
        if known is None or known.action in REMOVALS or one.action not in REMOVALS:
            chosen[one.key] = one
    return chosen


def _after(failed: Failed, before: Escrow | None, digest: int | None, job: Job, now: datetime) -> Escrow:
    """The entry's escrow after it failed once more; with another desired state it begins from the start."""
    again = before is not None and before.fingerprint == digest
    first_failed = before.first_failed if before is not None and again else now
    attempts = before.attempts + 1 if before is not None and again else 1
    next_attempt = now + gap(attempts, job.escrow)
    if failed.action in REMOVALS:
        next_attempt = now
    elif next_attempt > first_failed + job.escrow.give_up_after:
        next_attempt = NEVER
    return Escrow(
        kind=failed.kind,
        anchor=failed.anchor,
        first_failed=first_failed,
        next_attempt=next_attempt,
        attempts=attempts,
        message=failed.message,
        code=failed.code,
        label=failed.label,
        fingerprint=digest,
    )


def _held(escrow: Escrow) -> Held:
    times = "1 attempt" if escrow.attempts == 1 else f"{escrow.attempts} attempts"
    if given_up(escrow):
        when = f"Given up after {times} since {escrow.first_failed:%Y-%m-%d}, until it changes or is run with --now"
    else:
        when = f"Waits until {escrow.next_attempt:%Y-%m-%d %H:%M} UTC after {times}"
    code = escrow.code or ErrorCode.UNPROCESSABLE_ENTITY
    return Held(escrow.kind, escrow.anchor, code, f"{when}: {escrow.message}", label=escrow.label)
