"""From source entries to desired attributes: types, flow control, defaults, redaction, and who is held."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from connectors.contract import Attribute, Count, Form, Kind, Snapshot, no_entries, no_members
from connectors.errors import ErrorCode, SettingsError
from tasks.expressions import Context
from tasks.job import EntryRules
from tasks.mapping import Desired, map_entries, redacted_paths, with_defaults
from tasks.scope import select

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
SCHEMA = {
    "active": Attribute(form=Form.BOOLEAN),
    "number": Attribute(form=Form.INTEGER),
    "title": Attribute(),
    "names": Attribute(count=Count.LIST),
    "roles": Attribute(form=Form.STRUCTURE, count=Count.LIST),
}


def column(values: list) -> pd.Series:
    keys = pd.Index([f"k{number}" for number in range(len(values))], name="key", dtype="str")
    if any(isinstance(value, list | dict) for value in values):
        cells = np.empty(len(values), dtype=object)
        cells[:] = values
        return pd.Series(cells, index=keys, dtype=object)
    kinds = {type(value) for value in values} - {type(None)}
    dtype = {frozenset({bool}): "boolean", frozenset({int}): "Int64"}.get(frozenset(kinds), "str")
    return pd.Series(values, index=keys, dtype=dtype)


def rules(matching: str = "[mail]", **attributes: object) -> EntryRules:
    return EntryRules(matching=[{"source": matching, "target": "userName"}], attributes=attributes)


def mapped(wanted: EntryRules, schema: dict | None = None, **columns: list) -> Desired:
    frame = pd.DataFrame({name: column(values) for name, values in columns.items()})
    if "mail" not in frame:
        frame["mail"] = pd.Series([f"{key}@x" for key in frame.index], index=frame.index, dtype="str")
    snapshot = Snapshot("test", frame, no_entries(), no_members(), NOW)
    scoped = select(wanted, snapshot, Kind.USER, assignment=None, now=NOW)
    return map_entries(wanted, scoped, Context(now=NOW), schema=schema)


def values(desired: Desired, path: str) -> list:
    return [None if value is pd.NA or value is None or value != value else value for value in desired.frame[path]]


def reasons(desired: Desired) -> dict[str, str]:
    assert all(held.code is ErrorCode.EXPRESSION_FAILED for held in desired.held)
    return {held.anchor: held.reason for held in desired.held}


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ("[a]", ["x", None]),
        ('"Berlin"', ["Berlin", "Berlin"]),
        ({"constant": "Berlin"}, ["Berlin", "Berlin"]),
        (True, [True, True]),
        (7, [7, 7]),
        (1.5, [1.5, 1.5]),
        ({"constant": ["a", "b"]}, [["a", "b"], ["a", "b"]]),
        ("ToUpper([a])", ["X", None]),
        ({"default": "none"}, [None, None]),
        ("[nobody has it]", [None, None]),
    ],
)
def test_origins_of_a_value(mapping, expected):
    """Direct, constant of any kind, expression, and a default alone, which is no value by itself."""
    assert values(mapped(rules(title=mapping), a=["x", None]), "title") == expected


@pytest.mark.parametrize(
    ("path", "given", "expected", "problem"),
    [
        ("active", ["True", "false", "1", "0", None], [True, False, True, False, None], None),
        ("active", [True, False, None], [True, False, None], None),
        ("active", [1, 0, None], [True, False, None], None),
        ("active", ["True", "yes"], [True], "active: the target wants a value of type boolean here."),
        ("number", ["7", " 7 ", "+7", "-7", "007", None], [7, 7, 7, -7, 7, None], None),
        ("number", ["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)], None),
        ("number", ["7", "9223372036854775808"], [7], "number: the target wants a value of type integer here."),
        ("number", ["7", "7.5"], [7], "number: the target wants a value of type integer here."),
        ("number", [["7"], ["7", "8"]], [7], "number: one value is needed, and here are 2."),
        ("title", [True, None], ["True", None], None),
        ("title", [7, None], ["7", None], None),
        ("title", [["a"], []], ["a", None], None),
        ("title", [["a"], ["a", "b"]], ["a"], "title: one value is needed, and here are 2."),
        ("title", [["a"], {"x": 1}], ["a"], "title: a simple value is needed, and here is one with sub-attributes."),
        ("names", ["a", None], [["a"], None], None),
        ("names", [["a", "b"], None], [["a", "b"], None], None),
        ("roles", [[{"value": "a"}], {"value": "b"}], [[{"value": "a"}], [{"value": "b"}]], None),
    ],
)
def test_types_of_the_target(path, given, expected, problem):
    """Values take the type that the target's schema asks for; whoever has one that cannot is held, the others go on."""
    desired = mapped(rules(**{path: "[a]"}), SCHEMA, a=given)
    assert values(desired, path) == expected
    assert list(reasons(desired).values()) == ([] if problem is None else [problem])


