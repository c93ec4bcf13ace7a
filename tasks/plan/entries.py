"""All changes to the entries of one kind: creates, updates, leavers. Pure."""

import numpy as np
import pandas as pd

from connectors.contract import Kind
from tasks.mapping import Held
from tasks.plan.blocks import EntryPlan, Situation
from tasks.plan.creates import create_entries
from tasks.plan.leavers import Leavers, spare_protected
from tasks.plan.references import order_creates
from tasks.plan.updates import settle_links, update_entries


def plan_entries(s: Situation, *, people: "pd.Series[str] | None" = None) -> EntryPlan:
    """All changes to entries of one kind.

    ``people``: for groups, the accounts that references may point to (index target id, value anchor); for users None,
    since they refer to each other.
    """
    has_account = s.matches.row >= 0
    rows = np.flatnonzero(has_account)
    accounts = pd.Series(
        s.desired.frame.index[has_account], index=s.existing.index.take(s.matches.row[rows]), dtype="str"
    )
    creatable = ~has_account & ~s.matches.blocked & ~s.desired.disabled & s.rules.actions.create
    creates, exhausted = create_entries(s, np.flatnonzero(creatable))

    owners = accounts if people is None else people
    reachable = pd.Index(owners.array, dtype="str")
    if creates is not None and s.desired.kind is Kind.USER:
        reachable = reachable.append(pd.Index(creates.table["anchor"]))
    notes: list[Held] = []
    blocks = order_creates(creates, reachable, notes) if creates is not None else []
    updates, unchanged = update_entries(s, rows, owners=owners, reachable=reachable, notes=notes)
    leavers = Leavers(s)
    blocks, spared = spare_protected(s, [*blocks, *updates, *leavers.blocks()])
    held = [*s.desired.held, *s.matches.held, *exhausted, *leavers.held, *spared]
    return EntryPlan(
        kind=s.desired.kind,
        blocks=[block for block in blocks if len(block)],
        held=sorted(held, key=_order),
        notes=sorted(notes, key=_order),
        unchanged=len(unchanged),
        settled=settle_links(s, rows, unchanged),
        dropped=sorted({*leavers.vanished, *s.matches.released}),
        population=_population(s),
        accounts=accounts,
        known=_known(s, accounts),
        labels=_labels(s),
        leaving=leavers.ids,
        emptied=leavers.emptied(),
    )


def _order(held: Held) -> tuple[str, str]:
    return held.anchor, held.reason


def _population(s: Situation) -> int:
    rows = s.existing.index.get_indexer(pd.Index(s.links["target_id"], dtype="str"))
    return int(s.active(rows[rows >= 0]).sum())


def _known(s: Situation, accounts: "pd.Series[str]") -> "pd.Series[str]":
    linked = pd.Series(s.links.index, index=pd.Index(s.links["target_id"], dtype="str"), dtype="str")
    known: pd.Series[str] = pd.concat([accounts, linked[~linked.index.isin(accounts.index)]])
    return known


def _labels(s: Situation) -> "pd.Series[str]":
    earlier = s.links["label"][~s.links.index.isin(s.desired.labels.index)]
    labels: pd.Series[str] = pd.concat([s.desired.labels, earlier])
    return labels
