"""What is known of a target after a load is what its listing would show."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import Kind, Snapshot
from tasks.knowledge import advance, created_anchors, ids_after
from tasks.ledger import Cycle, CycleKind, CycleState
from tasks.plan.compare import canonical
from tasks.snapshots import Kept
from tests.properties.test_plan import CASES, worlds
from tests.tasks.plan.worlds import NOW, World, changes

CYCLE = Cycle(
    id=7, number=3, job="test", kind=CycleKind.INCREMENTAL, state=CycleState.RUNNING, fingerprint="f", began=NOW
)


def known_after(world: World) -> Kept:
    """What is known after the world's plan was carried out, from what was known before."""
    before, plan = world.target(None), world.plan()
    world.apply(plan)
    ids = {
        kind: ids_after(entries, created_ids(world, created_anchors(plan.blocks, kind), kind))
        for kind, entries in plan.entries.items()
    }
    kept = Kept(before, 1, NOW, "f", NOW, 1)
    return advance(kept, plan.blocks, {}, ids, cycle=CYCLE)


def created_ids(world: World, anchors: list[str], kind: Kind) -> Mapping[str, str]:
    return {anchor: world.links[kind][anchor]["target_id"] for anchor in anchors}


def shown(snapshot: Snapshot, world: World) -> dict[str, Any]:
    """A snapshot as plain values: what nobody has does not count, nor does the order of anything."""

    def entries(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
        return {
            str(key): {
                path: value for path, value in zip(frame.columns, map(canonical, row), strict=True) if value is not None
            }
            for key, *row in frame.astype(object).itertuples(name=None)
        }

    return {
        "users": entries(snapshot.users),
        "groups": entries(snapshot.groups) if world.job.groups is not None else {},
        "members": {tuple(edge) for edge in snapshot.members.itertuples(index=False, name=None)},
    }


@CASES
@given(worlds(), st.integers(1, 3))
def test_what_is_known_after_a_load_is_what_a_listing_shows(world: World, cycles: int) -> None:
    """Attribute by attribute and edge by edge: otherwise the next cycle would plan against a fiction."""
    for _ in range(cycles):
        known = known_after(world)
        assert shown(known.snapshot, world) == shown(world.target(None), world)
        assert (known.cycle_id, known.cycle_began) == (CYCLE.id, CYCLE.began)


@CASES
@given(worlds(), st.data())
def test_entries_that_were_not_done_are_as_before_and_doubtful(world: World, data: st.DataObject) -> None:
    """Nobody knows how they are; everything else is as a listing shows it."""
    before, plan = world.target(None), world.plan()
    written = sorted({entry[2] for entry in changes(plan) if entry[1] is Kind.USER})
    if not written or any(anchor in world.groups for anchor in written):
        return
    failed = data.draw(st.sampled_from(written))
    linked = {anchor: link["target_id"] for anchor, link in world.links[Kind.USER].items()}
    ids = {kind: ids_after(entries, {}) for kind, entries in plan.entries.items()}
    everybody = {anchor for block in plan.blocks for anchor in block.table["anchor"]}
    undone = {Kind.USER: everybody, Kind.GROUP: everybody}
    kept = Kept(before, 1, NOW, "f", NOW, 1)
    known = advance(kept, plan.blocks, undone, ids, cycle=CYCLE)
    assert shown(known.snapshot, world) == shown(before, world)
    if failed in linked and failed not in plan.entries[Kind.USER].dropped:
        assert linked[failed] in set(known.doubtful[Kind.USER])
