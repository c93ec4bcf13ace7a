"""Checks that nobody has to write: what is wrong with a snapshot whatever the job. Pure column operations.

keys         rows without a key of their own             matching    matching values that are shared or missing
case_twins   values that differ in case alone            managers    references that lead nowhere or in a circle
members      memberships of nobody, or of no group       (figures    see ``tasks.expectations.figures``)
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Kind, Snapshot
from tasks.expectations.results import CheckResult
from tasks.expressions import Context, compile_expression
from tasks.job import BuiltinChecks, Checked, EntryRules, Job, OnFailure, Reaction
from tasks.keys import Rows, find, texts
from tasks.mapping import referenced_paths

Mask = npt.NDArray[np.bool_]

_PARTS = {Kind.USER: "users", Kind.GROUP: "groups"}
_UNIQUE = "expect_column_values_to_be_unique"
_TWINS = "expect_column_values_to_differ_in_more_than_case"
_REFER = "expect_column_values_to_refer_to_entries"
_NO_CIRCLE = "expect_column_references_to_have_no_circle"
_PRESENT = "expect_column_values_to_not_be_null"


def check_builtin(job: Job, source: Snapshot, context: Context) -> list[CheckResult]:
    """What comes of the built-in checks of a source that was read whole."""
    return [*_check_keys(job, source, "source"), *_check_source(job, source, context)]


def check_listing(job: Job, target: Snapshot) -> list[CheckResult]:
    """The same of a target that was listed. Accounts are never held for it: a leaver's must be found."""
    results = _check_keys(job, target, "target")
    chosen = job.checks.builtin
    for kind, rules in job.rules.items():
        frame = target.entries(kind)
        for path in dict.fromkeys(rule.target for rule in rules.matching if rule.target in frame.columns):
            results += _check_values(frame[path], path, frame_name("target", kind), chosen)
    return results


def frame_name(side: str, kind: Kind) -> Checked:
    """The name that job files give to the entries of one kind."""
    return Checked(f"{side}.{_PARTS[kind]}")


def _check_source(job: Job, source: Snapshot, context: Context) -> Iterator[CheckResult]:
    chosen = job.checks.builtin
    there = _everybody(source)
    for kind, rules in job.rules.items():
        frame, name = source.entries(kind), frame_name("source", kind)
        values = {rule.source: _values(rule.source, frame, context) for rule in rules.matching}
        for text, column in values.items():
            yield from _check_values(column, text, name, chosen)
        if chosen.matching is not Reaction.OFF:
            yield _check_presence(values, name, chosen.matching)
        if chosen.managers is not Reaction.OFF:
            for path in sorted(referenced_paths(rules)):
                yield from _check_references(rules, path, frame, there, name, context, chosen.managers)
    if job.groups is not None and chosen.members is not Reaction.OFF:
        yield _check_members(source, there, chosen.members)


# --- keys and matching values --------------------------------------------------------------------------------------


def _check_keys(job: Job, snapshot: Snapshot, side: str) -> list[CheckResult]:
    reaction = job.checks.builtin.keys
    if reaction is Reaction.OFF:
        return []
    results = []
    for kind in job.rules:
        keys = snapshot.entries(kind).index
        unread = sum(row.kind is kind for row in snapshot.unreadable)
        absent = np.asarray(keys.isna(), dtype=bool)
        doubled = absent | keys.duplicated()
        rows, failing = len(keys) + unread, unread + int(doubled.sum())
        words = f"{failing:,} of {rows:,} {kind}s have no key of their own, or could not be read"
        keyed = _named(keys, doubled & ~absent)
        results.append(_result(frame_name(side, kind), _UNIQUE, "key", "keys", reaction, rows, failing, words, keyed))
    return results


def _check_values(values: pd.Series, what: str, frame: Checked, chosen: BuiltinChecks) -> Iterator[CheckResult]:
    """Whether values are one entry's alone, also when case does not count."""
    found = _texts(values)
    if chosen.matching is not Reaction.OFF:
        rows = np.flatnonzero(_shared(found))
        words = f"{len(rows):,} of {len(values):,} entries share their value of {what} with another one"
        keys = _named(values.index, rows)
        yield _result(frame, _UNIQUE, what, "matching", chosen.matching, len(values), len(rows), words, keys)
    if chosen.case_twins is not Reaction.OFF:
        rows = _twins(found)
        words = f"{len(rows):,} of {len(values):,} entries have a value of {what} that differs in case alone"
        keys = _named(values.index, rows)
        yield _result(frame, _TWINS, what, "case_twins", chosen.case_twins, len(values), len(rows), words, keys)


def _check_presence(values: dict[str, pd.Series], frame: Checked, reaction: Reaction) -> CheckResult:
    """Whether everybody has at least one of the values that accounts are found by."""
    columns = list(values.values())
    missing = np.logical_and.reduce([column.isna().to_numpy(dtype=bool) for column in columns])
    what, failing = ", ".join(values), int(missing.sum())
    words = f"{failing:,} of {len(missing):,} entries have no value of {what}"
    keys = _named(columns[0].index, missing)
    return _result(frame, _PRESENT, what, "matching", reaction, len(missing), failing, words, keys)


