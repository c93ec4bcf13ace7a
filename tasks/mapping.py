"""Turns in-scope entries into the attributes they should have in the target. Pure.

An expression runs over a whole column. An entry whose expression fails is held with its reason; the others go on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.cells import LONGEST_KEY
from connectors.contract import Attribute, Form, Kind, Value
from connectors.errors import ErrorCode, SettingsError
from tasks.expressions import Column, Context, EvaluationError, Expression, compile_expression
from tasks.expressions.tree import Call, walk
from tasks.expressions.values import integer_of, single, text_of
from tasks.fitting import unfit, without_empty
from tasks.job import Apply, AttributeMapping, EntryRules
from tasks.keys import texts
from tasks.membership import is_among
from tasks.scope import SOFT_DELETED, Scoped

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

_KEEPS_OTHERS = "AppRoleAssignmentsComplex"
"""Function whose value is added to what the target has, whatever the mapping says.

Source: Microsoft Entra ID, "Tutorial: customize user provisioning attribute-mappings", provisioning a role.
"""


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that no change is made for, and why."""

    kind: Kind
    anchor: str
    code: ErrorCode
    reason: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class UniqueRules:
    """The rules of a SelectUniqueValue mapping, evaluated only for entries that get an account and still lack one."""

    rules: tuple[Expression, ...]
    source: pd.DataFrame
    """Rows as ``Desired.frame``."""
    context: Context

    def __len__(self) -> int:
        return len(self.rules)

    def offer(self, number: int, rows: Rows) -> Column:
        """What one rule (from 0) offers to some rows of ``Desired.frame``."""
        return self.rules[number].column(self.source.iloc[rows], self.context)


@dataclass(slots=True)
class Desired:
    """What the entries of one kind should look like in the target."""

    kind: Kind
    frame: pd.DataFrame
    """Index: anchor. One column per mapped target path.

    Reference columns hold the anchor of the referred entry; where there may be several, lists of distinct anchors.
    """
    keys: list["pd.Series[str]"]
    """Per matching rule, in order of precedence: the value to look for, index as ``frame``, NaN where there is none."""
    labels: "pd.Series[str]"
    """What people call each entry: its first matching value that may be shown, else its anchor."""
    disabled: Mask
    """Rows of ``frame`` that must not be active (``IsSoftDeleted``)."""
    untouched: dict[str, Mask] = field(default_factory=dict)
    """Per path, rows of ``frame`` whose target value is left alone although the expression gave one (or null)."""
    candidates: dict[str, UniqueRules] = field(default_factory=dict)
    """Per path mapped by SelectUniqueValue: its rules, to be tried in order when an account is created."""
    defaults: dict[str, Value] = field(default_factory=dict)
    """Per path that has one, the default in the type of the target."""
    add_only: frozenset[str] = frozenset()
    """Paths whose expression by itself only adds values to those the target has."""
    redacted: frozenset[str] = frozenset()
    """Paths whose values must not be shown anywhere."""
    held: list[Held] = field(default_factory=list)
    """Entries in scope that could not be mapped; they are not in ``frame``."""
    pending: pd.Index = field(default_factory=lambda: pd.Index([], dtype="str"))
    """Entries that cannot be matched or created now: a value by which accounts are matched, or that is written on
    create alone, cannot be told."""
    skipped: pd.Index = field(default_factory=lambda: pd.Index([], dtype="str"))
    """Entries that a mapping skips as a whole (IgnoreObjectFlow); they are not in ``frame``."""


class Mapper(Protocol):
    """What maps the entries of one kind: :func:`map_entries`, or what comes to the same."""

    def __call__(
        self,
        rules: EntryRules,
        scoped: Scoped,
        context: Context,
        *,
        schema: Mapping[str, Attribute] | None = None,
    ) -> Desired: ...