def test_empty_text_is_null_for_numbers_and_booleans():
    """A source that keeps empty texts must not have everybody held for a missing number."""
    desired = mapped(rules(number="[a]", active="[a]"), SCHEMA, a=["", "1"])
    assert values(desired, "number") == [None, 1]
    assert values(desired, "active") == [None, True]
    assert not desired.held


def test_without_a_schema_values_stay():
    """A target that cannot say what it wants gets what the expression gave."""
    assert values(mapped(rules(number="[a]"), None, a=["007"]), "number") == ["007"]


def test_an_entry_whose_expression_fails_is_held_and_not_gone():
    """One bad row never stops the run; it is left out with the path and the reason."""
    desired = mapped(rules(title='Mid([a], [b], "1")', names="[a]"), a=["x", "y"], b=["1", "none"])
    assert list(desired.frame.index) == ["k0"]
    assert reasons(desired).keys() == {"k1"}
    assert reasons(desired)["k1"].startswith("title: ")
    assert desired.held[0].label == "k1@x"


def test_a_matching_rule_that_fails_holds_the_entry():
    """Nobody can say which account is theirs, so none is touched and none created."""
    desired = mapped(rules('Mid([a], [b], "1")', title='"x"'), a=["x", "y"], b=["1", "none"])
    assert list(reasons(desired)) == ["k1"]


def test_ignored_attributes_are_marked():
    """IgnoreFlowIfNullOrEmpty and IgnoreAttributeFlow leave the attribute out for the entry, and only there."""
    desired = mapped(
        rules(title="IgnoreFlowIfNullOrEmpty([a])", names='IIF([a]="x", IgnoreAttributeFlow, [a])'), a=["x", None, "y"]
    )
    assert desired.untouched["title"].tolist() == [False, True, False]
    assert desired.untouched["names"].tolist() == [True, False, False]
    assert values(desired, "names") == [None, None, "y"]


def test_skipped_entries_are_out_of_the_plan_altogether():
    """IgnoreObjectFlow wins over everything, a failure in another mapping included."""
    desired = mapped(
        rules(title='IIF([a]="x", IgnoreObjectFlow, [a])', names='Mid([a], [b], "1")'), a=["x", "y"], b=["none", "1"]
    )
    assert list(desired.frame.index) == ["k1"]
    assert list(desired.skipped) == ["k0"]
    assert not desired.held


def test_leaving_entries_out_keeps_rows_together():
    """Keys, labels, marks and unique values still belong to their entries when some are left out."""
    wanted = EntryRules(
        matching=[{"source": "[mail]", "target": "userName"}],
        attributes={
            "title": 'IIF([a]="x", IgnoreObjectFlow, IgnoreFlowIfNullOrEmpty([b]))',
            "nick": {"expression": 'SelectUniqueValue([a], Join("", [a], "2"))', "apply": "on_create"},
        },
    )
    desired = mapped(wanted, a=["x", "y", "z"], b=["1", None, "3"])
    assert list(desired.frame.index) == ["k1", "k2"]
    assert desired.untouched["title"].tolist() == [True, False]
    assert desired.keys[0].tolist() == desired.labels.tolist() == ["k1@x", "k2@x"]
    assert desired.candidates["nick"].offer(1, np.array([1])).values.tolist() == ["z2"]


