"""Who is in scope: every operator, groups of clauses, assignment, and the reason given for one entry."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from connectors.contract import Kind, Snapshot, no_entries, no_members
from connectors.errors import SettingsError
from tasks.job import Assignment, AssignmentMode, EntryRules
from tasks.job.values import moment_of
from tasks.membership import Membership, is_among, members_of
from tasks.scope import FILTERED_OUT, NOT_ASSIGNED, explain_scope, select

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def text(**values: str | None) -> pd.Series:
    return pd.Series(list(values.values()), index=list(values), dtype="str")


def snapshot(
    users: pd.DataFrame | None = None,
    groups: pd.DataFrame | None = None,
    members: list[tuple[str, str]] = (),
    disabled: frozenset[str] = frozenset(),
) -> Snapshot:
    edges = pd.DataFrame(list(members), columns=["group", "member"], dtype="str") if members else no_members()
    return Snapshot(
        system="test",
        users=no_entries() if users is None else users,
        groups=no_entries() if groups is None else groups,
        members=edges,
        read_at=NOW,
        disabled=disabled,
    )


def rules(*groups: list[dict], **mapping: object) -> EntryRules:
    return EntryRules(
        scope=groups,
        matching=[{"source": "[mail]", "target": "userName"}],
        attributes=mapping or {"userName": "[mail]"},
    )


def inside(filter_: EntryRules, system: Snapshot, kind: Kind = Kind.USER, assignment: Assignment | None = None) -> set:
    return set(select(filter_, system, kind, assignment=assignment, now=NOW).entries.index)


def judged(column: list, dtype: object, **clause: object) -> list[bool]:
    """The clause on every value of a column."""
    keys = [f"k{number}" for number in range(len(column))]
    frame = pd.DataFrame({"a": pd.Series(column, index=keys, dtype=dtype)})
    found = inside(rules([{"attribute": "a", **clause}]), snapshot(frame))
    return [key in found for key in keys]


def ruled(column: list, **clause: object) -> str:
    """The same for text, a mark each: x true, - false, ? held."""
    keys = [f"k{number}" for number in range(len(column))]
    frame = pd.DataFrame({"a": pd.Series(column, index=keys, dtype="str")})
    found = select(rules([{"attribute": "a", **clause}]), snapshot(frame), Kind.USER, assignment=None, now=NOW)
    marks = dict.fromkeys(found.entries.index, "x") | dict.fromkeys(found.held.index, "?")
    assert {*marks, *found.out.index} == set(keys), "everybody is somewhere"
    return "".join(marks.get(key, "-") for key in keys)


TEXTS = [None, "", "Sales", "sales", "Presales", "Salesman", "5"]


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("EQUALS", "Sales", "--x----"),
        ("NOT EQUALS", "Sales", "---xxxx"),
        ("IS NULL", None, "xx-----"),
        ("IS NOT NULL", None, "--xxxxx"),
        ("REGEX MATCH", "^[Ss]ales$", "--xx---"),
        ("REGEX MATCH", "ales", "--xxxx-"),
        ("NOT REGEX MATCH", "ales", "------x"),
        ("NOT REGEX MATCH", "nothing like it", "--xxxxx"),
        ("Includes", "sales", "---xx--"),
        ("STARTS_WITH", "Sales", "--x--x-"),
        ("ENDS_WITH", "sales", "---xx--"),
        ("IN", ["Sales", "5", 7], "--x---x"),
        ("IN", "Sales", "--x----"),
        ("EQUALS", 5, "------x"),
        ("NOT EQUALS", 5, "--xxxx-"),
        ("Includes", "", "--xxxxx"),
    ],
)
def test_text_operators(operator, value, expected):
    """Text compares as it is written; null and empty make every clause but IS NULL false, the negated ones too."""
    clause = {"operator": operator} | ({} if value is None else {"value": value})
    assert judged(TEXTS, "str", **clause) == [mark == "x" for mark in expected]


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("EQUALS", "SALES", "--xx---"),
        ("NOT EQUALS", "SALES", "----xxx"),
        ("IN", ["SALES", "PreSales"], "--xxx--"),
        ("REGEX MATCH", "^SALES$", "--xx---"),
        ("NOT REGEX MATCH", "SALES", "------x"),
        ("Includes", "SALES", "--xxxx-"),
        ("STARTS_WITH", "SALES", "--xx-x-"),
        ("ENDS_WITH", "SALES", "--xxx--"),
    ],
)
def test_text_operators_without_case(operator, value, expected):
    """``case: ignore`` makes upper and lower case the same, on both sides."""
    assert judged(TEXTS, "str", operator=operator, value=value, case="ignore") == [mark == "x" for mark in expected]


def test_both_sides_are_lowered_alike():
    """A capital whose lower case depends on the method still equals itself."""
    assert judged(["İSTANBUL", "ΟΔΟΣ", "ẞ"], "str", operator="EQUALS", value="İSTANBUL", case="ignore") == [
        True,
        False,
        False,
    ]
    assert judged(["ΟΔΟΣ"], "str", operator="IN", value=["ΟΔΟΣ"], case="ignore") == [True]


NUMBERS = [None, "", "4", "5", "6", "05", "5.0", "-5", " 5", "five", "9223372036854775807", "9" * 30]


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("Greater_Than", 5, "----x----?xx"),
        ("Greater_Than_OR_EQUALS", 5, "---xxxx-x?xx"),
        ("LESS_THAN", 5, "--x----x-?--"),
        ("LESS_THAN_OR_EQUALS", 5, "--xx-xxxx?--"),
        ("Greater_Than", 10**40, "---------?--"),
        ("LESS_THAN", 10**40, "--xxxxxxx?xx"),
        ("Greater_Than", 9223372036854775806, "---------?xx"),
    ],
)
def test_numbers(operator, value, expected):
    """Numbers compare whatever their length, sign, fraction and blanks; what is no number is held."""
    assert ruled(NUMBERS, operator=operator, value=value) == expected


@pytest.mark.parametrize(
    ("cell", "more_than_20"),
    [
        ("37.5", "x"),
        ("10.50", "-"),
        (" 40", "x"),
        ("37,5", "x"),
        ("1.234,5", "x"),
        ("1,234.5", "x"),
        ("1 234,5", "x"),
        ("1,234,567", "x"),
        ("1.234.567", "x"),
        ("20,000", "?"),
        ("1,234", "?"),
        ("50,000", "x"),
        ("40 h", "?"),
        ("2027-12-31", "?"),
        ("NULL", "?"),
        ("n/a", "?"),
        ("1e2", "?"),
    ],
)
def test_numbers_as_people_write_them(cell, more_than_20):
    """Every usual notation is read; where two readings disagree, the entry is held."""
    assert ruled([cell], operator="Greater_Than", value=20) == more_than_20


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("&", 2, [False, False, True, False, False, True, True, False]),
        ("!&", 2, [False, False, False, True, True, False, False, False]),
        ("&", 0x80000000, [False, False, False, False, False, False, True, False]),
        ("!&", 2**70, [False, False, True, True, True, True, False, False]),
    ],
)
def test_bits(operator, value, expected):
    """``&`` is true where the numbers have a bit in common; a directory's groupType is a negative number."""
    column = [None, "", "514", "512", "0", str(2**66 + 2), "-2147483646", "x"]
    assert judged(column, "str", operator=operator, value=value) == expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("IS TRUE", [False, True, False]),
        ("IS FALSE", [False, False, True]),
        ("IS NULL", [True, False, False]),
        ("IS NOT NULL", [False, True, True]),
    ],
)
def test_booleans(operator, expected):
    """Null is neither true nor false."""
    assert judged([None, True, False], "boolean", operator=operator) == expected


