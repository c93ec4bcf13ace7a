"""A plan as JSON, for machines; and its changes as plain values, for pages that show a few of them.

A million changes are written column by column: each column becomes JSON text in Arrow, and the columns of a chunk of
rows are joined to one text. A dict per change took twice as long.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import reduce
from typing import Any, BinaryIO, TypeAlias

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from flows.cycle.preview import Decision
from flows.show.json_out import JsonOut
from tasks.keys import texts
from tasks.ledger import REDACTED
from tasks.mapping import Held
from tasks.plan import Block
from tasks.plan.compare import canonical
from tasks.report import verdict_json

_CHUNK = 20_000
"""Changes turned into JSON at once."""
_TEXT = pa.large_string()
_ESCAPED = r'["\\\x00-\x1f]'
"""Characters that JSON text holds only in another form. Source: RFC 8259 section 7."""


class Side(StrEnum):
    """Which of a change's values."""

    AFTER = "after"
    BEFORE = "before"


Conceal: TypeAlias = Callable[[Block, str, Side, pd.Series], pd.Series]
"""What is shown of an attribute's values in a block, instead of those that must not be seen."""


def hide_redacted(block: Block, path: str, side: Side, values: pd.Series) -> pd.Series:
    """Values that the job redacts show that they are there, and no more."""
    del side
    if path not in block.redacted:
        return values
    return pd.Series(REDACTED, index=values.index, dtype="str").where(values.notna())


def _coming(coming: pd.DataFrame | None) -> list[dict[str, str]]:
    """What dates of the source will do within a month, the earliest first."""
    if coming is None:
        return []
    rows = coming[["key", "what", "moment", "zone"]].itertuples(index=False)
    return [{"anchor": key, "what": what, "at": at.isoformat(), "timezone": zone} for key, what, at, zone in rows]


def write_plan(stream: JsonOut | BinaryIO, decision: Decision) -> None:
    """The plan as one JSON document, written piece by piece so that a million changes need little memory."""
    checked = decision.checked
    plan = checked.plan
    header = {
        "job": plan.job,
        "configuration": plan.fingerprint,
        "made_at": plan.made_at.isoformat(),
        "coming": _coming(decision.source.coming),
        "source": {"system": plan.source, "entries": {f"{kind}s": count for kind, count in plan.source_count.items()}},
        "target": {"system": plan.target, "entries": {f"{kind}s": count for kind, count in plan.target_count.items()}},
        "counts": {str(action): count for action, count in plan.counts().items()},
        "unchanged": sum(entries.unchanged for entries in plan.entries.values()),
        "requests": plan.requests,
        "expected": decision.forecast.as_json(),
        "guards": [verdict_json(verdict) for verdict in checked.verdicts],
        "incomplete": [*decision.checked.plan.doubts, *decision.source.unsure],
        "findings": [finding.sentence for finding in decision.findings],
        "held": [_held_json(held) for held in plan.held],
        "notes": [_held_json(held) for held in plan.notes],
    }
    stream.write(orjson.dumps(header)[:-1])
    for name, blocks in (("changes", checked.blocks), ("staged", checked.staged)):
        stream.write(f',"{name}":['.encode())
        separator = b""
        for block in blocks:
            for start in range(0, len(block), _CHUNK):
                stream.write(separator)
                stream.write(_listed(block.take(slice(start, start + _CHUNK))))
                separator = b","
        stream.write(b"]")
    stream.write(b"}\n")


def changes_of(block: Block) -> list[dict[str, Any]]:
    """The block's changes as the JSON document has them; for a few."""
    changes: list[dict[str, Any]] = orjson.loads(b"[%b]" % bytes(_listed(block)))
    return changes


def _held_json(held: Held) -> dict[str, str]:
    return {
        "kind": held.kind,
        "anchor": held.anchor,
        "label": held.label,
        "code": str(held.code),
        "reason": held.reason,
    }