def filled(mapping: object, given: list, schema: dict | None = None, *, creating: bool, path: str = "title") -> list:
    wanted = rules(**{path: mapping})
    desired = mapped(wanted, schema, a=given)
    frame = with_defaults(wanted, desired, desired.frame, np.arange(len(desired.frame)), creating=creating)
    return [None if value is pd.NA or value != value else value for value in frame[path]]


def test_a_default_counts_on_create_only():
    """On update null means what ``clear`` says, never the default."""
    mapping = {"expression": "[a]", "default": "Employee"}
    assert filled(mapping, ["x", None], creating=True) == ["x", "Employee"]
    assert filled(mapping, ["x", None], creating=False) == ["x", None]


def test_a_default_alone_counts_always():
    """The mapping type none: whenever the target is empty."""
    assert filled({"default": "Employee"}, ["x"], creating=False) == ["Employee"]


def test_an_ignored_attribute_gets_no_default():
    """What the expression leaves out of the change stays out, on create too."""
    mapping = {"expression": "IgnoreFlowIfNullOrEmpty([a])", "default": "Employee"}
    assert filled(mapping, ["x", None], creating=True) == ["x", None]


@pytest.mark.parametrize("schema", [SCHEMA, None])
@pytest.mark.parametrize(
    ("path", "default", "given", "expected"),
    [
        ("active", True, [None, None], True),
        ("active", "true", [None, False], True),
        ("number", 7, [None, 8], 7),
        ("number", "7", [None, 8], 7),
        ("names", ["a", "b"], [None, None], ["a", "b"]),
        ("names", ["a", "b"], [None, ["c"]], ["a", "b"]),
        ("roles", [{"value": "a"}], [None, None], [{"value": "a"}]),
        ("title", "x", [None, "y"], "x"),
    ],
)
def test_defaults_of_every_type(schema, path, default, given, expected):
    """A default takes the type of the target; without a schema it is kept as the job has it."""
    found = filled({"expression": "[a]", "default": default}, given, schema, creating=True, path=path)[0]
    assert str(found).lower() == str(expected).lower()
    if schema is not None:
        assert found == expected
        assert isinstance(found, type(expected) | np.generic)


def test_a_default_of_the_wrong_type_stops_the_cycle():
    """It is a fault of the job file, not of a thousand people."""
    with pytest.raises(SettingsError, match="number: the target wants a value of type integer"):
        mapped(rules(number={"expression": "[a]", "default": "many"}), SCHEMA, a=["1"])


def test_references_are_one_anchor_each():
    """A reference to several entries, where one is meant, holds the entry instead of guessing."""
    schema = {"manager": Attribute(form=Form.REFERENCE)}
    desired = mapped(rules(manager={"reference": "[a]"}), schema, a=[["m1"], ["m1", "m2"], None])
    assert values(desired, "manager") == ["m1", None]
    assert reasons(desired) == {"k1": "manager: one value is needed, and here are 2."}


@pytest.mark.parametrize("schema", [None, {"owners": Attribute(form=Form.REFERENCE, count=Count.LIST)}])
def test_references_to_several_entries(schema):
    """Where the target takes several, or does not say, every entry has a list of distinct anchors, or null."""
    desired = mapped(rules(owners={"reference": "[a]"}), schema, a=[["m1"], ["m2", "m1", "m2"], None, [{"x": "y"}]])
    assert values(desired, "owners") == [["m1"], ["m2", "m1"], None]
    assert list(reasons(desired)) == ["k3"]