def test_booleans_as_text():
    """A source without types says True or 1; a boolean column compares with a text without case."""
    column = [None, "true", "TRUE", "1", "false", "0", "yes"]
    assert ruled(column, operator="IS TRUE") == "-xxx--x"
    assert ruled(column, operator="IS FALSE") == "----xx-"
    assert ruled(["Ja", "nein", "WAHR", "1.0", "0.0", " Y ", "2", "maybe", "x"], operator="IS TRUE") == "x-xx-x???"
    assert judged([None, True, False], "boolean", operator="EQUALS", value="true") == [False, True, False]
    assert judged([None, True, False], "boolean", operator="NOT EQUALS", value="TRUE") == [False, False, True]


def test_integer_columns():
    """A number column compares like its text."""
    assert judged([None, 5, 6], "Int64", operator="EQUALS", value=5) == [False, True, False]
    assert judged([None, 5, 6], "Int64", operator="Greater_Than", value=5) == [False, False, True]


DATES = [
    None,
    "",
    "2026-03-15",
    "2026-03-15T12:00:00Z",
    "2026-03-15T14:00:00+02:00",
    "2026-03-15T12:00:01",
    "2026-04-14",
    "4/14/2026 12:00:00 PM",
    "9999-12-31",
    "1601-01-01",
    "soon",
]


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("BEFORE", "now", "--x------x-"),
        ("AFTER", "now", "-----xxxx--"),
        ("BEFORE", "2026-03-16", "--xxxx---x-"),
        ("AFTER", "2026-03-15T00:00:00Z", "---xxxxxx--"),
        ("AFTER", "now+30d", "--------x--"),
        ("BEFORE", "+30d", "--xxxxx--x-"),
        ("AFTER", "now - 1h", "---xxxxxx--"),
        ("BEFORE", "now-4w", "---------x-"),
        ("AFTER", "now-999999999w", "--xxxxxxxx-"),
        ("AFTER", "now+999999999999w", "-----------"),
    ],
)
def test_moments(operator, value, expected):
    """Dates compare in UTC, with offsets from now; what is no date is held."""
    assert ruled(DATES, operator=operator, value=value) == expected[:-1] + "?"