def _listed(block: Block) -> memoryview:
    """The block's changes as JSON objects with commas between them, redacted values hidden."""
    table = block.table
    fields = [
        pa.repeat(pa.scalar(f'"action":"{block.action}","kind":"{block.kind}"', _TEXT), len(table)),
        *(_field(name, table[column], shown_when_null=True) for name, column in NAMES.items()),
        *(_prefixed(f"{_json(name)}:", details) for name, details in details_of(block, hide_redacted).items()),
    ]
    changes = _object(fields, rows=len(block))
    everything = pc.binary_join(pa.ListArray.from_arrays([0, len(changes)], changes), pa.scalar(",", _TEXT))
    return memoryview(everything[0].as_buffer())


NAMES = {"anchor": "anchor", "id": "target_id", "label": "label", "reason": "reason"}
"""What a change says about itself, and the column of the block's table that says it."""


def details_of(block: Block, conceal: Conceal) -> dict[str, pa.Array]:
    """What the block's changes do, as columns of JSON texts: ``after``, ``before``, ``guards``, ``members``."""
    details = {}
    for side, frame in ((Side.AFTER, block.after), (Side.BEFORE, block.before)):
        if frame is not None:
            details[side.value] = _object(_values(block, frame, side, conceal), rows=len(block))
    for name in ("guards", "members"):
        if name in block.table:
            details[name] = pa.array(map(_json, block.table[name]), _TEXT)
    return details


def object_of(columns: dict[str, pd.Series], rows: int) -> pa.Array:
    """One JSON object per row, without what is null in it."""
    return _object([_field(path, column, shown_when_null=False) for path, column in columns.items()], rows=rows)


def _values(block: Block, frame: pd.DataFrame, side: Side, conceal: Conceal) -> list[pa.Array]:
    """One field per attribute, null in rows that do not touch it; without ``touched`` (create) where it is null."""
    fields = []
    for path in frame.columns:
        column = conceal(block, path, side, frame[path])
        field = _field(path, column, shown_when_null=block.touched is not None)
        if block.touched is not None:
            field = pc.if_else(pa.array(block.touched[path].to_numpy(dtype=bool)), field, pa.scalar(None, _TEXT))
        fields.append(field)
    return fields


def _object(fields: list[pa.Array], *, rows: int) -> pa.Array:
    """``{field,field}`` out of the fields that are not null."""
    # Arrow 26 loses rows in which there is nothing to join, so that these are given an empty text.
    nothing = reduce(pc.and_, (field.is_null() for field in fields), pa.repeat(True, rows))
    empty = pc.if_else(nothing, pa.scalar("", _TEXT), pa.scalar(None, _TEXT))
    joined = pc.binary_join_element_wise(empty, *fields, pa.scalar(",", _TEXT), null_handling="skip")
    return _prefixed("{", joined, "}")


def _field(name: str, column: pd.Series, *, shown_when_null: bool) -> pa.Array:
    """``"name":value``, and either ``"name":null`` or null where there is no value."""
    key = f"{_json(name)}:"
    if isinstance(column.dtype, pd.StringDtype):
        field = _text_field(key, texts(column))
    elif column.dtype == "boolean":
        field = _prefixed(key, pc.cast(pa.array(column.array, from_pandas=True), _TEXT))
    else:
        values = [canonical(value) for value in column.tolist()]
        field = pa.array([None if value is None else key + _json(value) for value in values], _TEXT)
    return pc.fill_null(field, f"{key}null") if shown_when_null else field


def _text_field(key: str, values: pa.Array) -> pa.Array:
    field = _prefixed(f'{key}"', values, '"')
    odd = pc.fill_null(pc.match_substring_regex(values, _ESCAPED), False)
    if not pc.any(odd).as_py():
        return field
    escaped = [key + _json(value) for value in values.filter(odd).to_pylist()]
    return pc.replace_with_mask(field, odd, pa.array(escaped, _TEXT))


def _prefixed(prefix: str, values: pa.Array, suffix: str = "") -> pa.Array:
    """Each text with something before and after it; null stays null."""
    before, after = pa.scalar(prefix, _TEXT), pa.scalar(suffix, _TEXT)
    return pc.binary_join_element_wise(before, values, after, pa.scalar("", _TEXT))


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
