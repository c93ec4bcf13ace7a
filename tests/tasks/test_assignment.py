"""The assignment table: who is assigned, with which roles, and what happens when the table is not what it should be."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract import Kind, Snapshot, no_members
from connectors.errors import FatalError, SettingsError
from tasks.assignment import ROLES, roles_of, strangers, table_problems, with_assignments
from tasks.job import Assignment, AssignmentTable, Job
from tasks.membership import Membership
from tasks.scope import explain_scope, select

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
PEOPLE = ("ann", "bob", "eve", "zoe")
NAMES = {"g1": "Sales", "g2": "Sales EMEA", "g3": "IT"}
EDGES = (("g1", "ann"), ("g1", "g2"), ("g2", "bob"), ("g2", "ann"), ("g3", "eve"))


def index_of(keys: tuple[str, ...]) -> pd.Index:
    return pd.Index(keys, dtype="str", name="key")


def snapshot(**values: object) -> Snapshot:
    given = {
        "system": "test",
        "users": pd.DataFrame({"mail": pd.Series([f"{name}@x" for name in PEOPLE], index=index_of(PEOPLE))}),
        "groups": pd.DataFrame({"name": pd.Series(list(NAMES.values()), index=index_of(tuple(NAMES)))}),
        "members": pd.DataFrame(list(EDGES), columns=["group", "member"], dtype="str"),
        "read_at": NOW,
    }
    return Snapshot(**{**given, **values})


def job(folder: Path, *, nested: bool = False, **table: str) -> Job:
    columns = {"path": "assignments.csv", "user": "user", "group": "group", **table}
    return Job.model_validate(
        {
            "name": "test",
            "source": {"connector": "csv", "users": {"path": "people.csv", "key": "id"}},
            "target": {"connector": "scim", "url": "http://127.0.0.1:1"},
            "assignment": {"mode": "assigned", "nested": nested, "table": columns},
            "users": {"matching": [{"source": "[mail]", "target": "userName"}], "attributes": {"userName": "[mail]"}},
            "file": folder / "job.yaml",
        }
    )


def read(folder: Path, text: str, *, nested: bool = False, **table: str) -> Snapshot:
    """The snapshot with the assignments of a table that holds this text."""
    made = job(folder, nested=nested, **table)
    (folder / "assignments.csv").write_text(text, encoding="utf-8")
    return with_assignments(made, snapshot())


def assigned(made: Job, found: Snapshot, kind: Kind = Kind.USER) -> set[str]:
    return set(select(made.users, found, kind, assignment=made.assignment, now=NOW).entries.index)


# --- who is assigned


@pytest.mark.parametrize(
    ("rows", "nested", "users", "groups"),
    [
        ("zoe,\n", False, {"zoe"}, set()),
        (",g1\n", False, {"ann"}, {"g1"}),
        (",Sales\n", False, {"ann"}, {"g1"}),
        (",Sales\n", True, {"ann", "bob"}, {"g1", "g2"}),
        ("eve,\n,IT\n,Sales EMEA\n", False, {"ann", "bob", "eve"}, {"g2", "g3"}),
        ("zoe,\nzoe,\nnobody,\n,nothing\n", False, {"zoe"}, set()),
    ],
)
def test_users_and_groups_of_the_table_are_assigned(tmp_path, rows, nested, users, groups):
    """Users by anchor, members of groups by anchor or name, and the groups themselves; nested ones if asked."""
    found = read(tmp_path, f"user,group\n{rows}", nested=nested)
    made = job(tmp_path, nested=nested)
    assert assigned(made, found) == users
    assert assigned(made, found, Kind.GROUP) == groups
    assert found.complete


def test_table_and_job_file_add_up(tmp_path):
    """Whom the job lists is assigned beside whom the table lists."""
    found = read(tmp_path, "user,group\nzoe,\n")
    made = Assignment(mode="assigned", users=("eve",), groups=("Sales",), table=job(tmp_path).assignment.table)
    assert set(select(job(tmp_path).users, found, Kind.USER, assignment=made, now=NOW).entries.index) == {
        "ann",
        "eve",
        "zoe",
    }


def test_a_user_is_never_assigned_as_a_group(tmp_path):
    """Tables number users and groups each from 1: assigning user 1 does not assign group 1, nor the other way round."""
    index = index_of(("1", "2"))
    frame = pd.DataFrame({"name": pd.Series(["a", "b"], index=index)})
    (tmp_path / "assignments.csv").write_text("user,group\n1,\n,2\n", encoding="utf-8")
    found = with_assignments(job(tmp_path), snapshot(users=frame, groups=frame, members=no_members()))
    assert assigned(job(tmp_path), found) == {"1"}
    assert assigned(job(tmp_path), found, Kind.GROUP) == {"2"}


def test_why_names_the_way(tmp_path):
    """Directly, or through which group of the table; for groups too."""
    found, made = read(tmp_path, "user,group\nann,\n,Sales\n", nested=True), job(tmp_path, nested=True)

    def why(kind: Kind, key: str) -> tuple[bool, tuple[Membership, ...], bool]:
        decision = explain_scope(made.users, found, kind, key, assignment=made.assignment, now=NOW)
        return decision.by_key, decision.by_groups, decision.in_scope

    assert why(Kind.USER, "ann") == (True, (Membership("Sales", ("g1",)),), True)
    assert why(Kind.USER, "bob") == (False, (Membership("Sales", ("g2", "g1")),), True)
    assert why(Kind.USER, "zoe") == (False, (), False)
    assert why(Kind.GROUP, "g1") == (True, (), True)
    assert why(Kind.GROUP, "g2") == (False, (Membership("Sales", ("g1",)),), True)
    assert why(Kind.GROUP, "g3") == (False, (), False)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("kind", list(Kind))
def test_why_agrees_with_select(tmp_path, nested, kind):
    """What is said about one entry is what happens to it, users and groups alike."""
    found, made = read(tmp_path, "user,group\neve,\n,Sales\n", nested=nested), job(tmp_path, nested=nested)
    for key in found.entries(kind).index:
        decision = explain_scope(made.users, found, kind, key, assignment=made.assignment, now=NOW)
        assert decision.in_scope == (key in assigned(made, found, kind)), key


def test_json_lines_and_parquet(tmp_path):
    """The same formats as for a source."""
    (tmp_path / "a.jsonl").write_text('{"who": "zoe", "role": "Admin"}\n{"team": "IT"}\n', encoding="utf-8")
    pq.write_table(
        pa.table({"who": ["zoe", None], "team": [None, "IT"], "role": ["Admin", None]}), tmp_path / "a.parquet"
    )
    for name in ("a.jsonl", "a.parquet"):
        made = job(tmp_path, path=name, user="who", group="team", role="role")
        found = with_assignments(made, snapshot())
        assert assigned(made, found) == {"zoe", "eve"}
        assert found.users[ROLES].to_dict() == {"ann": None, "bob": None, "eve": None, "zoe": ["Admin"]}


# --- tables that are not what they should be


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("user,group\n", "assigns nobody: it has no usable rows. Nothing was written"),
        ("user,group\nann,g1\n,\n", "assigns nobody: it has no usable row"),
        ("user,group\nnobody,\n,nothing\n", "none of its 2 assignments names anybody in the source"),
        ("user,team\nann,\n", "has no column 'group'"),
    ],
)
def test_a_table_that_assigns_nobody_stops_the_cycle(tmp_path, text, told):
    """An export that failed must never unassign everybody."""
    with pytest.raises(SettingsError, match=told):
        read(tmp_path, text)


def test_a_table_that_is_not_there_stops_the_cycle(tmp_path):
    """Nor must a file that somebody has moved."""
    with pytest.raises(FatalError, match=r"assignments\.csv does not exist"):
        with_assignments(job(tmp_path), snapshot())


def test_rows_that_name_nobody_prove_no_absence(tmp_path):
    """A row with both, or of the wrong length, may have been somebody's. Blank rows are nobody's."""
    found = read(tmp_path, "user,group\nzoe,\n,\nann,g3\nbob\n")
    assert assigned(job(tmp_path), found) == {"zoe"}
    assert [(row.place, row.key) for row in found.unreadable] == [
        ("assignments.csv, line 5", None),
        ("assignments.csv, line 4", None),
    ]
    assert "write a row for each" in found.unreadable[1].reason
    assert found.incomplete == (
        "2 rows of assignments.csv do not say who is assigned (first: assignments.csv, line 5).",
    )


def test_whom_the_source_does_not_have_is_noted(tmp_path):
    """A row about somebody who is gone changes nothing and stops nothing; inline lists are looked at too."""
    found = read(tmp_path, "user,group\nzoe,\nnobody,\n,nothing\n,IT\n")
    assert found.complete
    made = job(tmp_path).assignment.model_copy(update={"users": ("eve", "who"), "groups": ("Sales", "what")})
    assert strangers(made, found) == [
        (Kind.GROUP, "nothing"),
        (Kind.GROUP, "what"),
        (Kind.USER, "nobody"),
        (Kind.USER, "who"),
    ]


@pytest.mark.parametrize(
    ("table", "key", "told"),
    [
        ({"path": "assignment.csv"}, "path", "does not exist. Did you mean assignments.csv?"),
        ({"user": "usr"}, "user", "assignments.csv has no column 'usr'. Did you mean user?"),
        ({"role": "grade"}, "role", "assignments.csv has no column 'grade'."),
    ],
)
def test_problems_are_found_without_reading_it_all(tmp_path, table, key, told):
    """`provisor check` looks at the header."""
    (tmp_path / "assignments.csv").write_text("user,group\nann,\n", encoding="utf-8")
    ((where, message),) = table_problems(job(tmp_path, **table).assignment.table, tmp_path)
    assert where == key
    assert told in message


def test_a_table_names_a_column():
    """Without user or group nobody knows what is assigned."""
    with pytest.raises(ValueError, match="user, group, or both"):
        AssignmentTable(path="assignments.csv", role="role")


# --- roles


@pytest.mark.parametrize(
    ("rows", "nested", "expected"),
    [
        ("ann,,Writer\nann,,Admin\n", False, {"ann": ["Admin", "Writer"]}),
        (",Sales,Reader\n", False, {"ann": ["Reader"]}),
        (",Sales,Reader\n", True, {"ann": ["Reader"], "bob": ["Reader"]}),
        (",Sales,Admin\nann,,Writer\nann,,\n,g1,Admin\n", False, {"ann": ["Writer", "Admin"]}),
        (",Sales,Writer\nann,,Writer\n,g2,Admin\n", False, {"ann": ["Writer", "Admin"], "bob": ["Admin"]}),
        ("zoe,,\n", False, {}),
        ("nobody,,Admin\n,nothing,Admin\nzoe,,User\n", False, {"zoe": ["User"]}),
    ],
)
def test_roles_are_direct_ones_first(tmp_path, rows, nested, expected):
    """A person's roles are those assigned to them, then those of their groups; each once, and in order of names."""
    found = read(tmp_path, f"user,group,role\n{rows}", nested=nested, role="role")
    assert {key: roles for key, roles in found.users[ROLES].items() if roles is not None} == expected