def map_entries(
    rules: EntryRules, scoped: Scoped, context: Context, *, schema: Mapping[str, Attribute] | None = None
) -> Desired:
    """The desired attributes of every in-scope entry.

    ``schema`` says which target paths are boolean, integer, text or multi-valued; values are converted to these, and an
    entry whose value cannot be, or does not fit, is held. None where the target has no schema: values stay what the
    expression gave.

    Raises: SettingsError for a default that is not of the target's type.
    """
    source = scoped.entries
    evaluation = _Evaluation(source, context)
    values: dict[str, pd.Series] = {}
    redacted, refused = redacted_paths(rules), dict[str, str]()
    for path, mapping in rules.attributes.items():
        series = evaluation.values(path, mapping)
        if mapping.reference is not None:
            info = schema.get(path) if schema is not None else None
            series = _as_references(series, info, path, evaluation.failures)
        elif schema is not None and path in schema:
            series = without_empty(convert(series, schema[path], path, evaluation.failures), schema[path])
            if mapping.apply is not Apply.ON_CREATE:  # what creates alone write is judged where they are planned
                refused |= {**unfit(series, schema[path], path, redacted=path in redacted), **refused}
        values[path] = series
    if scoped.unknown:
        _leave_unknown(rules, scoped, values, evaluation.untouched)
    keys = [evaluation.key(rule.source, rule.target) for rule in rules.matching]
    for rule, key in zip(rules.matching, keys, strict=True):
        _refuse_long(key, rule.target, evaluation.failures)
    labels = _labels(rules, keys, redacted, source.index)
    skipped = evaluation.skipped
    failures = {anchor: problem for anchor, problem in evaluation.failures.items() if not skipped.get(anchor, False)}
    held = [
        Held(scoped.kind, anchor, ErrorCode.EXPRESSION_FAILED, problem, label=str(labels[anchor]))
        for anchor, problem in sorted(failures.items())
    ]
    refused = {anchor: why for anchor, why in refused.items() if anchor not in failures and not skipped.get(anchor)}
    held += [
        Held(scoped.kind, anchor, ErrorCode.UNPROCESSABLE_ENTITY, why, label=str(labels[anchor]))
        for anchor, why in sorted(refused.items())
    ]
    left_out = skipped.to_numpy(dtype=bool) | source.index.isin([*failures, *refused])
    desired = Desired(
        kind=scoped.kind,
        frame=pd.DataFrame(values, index=source.index, copy=False),
        keys=keys,
        labels=labels,
        disabled=source[SOFT_DELETED].to_numpy(dtype=bool),
        untouched=evaluation.untouched,
        candidates={path: UniqueRules(unique, source, context) for path, unique in evaluation.unique.items()},
        defaults=_defaults(rules, schema),
        add_only=frozenset(path for path, mapping in rules.attributes.items() if _keeps_others(mapping)),
        redacted=redacted,
        held=held,
        pending=_pending(rules, scoped),
        skipped=source.index[skipped.to_numpy(dtype=bool)],
    )
    return _only(desired, ~left_out) if left_out.any() else desired


def _leave_unknown(rules: EntryRules, scoped: Scoped, values: dict[str, pd.Series], untouched: dict[str, Mask]) -> None:
    """Attributes that follow from a value that cannot be told now stay as they are; joiners get them later."""
    for path, mapping in rules.attributes.items():
        text = expression_of(mapping)
        unclear = _unclear(scoped, text) if text is not None else None
        if unclear is None or not unclear.any():
            continue
        before = untouched.get(path)
        untouched[path] = unclear if before is None else before | unclear
        values[path] = values[path].mask(unclear)


def _pending(rules: EntryRules, scoped: Scoped) -> pd.Index:
    """As ``Desired.pending``."""
    mask = np.zeros(len(scoped.entries), dtype=bool)
    if scoped.unknown:
        once = [expression_of(one) for one in rules.attributes.values() if one.apply is Apply.ON_CREATE]
        for text in (*once, *(rule.source for rule in rules.matching)):
            if text is not None:
                mask |= _unclear(scoped, text)
    return scoped.entries.index[mask]


def _unclear(scoped: Scoped, text: str) -> Mask:
    """Rows for which an expression reads a value that cannot be told now."""
    mask = np.zeros(len(scoped.entries), dtype=bool)
    for attribute in compile_expression(text).attributes & scoped.unknown.keys():
        mask |= is_among(scoped.entries.index, texts(scoped.unknown[attribute]))
    return mask