@pytest.mark.parametrize(
    ("cell", "in_the_future"),
    [
        ("31.12.2027", "x"),
        ("31.12.2020", "-"),
        ("05.12.2020 17:30", "-"),
        ("46752", "x"),
        ("12345", "-"),
        ("20271231", "x"),
        ("99991231", "x"),
        ("05/12/2027", "x"),
        ("05/12/2020", "-"),
        ("05-12-2027", "x"),
        ("01/04/2026", "?"),
        ("04/01/2026", "?"),
        ("31/12/2027", "x"),
        ("31.12.27", "?"),
        ("31.12.2027 00:00:00", "x"),
        ("2027-12-31T00:00:00+02:00", "x"),
        ("2027-02-30", "?"),
        ("31.02.2027", "?"),
        ("0000-00-00", "?"),
        ("00000000", "?"),
        ("2027", "?"),
        ("2027-12", "?"),
        ("46752.75", "?"),
        ("unbefristet", "?"),
    ],
)
def test_dates_as_people_write_them(cell, in_the_future):
    """Every notation with one meaning is read; where the meanings disagree, or there is none, the entry is held."""
    assert ruled([cell], operator="AFTER", value="now") == in_the_future


@pytest.mark.parametrize(
    ("form", "expected"), [("dd/MM/yyyy", "x?-x"), ("MM/dd/yyyy", "x??x"), ("M/d/yyyy", "x??x"), ("dd.MM.yyyy", "????")]
)
def test_the_job_says_how_a_date_is_written(form, expected):
    """Then this is the only way in which it is read."""
    column = ["04/01/2026", "2027-12-31", "31/12/2025", "05/05/2027"]
    assert ruled(column, operator="AFTER", value="2026-01-03", format=form) == expected


def test_moments_where_no_value_is_a_date():
    """A column without a single date is no fault of the job, and judges nobody."""
    assert ruled(["soon", None], operator="BEFORE", value="now") == "?-"


def test_what_is_known_decides_before_what_is_not():
    """A false clause ends its group, a true group the filter; only what is left open is held, with value and reason."""
    frame = pd.DataFrame(
        {"hours": text(a="many", b="many", c="many", d="40"), "kind": text(a="x", b="y", c="z", d="z")}
    )
    hours = {"attribute": "hours", "operator": "Greater_Than", "value": 20}
    kind = {"attribute": "kind", "operator": "NOT EQUALS", "value": "x"}
    always = {"attribute": "kind", "operator": "EQUALS", "value": "y"}
    found = select(rules([hours, kind], [always]), snapshot(frame), Kind.USER, assignment=None, now=NOW)
    assert (list(found.entries.index), list(found.out.index), list(found.held.index)) == (["b", "d"], ["a"], ["c"])
    assert found.held["c"] == "The filter cannot judge hours Greater_Than: 'many' cannot be read as a number."


def test_a_person_whom_the_source_has_disabled_is_not_held():
    """Taking away waits for no filter."""
    frame = pd.DataFrame({"hours": text(a="many", b="many")})
    clause = {"attribute": "hours", "operator": "Greater_Than", "value": 20}
    system = snapshot(frame, disabled=frozenset({"a"}))
    found = select(rules([clause]), system, Kind.USER, assignment=None, now=NOW)
    assert (dict(found.out), list(found.held.index)) == ({"a": "disabled in the source"}, ["b"])