SOME = st.sampled_from(["a", "b", "c", "d"])
GROUP = st.sampled_from(["g1", "g2", "g3", "g4"])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(Kind)), SOME | GROUP, st.sampled_from(["R", "S", None])), max_size=8),
    st.sets(st.tuples(GROUP, SOME | GROUP), max_size=12),
    st.booleans(),
)
def test_roles_are_those_of_every_way_to_be_assigned(rows, edges, nested):
    """Whatever the groups inside groups: a role reaches exactly those whom its row assigns."""
    users, groups = index_of(("a", "b", "c", "d")), index_of(("g1", "g2", "g3", "g4"))
    members = pd.DataFrame(sorted(edges), columns=["group", "member"], dtype="str")
    world = snapshot(users=pd.DataFrame(index=users), groups=pd.DataFrame(index=groups), members=members)
    table = pd.DataFrame(rows, columns=["kind", "key", "role"], dtype="str").drop_duplicates()
    expected: dict[str, set[str]] = {user: set() for user in users}
    for kind, key, role in {row for row in rows if row[2] is not None}:
        row = {"users": (key,)} if kind is Kind.USER else {"groups": (key,)}
        rule = Assignment(mode="assigned", nested=nested, **row)
        everybody = job(Path()).users
        for user in select(everybody, world, Kind.USER, assignment=rule, now=NOW).entries.index:
            expected[user].add(role)
    found = roles_of(world, table, nested=nested)
    assert {user: set(roles or ()) for user, roles in found.items()} == expected
    assert all(roles is None or len(roles) == len(set(roles)) for roles in found)
