"""Checks on a plan: the plan as a frame, and the plan without what a check holds. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from connectors.errors import ErrorCode
from tasks.expectations.great import run_checks
from tasks.expectations.results import CheckResult, reasons_to_hold, refuse_failed
from tasks.job import Check, Checked
from tasks.mapping import Held
from tasks.plan import Block, Plan

COLUMNS = ("action", "kind", "anchor", "target_id", "label", "reason", "cause", "attributes", "members")
"""Columns that every plan has; the others are attributes."""


def check_planned(checks: Sequence[Check], plan: Plan) -> tuple[Plan, list[CheckResult]]:
    """The plan without the entries that a check holds, and what came of every check on it. Raises: CheckFailedError."""
    if not checks or not plan.blocks:
        return plan, []
    results = run_checks({Checked.PLAN: checks}, {Checked.PLAN: plan_frame(plan, wanted=_named(checks))})
    refuse_failed(results)
    return hold_changes(plan, reasons_to_hold(results, Checked.PLAN)), results


def plan_frame(plan: Plan, *, wanted: Collection[str] = ()) -> pd.DataFrame:
    """One row per change, in the order of the plan. Index: kind and anchor, ``user 000123``.

    Columns: ``COLUMNS``, and the new values of the wanted attributes, null where a change does not touch them.
    """
    frames = [_block_frame(block, wanted) for block in plan.blocks]
    return pd.concat(frames) if frames else pd.DataFrame({name: pd.Series(dtype="str") for name in COLUMNS})


def hold_changes(plan: Plan, held: dict[str, str]) -> Plan:
    """The plan without any change of the entries held, which are named as in the plan's frame, with the reasons."""
    if not held:
        return plan
    blocks: list[Block] = []
    found: dict[str, Held] = {}
    for block in plan.blocks:
        keys = _keys(block)
        waits = keys.isin(list(held))
        labels = block.table["label"][waits]
        for key, anchor, label in zip(keys[waits], block.table["anchor"][waits], labels, strict=True):
            found.setdefault(key, Held(block.kind, anchor, ErrorCode.NOT_PERMITTED, held[key], label=label))
        if not waits.all():
            blocks.append(block.take(~waits) if waits.any() else block)
    return replace(plan, blocks=blocks, held=[*plan.held, *(found[key] for key in sorted(found))])


def _named(checks: Sequence[Check]) -> set[str]:
    """Every text in the arguments of checks: the columns are among them."""
    found: set[str] = set()
    for check in checks:
        for value in check.arguments.values():
            found |= {value} if isinstance(value, str) else set()
            found |= {one for one in value if isinstance(one, str)} if isinstance(value, list) else set()
    return found - set(COLUMNS)


def _block_frame(block: Block, wanted: Collection[str]) -> pd.DataFrame:
    table, count = block.table, len(block)
    nothing = pd.Series(np.nan, index=range(count), dtype="str")
    columns: dict[str, pd.Series] = {name: table[name].astype("str") if name in table else nothing for name in COLUMNS}
    columns["action"] = pd.Series(str(block.action), index=range(count), dtype="str")
    columns["kind"] = pd.Series(str(block.kind), index=range(count), dtype="str")
    columns["members"] = table["members"].map(len) if "members" in table else pd.Series(0, index=range(count))
    columns["attributes"] = _touched(block)
    for path in sorted(wanted):
        if block.after is not None and path in block.after:
            touched = block.after[path].notna() if block.touched is None else block.touched.get(path)
            if touched is not None:
                columns[path] = block.after[path].where(touched.astype(bool))
    frame = pd.DataFrame({name: column.array for name, column in columns.items()})
    return frame.set_axis(_keys(block))


def _keys(block: Block) -> pd.Index:
    return pd.Index(f"{block.kind} " + block.table["anchor"].astype("str"), dtype="str")


def _touched(block: Block) -> "pd.Series[str]":
    """Names of the attributes that each change writes; worked out once for all changes that write the same ones."""
    if block.after is None or block.after.columns.empty:
        return pd.Series("", index=range(len(block)), dtype="str")
    touched = block.after.notna() if block.touched is None else block.touched
    names = np.array([str(path) for path in touched.columns])
    patterns, which = np.unique(touched.to_numpy(dtype=bool), axis=0, return_inverse=True)
    said = [", ".join(sorted(names[pattern])) for pattern in patterns]
    return pd.Series(np.array(said, dtype=object)[which.ravel()], dtype="str")
