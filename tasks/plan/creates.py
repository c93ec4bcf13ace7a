"""Who gets an account, with which values. Pure."""

import numpy as np
import pandas as pd

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.mapping import Held, referenced_paths, with_defaults
from tasks.plan.blocks import Block, Rows, Situation, Wave


def create_entries(s: Situation, rows: Rows) -> tuple[Block | None, list[Held]]:
    """Everybody (rows of the desired frame) who gets an account; and whoever has no free unique value."""
    if not len(rows):
        return None, []
    rows = rows[np.argsort(s.desired.frame.index.to_numpy(dtype=object)[rows], kind="stable")]
    everybody = len(rows) == len(s.desired.frame) and bool((np.diff(rows) == 1).all())
    desired = s.desired.frame if everybody else s.desired.frame.iloc[rows]
    after = with_defaults(s.rules, desired, creating=True)
    after, exhausted = _choose_unique(s, after, rows)
    kept = np.ones(len(after), dtype=bool)
    if exhausted:
        kept = ~np.asarray(after.index.isin([entry.anchor for entry in exhausted]))
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
        table.loc[again, "reason"] = "its account was deleted in the target by others"
    wave = Wave.CREATE_USERS if s.desired.kind is Kind.USER else Wave.GROUPS
    block = Block(
        wave=wave,
        kind=s.desired.kind,
        action=Action.CREATE,
        table=table,
        after=after.reset_index(drop=True),
        desired=desired.reset_index(drop=True),
        references=referenced_paths(s.rules),
        redacted=s.desired.redacted,
    )
    return block if kept.all() else block.take(kept), exhausted


def _choose_unique(s: Situation, after: pd.DataFrame, rows: Rows) -> tuple[pd.DataFrame, list[Held]]:
    """The first free value of every SelectUniqueValue mapping; a value is reserved as soon as it is chosen."""
    exhausted: list[Held] = []
    for path, rules in s.desired.candidates.items():
        taken = {str(value).lower() for value in s.existing.get(path, pd.Series(dtype="str")).dropna()}
        chosen: list[str | None] = []
        for row in rows:
            values = [series.iloc[row] for series in rules]
            free = next((v for v in values if isinstance(v, str) and v and v.lower() not in taken), None)
            chosen.append(free)
            if free is not None:
                taken.add(free.lower())
                continue
            reason = f"{path}: every value that SelectUniqueValue offers is taken; add a rule."
            anchor, label = str(s.desired.frame.index[row]), str(s.desired.labels.iloc[row])
            exhausted.append(Held(s.desired.kind, anchor, ErrorCode.CONFLICT, reason, label=label))
        after = after.assign(**{path: pd.Series(chosen, index=after.index, dtype="str")})
    return after, exhausted
