"""A plan as JSON says what a dict per change would say, whatever the values are."""

from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract import Action, Kind
from flows.show.plan_json import changes_of
from tasks.ledger import REDACTED
from tasks.plan import Block, Wave

TEXT = (
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(['"', "\\", "\n\x00"])
)
ROW = st.fixed_dictionaries(
    {
        "displayName": TEXT,
        "active": st.none() | st.booleans(),
        "uidNumber": st.none() | st.integers(-(2**63), 2**63 - 1),
        "roles": st.none() | st.lists(st.sampled_from(["a", '"b"']), min_size=1, unique=True).map(sorted),
    }
)
DTYPES = {"displayName": "str", "active": "boolean", "uidNumber": "Int64", "roles": object}


def frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame({path: pd.Series([row[path] for row in rows], dtype=dtype) for path, dtype in DTYPES.items()})


def block_of(rows: list[dict[str, Any]], **more: Any) -> Block:
    count = len(rows)
    table = {
        "anchor": [f"a{number}" for number in range(count)],
        "target_id": [None] * count,
        "label": [row["displayName"] or "" for row in rows],
        "reason": ["new"] * count,
    }
    return Block(
        wave=Wave.CREATE_USERS,
        kind=Kind.USER,
        action=Action.CREATE,
        table=pd.DataFrame({name: pd.Series(values, dtype="str") for name, values in table.items()}),
        after=frame_of(rows),
        **more,
    )


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(ROW, min_size=1, max_size=4))
def test_creates_have_every_value_that_is_not_null(rows):
    """Quotes, backslashes, control characters, numbers, lists; and a row of nulls stays a row, with nothing in it."""
    assert changes_of(block_of(rows)) == [
        {
            "action": "create",
            "kind": "user",
            "anchor": f"a{number}",
            "id": None,
            "label": row["displayName"] or "",
            "reason": "new",
            "after": {path: value for path, value in row.items() if value is not None},
        }
        for number, row in enumerate(rows)
    ]


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(ROW, ROW, st.sets(st.sampled_from(sorted(DTYPES)))), min_size=1, max_size=4))
def test_updates_have_what_they_touch_before_and_after(rows):
    """Nulls included: they say what is cleared, and what was empty."""
    touched = pd.DataFrame({path: [path in paths for _, _, paths in rows] for path in DTYPES})
    block = block_of([after for after, _, _ in rows], before=frame_of([row for _, row, _ in rows]), touched=touched)
    for change, (after, before, paths) in zip(changes_of(block), rows, strict=True):
        assert change["after"] == {path: after[path] for path in DTYPES if path in paths}
        assert change["before"] == {path: before[path] for path in DTYPES if path in paths}


def test_redacted_values_are_hidden_and_nulls_are_not_given_away_as_values():
    """Whoever reads a plan learns that a redacted value changes, and never what it is."""
    rows = [{"displayName": name, "active": True, "uidNumber": 7, "roles": ["x"]} for name in ("Ada", None)]
    block = block_of(rows, redacted=frozenset({"displayName", "uidNumber", "roles"}))
    hidden = {"active": True, "uidNumber": REDACTED, "roles": REDACTED}
    assert [change["after"] for change in changes_of(block)] == [{"displayName": REDACTED, **hidden}, hidden]


def test_members_are_listed_by_anchor():
    """Group changes say whom they are about."""
    table = pd.DataFrame(
        {
            "anchor": pd.Series(["g1"], dtype="str"),
            "target_id": pd.Series([None], dtype="str"),
            "label": pd.Series(["Sales"], dtype="str"),
            "reason": pd.Series(["member in the source"], dtype="str"),
            "members": pd.Series([["p1", 'p"2']], dtype=object),
        }
    )
    block = Block(wave=Wave.ADD_MEMBERS, kind=Kind.GROUP, action=Action.ADD_MEMBERS, table=table)
    (change,) = changes_of(block)
    assert change["members"] == ["p1", 'p"2']
    assert change["action"] == "add members"