class _Evaluation:
    """Every expression of the rules on one frame, and what became of single entries on the way."""

    def __init__(self, source: pd.DataFrame, context: Context) -> None:
        self._source = source
        self._context = context
        self._columns: dict[str, Column] = {}
        self.failures: dict[str, str] = {}
        """Anchor to the first problem, with the path."""
        self.skipped = pd.Series(False, index=source.index)
        self.untouched: dict[str, Mask] = {}
        self.unique: dict[str, tuple[Expression, ...]] = {}

    def values(self, path: str, mapping: AttributeMapping) -> pd.Series:
        """The values of one mapping; null throughout where they are chosen later, or there is only a default."""
        text = expression_of(mapping)
        if text is None:
            return _constant(mapping.constant, self._source.index)
        if unique := compile_expression(text).unique_rules:
            self.unique[path] = unique
            return _constant(None, self._source.index)
        column = self._column(text, path)
        if column.left_alone is not None and column.left_alone.any():
            self.untouched[path] = column.left_alone
        if column.skipped is not None:
            self.skipped |= column.skipped
        return column.values

    def key(self, text: str, target: str) -> "pd.Series[str]":
        """The values of a matching rule's source."""
        return convert(self._column(text, f"matching by {target}").values, _REFERENCE, target, self.failures)

    def _column(self, text: str, what: str) -> Column:
        if text not in self._columns:
            self._columns[text] = compile_expression(text).column(self._source, self._context)
        for anchor, problem in self._columns[text].failed.items():
            self.failures.setdefault(anchor, f"{what}: {problem}")
        return self._columns[text]


# --- what rules say about their paths ------------------------------------------------------------------------------


def expression_of(mapping: AttributeMapping) -> str | None:
    """The text of the expression that a mapping evaluates, None where it has none."""
    return mapping.expression if mapping.expression is not None else mapping.reference


def referenced_paths(rules: EntryRules) -> frozenset[str]:
    """Target paths whose value is another entry."""
    return frozenset(path for path, mapping in rules.attributes.items() if mapping.reference is not None)


def redacted_paths(rules: EntryRules) -> frozenset[str]:
    """Target paths whose values must not be shown: the mapping says so, or its expression does with Redact."""
    return frozenset(path for path, mapping in rules.attributes.items() if mapping.redact or _redacts(mapping))


def only_default(mapping: AttributeMapping) -> bool:
    """True for the mapping type none: the target is left alone unless it is empty, then it gets the default."""
    return mapping.constant is None and expression_of(mapping) is None


def _redacts(mapping: AttributeMapping) -> bool:
    text = expression_of(mapping)
    return text is not None and compile_expression(text).redacted


def _keeps_others(mapping: AttributeMapping) -> bool:
    text = expression_of(mapping)
    nodes = () if text is None else walk(compile_expression(text).tree)
    return any(isinstance(node, Call) and node.name == _KEEPS_OTHERS for node in nodes)


def _labels(
    rules: EntryRules, keys: list["pd.Series[str]"], redacted: frozenset[str], index: pd.Index
) -> "pd.Series[str]":
    """The first matching value that is not redacted, neither by its own path nor as the value of a redacted one."""
    hidden = {expression_of(rules.attributes[path]) for path in redacted}
    labels = pd.Series(index, index=index, dtype="str")
    for rule, key in zip(rules.matching, keys, strict=True):
        if rule.target not in redacted and rule.source not in hidden and not compile_expression(rule.source).redacted:
            return key.where(key.notna() & ~_is_long(key), labels)
    return labels


def _is_long(key: "pd.Series[str]") -> Mask:
    lengths = pc.fill_null(pc.utf8_length(pa.array(key.array, type=pa.large_string(), from_pandas=True)), 0)
    return np.asarray(pc.greater(lengths, LONGEST_KEY), dtype=bool)


def _refuse_long(key: "pd.Series[str]", path: str, failures: dict[str, str]) -> None:
    """A value that is longer than any name holds its entry alone; no index of a database would take it."""
    for anchor in key.index[_is_long(key)]:
        why = f"a value by which accounts are matched has at most {LONGEST_KEY:,} characters"
        failures.setdefault(str(anchor), f"{path}: {why}, and this one has {len(str(key[anchor])):,}.")


# --- defaults ------------------------------------------------------------------------------------------------------


