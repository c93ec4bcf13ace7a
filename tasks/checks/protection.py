"""Accounts that are never disabled or deleted, whatever made the plan: those in the job, and Provisor's own; and
entries that the target would not let anybody write, which are told before anything is sent. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Action, Kind, Snapshot
from connectors.errors import ErrorCode
from tasks.checks.bench import LEAVING
from tasks.job import EntryRules, Job
from tasks.mapping import Held, Mask
from tasks.plan import Block, Plan


@dataclass(frozen=True, slots=True)
class Protection:
    """Who is protected."""

    names: frozenset[str] = frozenset()
    """What the job lists, in lower case: an entry whose anchor is among these is protected."""
    accounts: Mapping[Kind, frozenset[str]] = field(default_factory=dict)
    """Ids of accounts that the job lists by id or by their value of a matching attribute."""
    own: str | None = None
    """Id of the account that Provisor signs in with; None where the target does not say it."""
    unwritable: Mapping[Kind, Mapping[str, str]] = field(default_factory=dict)
    """Ids of entries that the target lets nobody write, each with a sentence why."""


UNPROTECTED = Protection()


@dataclass(frozen=True, slots=True)
class Spared:
    """A plan without what would be done to protected accounts."""

    plan: Plan
    ids: pd.Index
    """Target ids of the accounts that stay: what would follow their removal does not happen either."""


def protection_of(
    job: Job, target: Snapshot, *, own: str | None, unwritable: Mapping[Kind, Mapping[str, str]] | None = None
) -> Protection:
    """Who is protected in a target, as far as it was seen."""
    names = frozenset(name.lower() for name in job.protect)
    accounts = {kind: _listed(rules, target.entries(kind), names) for kind, rules in job.rules.items()}
    return Protection(names, accounts, own, unwritable or {})


NAMED = 10
"""Names of a list that a sentence gives."""


def unused_names(job: Job, plan: Plan, source: Snapshot, target: Snapshot) -> str:
    """A sentence about names that the job protects and that nobody has; empty where there are none, or nobody can tell.

    A typing mistake protects nobody. The name of an account that is still to be made may be meant.
    """
    names = {name.lower(): name for name in job.protect}
    for kind, rules in job.rules.items():
        frame, entries = target.entries(kind), plan.entries[kind]
        columns: list[pd.Index | pd.Series[str]] = [frame.index, source.entries(kind).index, entries.known]
        columns += [frame[rule.target] for rule in rules.matching if rule.target in frame]
        _leave_out(names, [*columns, *entries.joining.values()])
    if not names or source.everybody:  # it holds what changed: nobody can tell what the other rows say
        return ""
    _leave_out(names, [pd.Series([row.key for row in source.unreadable], dtype="str"), source.aliases.index])
    for kind in job.rules:
        frame = source.entries(kind)
        _leave_out(names, [column for _, column in frame.items() if isinstance(column.dtype, pd.StringDtype)])
    if not names:
        return ""
    shown, more = list(names.values())[:NAMED], len(names) - NAMED
    listed = f"{', '.join(shown)} and {more:,} more" if more > 0 else ", ".join(shown)
    them, do = ("it", "it protects") if len(names) == 1 else ("them", "they protect")
    return (
        f"protect names {listed}, but no account that was seen in the target and no row of the source has {them}: "
        f"{do} nobody."
    )


def _leave_out(names: dict[str, str], columns: "Iterable[pd.Index | pd.Series[str]]") -> None:
    """Takes out of the names, which are keyed in lower case, those that a column has."""
    for column in columns:
        if not names:
            return
        text = pa.chunked_array([pa.array([], pa.large_string()), *_chunks(column)])
        wanted = pa.array(list(names), text.type)
        for chunk in text.chunks:
            lowered = pc.utf8_lower(_as_long_as(chunk, wanted))
            for name in pc.unique(lowered.filter(pc.is_in(lowered, value_set=wanted))).to_pylist():
                names.pop(name, None)


def _chunks(column: "pd.Index | pd.Series[str]") -> list[pa.Array]:
    held = pa.array(pd.Series(column.array).astype("str").array)
    return held.chunks if isinstance(held, pa.ChunkedArray) else [held]


def _as_long_as(chunk: pa.Array, wanted: pa.Array) -> pa.Array:
    """The values that may be one of the wanted ones in another case: of a million that is next to none. Lower case has
    the length of what it is made from, but for letters beyond ASCII."""
    bytes_ = chunk.buffers()[-1]
    if bytes_ is not None and bytes_.size and np.frombuffer(bytes_, np.int8).min() < 0:
        return chunk
    shortest, longest = pc.min_max(pc.binary_length(wanted)).values()
    length = pc.binary_length(chunk)
    return chunk.filter(pc.and_(pc.greater_equal(length, shortest), pc.less_equal(length, longest)))


def is_listed(names: frozenset[str], anchor: str | None, target_id: str | None, values: Mapping[str, object]) -> bool:
    """Whether a job's list names one entry. ``values``: those of the matching attributes in the target."""
    return bool(names & {str(text).lower() for text in (anchor, target_id, *values.values()) if text is not None})