def test_why_says_what_cannot_be_judged():
    """As ``select`` decides; a redacted value is not shown."""
    frame = pd.DataFrame({"hours": text(a="many"), "mail": text(a="m")})
    clause = {"attribute": "hours", "operator": "Greater_Than", "value": 20}
    found = explain_scope(rules([clause]), snapshot(frame), Kind.USER, "a", assignment=None, now=NOW)
    assert (found.in_scope, found.failing, len(found.undecided)) == (False, (), 1)
    assert "'many'" in found.undecided[0].doubt
    hidden = rules([clause], userName="[mail]", secret={"expression": "[hours]", "redact": True})
    found = explain_scope(hidden, snapshot(frame), Kind.USER, "a", assignment=None, now=NOW)
    assert "many" not in found.undecided[0].doubt


def test_lists_are_held_where_one_value_leaves_it_open():
    """All of the values: one that is false decides. Any of them: one that is true."""
    keys = list("abcd")
    column = pd.Series([["40", "many"], ["5", "many"], ["many"], ["40"]], index=keys, dtype=object)
    for multi, expected in (("all", "?-?x"), ("any", "x??x")):
        clause = {"attribute": "a", "operator": "Greater_Than", "value": 20, "multi": multi}
        system = snapshot(pd.DataFrame({"a": column}))
        found = select(rules([clause]), system, Kind.USER, assignment=None, now=NOW)
        marks = dict.fromkeys(found.entries.index, "x") | dict.fromkeys(found.held.index, "?")
        assert "".join(marks.get(key, "-") for key in keys) == expected


MANY = [None, [], ["a"], ["a", "b"], ["b", None, ""], "a", float("nan")]


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ({"operator": "EQUALS", "value": "a"}, "--x--x-"),
        ({"operator": "EQUALS", "value": "a", "multi": "any"}, "--xx-x-"),
        ({"operator": "NOT EQUALS", "value": "a"}, "----x--"),
        ({"operator": "NOT EQUALS", "value": "a", "multi": "any"}, "---xx--"),
        ({"operator": "IS NULL"}, "xx----x"),
        ({"operator": "IS NOT NULL"}, "--xxxx-"),
        ({"operator": "IN", "value": ["a", "b"]}, "--xxxx-"),
        ({"operator": "REGEX MATCH", "value": "^A", "case": "ignore", "multi": "any"}, "--xx-x-"),
    ],
)
def test_multi_valued_attributes(clause, expected):
    """All values must make the clause true, or any where the job says so; no value makes it false."""
    assert judged(MANY, object, **clause) == [mark == "x" for mark in expected]


def test_an_attribute_that_the_source_does_not_have_is_null():
    """Only IS NULL is true of it."""
    frame = pd.DataFrame({"a": text(k="x")})
    assert inside(rules([{"attribute": "b", "operator": "IS NULL"}]), snapshot(frame)) == {"k"}
    assert inside(rules([{"attribute": "b", "operator": "NOT EQUALS", "value": "x"}]), snapshot(frame)) == set()


def test_soft_deleted_in_a_filter_is_what_the_source_says():
    """A filter on IsSoftDeleted must not lose everybody: it asks who is disabled in the source."""
    frame = pd.DataFrame({"a": text(k1="x", k2="x")})
    system = snapshot(frame, disabled=frozenset({"k1"}))
    assert inside(rules([{"attribute": "IsSoftDeleted", "operator": "IS FALSE"}]), system) == {"k2"}


PEOPLE = pd.DataFrame(
    {
        "department": text(ann="Sales", bob="Sales", eve="IT", zoe=None),
        "country": text(ann="DE", bob="FR", eve="DE", zoe="DE"),
    }
)
SALES, GERMANY = (
    {"attribute": "department", "operator": "EQUALS", "value": "Sales"},
    {"attribute": "country", "operator": "EQUALS", "value": "DE"},
)


def test_clauses_of_a_group_must_all_be_true():
    """AND within a group."""
    assert inside(rules([SALES, GERMANY]), snapshot(PEOPLE)) == {"ann"}


def test_one_true_group_is_enough():
    """OR among groups."""
    assert inside(rules([SALES], [GERMANY]), snapshot(PEOPLE)) == {"ann", "bob", "eve", "zoe"}


def test_without_a_filter_everybody_passes():
    """No filter by default."""
    assert inside(rules(), snapshot(PEOPLE)) == {"ann", "bob", "eve", "zoe"}


def test_groups_have_filters_of_their_own():
    """The same operators divide groups."""
    groups = pd.DataFrame({"name": text(g1="app-a", g2="other")})
    found = inside(
        rules([{"attribute": "name", "operator": "STARTS_WITH", "value": "app-"}]), snapshot(PEOPLE, groups), Kind.GROUP
    )
    assert found == {"g1"}


