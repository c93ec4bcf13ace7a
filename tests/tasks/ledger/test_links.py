"""Links: which account belongs to whom."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from connectors.contract import Kind
from tasks.ledger import Cycle, CycleEnd, CycleKind, CycleState, Ledger, LinkTakenError

NASTY = [
    "00123",
    "None",
    "NA",
    "",
    "O'Brien",
    'a "quoted", one',
    "back\\slash",
    "two\nlines",
    "cr\r\nlf",
    "é😀",
    "ab\u202e",
    "x" * 300,
]


def frame(pairs: dict[str, str], **columns: object) -> pd.DataFrame:
    """Links to put: anchor to target id."""
    return pd.DataFrame(
        {"target_id": list(pairs.values()), **columns}, index=pd.Index(list(pairs), name="anchor", dtype="str")
    )


def test_links_come_back_as_they_went_in(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Keys and labels survive unchanged: leading zeros, a person named None, quotes, line ends, the empty text."""
    put = frame(
        {anchor: f"id {anchor}" for anchor in NASTY},
        label=NASTY,
        fingerprint=pd.array([-(2**63), 2**63 - 1, None, *range(len(NASTY) - 3)], dtype="Int64"),
        state=["active", "disabled"] * (len(NASTY) // 2),
    )
    ledger.put_links("hr", Kind.USER, put, cycle_id=cycle.id, now=now)
    got = ledger.links("hr", Kind.USER)
    assert got.index.name == "anchor"
    assert got.dtypes.astype(str).to_dict() == {
        "target_id": "str",
        "fingerprint": "Int64",
        "state": "str",
        "label": "str",
        "changed_at": "str",
        "state_since": "str",
    }
    assert set(pd.to_datetime(got.pop("changed_at"), utc=True, format="ISO8601")) == {now}
    assert set(pd.to_datetime(got.pop("state_since"), utc=True, format="ISO8601")) == {now}
    expected = put.astype({"target_id": "str", "label": "str", "state": "str"})[list(got.columns)]
    pd.testing.assert_frame_equal(got, expected.loc[sorted(NASTY)])


def test_no_links_is_a_frame_of_the_same_shape(ledger: Ledger, cycle: Cycle) -> None:
    """Stages need no special case for the first cycle."""
    got = ledger.links("hr", Kind.GROUP)
    assert got.index.name == "anchor"
    assert {name: str(dtype) for name, dtype in got.dtypes.items()} == {
        "target_id": "str",
        "fingerprint": "Int64",
        "state": "str",
        "label": "str",
        "changed_at": "str",
        "state_since": "str",
    }
    assert len(got) == 0
    assert str(got.index.dtype) == "str"


def test_jobs_and_kinds_do_not_see_each_other(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """The same anchor and the same target id may be linked in another job, and for the other kind."""
    for job in ("hr", "crm"):
        for kind in Kind:
            ledger.put_links(job, kind, frame({"a": "1"}), cycle_id=cycle.id, now=now)
    ledger.drop_links("hr", Kind.USER, ["a"])
    assert ledger.target_ids("hr", Kind.USER, ["a"]) == {}
    assert ledger.target_ids("hr", Kind.GROUP, ["a"]) == {"a": "1"}
    assert ledger.target_ids("crm", Kind.USER, ["a"]) == {"a": "1"}


def test_only_a_target_id_is_needed(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """The other columns have defaults, also for single missing cells."""
    ledger.put_links("hr", Kind.USER, frame({"a": "1"}), cycle_id=cycle.id, now=now)
    ledger.put_links("hr", Kind.USER, frame({"b": "2", "c": "3"}, label=[None, "C"]), cycle_id=cycle.id, now=now)
    got = ledger.links("hr", Kind.USER).sort_index()
    assert got["state"].tolist() == ["active"] * 3
    assert got["label"].tolist() == ["", "", "C"]
    assert got["fingerprint"].isna().all()


def test_fingerprints_of_any_integer_dtype_are_taken(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """numpy's int64 and pandas' nullable one are the same to the ledger."""
    put = frame({"a": "1"}, fingerprint=np.array([-5], dtype="int64"))
    ledger.put_links("hr", Kind.USER, put, cycle_id=cycle.id, now=now)
    assert ledger.links("hr", Kind.USER)["fingerprint"].tolist() == [-5]


@pytest.mark.parametrize("missing", [{"a": None}, {np.nan: "1"}])
def test_a_link_without_one_of_its_ends_is_refused(
    ledger: Ledger, cycle: Cycle, now: datetime, missing: dict[str, str]
) -> None:
    """A null key would be stored as a text and match a person of that name."""
    with pytest.raises(ValueError, match="needs an anchor and a target id"):
        ledger.put_links("hr", Kind.USER, frame(missing), cycle_id=cycle.id, now=now)
    assert len(ledger.links("hr", Kind.USER)) == 0


def stored(ledger: Ledger, anchor: str) -> dict[str, object]:
    """A link with the columns that the frame does not show."""
    from sqlalchemy import select

    from tasks.ledger.tables import LINK

    with ledger._database.reading() as connection:
        row = connection.execute(select(LINK).where(LINK.c.anchor == anchor)).one()
    return dict(row._mapping)


def test_writing_a_link_again_keeps_how_and_since_when(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """An update says nothing about how the link came to be; the link does not become younger by it."""
    later = now + timedelta(days=1)
    ledger.put_links("hr", Kind.USER, frame({"a": "1"}, how=["matched userName"]), cycle_id=cycle.id, now=now)
    second = ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f1", now=later)
    ledger.put_links("hr", Kind.USER, frame({"a": "1"}, fingerprint=[7]), cycle_id=second.id, now=later)
    row = stored(ledger, "a")
    assert (row["how"], row["linked_at"], row["changed_at"]) == ("matched userName", now, later)
    assert (row["fingerprint"], row["cycle_id"]) == (7, second.id)


def test_an_anchor_moves_to_another_account_as_a_new_link(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """After an account was recreated by hand the old history would be a lie."""
    later = now + timedelta(days=1)
    ledger.put_links("hr", Kind.USER, frame({"a": "1"}, how=["created"]), cycle_id=cycle.id, now=now)
    ledger.put_links("hr", Kind.USER, frame({"a": "2"}, how=["matched userName"]), cycle_id=cycle.id, now=later)
    row = stored(ledger, "a")
    assert (row["target_id"], row["how"], row["linked_at"]) == ("2", "matched userName", later)
    ledger.put_links("hr", Kind.USER, frame({"b": "1"}), cycle_id=cycle.id, now=later)
    assert ledger.anchors("hr", Kind.USER, ["1", "2", "3"]) == {"1": "b", "2": "a"}


def test_an_account_belongs_to_one_entry(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """A second owner is refused with both names, and nothing of the frame is written."""
    ledger.put_links("hr", Kind.USER, frame({"a": "1"}), cycle_id=cycle.id, now=now)
    with pytest.raises(LinkTakenError, match="user 1 is linked to a, not b") as caught:
        ledger.put_links("hr", Kind.USER, frame({"c": "3", "b": "1"}), cycle_id=cycle.id, now=now)
    assert [(clash.anchor, clash.target_id, clash.linked_to) for clash in caught.value.clashes] == [("b", "1", "a")]
    assert ledger.target_ids("hr", Kind.USER, ["a", "b", "c"]) == {"a": "1"}


def test_two_new_entries_cannot_share_an_account(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """The rule holds within one frame too."""
    with pytest.raises(LinkTakenError, match="user 1 is linked to a, not b"):
        ledger.put_links("hr", Kind.USER, frame({"a": "1", "b": "1"}), cycle_id=cycle.id, now=now)
    assert len(ledger.links("hr", Kind.USER)) == 0


def test_accounts_can_be_swapped_and_passed_on(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """What counts is the state after the frame, not a state in the middle of it."""
    ledger.put_links("hr", Kind.USER, frame({"a": "1", "b": "2", "c": "3"}), cycle_id=cycle.id, now=now)
    ledger.put_links("hr", Kind.USER, frame({"a": "2", "b": "1"}), cycle_id=cycle.id, now=now)
    assert ledger.target_ids("hr", Kind.USER, ["a", "b", "c"]) == {"a": "2", "b": "1", "c": "3"}
    ledger.put_links("hr", Kind.USER, frame({"new": "2", "a": "3", "c": "4"}), cycle_id=cycle.id, now=now)
    assert ledger.target_ids("hr", Kind.USER, ["a", "b", "c", "new"]) == {"a": "3", "b": "1", "c": "4", "new": "2"}


def test_an_anchor_comes_once(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Which of two lines counts would depend on the database."""
    put = pd.concat([frame({"a": "1"}), frame({"a": "2"})])
    with pytest.raises(ValueError, match="comes twice"):
        ledger.put_links("hr", Kind.USER, put, cycle_id=cycle.id, now=now)


def test_more_keys_than_fit_one_query_are_asked_for(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Databases limit the parameters of a statement; a large job does not notice."""
    pairs = {f"a{number}": f"t{number}" for number in range(45_000)}
    ledger.put_links("hr", Kind.USER, frame(pairs), cycle_id=cycle.id, now=now)
    assert ledger.target_ids("hr", Kind.USER, [*pairs, "stranger"]) == pairs
    ledger.drop_links("hr", Kind.USER, list(pairs)[1:])
    assert ledger.links("hr", Kind.USER).index.tolist() == ["a0"]
    assert ledger.target_ids("hr", Kind.USER, []) == {}


def test_times_need_a_zone(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """A naive time would mean another moment on another machine."""
    with pytest.raises(ValueError, match="time zone"):
        ledger.put_links("hr", Kind.USER, frame({"a": "1"}), cycle_id=cycle.id, now=now.replace(tzinfo=None))


def test_accounts_linked_behind_the_back_of_what_is_known_are_doubtful(ledger: Ledger, now: datetime) -> None:
    """What is known of the target is a cycle's; later ones that kept nothing, or died, may have linked others to it."""

    def links(number: int, kind: CycleKind, state: CycleState | None) -> int:
        moment = now + timedelta(hours=number)
        cycle = ledger.begin_cycle("hr", kind, fingerprint="f", now=moment)
        ledger.put_links("hr", Kind.USER, frame({f"a{number}": f"t{number}"}), cycle_id=cycle.id, now=moment)
        if state is not None:
            ledger.end_cycle(cycle, CycleEnd(state, {}, message="", now=moment))
        return cycle.id

    links(1, CycleKind.INITIAL, CycleState.DONE)
    knows = links(2, CycleKind.INITIAL, CycleState.DONE)
    assert ledger.touched_since("hr", knows) == {Kind.USER: set(), Kind.GROUP: set()}
    links(3, CycleKind.ON_DEMAND, CycleState.DONE)
    links(4, CycleKind.INCREMENTAL, CycleState.STOPPED)
    links(5, CycleKind.INCREMENTAL, None)
    links(6, CycleKind.RECONCILE, CycleState.DONE)
    assert ledger.touched_since("hr", knows)[Kind.USER] == {"t3", "t4", "t5"}
    assert ledger.touched_since("crm", knows)[Kind.USER] == set()
