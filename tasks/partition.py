"""Maps the entries of one kind in parts, so that others can do so side by side. Pure.

A hash of its anchor says in which part an entry is, whatever other entries there are. What comes of the parts is what
``tasks.mapping.map_entries`` gives for all of them at once, but for what is drawn by chance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import SystemRandom

import numpy as np
import pandas as pd

from connectors.contract import Attribute
from tasks.expressions import Context
from tasks.job import EntryRules
from tasks.keys import Rows, find, texts
from tasks.mapping import Desired, UniqueRules, map_entries
from tasks.membership import is_among
from tasks.scope import Scoped

MapParts = Callable[[Sequence[Scoped]], Sequence[Desired]]
"""Maps each part by ``map_part``, side by side, and gives the results in the same order."""


def map_in_parts(
    rules: EntryRules,
    scoped: Scoped,
    context: Context,
    *,
    schema: Mapping[str, Attribute] | None,
    parts: int,
    map_parts: MapParts,
) -> Desired:
    """As ``tasks.mapping.map_entries``, in at most so many parts.

    The parts are mapped again as one where a column is of one type in this part and of another in that: the type of a
    column that the target says nothing about follows from all its values. Raises: SettingsError.
    """
    numbers = pd.util.hash_array(scoped.entries.index.to_numpy(dtype=object), categorize=False) % parts
    rows = [found for part in range(parts) if len(found := np.flatnonzero(numbers == part))]
    mapped = map_parts([_part(scoped, found) for found in rows]) if len(rows) > 1 else ()
    if not mapped or any(_types(one) != _types(mapped[0]) for one in mapped[1:]):
        return map_entries(rules, scoped, context, schema=schema)
    return _joined(rules, scoped, context, rows, mapped)


def map_part(rules: EntryRules, part: Scoped, context: Context, schema: Mapping[str, Attribute] | None) -> Desired:
    """One part mapped, without what takes more than one part to choose."""
    desired = map_entries(rules, part, replace(context, random=SystemRandom()), schema=schema)
    return replace(desired, candidates={path: _without_rows(rule) for path, rule in desired.candidates.items()})


def _part(scoped: Scoped, rows: Rows) -> Scoped:
    return replace(scoped, entries=scoped.entries.iloc[rows], out=scoped.out.iloc[:0])


def _without_rows(rule: UniqueRules) -> UniqueRules:
    return replace(rule, source=rule.source.iloc[:0], context=Context(now=rule.context.now))


def _types(desired: Desired) -> list[object]:
    return [*desired.frame.dtypes, *(key.dtype for key in desired.keys)]


def _joined(
    rules: EntryRules, scoped: Scoped, context: Context, rows: Sequence[Rows], mapped: Sequence[Desired]
) -> Desired:
    """What came of the parts, with the entries in the order in which they are in scope."""
    anchors = texts(scoped.entries.index)
    kept = find(texts(pd.concat([one.frame.iloc[:, :0] for one in mapped]).index), anchors)
    order = np.argsort(kept)
    skipped = np.concatenate([find(texts(one.skipped), anchors) for one in mapped])
    left_alone = {path for one in mapped for path in one.untouched}
    source = scoped.entries if len(kept) == len(scoped.entries) else scoped.entries.iloc[kept[order]]
    first = mapped[0]
    return replace(
        first,
        frame=pd.concat([one.frame for one in mapped]).iloc[order],
        keys=[pd.concat(list(keys)).iloc[order] for keys in zip(*(one.keys for one in mapped), strict=True)],
        labels=pd.concat([one.labels for one in mapped]).iloc[order],
        disabled=np.concatenate([one.disabled for one in mapped])[order],
        untouched={
            path: np.concatenate([one.untouched.get(path, np.zeros(len(one.frame), dtype=bool)) for one in mapped])[
                order
            ]
            for path in rules.attributes
            if path in left_alone
        },
        candidates={path: UniqueRules(rule.rules, source, context) for path, rule in first.candidates.items()},
        held=sorted((held for one in mapped for held in one.held), key=lambda held: held.anchor),
        pending=scoped.entries.index[is_among(scoped.entries.index, texts(_pending(mapped)))],
        skipped=scoped.entries.index[np.sort(skipped)],
    )


def _pending(mapped: Sequence[Desired]) -> pd.Index:
    return mapped[0].pending.append([one.pending for one in mapped[1:]])
