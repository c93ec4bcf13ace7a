"""A target that is another system than before: an id that is known from the old one is a stranger's there. Pure.

Where ids are numbers or logins, both systems have the same ones. Links would then make other people's accounts ours:
they would be renamed, and disabled when somebody else leaves.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from connectors.contract import Kind, Snapshot
from connectors.errors import SchemaMismatchError
from tasks.job import EntryRules, Job
from tasks.mapping import Mask


def refuse_elsewhere(job: Job, links: Mapping[Kind, pd.DataFrame], target: Snapshot, *, before: str) -> None:
    """Passes where most linked accounts are called as they were when they were written last.

    ``before``: what the target called itself in the last cycle that finished; empty where none has. The same system
    under another address passes. Accounts that are not there say nothing. Raises: SchemaMismatchError.
    """
    if not before or before == target.system:
        return
    same = other = 0
    for kind, rules in job.rules.items():
        named = _called_as_before(rules, links[kind], target.entries(kind))
        same, other = same + int(named.sum()), other + int((~named).sum())
    if other > same:
        raise SchemaMismatchError(
            f"{job.name} wrote to {before} until now, and {target.system} seems to be another system: "
            f"{other:,} of {same + other:,} accounts there whose ids are known have other names. Nothing was written. "
            "Correct target in the job file; or, if people are to get accounts in this system, run provisor restart "
            f"{job.name} --scope links,quarantine, to match them again."
        )


def _called_as_before(rules: EntryRules, links: pd.DataFrame, frame: pd.DataFrame) -> Mask:
    """For each linked account that is there and shows a name: whether it is the entry's name, or its anchor."""
    there = links.loc[links["target_id"].isin(frame.index)]
    known = [list(map(_folded, names)) for names in (there["label"], there.index)]
    same, shown = np.zeros(len(there), dtype=bool), np.zeros(len(there), dtype=bool)
    for path in (rule.target for rule in rules.matching if rule.target in frame):
        values = list(map(_folded, frame[path].reindex(there["target_id"])))
        shown |= np.array([value != "" for value in values], dtype=bool)
        for names in known:
            same |= np.array([value == name for value, name in zip(values, names, strict=True)], dtype=bool)
    found: Mask = same[shown]
    return found


def _folded(value: object) -> str:
    return value.casefold() if isinstance(value, str) else ""