def with_defaults(
    rules: EntryRules, desired: Desired, frame: pd.DataFrame, rows: Rows, *, creating: bool
) -> pd.DataFrame:
    """Some rows of ``desired.frame`` (given as ``frame``) with the defaults that apply put where the value is null.

    Defaults count when an account is created; for a mapping of type none (a default and nothing else) always. An
    attribute that the expression leaves out (IgnoreAttributeFlow) stays out.
    """
    filled = {}
    for path, default in desired.defaults.items():
        if not creating and not only_default(rules.attributes[path]):
            continue
        missing = frame[path].isna().to_numpy(dtype=bool)
        if path in desired.untouched:
            missing = missing & ~desired.untouched[path][rows]
        if missing.any():
            filled[path] = _fill(frame[path], missing, default)
    return frame.assign(**filled) if filled else frame


def _fill(series: pd.Series, missing: Mask, default: Value) -> pd.Series:
    """The series with the default where it is missing; without a schema it may need another type."""
    match default:
        case list() | dict():
            fits = False
        case _ if isinstance(series.dtype, pd.StringDtype):
            fits, default = True, text_of(default)
        case bool():
            fits = series.dtype == "boolean"
        case int():
            fits = series.dtype == "Int64"
        case _:
            fits = False
    if fits:
        return series.mask(missing, default)
    cells = series.astype(object).to_numpy(dtype=object, copy=True)
    for position in np.flatnonzero(missing):
        cells[position] = default
    return pd.Series(cells, index=series.index, dtype=object)


def _defaults(rules: EntryRules, schema: Mapping[str, Attribute] | None) -> dict[str, Value]:
    defaults = {}
    for path, mapping in rules.attributes.items():
        if mapping.default is None:
            continue
        defaults[path] = mapping.default
        if schema is not None and path in schema:
            failures: dict[str, str] = {}
            series = convert(_constant(mapping.default, pd.Index(["default"])), schema[path], path, failures)
            if failures:
                raise SettingsError(f"The default of {failures['default']} Nothing was written.")
            defaults[path] = series.tolist()[0]
    return defaults


def _only(desired: Desired, keep: Mask) -> Desired:
    """The same without the rows that are not kept."""
    desired.frame = desired.frame.loc[keep]
    desired.keys = [key.loc[keep] for key in desired.keys]
    desired.labels = desired.labels.loc[keep]
    desired.disabled = desired.disabled[keep]
    desired.untouched = {path: mask[keep] for path, mask in desired.untouched.items()}
    desired.candidates = {
        path: UniqueRules(unique.rules, unique.source.loc[keep], unique.context)
        for path, unique in desired.candidates.items()
    }
    return desired


def _constant(value: Value, index: pd.Index) -> pd.Series:
    match value:
        case bool():
            return pd.Series(value, index=index, dtype="boolean")
        case int() if abs(value) < 2**63:
            return pd.Series(value, index=index, dtype="Int64")
        case float():
            return pd.Series(value, index=index, dtype="Float64")
        case None | str():
            return pd.Series(value, index=index, dtype="str")
        case _:
            return pd.Series([value] * len(index), index=index, dtype=object)


# --- types of the target -------------------------------------------------------------------------------------------

_REFERENCE = Attribute(form=Form.REFERENCE)
"""What is looked up, a reference or a matching value, is one text."""


def convert(series: pd.Series, info: Attribute, path: str, failures: dict[str, str]) -> pd.Series:
    """The column in the type that the target's schema asks for; unconvertible entries are added to ``failures``.

    A single value for a multi-valued attribute becomes a list of one, and a list of one a single value.
    """
    if info.several:
        return _as_lists(series)
    match info.form:
        case Form.BOOLEAN:
            return _as_booleans(series, path, failures)
        case Form.INTEGER:
            return _as_integers(series, path, failures)
        case Form.STRUCTURE | Form.DECIMAL:
            return series
        case _:
            return _as_texts(series, path, failures)


