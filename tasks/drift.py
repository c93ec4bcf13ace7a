"""What others did to the target since Provisor last looked at it: told after every listing. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from connectors.contract import Kind, Snapshot
from tasks.keys import texts
from tasks.membership import is_among
from tasks.plan import Plan
from tasks.plan.blocks import Drifted, DriftKind
from tasks.plan.memberships import edge_numbers

EXAMPLES = 20
"""Accounts of each kind that are named."""


@dataclass(slots=True)
class DriftReport:
    """What others did, by kind."""

    entries: list[Drifted] = field(default_factory=list)
    """Accounts that Provisor owns and others changed or deleted."""
    unmanaged: dict[Kind, int] = field(default_factory=dict)
    """Accounts that belong to nobody: neither matched nor linked, by this job or another one."""
    examples: dict[Kind, list[str]] = field(default_factory=dict)
    """Ids of some of them."""
    unmanaged_members: int = 0
    """Memberships of such accounts in groups that Provisor owns."""
    members_added: int = 0
    """Memberships in owned groups that were not there when the target was last known."""
    members_removed: int = 0
    """Memberships in owned groups that are no longer there."""

    def count(self, what: DriftKind) -> int:
        """Owned accounts to which this happened."""
        return sum(one.what is what for one in self.entries)

    @property
    def sentences(self) -> list[str]:
        """What is worth telling a person, most important first."""
        lines = []
        for what in DriftKind:
            if count := self.count(what):
                corrected = sum(one.corrected for one in self.entries if one.what is what)
                lines.append(f"{count:,} accounts were {what}; {corrected:,} of them are corrected.")
        if self.members_added or self.members_removed:
            lines.append(f"Others added {self.members_added:,} and removed {self.members_removed:,} memberships.")
        for kind, count in self.unmanaged.items():
            if count:
                lines.append(f"{count:,} {kind}s of the target belong to nobody.")
        if self.unmanaged_members:
            lines.append(f"{self.unmanaged_members:,} members of groups are accounts that belong to nobody.")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Plain values for machines."""
        return {
            "entries": [
                {
                    "kind": str(one.kind),
                    "anchor": one.anchor,
                    "entry": one.label,
                    "what": str(one.what),
                    "attributes": list(one.attributes),
                    "corrected": one.corrected,
                }
                for one in self.entries
            ],
            "unmanaged": {str(kind): count for kind, count in self.unmanaged.items()},
            "unmanaged_examples": {str(kind): ids for kind, ids in self.examples.items()},
            "unmanaged_members": self.unmanaged_members,
            "members_added": self.members_added,
            "members_removed": self.members_removed,
        }


def find_drift(plan: Plan, listing: Snapshot, known: Snapshot | None) -> DriftReport:
    """What others did, by a plan made from a listing; ``known``: the target as it was thought to be before."""
    report = DriftReport()
    for kind, entries in plan.entries.items():
        report.entries += sorted(entries.drifted, key=lambda one: (one.what, one.anchor))
        unmanaged = entries.unmanaged.result()
        report.unmanaged[kind] = len(unmanaged)
        report.examples[kind] = sorted(unmanaged[:EXAMPLES].tolist())
    if Kind.GROUP in plan.entries:
        _look_at_members(report, plan.entries, listing, known)
    return report


def _look_at_members(
    report: DriftReport, entries: Mapping[Kind, Any], listing: Snapshot, known: Snapshot | None
) -> None:
    owned = texts(entries[Kind.GROUP].accounts.index)
    there = listing.members.loc[is_among(listing.members["group"], owned)]
    nobodys = np.zeros(len(there), dtype=bool)
    for kind in (Kind.USER, Kind.GROUP):
        nobodys |= is_among(there["member"], texts(entries[kind].unmanaged.result()))
    report.unmanaged_members = int(nobodys.sum())
    if known is None:
        return
    before = known.members.loc[is_among(known.members["group"], owned)]
    names = {"group": "group_id", "member": "member_id"}
    was, now = edge_numbers(before.rename(columns=names), there.rename(columns=names))
    report.members_removed = int((~np.isin(was, now)).sum())
    report.members_added = int((~np.isin(now, was)).sum())
