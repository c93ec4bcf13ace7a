"""All changes to the entries of one kind: creates, updates, leavers. Pure."""

from functools import partial

import numpy as np
import pandas as pd

from connectors.contract import Kind
from tasks.keys import find, texts
from tasks.mapping import Held
from tasks.plan.blocks import Block, EntryPlan, Later, Situation
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
        settling=Later(partial(settle_links, s, rows, unchanged)),
        dropped=sorted({*leavers.vanished, *s.matches.released}),
        population=_population(s),
        accounts=accounts,
        known=_known(s, accounts),
        labels=_labels(s),
        leaving=leavers.ids,
        emptied=leavers.emptied(),
        joining=_joining(s, creates),
    )


def _joining(s: Situation, creates: Block | None) -> "dict[str, pd.Series[str]]":
    """Values that an account of those who get one could already have: of the matching rules, and chosen as unique."""
    if creates is None or creates.after is None:
        return {}
    anchors = texts(creates.table["anchor"])
    rows = find(anchors, texts(s.desired.frame.index))
    index = pd.Index(creates.table["anchor"], dtype="str")
    joining: dict[str, pd.Series[str]] = {}
    for rule, keys in zip(s.rules.matching, s.desired.keys, strict=True):
        joining[rule.target] = keys.iloc[rows].set_axis(index).dropna()
    for path in s.desired.candidates:
        chosen = creates.after[path].explode() if creates.after[path].dtype == object else creates.after[path]
        chosen = chosen.set_axis(index.take(chosen.index)).dropna().astype("str")
        joining[path] = pd.concat([joining[path], chosen]).drop_duplicates() if path in joining else chosen
    return joining


def _order(held: Held) -> tuple[str, str]:
    return held.anchor, held.reason


def _population(s: Situation) -> int:
    rows = s.matches.link_row
    return int(s.active(rows[rows >= 0]).sum())


def _known(s: Situation, accounts: "pd.Series[str]") -> "pd.Series[str]":
    owned = np.zeros(len(s.existing), dtype=bool)
    owned[s.matches.row[s.matches.row >= 0]] = True
    link_row = s.matches.link_row
    elsewhere = s.links[(link_row < 0) | ~owned[link_row]] if len(owned) else s.links
    linked = pd.Series(elsewhere.index, index=pd.Index(elsewhere["target_id"], dtype="str"), dtype="str")
    known: pd.Series[str] = pd.concat([accounts, linked])
    return known


def _labels(s: Situation) -> "pd.Series[str]":
    earlier = s.links["label"][~s.matches.link_is_used]
    labels: pd.Series[str] = pd.concat([s.desired.labels, earlier])
    return labels