def _values(text: str, frame: pd.DataFrame, context: Context) -> pd.Series:
    """What an expression gives for every entry; what cannot be evaluated is null, and the mapping says why."""
    return compile_expression(text).column(frame, context).values


def _texts(values: pd.Series) -> pa.Array:
    """A column as text; lists are nobody's matching value."""
    if isinstance(values.dtype, pd.StringDtype):
        return texts(values)
    if values.dtype == object:
        cells = [value if isinstance(value, str) else None for value in values.array]
        return pa.array(cells, type=pa.large_string())
    return texts(values.astype("str").where(values.notna()))


def _shared(values: pa.Array) -> Mask:
    """Which values come more than once; null never does."""
    codes = np.asarray(pc.fill_null(values.dictionary_encode().indices.cast(pa.int64()), -1))
    counts = np.bincount(codes + 1)
    shared: Mask = (codes >= 0) & (counts[codes + 1] > 1)
    return shared


def _twins(values: pa.Array) -> Rows:
    """Rows whose value comes in another spelling too, when case does not count."""
    lower = pc.utf8_lower(values)
    rows = np.flatnonzero(_shared(lower))
    some = pd.DataFrame({"lower": lower.take(rows).to_pylist(), "value": values.take(rows).to_pylist()})
    spellings = some.groupby("lower")["value"].transform("nunique").to_numpy()
    twins: Rows = rows[spellings > 1] if len(rows) else rows
    return twins


# --- references ----------------------------------------------------------------------------------------------------


def _everybody(snapshot: Snapshot) -> pa.Array:
    """Keys of users and groups that are there, also of those that could not be read."""
    unread = pa.array([row.key for row in snapshot.unreadable if row.key is not None], type=pa.large_string())
    return pa.concat_arrays([texts(snapshot.users.index), texts(snapshot.groups.index), unread])


def _check_references(
    rules: EntryRules,
    path: str,
    frame: pd.DataFrame,
    there: pa.Array,
    name: Checked,
    context: Context,
    reaction: Reaction,
) -> Iterator[CheckResult]:
    """Whether references lead to somebody, and those to managers not back to where they began."""
    text = rules.attributes[path].reference
    assert text is not None
    values = _values(text, frame, context)
    single = isinstance(values.dtype, pd.StringDtype)
    each = values if single else values.explode()
    targets = _texts(each)
    astray = (find(targets, there) < 0) & np.asarray(pc.is_valid(targets))
    keys = _named(each.index, astray)
    words = f"{len(keys):,} of {len(frame):,} entries refer by {text} to somebody who is not there"
    yield _result(name, _REFER, text, "managers", reaction, len(frame), len(keys), words, keys)
    if single and "manager" in f"{path} {text}".lower():
        keys = _named(frame.index, in_circles(texts(frame.index), targets))
        words = f"{len(keys):,} of {len(frame):,} entries are, through {text}, their own manager"
        yield _result(name, _NO_CIRCLE, text, "managers", reaction, len(frame), len(keys), words, keys)


def in_circles(keys: pa.Array, managers: pa.Array) -> Mask:
    """Which entries come back to themselves when one goes from manager to manager.

    Everybody goes 1, 2, 4, ... steps at a time: after as many steps as there are entries, an entry still on the
    way is in a circle, and every entry of every circle is stood on.
    """
    count = len(keys)
    nowhere = count
    step = np.append(find(managers, keys), nowhere)
    step[step < 0] = nowhere
    reach = 1
    while reach < count:
        step = step[step]
        reach *= 2
    found = np.zeros(count + 1, dtype=bool)
    found[step] = True
    return found[:count]


def _check_members(source: Snapshot, there: pa.Array, reaction: Reaction) -> CheckResult:
    """Whether memberships are of somebody in something."""
    edges = source.members
    unread = [row.key for row in source.unreadable if row.kind is Kind.GROUP and row.key is not None]
    groups = pa.concat_arrays([texts(source.groups.index), pa.array(unread, type=pa.large_string())])
    nobody = find(texts(edges["member"]), there) < 0
    nothing = find(texts(edges["group"]), groups) < 0
    failing = int((nobody | nothing).sum())
    words = (
        f"{failing:,} of {len(edges):,} memberships lead nowhere: {int(nobody.sum()):,} of people who are not there, "
        f"{int(nothing.sum()):,} of groups that are not there"
    )
    return _result(Checked.SOURCE_MEMBERS, _REFER, "group, member", "members", reaction, len(edges), failing, words)


def _named(keys: pd.Index, rows: Rows | Mask) -> tuple[str, ...]:
    return tuple(sorted(set(keys[rows])))


def _result(
    frame: Checked,
    expectation: str,
    column: str,
    builtin: str,
    reaction: Reaction,
    rows: int,
    failing: int,
    words: str,
    keys: tuple[str, ...] = (),
) -> CheckResult:
    held = reaction is Reaction.HOLD_ROWS and frame.startswith("target.")
    return CheckResult(
        frame=frame,
        expectation=expectation,
        arguments={"column": column},
        on_failure=OnFailure.WARN if held else reaction.on_failure,
        success=not failing,
        keys=keys,
        rows=rows,
        failing=failing,
        builtin=builtin,
        words=words,
    )