def _listed(rules: EntryRules, frame: pd.DataFrame, names: frozenset[str]) -> frozenset[str]:
    if not names:
        return frozenset()
    columns = [pd.Series(frame.index, index=frame.index, dtype="str")]
    columns += [frame[rule.target].astype("str") for rule in rules.matching if rule.target in frame]
    found = np.logical_or.reduce([column.str.lower().isin(names).to_numpy(dtype=bool) for column in columns])
    return frozenset(map(str, frame.index[found]))


def spare(plan: Plan, protection: Protection) -> Spared:
    """The plan without disabling, deleting or emptying what is protected, and without any change of what cannot be
    written; each entry that is spared is held."""
    if not protection.names and protection.own is None and not any(protection.unwritable.values()):
        return Spared(plan, pd.Index([], dtype="str"))
    emptied = {str(anchor) for entries in plan.entries.values() for anchor in entries.emptied}
    blocks: list[Block] = []
    held: dict[tuple[Kind, str], Held] = {}
    ids: set[str] = set()
    for block in plan.blocks:
        listed, own = _protected(block, protection)
        if block.action is Action.REMOVE_MEMBERS:
            listed = listed & block.table["anchor"].isin(emptied).to_numpy(dtype=bool)
            own = np.zeros_like(own)
        elif block.action not in LEAVING:
            listed = own = np.zeros_like(own)
        refused = protection.unwritable.get(block.kind, {})
        fixed = block.table["target_id"].isin(refused.keys()).to_numpy(dtype=bool)
        spared = listed | own | fixed
        for row in np.flatnonzero(spared).tolist():
            why = refused[str(block.table["target_id"].iloc[row])] if fixed[row] else ""
            one = _held(block, row, own=bool(own[row]), unwritable=why)
            held[one.kind, one.anchor] = one
            if block.action in LEAVING and not fixed[row]:  # what cannot be disabled loses its memberships all the same
                ids.add(str(block.table["target_id"].iloc[row]))
        blocks.append(block.take(~spared) if spared.any() else block)
    if held:
        plan = replace(plan, blocks=[block for block in blocks if len(block)], held=[*plan.held, *held.values()])
    return Spared(plan, pd.Index(sorted(ids), dtype="str"))


def _protected(block: Block, protection: Protection) -> tuple[Mask, Mask]:
    """Rows that the job lists, and rows of Provisor's own account."""
    ids, anchors = block.table["target_id"], block.table["anchor"].str.lower()
    listed = ids.isin(protection.accounts.get(block.kind, frozenset())) | anchors.isin(protection.names)
    own = ids.eq(protection.own) if block.kind is Kind.USER and protection.own is not None else ids.isin([])
    return listed.to_numpy(dtype=bool), own.fillna(False).to_numpy(dtype=bool)


def _held(block: Block, row: int, *, own: bool, unwritable: str) -> Held:
    action = "empty" if block.action is Action.REMOVE_MEMBERS else str(block.action)
    if unwritable:
        still = " The account is still active." if block.action is Action.DISABLE else ""
        why = f"The target does not let Provisor change it. {unwritable}{still}"
    elif own:
        why = f"Provisor signs in to the target with this account, so it does not {action} it."
    else:
        why = f"The account is protected: the job never lets Provisor {action} it."
    table = block.table.iloc[row]
    return Held(block.kind, str(table["anchor"]), ErrorCode.NOT_PERMITTED, why, label=str(table["label"]))