def _as_references(series: pd.Series, info: Attribute | None, path: str, failures: dict[str, str]) -> pd.Series:
    """Anchors: texts, or lists of them where the target takes several, or does not say and an entry has several."""
    several = info.several if info is not None else _has_several(series)
    if not several:
        return convert(series, _REFERENCE, path, failures)
    cells = np.empty(len(series), dtype=object)
    for position, (anchor, value) in enumerate(zip(series.index, _as_lists(series).array, strict=True)):
        try:
            texts = [text_of(item) for item in value or () if single(item) is not None]
        except EvaluationError as error:
            failures.setdefault(str(anchor), f"{path}: {error}.")
            texts = []
        cells[position] = list(dict.fromkeys(texts)) or None
    return pd.Series(cells, index=series.index, dtype=object)


def _has_several(series: pd.Series) -> bool:
    return series.dtype == object and any(isinstance(value, list) and len(value) > 1 for value in series.array)


def _as_lists(series: pd.Series) -> pd.Series:
    cells = np.empty(len(series), dtype=object)
    for position, (value, missing) in enumerate(zip(series.tolist(), series.isna(), strict=True)):
        cells[position] = None if missing else value if isinstance(value, list) else [value]
    return pd.Series(cells, index=series.index, dtype=object)


def _as_texts(series: pd.Series, path: str, failures: dict[str, str]) -> "pd.Series[str]":
    if isinstance(series.dtype, pd.StringDtype):
        return series
    if series.dtype != object:
        return series.astype("str")
    return pd.Series(_cells(series, text_of, path, failures), index=series.index, dtype="str")


def _as_booleans(series: pd.Series, path: str, failures: dict[str, str]) -> pd.Series:
    if series.dtype == "boolean":
        return series
    texts = _as_texts(series, path, failures).str.lower()
    converted = pd.Series(pd.NA, index=series.index, dtype="boolean")
    converted[texts.isin(["true", "1"])] = True
    converted[texts.isin(["false", "0"])] = False
    return _converted(converted, texts, path, "boolean", failures)


_INTEGER = r"^\s*[+-]?[0-9]+\s*$"
_SMALL = 18
"""Characters that a number may have so that it surely fits into 64 bits."""


def _as_integers(series: pd.Series, path: str, failures: dict[str, str]) -> pd.Series:
    if series.dtype == "Int64":
        return series
    if not isinstance(series.dtype, pd.StringDtype):
        cells = _cells(series, integer_of, path, failures)
        return pd.Series(cells, index=series.index, dtype="Int64")
    texts = pa.array(series.array, type=pa.large_string(), from_pandas=True)
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    whole = pc.fill_null(pc.match_substring_regex(texts, _INTEGER), False)
    small = np.asarray(pc.and_(whole, pc.less_equal(pc.fill_null(pc.utf8_length(texts), 0), _SMALL)), dtype=bool)
    numbers, missing = np.zeros(len(series), dtype=np.int64), np.ones(len(series), dtype=bool)
    plain = pc.replace_substring_regex(texts.filter(pa.array(small)), r"[\s+]+", "")
    numbers[small], missing[small] = np.asarray(pc.cast(plain, pa.int64())), False
    for position in np.flatnonzero(np.asarray(whole, dtype=bool) & ~small):
        number = int(texts[int(position)].as_py())
        if -(2**63) <= number < 2**63:
            numbers[position], missing[position] = number, False
    converted = pd.Series(pd.arrays.IntegerArray(numbers, missing), index=series.index)
    return _converted(converted, series, path, "integer", failures)


def _converted(
    converted: pd.Series, texts: "pd.Series[str]", path: str, wanted: str, failures: dict[str, str]
) -> pd.Series:
    """The converted column; entries whose text means nothing in the wanted type are noted. Empty text is null."""
    for anchor in texts.index[texts.notna() & (texts != "") & converted.isna()]:
        failures.setdefault(str(anchor), f"{path}: the target wants a value of type {wanted} here.")
    return converted


def _cells(series: pd.Series, read: Callable[[Value], Value], path: str, failures: dict[str, str]) -> list[Value]:
    """Each value read on its own; those that cannot be are noted and null."""
    cells: list[Value] = []
    for anchor, value, missing in zip(series.index, series.tolist(), series.isna(), strict=True):
        cell = None
        try:
            cell = None if missing or single(value) is None else read(value)
        except EvaluationError as error:
            failures.setdefault(str(anchor), f"{path}: {error}.")
        cells.append(cell)
    return cells
