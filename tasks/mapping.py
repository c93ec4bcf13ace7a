"""Turns in-scope entries into the attributes they should have in the target. Pure.

An expression runs over a whole column. An entry whose expression fails is held with its reason; the others go on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from connectors.contract import AttributeInfo, Kind, Value
from connectors.errors import ErrorCode
from tasks.expressions import Column, Context, compile_expression
from tasks.job import AttributeMapping, EntryRules
from tasks.scope import Scoped

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that no change is made for, and why."""

    kind: Kind
    anchor: str
    code: ErrorCode
    reason: str
    label: str = ""


@dataclass(slots=True)
class Desired:
    """What the entries of one kind should look like in the target."""

    kind: Kind
    frame: pd.DataFrame
    """Index: anchor. One column per mapped target path; reference columns hold the anchor of the referred entry."""
    keys: list["pd.Series[str]"]
    """Per matching rule, in order of precedence: the value to look for, index as ``frame``, NaN where there is none."""
    labels: "pd.Series[str]"
    """What people call each entry: its first matching value, else its anchor."""
    disabled: Mask
    """Rows of ``frame`` that must not be active (``IsSoftDeleted``)."""
    untouched: dict[str, Mask] = field(default_factory=dict)
    """Per path, rows of ``frame`` whose target value is left alone although the expression gave one (or null)."""
    candidates: dict[str, list["pd.Series[str]"]] = field(default_factory=dict)
    """Per path mapped by SelectUniqueValue: its rules' values, to be tried in order when an account is created."""
    redacted: frozenset[str] = frozenset()
    """Paths whose values must not be shown anywhere."""
    held: list[Held] = field(default_factory=list)
    """Entries in scope that could not be mapped; they are not in ``frame``."""
    skipped: pd.Index = field(default_factory=lambda: pd.Index([], dtype="str"))
    """Entries that a mapping skips as a whole (IgnoreObjectFlow); they are not in ``frame``."""


def map_entries(
    rules: EntryRules, scoped: Scoped, context: Context, *, schema: Mapping[str, AttributeInfo] | None = None
) -> Desired:
    """The desired attributes of every in-scope entry.

    ``schema`` says which target paths are boolean or integer; text is converted to these, and an entry whose text
    cannot be is held. None where the target has no schema: values stay what the expression gave.
    """
    source = scoped.entries
    columns: dict[str, Column] = {}

    def evaluate(text: str) -> Column:
        if text not in columns:
            columns[text] = compile_expression(text).column(source, context)
        return columns[text]

    failures: dict[str, str] = {}
    skipped = np.zeros(len(source), dtype=bool)
    values: dict[str, pd.Series] = {}
    untouched: dict[str, Mask] = {}
    candidates: dict[str, list[pd.Series[str]]] = {}
    redacted = {path for path, mapping in rules.attributes.items() if mapping.redact}

    for path, mapping in rules.attributes.items():
        text = mapping.expression if mapping.expression is not None else mapping.reference
        if text is None:
            values[path] = _constant(mapping.constant, source.index)
            continue
        if unique := compile_expression(text).unique_rules:
            candidates[path] = [rule.column(source, context).values for rule in unique]
            values[path] = _constant(None, source.index)
            continue
        column = evaluate(text)
        for anchor, problem in column.failed.items():
            failures.setdefault(anchor, f"{path}: {problem}")
        if column.left_alone is not None and column.left_alone.any():
            untouched[path] = column.left_alone
        if column.skipped is not None:
            skipped |= column.skipped
        if column.redacted:
            redacted.add(path)
        values[path] = column.values

    keys = []
    for rule in rules.matching:
        column = evaluate(rule.source)
        for anchor, problem in column.failed.items():
            failures.setdefault(anchor, f"matching by {rule.target}: {problem}")
        keys.append(_text(column.values))

    for path, series in values.items():
        if schema is not None and path in schema:
            values[path] = _as_type(series, schema[path], path, failures)

    frame = pd.DataFrame(values, index=source.index, copy=False)
    labels = _labels(keys, source.index)
    keep = ~skipped
    if failures:
        keep &= ~np.asarray(source.index.isin(list(failures)))
    held = [
        Held(scoped.kind, anchor, ErrorCode.EXPRESSION_FAILED, problem, label=str(labels[anchor]))
        for anchor, problem in failures.items()
    ]
    soft_deleted = source["IsSoftDeleted"].to_numpy(dtype=bool)
    desired = Desired(
        kind=scoped.kind,
        frame=frame,
        keys=keys,
        labels=labels,
        disabled=soft_deleted,
        untouched=untouched,
        candidates=candidates,
        redacted=frozenset(redacted),
        held=sorted(held, key=lambda entry: entry.anchor),
        skipped=source.index[skipped],
    )
    return desired if keep.all() else _only(desired, keep)