def test_one_reference_each_is_text():
    """Entries that refer to one other entry at most stay columns of text: a list costs an object for each of them."""
    assert mapped(rules(manager={"reference": "[a]"}), a=["m1", None]).frame["manager"].dtype == "str"
    assert mapped(rules(manager={"reference": "[a]"}), a=[["m1"], None]).frame["manager"].dtype == "str"


def test_redaction_by_option_and_by_function():
    """Both ways hide the path, in a reference and in a rule for unique values too."""
    wanted = rules(
        title={"expression": "[a]", "redact": True},
        names="Redact([a])",
        nick={"expression": 'SelectUniqueValue(Redact([a]), "b")', "apply": "on_create"},
        plain="[a]",
    )
    assert redacted_paths(wanted) == mapped(wanted, a=["x"]).redacted == {"title", "names", "nick"}


@pytest.mark.parametrize(
    "attributes",
    [
        {"userName": {"expression": "[mail]", "redact": True}},
        {"userName": "Redact([mail])"},
        {"title": {"expression": "[mail]", "redact": True}},
    ],
)
def test_labels_never_show_a_redacted_value(attributes):
    """What people call an entry goes into every log: a redacted one is replaced by the next or the anchor."""
    wanted = EntryRules(
        matching=[{"source": "[mail]", "target": "userName"}, {"source": "[a]", "target": "externalId"}],
        attributes=attributes,
    )
    assert mapped(wanted, mail=["secret@x", "secret@y"], a=["7", None]).labels.tolist() == ["7", "k1"]


def test_roles_of_any_mode():
    """Assignments come as a list of objects, as JSON text or as names; the modes give what their target wants."""
    roles = [{"id": "1", "value": "Admin", "displayName": "Administrator"}, {"id": "2", "value": "Reader"}]
    desired = mapped(
        rules(
            one="SingleAppRoleAssignment([r])",
            some="AppRoleAssignmentsComplex([r])",
            all="AssertiveAppRoleAssignmentsComplex([r])",
        ),
        {"some": SCHEMA["roles"], "all": SCHEMA["roles"]},
        r=[roles, None],
    )
    assert values(desired, "one") == ["Admin", None]
    assert [role["value"] for role in desired.frame["some"].iloc[0]] == ["Admin", "Reader"]
    assert desired.frame["some"].iloc[1] is None
    assert desired.frame["all"].iloc[1] == []
    assert desired.add_only == {"some"}


def test_a_value_longer_than_any_name_holds_its_entry_alone():
    """No index of a database would take it, and it must not stop the others; its label is its anchor."""
    found = mapped(rules(userName="[mail]"), mail=["a" * 12_000, "b@x"])
    assert values(found, "userName") == ["b@x"]
    assert ["12,000" in one.reason for one in found.held] == [True]
    assert [one.label for one in found.held] == [one.anchor for one in found.held]


def test_what_does_not_fit_holds_its_entry_unless_it_is_written_on_create_alone():
    """An account that exists is not held by a value that is never written to it."""
    schema = {**SCHEMA, "title": Attribute(longest=3)}
    always = mapped(rules(title="[a]"), schema, a=["abc", "abcd"])
    assert [(one.anchor, one.code) for one in always.held] == [("k1", ErrorCode.UNPROCESSABLE_ENTITY)]
    assert list(always.frame.index) == ["k0"]
    once = mapped(rules(title={"expression": "[a]", "apply": "on_create"}), schema, a=["abc", "abcd"])
    assert (once.held, len(once.frame)) == ([], 2)


def test_empty_text_is_no_value_where_the_target_has_none():
    """So a default counts, and nothing is cleared that the job does not clear."""
    schema = {**SCHEMA, "title": Attribute(holds_empty=False)}
    assert values(mapped(rules(title="Left([a], 3)"), schema, a=["abcd", None]), "title") == ["abc", None]
    assert values(mapped(rules(title="Left([a], 3)"), SCHEMA, a=["abcd", None]), "title") == ["abc", ""]