def test_a_person_who_is_out_is_told_why():
    """Everybody in the source is either in scope or out with a reason; assignment is looked at first."""
    scoped = select(
        rules([GERMANY]),
        snapshot(PEOPLE, disabled=frozenset({"ann"})),
        Kind.USER,
        assignment=Assignment(mode=AssignmentMode.ASSIGNED, users=("ann", "bob")),
        now=NOW,
    )
    assert scoped.out.to_dict() == {"bob": FILTERED_OUT, "eve": NOT_ASSIGNED, "zoe": NOT_ASSIGNED}
    assert scoped.entries["IsSoftDeleted"].to_dict() == {"ann": True}
    assert set(scoped.present) == set(PEOPLE.index)


# --- assignment and membership

GROUPS = pd.DataFrame({"name": text(g1="Sales", g2="Sales EMEA", g3="Sales DACH", g4="IT")})
EDGES = [("g1", "ann"), ("g1", "g2"), ("g2", "bob"), ("g2", "g3"), ("g3", "eve"), ("g3", "g1"), ("g4", "zoe")]


def nested_world() -> Snapshot:
    return snapshot(PEOPLE, GROUPS, EDGES)


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ({"users": ["ann"]}, {"ann"}),
        ({"users": ["nobody"]}, set()),
        ({"groups": ["g1"]}, {"ann"}),
        ({"groups": ["Sales"]}, {"ann"}),
        ({"groups": ["sales"]}, set()),
        ({"groups": ["g2", "IT"]}, {"bob", "zoe"}),
        ({"groups": ["g1"], "nested": True}, {"ann", "bob", "eve"}),
        ({"groups": ["Sales EMEA"], "nested": True}, {"ann", "bob", "eve"}),
        ({"users": ["zoe"], "groups": ["g3"]}, {"zoe", "eve"}),
    ],
)
def test_assignment(assignment, expected):
    """Assigned are the users listed and the members of the groups listed, by anchor or name; nested ones if asked."""
    chosen = Assignment(mode=AssignmentMode.ASSIGNED, **assignment)
    assert inside(rules(), nested_world(), assignment=chosen) == expected


def test_everybody_is_assigned_where_the_job_says_all():
    """Mode all looks at no list."""
    assert inside(rules(), nested_world(), assignment=Assignment()) == {"ann", "bob", "eve", "zoe"}


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ({"value": "g3"}, {"eve", "ann", "bob"}),
        ({"value": "IT"}, {"zoe"}),
        ({"value": ["IT", "nothing"]}, {"zoe"}),
        ({"value": "it"}, set()),
        ({"value": "it", "case": "ignore"}, {"zoe"}),
        ({"value": "G4", "case": "ignore"}, {"zoe"}),
    ],
)
def test_member_of(clause, expected):
    """MEMBER_OF is true of members, direct or through groups inside, of any group listed; circles of groups end."""
    assert inside(rules([{"attribute": "groups", "operator": "MEMBER_OF", **clause}]), nested_world()) == expected


def test_groups_can_be_members():
    """MEMBER_OF in the filter of groups looks at groups inside groups."""
    filter_ = rules([{"attribute": "groups", "operator": "MEMBER_OF", "value": "Sales EMEA"}])
    assert inside(filter_, nested_world(), Kind.GROUP) == {"g3", "g1", "g2"}


def test_a_key_that_users_and_groups_share_means_the_user():
    """Tables number users and groups each from 1: user 1 as a member must not let group 1's members in."""
    users = pd.DataFrame({"department": text(**{"1": "a", "2": "b"})})
    groups = pd.DataFrame({"name": text(**{"1": "one", "9": "nine"})})
    system = snapshot(users, groups, [("9", "1"), ("1", "2")])
    assert set(members_of(system, ["9"], Kind.USER, nested=True).to_pylist()) == {"1"}
    assert set(members_of(system, ["9"], Kind.GROUP, nested=True).to_pylist()) == set()
    assert set(members_of(system, ["1"], Kind.USER, nested=True).to_pylist()) == {"2"}


def test_null_is_among_nothing():
    """A null key is not a key that somebody asked for."""
    assert is_among(pd.Series(["a", None, "b"], dtype="str"), {"a", "c"}).tolist() == [True, False, False]
    assert is_among(pd.Index([], dtype="str"), {"a"}).tolist() == []
    assert is_among(pd.Index(["a"], dtype="str"), set()).tolist() == [False]