def referenced_paths(rules: EntryRules) -> frozenset[str]:
    """Target paths whose value is another entry."""
    return frozenset(path for path, mapping in rules.attributes.items() if mapping.reference is not None)


def with_defaults(rules: EntryRules, frame: pd.DataFrame, *, creating: bool) -> pd.DataFrame:
    """The frame with the defaults that apply put where the value is null.

    Defaults count when an account is created; for a mapping of type none (a default and nothing else) always.
    """
    filled = {
        path: _fill(frame[path], mapping.default)
        for path, mapping in rules.attributes.items()
        if mapping.default is not None and (creating or only_default(mapping)) and frame[path].isna().any()
    }
    return frame.assign(**filled) if filled else frame


def only_default(mapping: AttributeMapping) -> bool:
    """True for the mapping type none: the target is left alone unless it is empty, then it gets the default."""
    return mapping.expression is None and mapping.constant is None and mapping.reference is None


def _fill(series: pd.Series, default: Value) -> pd.Series:
    if isinstance(series.dtype, pd.StringDtype):
        return series.fillna(str(default))
    if series.dtype == object:
        return series.where(series.notna(), default)
    return series.fillna(default)


def _only(desired: Desired, keep: Mask) -> Desired:
    """The same without the rows that are not kept."""
    desired.frame = desired.frame.loc[keep]
    desired.keys = [key.loc[keep] for key in desired.keys]
    desired.labels = desired.labels.loc[keep]
    desired.disabled = desired.disabled[keep]
    desired.untouched = {path: mask[keep] for path, mask in desired.untouched.items()}
    desired.candidates = {path: [series.loc[keep] for series in rules] for path, rules in desired.candidates.items()}
    return desired


def _constant(value: Value, index: pd.Index) -> pd.Series:
    if isinstance(value, bool):
        return pd.Series(value, index=index, dtype="boolean")
    if isinstance(value, int):
        return pd.Series(value, index=index, dtype="Int64")
    if value is None or isinstance(value, str):
        return pd.Series(value, index=index, dtype="str")
    return pd.Series([value] * len(index), index=index, dtype=object)


def _labels(keys: list["pd.Series[str]"], index: pd.Index) -> "pd.Series[str]":
    anchors = pd.Series(index, index=index, dtype="str")
    return keys[0].where(keys[0].notna(), anchors) if keys else anchors


def _text(series: pd.Series) -> "pd.Series[str]":
    if isinstance(series.dtype, pd.StringDtype):
        return series
    return series.astype("str")


def _as_type(series: pd.Series, info: AttributeInfo, path: str, failures: dict[str, str]) -> pd.Series:
    """The column in the type that the target's schema asks for; unconvertible entries are added to ``failures``."""
    if info.multi_valued or not isinstance(series.dtype, pd.StringDtype):
        return series
    match info.type:
        case "boolean":
            lowered = series.str.lower()
            converted = pd.Series(pd.NA, index=series.index, dtype="boolean")
            converted[lowered == "true"] = True
            converted[lowered == "false"] = False
        case "integer":
            whole = series.str.fullmatch(r"[+-]?[0-9]{1,18}").fillna(False).astype(bool)
            converted = pd.Series(pd.NA, index=series.index, dtype="Int64")
            converted[whole] = series[whole].astype("int64").astype("Int64")
        case _:
            return series
    for anchor in series.index[series.notna() & converted.isna()]:
        failures.setdefault(str(anchor), f"{path}: the target wants a value of type {info.type} here.")
    return converted
