"""Who gets an account, with which values. Pure."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.fitting import unfit
from tasks.job import Apply
from tasks.keys import Rows, ascending, texts
from tasks.mapping import Held, Mask, referenced_paths, with_defaults
from tasks.plan.blocks import Block, Situation, Wave


def create_entries(s: Situation, rows: Rows) -> tuple[Block | None, list[Held]]:
    """Everybody (rows of the desired frame) who gets an account; and everybody who cannot, with the reason."""
    if not s.traits.does(s.desired.kind, Action.CREATE):
        return None, _only_found(s, rows)
    rows, nameless = _recognisable(s, rows)
    if not len(rows):
        return None, nameless
    rows = rows[ascending(texts(s.desired.frame.index.take(rows)))]
    everybody = len(rows) == len(s.desired.frame) and bool((np.diff(rows) == 1).all())
    desired = s.desired.frame if everybody else s.desired.frame.iloc[rows]
    after = with_defaults(s.rules, s.desired, desired, rows, creating=True)
    after, problems = _choose_unique(s, after, rows)
    _refuse_unfit(s, after, problems)
    for at in np.flatnonzero(after.isna().all(axis=1).to_numpy(dtype=bool)):
        problems.setdefault(int(at), (ErrorCode.MISSING_VALUES, "None of its mapped attributes has a value."))
    table = pd.DataFrame(
        {
            "anchor": pd.Series(after.index, dtype="str"),
            "target_id": pd.Series(np.nan, index=range(len(after)), dtype="str"),
            "label": s.desired.labels.iloc[rows].array,
            "reason": pd.Series("in scope, and no account of the target matches", index=range(len(after)), dtype="str"),
        }
    )
    again = s.matches.vanished[rows]
    if again.any():
        table.loc[again, "reason"] = "its account was deleted in the target outside Provisor"
    wave = Wave.CREATE_USERS if s.desired.kind is Kind.USER else Wave.GROUPS
    block = Block(
        wave=wave,
        kind=s.desired.kind,
        action=Action.CREATE,
        table=table,
        after=after.reset_index(drop=True),
        desired=desired.reset_index(drop=True),
        rules=s.said,
        references=referenced_paths(s.rules),
        redacted=s.desired.redacted,
        known_by=_known_by(s),
    )
    if not problems:
        return block, nameless
    held = nameless + [
        Held(s.desired.kind, str(table["anchor"].iloc[at]), code, reason, label=str(table["label"].iloc[at]))
        for at, (code, reason) in sorted(problems.items())
    ]
    kept = np.ones(len(rows), dtype=bool)
    kept[list(problems)] = False
    return block.take(kept), held


def _only_found(s: Situation, rows: Rows) -> list[Held]:
    """Entries without an account in a target that creates none: its roles and licences are only filled."""
    kind = s.desired.kind
    reason = f"No {kind} of the target matches, and the target does not let anybody create {kind}s; create it there."
    return [
        Held(
            kind,
            str(s.desired.frame.index[int(row)]),
            ErrorCode.NOT_PERMITTED,
            reason,
            label=str(s.desired.labels.iloc[row]),
        )
        for row in rows
    ]


def _known_by(s: Situation) -> tuple[str, ...]:
    """Attributes by which an account can be found again: values that are never kept are of no use."""
    paths = dict.fromkeys((*(rule.target for rule in s.rules.matching), *s.desired.candidates))
    return tuple(path for path in paths if path not in s.desired.redacted)


def _recognisable(s: Situation, rows: Rows) -> tuple[Rows, list[Held]]:
    """Who has a value to be recognised by; an account without one would be created again when its link is lost.

    Source: Microsoft Entra, "How application provisioning works": an object without a matching value is skipped.
    """
    named = np.logical_or.reduce([key.iloc[rows].notna().to_numpy(dtype=bool) for key in s.desired.keys])
    paths = " and ".join(rule.target for rule in s.rules.matching)
    reason = f"It has no value for {paths}, by which accounts are matched; none is created."
    held = []
    for row in rows[~named]:
        anchor, label = str(s.desired.frame.index[int(row)]), str(s.desired.labels.iloc[row])
        held.append(Held(s.desired.kind, anchor, ErrorCode.IMPORT_SKIPPED, reason, label=label))
    return rows[named], held


Problems = dict[int, tuple[ErrorCode, str]]
"""Position among the creates to why there is none."""


def _choose_unique(s: Situation, after: pd.DataFrame, rows: Rows) -> tuple[pd.DataFrame, Problems]:
    """The first free value of every SelectUniqueValue mapping, for the creates (``rows``, in order of anchors)."""
    problems: Problems = {}
    for path, unique in s.desired.candidates.items():
        exact = path in s.exact
        chosen = np.full(len(rows), None, dtype=object)
        taken = _values_in_use(s, path, exact=exact)
        failed: dict[str, str] = {}
        misfits: dict[str, str] = {}
        valueless = np.ones(len(rows), dtype=bool)
        for number in range(len(unique)):
            waiting = np.flatnonzero(pd.isna(chosen))
            if not len(waiting):
                break
            offered, unusable, unfitting = _offers(s, path, number, rows[waiting])
            failed |= unusable
            misfits |= unfitting
            valueless[waiting] &= np.asarray(offered.is_null(), dtype=bool)
            keys = offered if exact else pc.utf8_lower(offered)
            free = _free(keys, taken)
            chosen[waiting[free]] = offered.filter(pa.array(free)).to_pylist()
            taken = pa.concat_arrays([taken, keys.filter(pa.array(free))])
        for at in np.flatnonzero(pd.isna(chosen)):
            anchor = str(after.index[int(at)])
            found = (ErrorCode.CONFLICT, f"{path}: every value that SelectUniqueValue offers is taken; add a rule.")
            if anchor in failed:
                found = (ErrorCode.EXPRESSION_FAILED, f"{path}: {failed[anchor]}")
            elif anchor in misfits:
                found = (ErrorCode.UNPROCESSABLE_ENTITY, misfits[anchor])
            elif valueless[at]:
                found = (ErrorCode.MISSING_VALUES, f"{path}: no rule of SelectUniqueValue gives a value.")
            problems.setdefault(int(at), found)
        lists = after[path].dtype == object
        values = [[value] for value in chosen] if lists else list(chosen)
        after = after.assign(**{path: pd.Series(values, index=after.index, dtype=object if lists else "str")})
    return after, problems


def _refuse_unfit(s: Situation, after: pd.DataFrame, problems: Problems) -> None:
    """Entries with a value, written on create alone, that the target would not take."""
    for path, mapping in s.rules.attributes.items():
        if path not in s.schema or mapping.apply is not Apply.ON_CREATE or path not in after:
            continue
        wrong = unfit(after[path], s.schema[path], path, redacted=path in s.desired.redacted)
        for anchor, why in wrong.items():
            at = int(after.index.get_indexer(pd.Index([anchor]))[0])
            problems.setdefault(at, (ErrorCode.UNPROCESSABLE_ENTITY, why))


def _offers(s: Situation, path: str, number: int, rows: Rows) -> tuple[pa.Array, dict[str, str], dict[str, str]]:
    """One rule's values as texts, null where none fits; by anchor why it failed, and why its value does not fit."""
    column = s.desired.candidates[path].offer(number, rows)
    values = column.values.astype("str")
    info = s.schema.get(path)
    wrong = unfit(values, info, path, redacted=path in s.desired.redacted) if info is not None else {}
    values = values.mask(values.index.isin(list(wrong)) | (values == ""))
    texts = pa.array(values.array, type=pa.large_string(), from_pandas=True)
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts, column.failed, wrong


def _free(keys: pa.Array, taken: pa.Array) -> Mask:
    """Values that nobody has; of several entries that want the same one, the first gets it."""
    first = np.asarray(pc.fill_null(pc.index_in(keys, value_set=keys, skip_nulls=True), -1), dtype=np.int64)
    free: Mask = (first == np.arange(len(keys))) & ~np.asarray(pc.is_in(keys, value_set=taken), dtype=bool)
    return free


def _values_in_use(s: Situation, path: str, *, exact: bool) -> pa.Array:
    """Every value that the target has at a path, multi-valued ones one by one."""
    held = s.existing[path].dropna() if path in s.existing else pd.Series(dtype="str")
    if held.dtype == object:
        held = held.explode().dropna()
    texts = pa.array(held.astype("str").array, type=pa.large_string(), from_pandas=True)
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return texts if exact else pc.utf8_lower(texts)