def test_a_pattern_that_is_too_slow_stops_the_cycle(monkeypatch):
    """Who is in scope must not depend on how busy the machine is."""
    monkeypatch.setattr("tasks.expressions.regex.TIME_LIMIT_S", 0.001)
    with pytest.raises(SettingsError, match="too slow"):
        judged(["a" * 40 + "!"], "str", operator="REGEX MATCH", value=r"^(?=a)(a|a)+\1$")


def test_offsets_are_counted_from_now():
    """Hours, days and weeks, in any case and with blanks."""
    assert moment_of("NOW", NOW) == NOW
    assert moment_of("now - 2W", NOW) == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert moment_of("+12h", NOW) == datetime(2026, 3, 16, 0, tzinfo=UTC)
    assert moment_of("2026-01-31", NOW) == datetime(2026, 1, 31, tzinfo=UTC)


# --- why


def test_why_names_clauses_and_values():
    """For one entry: every clause with the entry's value and verdict, and the group that decided."""
    found = explain_scope(rules([SALES], [GERMANY]), snapshot(PEOPLE), Kind.USER, "eve", assignment=None, now=NOW)
    assert found.in_scope
    assert found.passing == 1
    assert found.failing == ()
    assert [[(verdict.value, verdict.holds) for verdict in group] for group in found.groups] == [
        [("IT", False)],
        [("DE", True)],
    ]
    out = explain_scope(rules([SALES, GERMANY]), snapshot(PEOPLE), Kind.USER, "zoe", assignment=None, now=NOW)
    assert not out.in_scope
    assert [(verdict.clause.attribute, verdict.value) for verdict in out.failing] == [("department", None)]


def test_why_names_the_assignment():
    """Through which group somebody is assigned, and over which groups inside it."""
    chosen = Assignment(mode=AssignmentMode.ASSIGNED, users=("eve",), groups=("Sales", "IT"), nested=True)
    found = explain_scope(rules(), nested_world(), Kind.USER, "eve", assignment=chosen, now=NOW)
    assert found.by_key
    assert found.by_groups == (Membership("Sales", ("g3", "g2", "g1")),)
    direct = explain_scope(rules(), nested_world(), Kind.USER, "zoe", assignment=chosen, now=NOW)
    assert (direct.by_key, direct.by_groups) == (False, (Membership("IT", ("g4",)),))
    flat = chosen.model_copy(update={"nested": False, "users": ("ann",)})
    none = explain_scope(rules(), nested_world(), Kind.USER, "bob", assignment=flat, now=NOW)
    assert not none.assigned
    assert not none.in_scope


def test_why_names_memberships_that_a_clause_asks_for():
    """MEMBER_OF shows the way to the group instead of a value."""
    filter_ = rules([{"attribute": "groups", "operator": "MEMBER_OF", "value": "Sales"}])
    found = explain_scope(filter_, nested_world(), Kind.USER, "bob", assignment=None, now=NOW)
    assert found.groups[0][0].value == (Membership("Sales", ("g2", "g1")),)
    missing = explain_scope(filter_, nested_world(), Kind.USER, "zoe", assignment=None, now=NOW)
    assert missing.groups[0][0].value == ()


def test_why_hides_redacted_values():
    """A filter on an attribute whose mapping is redacted says whether it holds, never what the value is."""
    filter_ = rules([SALES], userName="[mail]", title={"expression": "[department]", "redact": True})
    verdict = explain_scope(filter_, snapshot(PEOPLE), Kind.USER, "ann", assignment=None, now=NOW).groups[0][0]
    assert (verdict.holds, verdict.value, verdict.hidden) == (True, None, True)


def test_why_of_somebody_who_is_not_there():
    """An unknown key is an answer, not a fault."""
    assert not explain_scope(rules(), snapshot(PEOPLE), Kind.USER, "nobody", assignment=None, now=NOW).in_scope


@pytest.mark.parametrize("key", list(PEOPLE.index))
@pytest.mark.parametrize("nested", [True, False])
def test_why_agrees_with_select(key, nested):
    """What is said about one entry is what happens to it."""
    filter_ = rules([SALES], [{"attribute": "x", "operator": "MEMBER_OF", "value": "g2"}])
    chosen = Assignment(mode=AssignmentMode.ASSIGNED, users=("zoe",), groups=("Sales",), nested=nested)
    found = explain_scope(filter_, nested_world(), Kind.USER, key, assignment=chosen, now=NOW)
    assert found.in_scope == (key in inside(filter_, nested_world(), assignment=chosen))
