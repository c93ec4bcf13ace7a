"""Mapping in parts: whatever the parts, it comes to what mapping everybody at once does."""

from datetime import UTC, datetime
from random import Random

import numpy as np
import pandas as pd
import pytest

from connectors.contract import Attribute, Count, Form, Kind, Snapshot, no_entries, no_members
from tasks.expressions import Context
from tasks.job import EntryRules
from tasks.mapping import Desired, map_entries
from tasks.partition import map_in_parts, map_part
from tasks.scope import Scoped, select
from tests.connectors.nasty import COLUMNS, PEOPLE

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
SCHEMA = {
    "active": Attribute(form=Form.BOOLEAN),
    "number": Attribute(form=Form.INTEGER),
    "phones": Attribute(form=Form.TEXT, count=Count.LIST),
    "manager": Attribute(form=Form.REFERENCE),
}
RULES = EntryRules(
    matching=[{"source": "[userName]", "target": "userName"}, {"source": "ToLower([title])", "target": "title"}],
    attributes={
        "userName": "[userName]",
        "active": "Not([IsSoftDeleted])",
        "name": 'Join(" ", [givenName], [surname])',
        "title": "IIF(IsPresent([title]), [title], IgnoreAttributeFlow)",
        "number": "[phone]",
        "phones": 'Split([phone], "-")',
        "parts": 'Split([surname], "-")',
        "manager": {"reference": "[phone]"},
        "alias": 'SelectUniqueValue([givenName], Join("", [givenName], "1"))',
        "kind": {"default": "person"},
        "left": 'IIF(Left([givenName], 1) = "N", IgnoreObjectFlow, [id])',
    },
)


def everybody(rules: EntryRules) -> Scoped:
    """The nasty people, some of whom are disabled, in an order of no meaning."""
    people = list(PEOPLE)
    Random(3).shuffle(people)
    frame = pd.DataFrame(people, columns=list(COLUMNS), dtype="str")
    frame.index = pd.Index(frame["id"], dtype="str", name="key")
    snapshot = Snapshot("test", frame, no_entries(), no_members(), NOW, disabled=frozenset(frame.index[::3]))
    return select(rules, snapshot, Kind.USER, assignment=None, now=NOW)


def assert_same(one: Desired, other: Desired) -> None:
    pd.testing.assert_frame_equal(one.frame, other.frame)
    for left, right in zip([*one.keys, one.labels], [*other.keys, other.labels], strict=True):
        pd.testing.assert_series_equal(left, right)
    np.testing.assert_array_equal(one.disabled, other.disabled)
    assert list(one.untouched) == list(other.untouched)
    for path, mask in one.untouched.items():
        np.testing.assert_array_equal(mask, other.untouched[path])
    assert list(one.candidates) == list(other.candidates)
    for path, rules in one.candidates.items():
        rows = np.arange(len(one.frame))
        for number in range(len(rules)):
            offered = [unique.offer(number, rows).values for unique in (rules, other.candidates[path])]
            pd.testing.assert_series_equal(*offered)
    assert (one.defaults, one.add_only, one.redacted) == (other.defaults, other.add_only, other.redacted)
    assert one.held == other.held
    pd.testing.assert_index_equal(one.skipped, other.skipped)


@pytest.mark.parametrize("parts", [1, 2, 3, 40, 500])
@pytest.mark.parametrize("schema", [None, SCHEMA], ids=["no schema", "schema"])
def test_in_parts_it_comes_to_the_same(parts: int, schema: dict[str, Attribute] | None) -> None:
    """Values, types, order, who is held and who is left out; also where a part has nobody, or one entry only."""
    scoped, context = everybody(RULES), Context(now=NOW)
    made: list[int] = []

    def one_by_one(those: list[Scoped]) -> list[Desired]:
        made.append(sum(len(part.entries) for part in those))
        return [map_part(RULES, part, context, schema) for part in those]

    whole = map_entries(RULES, scoped, context, schema=schema)
    assert whole.held if schema else whole.untouched
    assert len(whole.skipped)
    found = map_in_parts(RULES, scoped, context, schema=schema, parts=parts, map_parts=one_by_one)
    assert_same(found, whole)
    assert made == ([len(scoped.entries)] if parts > 1 else [])


def test_a_column_whose_type_depends_on_everybody() -> None:
    """Several managers of one person make a list of everybody's, also of those in another part."""
    rules = EntryRules(
        matching=[{"source": "[userName]", "target": "userName"}],
        attributes={"manager": {"reference": 'Split([phone], "-")'}},
    )
    scoped, context = everybody(rules), Context(now=NOW)
    whole = map_entries(rules, scoped, context)
    found = map_in_parts(
        rules,
        scoped,
        context,
        schema=None,
        parts=len(scoped.entries),
        map_parts=lambda those: [map_part(rules, part, context, None) for part in those],
    )
    assert whole.frame["manager"].map(lambda held: isinstance(held, list)).any()
    assert_same(found, whole)
