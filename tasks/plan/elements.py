"""Multi-valued and complex attributes as targets keep them: what counts as the same, and what is missing. Pure.

A target stores an element of a list in its own way: it leaves out sub-attributes that it does not know or that are
false, and adds some of its own. An element is recognised by its ``value``; where both sides have a sub-attribute it
must agree.

Source: RFC 7643 section 2.4 (multi-valued attributes; an absent ``primary`` is false), section 2.5 (null and empty).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from connectors.contract import Value
from tasks.mapping import Mask
from tasks.plan.compare import canonical


def same_elements(wanted: pd.Series, held_now: pd.Series, *, exact: bool) -> Mask:
    """Rows where the target's value is the wanted one in the target's own form; index as ``wanted``."""
    pairs = zip(wanted.array, held_now.array, strict=True)
    return np.fromiter((_same(a, b, fold=not exact) for a, b in pairs), dtype=bool, count=len(wanted))


def same_value(wanted: Value, held_now: Value, *, fold: bool) -> bool:
    """As :func:`same_elements`, for one pair of values."""
    return _same(wanted, held_now, fold=fold)


def with_missing_elements(wanted: pd.Series, held_now: pd.Series, *, exact: bool) -> pd.Series:
    """The values there are, followed by the wanted ones that are missing; null where nothing is wanted."""
    merged = np.empty(len(wanted), dtype=object)
    for row, (new, old) in enumerate(zip(wanted.array, held_now.array, strict=True)):
        elements, there = elements_of(new), elements_of(old)
        missing = [item for item in elements if not any(_alike(item, other, fold=not exact) for other in there)]
        merged[row] = [*there, *missing] if elements else None
    return pd.Series(merged, index=wanted.index, dtype=object)


def elements_of(value: Value) -> list[Value]:
    """The values of a cell, a single value being a list of one and null being none."""
    if isinstance(value, list | tuple):
        return [item for item in value if canonical(item) is not None]
    return [] if canonical(value) is None else [value]


def _same(new: Value, old: Value, *, fold: bool) -> bool:
    wanted, there = elements_of(new), elements_of(old)
    return len(wanted) == len(there) and _all_among(wanted, there, fold) and _all_among(there, wanted, fold)


def _all_among(items: Sequence[Value], others: Sequence[Value], fold: bool) -> bool:
    return all(any(_alike(item, other, fold=fold) for other in others) for item in items)


def _alike(left: Value, right: Value, *, fold: bool) -> bool:
    """True for values that a target may give back for one another."""
    if isinstance(left, dict) and isinstance(right, dict):
        a, b = _filled(left, fold), _filled(right, fold)
        shared = a.keys() & b.keys()
        named = "value" in shared or ("value" not in a and "value" not in b and bool(shared))
        return named and all(a[key] == b[key] for key in shared)
    if isinstance(left, dict) or isinstance(right, dict):
        return False
    return _text(left, fold) == _text(right, fold)


def _filled(element: dict[str, Value], fold: bool) -> dict[str, str]:
    """Sub-attributes that say something, as texts; names have no case."""
    return {
        key.lower(): _text(canonical(value, fold=fold), fold)
        for key, value in element.items()
        if canonical(value) is not None and value is not False
    }


def _text(value: Value, fold: bool) -> str:
    return str(value).lower() if fold else str(value)
