"""The sql connector, against SQLite and a real PostgreSQL."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy.pool import NullPool

from connectors.contract import Form, Kind, Snapshot, Source, Wanted
from connectors.errors import CredentialsError, FatalError, SettingsError, UnreachableError
from connectors.registry import find, open_source
from connectors.sql import CONNECTOR, database, watermark
from tests.connectors import nasty
from tests.servers.starting import DatabaseServer, free_port

FOLDER = Path()


@pytest.fixture
def postgres(postgresql_server: DatabaseServer, request: pytest.FixtureRequest) -> str:
    name = f"d{abs(hash(request.node.name))}"
    return postgresql_server.create_database(name)


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    sqlite3.connect(tmp_path / "people.db").close()
    return f"sqlite:///{tmp_path}/people.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Either database, empty."""
    return request.getfixturevalue(request.param)


def run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def put(url: str, table: str, columns: tuple[str, ...], rows) -> None:
    """A table of text columns with these rows."""
    engine = sa.create_engine(url, poolclass=NullPool)
    metadata = sa.MetaData()
    made = sa.Table(table, metadata, *[sa.Column(name, sa.Text) for name in columns])
    with engine.begin() as connection:
        metadata.create_all(connection)
        if rows:
            connection.execute(made.insert(), [dict(zip(columns, row, strict=True)) for row in rows])


def source(url: str, users: dict | None = None, folder: Path = FOLDER, **sections: dict) -> Source:
    users = {
        "key": "id",
        "verbatim": True,
        **({"table": "people"} if "query" not in (users or {}) else {}),
        **(users or {}),
    }
    return open_source(
        "sql", CONNECTOR.source_settings.model_validate({"url": url, "users": users, **sections}), folder=folder
    )


def read(
    url: str, users: dict | None = None, wanted: tuple = ("name",), since: str | None = None, **sections
) -> Snapshot:
    opened = source(url, users, **sections)
    try:
        return opened.read(Wanted(users=wanted, groups=("name",) if sections else None), since=since)
    finally:
        opened.close()


def cells(frame: pd.DataFrame) -> list[tuple]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [(key, *row) for key, row in zip(frame.index, plain.itertuples(index=False), strict=True)]


def refused(kind: type[FatalError], url: str, users: dict | None = None, **sections) -> str:
    with pytest.raises(kind) as caught:
        read(url, users, **sections)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


# Values


@pytest.mark.parametrize("chunk", [10_000, 3])
@pytest.mark.parametrize("query", [None, 'SELECT * FROM people ORDER BY "nr";'])
def test_nasty_people_arrive_exactly(url, chunk, query, monkeypatch):
    """Every nasty value arrives as it is kept, by table and by query, in one chunk and in many."""
    monkeypatch.setattr("connectors.sql._CHUNK", chunk)
    rows = [*nasty.PEOPLE, *nasty.REPEATED, *nasty.WITHOUT_KEY]
    put(url, "people", ("nr", *nasty.COLUMNS), [(f"{n:03d}", *row) for n, row in enumerate(rows)])
    snapshot = read(url, {"query": query} if query else None, wanted=nasty.COLUMNS[1:])
    assert sorted(cells(snapshot.users)) == sorted(tuple(row) for row in nasty.PEOPLE)
    assert all(dtype == "str" for dtype in snapshot.users.dtypes)
    assert snapshot.users.index.dtype == "str"
    assert snapshot.users.index.name == "key"
    assert sorted(str(row.key) for row in snapshot.unreadable) == ["E-again", "E-again", "None", "None"]
    assert len(snapshot.incomplete) == 1


def test_bad_rows_say_where_they_are(url):
    """A row with a key is named by it; one without by its number."""
    put(url, "people", ("id", "name"), [("1", "a"), (None, "b"), ("7", "c"), ("7", "d"), ("", "e")])
    snapshot = read(url)
    assert [(row.key, row.place) for row in snapshot.unreadable] == [
        (None, "table people, row 2 as read"),
        ("7", "table people, row with id 7"),
        ("7", "table people, row with id 7"),
        (None, "table people, row 5 as read"),
    ]
    assert snapshot.incomplete == (
        "2 rows of table people could not be attributed to anybody (first: table people, row 2 as read).",
    )


def test_postgresql_types(postgres):
    """Whole numbers plain, decimals exact, moments in UTC, arrays as lists, booleans as booleans, bytes in base64."""
    run(
        postgres,
        """CREATE TABLE people (id bigint, on_ boolean, cents numeric(10,2), f float8, day date, at timestamptz,
           local timestamp, tags text[], numbers int[], data jsonb, raw bytea, uid uuid, until date, gone timestamptz,
           clock time, empty text)""",
        """INSERT INTO people VALUES (1, true, 1.50, 123, '2024-01-31', '2024-05-01 14:30:00.25+02',
           '2024-05-01 00:00', '{a,NULL,b}', '{1,2}', '{"a": {"b": [1, true]}}', '\\x00ff',
           'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'infinity', '-infinity', '08:30', '')""",
        "INSERT INTO people (id) VALUES (2)",
    )
    wanted = "on_ cents f day at local tags numbers data raw uid until gone clock empty".split()
    users = read(postgres, wanted=tuple(wanted)).users
    assert list(users.index) == ["1", "2"]
    assert users["on_"].dtype == "boolean"
    assert users.iloc[0].drop(["empty"]).to_dict() == {
        "on_": True,
        "cents": "1.50",
        "f": "123",
        "day": "2024-01-31",
        "at": "2024-05-01T12:30:00.250000Z",
        "local": "2024-05-01T00:00:00",
        "tags": ["a", None, "b"],
        "numbers": ["1", "2"],
        "data": {"a": {"b": ["1", True]}},
        "raw": "AP8=",
        "uid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "until": "infinity",
        "gone": "-infinity",
        "clock": "08:30:00",
    }
    assert users["empty"].isna().all()
    assert users.iloc[1].isna().all()
    assert read(postgres, {"keep_empty": True}, wanted=("empty",)).users["empty"].iloc[0] == ""


def test_sqlite_types(sqlite):
    """What SQLite keeps, whatever it calls it; 0 and 1 in a column declared as boolean are booleans."""
    run(
        sqlite,
        "CREATE TABLE people (id, n, f REAL, raw BLOB, on_ BOOLEAN)",
        "INSERT INTO people VALUES (1, 12345678901, 1.5, x'00ff', 1), ('00123', 'x', 7.0, NULL, 0)",
        "INSERT INTO people (id) VALUES ('x')",
    )
    users = read(sqlite, wanted=("n", "f", "raw", "on_")).users
    assert cells(users) == [
        ("1", "12345678901", "1.5", "AP8=", True),
        ("00123", "x", "7", None, False),
        ("x", None, None, None, None),
    ]
    assert users["on_"].dtype == "boolean"


def test_a_mixed_column_is_text(sqlite, monkeypatch):
    """A column whose values change type from chunk to chunk becomes text as a whole."""
    monkeypatch.setattr("connectors.sql._CHUNK", 1)
    run(sqlite, "CREATE TABLE people (id, name BOOLEAN)", "INSERT INTO people VALUES (1, 1), (2, 'x'), (3, NULL)")
    assert cells(read(sqlite).users) == [("1", "true"), ("2", "x"), ("3", None)]


# What is read


def test_only_wanted_columns(url):
    """Columns that exist in the order wanted; enabled and key are read without being asked for."""
    put(url, "people", ("id", "name", "mail", "status"), [("1", "a", "m", "active"), ("2", "b", "n", "gone")])
    enabled = {"column": "status", "values": ["active"]}
    snapshot = read(url, {"enabled": enabled}, wanted=("mail", "nothing", "name"))
    assert cells(snapshot.users) == [("1", "m", "a"), ("2", "n", "b")]
    assert snapshot.disabled == {"2"}
    assert snapshot.complete
    assert snapshot.watermark is None


def test_names_that_need_quotes(url):
    """Mixed case, blanks and per cent signs in names of tables and columns."""
    put(url, "My People", ("Employee Id", "100%", "select"), [("1", "a", "b")])
    snapshot = read(url, {"table": "My People", "key": "Employee Id"}, wanted=("100%", "select"))
    assert cells(snapshot.users) == [("1", "a", "b")]


def test_queries_are_run_word_for_word(url):
    """Per cent signs, colons, casts and semicolons in a query mean what the database makes of them."""
    put(url, "people", ("id", "name"), [("1", "a%b"), ("2", "x:y"), ("3", "c")])
    query = "SELECT id, name, 'z :id' AS colon FROM people WHERE name LIKE '%b' OR name = 'x:y' ORDER BY id ;\n"
    snapshot = read(url, {"query": query}, wanted=("name", "colon"))
    assert cells(snapshot.users) == [("1", "a%b", "z :id"), ("2", "x:y", "z :id")]
    assert source(url, {"query": query}).attributes(Kind.USER).keys() == {"id", "name", "colon"}


def test_postgresql_casts_and_common_table_expressions(postgres):
    """Double colons are no parameters."""
    query = "WITH w AS (SELECT 7::text AS id, '1'::int::text AS name) SELECT * FROM w"
    assert cells(read(postgres, {"query": query}).users) == [("7", "1")]


def test_a_query_with_one_name_twice(url):
    """Nobody can say which of two columns is meant."""
    text = refused(SettingsError, url, {"query": "SELECT 1 AS id, 2 AS x, 3 AS x"})
    assert text == "The query of users gives two columns named 'x'. Rename one of them with AS."


def test_schemas_and_views(postgres):
    """A table of another schema, and a view."""
    run(
        postgres,
        "CREATE SCHEMA hr",
        "CREATE TABLE hr.staff (id text, name text)",
        "INSERT INTO hr.staff VALUES ('1', 'a')",
        "CREATE VIEW people AS SELECT id, upper(name) AS name FROM hr.staff",
    )
    assert cells(read(postgres, {"table": "staff", "schema": "hr"}).users) == [("1", "a")]
    assert cells(read(postgres).users) == [("1", "A")]
    assert "no table hr.stuff. Did you mean 'staff'?" in refused(
        SettingsError, postgres, {"table": "stuff", "schema": "hr"}
    )


def test_a_whole_snapshot(url):
    """Users, groups and edges; edges once, with both ends; progress grows to the number of entries."""
    put(url, "people", ("id", "name"), [("1", "a"), ("2", "b")])
    put(url, "teams", ("id", "name"), [("g", "G")])
    put(url, "memberships", ("team", "person"), [("g", "1"), ("g", "2"), ("g", "1"), ("h", "g"), (None, "1")])
    told: list[int] = []
    opened = source(
        url,
        groups={"table": "teams", "key": "id"},
        members={"table": "memberships", "group": "team", "member": "person"},
    )
    snapshot = opened.read(Wanted(users=("name",), groups=("name",)), progress=told.append)
    assert cells(snapshot.groups) == [("g", "G")]
    assert snapshot.members.to_dict("list") == {"group": ["g", "g", "h"], "member": ["1", "2", "g"]}
    assert [(row.kind, row.key) for row in snapshot.unreadable] == [(Kind.GROUP, None)]
    assert not snapshot.complete
    assert snapshot.requests == 3
    assert told == [2, 3]
    assert abs((datetime.now(UTC) - snapshot.read_at).total_seconds()) < 60
    assert opened.read(Wanted(users=())).requests == 1
    opened.close()
    opened.close()
    assert len(opened.read(Wanted(users=())).users) == 2
    opened.close()


class Meddler:
    """Somebody who moves a person to another team while the teams are being read."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.came = False

    def __call__(self, _: int) -> None:
        if not self.came:
            self.came = True
            run(self.url, "DELETE FROM teams", "INSERT INTO teams VALUES ('new', 'N')")


def test_users_and_groups_are_of_one_moment(url):
    """What others commit between two statements of a read is not seen."""
    put(url, "people", ("id", "name"), [("1", "a")])
    put(url, "teams", ("id", "name"), [("old", "O")])
    if url.startswith("sqlite"):
        run(url, "PRAGMA journal_mode = WAL")
    opened = source(url, groups={"table": "teams", "key": "id"})
    meddler = Meddler(url)
    snapshot = opened.read(Wanted(users=(), groups=()), progress=meddler)
    assert meddler.came
    assert list(snapshot.groups.index) == ["old"]
    assert list(opened.read(Wanted(users=(), groups=())).groups.index) == ["new"]
    opened.close()


def test_reading_cannot_write(url):
    """A query that changes something is refused by the database."""
    put(url, "people", ("id", "name"), [("1", "a")])
    with pytest.raises(FatalError):
        read(url, {"query": "DELETE FROM people RETURNING id, name"})
    assert len(read(url).users) == 1


def test_a_function_that_writes_is_refused(postgres):
    """The transaction is read-only, so not even a function inside a select can change anything."""
    run(
        postgres,
        "CREATE TABLE people (id text, name text)",
        "CREATE FUNCTION hire() RETURNS text LANGUAGE sql AS $$ INSERT INTO people VALUES ('1', 'a') RETURNING id $$",
    )
    assert "read-only transaction" in refused(FatalError, postgres, {"query": "SELECT hire() AS id"})


def test_many_rows_in_small_chunks(postgres, monkeypatch):
    """Rows are streamed: no more than a chunk is fetched at once, and progress is told after each."""
    run(postgres, "CREATE TABLE people AS SELECT n AS id, 'name ' || n AS name FROM generate_series(1, 25000) n")
    told: list[int] = []
    users = source(postgres).read(Wanted(users=("name",)), progress=told.append).users
    assert told == [10_000, 20_000, 25_000]
    assert users.loc["25000", "name"] == "name 25000"


# Watermark


def test_an_incremental_read(postgres):
    """Rows at and after the watermark and rows without one come again; the keys of all the others come with them."""
    run(
        postgres,
        "CREATE TABLE people (id text, name text, at timestamptz)",
        """INSERT INTO people VALUES ('1', 'a', '2024-01-01 00:00+00'), ('2', 'b', '2024-01-02 00:00:00.000001+01'),
           ('3', 'c', NULL)""",
    )
    users = {"watermark": "at", "overlap_s": 0}
    first = read(postgres, users)
    assert first.complete
    assert first.watermark
    assert not first.everybody
    run(postgres, "INSERT INTO people VALUES ('4', 'd', '2024-01-02 00:00:00.000001+01'), ('5', 'e', '2024-01-03')")
    second = read(postgres, users, since=first.watermark)
    assert sorted(second.users.index) == ["2", "3", "4", "5"]
    assert second.complete
    assert sorted(second.everybody[Kind.USER]) == ["1", "2", "3", "4", "5"]
    third = read(postgres, users, since=second.watermark)
    assert sorted(third.users.index) == ["3", "5"]
    assert third.watermark == second.watermark
    run(postgres, "DELETE FROM people")
    nobody = read(postgres, users, since=third.watermark)
    assert nobody.watermark == third.watermark
    assert len(nobody.everybody[Kind.USER]) == 0


@pytest.mark.parametrize("broken", ["'1', 'b', 2", "NULL, 'b', 2"])
def test_an_incremental_read_of_doubtful_keys_reads_everything(url, broken):
    """A key that is missing or comes twice can only be sorted out with all rows at hand."""
    run(url, "CREATE TABLE people (id text, name text, at integer)", "INSERT INTO people VALUES ('1', 'a', 1)")
    since = read(url, {"watermark": "at"}).watermark
    run(url, f"INSERT INTO people VALUES ('9', 'z', 3), ({broken})")
    snapshot = read(url, {"watermark": "at"}, since=since)
    assert not snapshot.everybody
    assert "9" in snapshot.users.index
    assert snapshot.unreadable


@pytest.mark.parametrize(
    ("kind", "values"),
    [("integer", ["9", "10", "100"]), ("numeric(20,3)", ["9.5", "10.25", "100"]), ("text", ["'a'", "'b'", "'c'"])],
)
def test_watermarks_compare_as_the_database_does(url, kind, values):
    """9 is less than 10 in a column of numbers, whatever their text says."""
    run(url, f"CREATE TABLE people (id text, mark {kind})")
    run(url, *(f"INSERT INTO people VALUES ('{n}', {value})" for n, value in enumerate(values[:2])))
    users = {"watermark": "mark", "overlap_numbers": 0}
    since = read(url, users).watermark
    run(url, f"INSERT INTO people VALUES ('2', {values[2]})")
    assert sorted(read(url, users, since=since).users.index) == ["1", "2"]


@pytest.mark.parametrize(
    ("kind", "early", "late", "latest"),
    [
        ("integer", "9000", "8500", "9001"),
        ("numeric(20,3)", "9000.5", "8500.25", "9001"),
        ("text", "'2026-01-01 12:00:00.5'", "'2026-01-01 11:50:00.25'", "'2026-01-01 12:01:00'"),
        ("text", "'2026-01-01T12:00:00+00:00'", "'2026-01-01T11:50:00+00:00'", "'2026-01-01T12:01:00+00:00'"),
        ("timestamp", "'2026-01-01 12:00:00.5'", "'2026-01-01 11:50:00'", "'2026-01-01 12:01:00'"),
        ("date", "'2026-01-02'", "'2026-01-01'", "'2026-01-03'"),
    ],
)
def test_a_row_that_is_committed_late_is_seen(url, kind, early, late, latest):
    """A transaction that wrote its mark first and was committed last: its leaver must not stay active."""
    run(url, f"CREATE TABLE people (id text, name text, mark {kind})")
    run(url, f"INSERT INTO people VALUES ('1', 'a', {early}), ('2', 'b', {early})")
    users = {"watermark": "mark"}
    first = read(url, users)
    run(url, f"UPDATE people SET name = 'late', mark = {late} WHERE id = '2'")
    run(url, f"INSERT INTO people VALUES ('3', 'c', {latest})")
    second = read(url, users, since=first.watermark)
    assert second.users["name"]["2"] == "late"
    assert "3" in second.users.index
    third = read(url, users, since=second.watermark)
    assert third.watermark == second.watermark  # it never moves back


def test_one_joiner_and_one_leaver_do_not_hide_each_other(url):
    """The number of rows is the same; a database is asked for the keys of all of them."""
    run(url, "CREATE TABLE people (id text, name text, mark integer)")
    run(url, "INSERT INTO people VALUES ('1', 'a', 100000), ('2', 'b', 100000)")
    users = {"watermark": "mark"}
    first = read(url, users)
    run(url, "DELETE FROM people WHERE id = '2'", "INSERT INTO people VALUES ('3', 'c', 7)")
    second = read(url, users, since=first.watermark)
    assert sorted(second.everybody[Kind.USER]) == ["1", "3"]


def test_watermark_of_a_query_and_of_groups(url):
    """A query is filtered from outside; each section has its own watermark, and one without is read in full."""
    put(url, "people", ("id", "name"), [("1", "a"), ("2", "b")])
    put(url, "teams", ("id", "name"), [("g", "5"), ("h", "7")])
    users = {"query": "SELECT id, name, 'x :%' AS z FROM people;", "watermark": "name"}
    groups = {"table": "teams", "key": "id", "watermark": "name"}
    first = read(url, users, groups=groups)
    assert json.loads(first.watermark).keys() == {"users", "groups"}
    second = read(url, users, since=first.watermark, groups=groups)
    assert list(second.users.index) == ["2"]
    assert list(second.groups.index) == ["h"]
    assert {kind: sorted(keys) for kind, keys in second.everybody.items()} == {
        Kind.USER: ["1", "2"],
        Kind.GROUP: ["g", "h"],
    }
    without = read(url, since=first.watermark, groups=groups)
    assert len(without.users) == 2
    assert set(without.everybody) == {Kind.GROUP}


def test_no_watermark_column_means_everything(url):
    """Without a watermark column there is none to pass back, and one passed in changes nothing."""
    put(url, "people", ("id", "name"), [("1", "a")])
    snapshot = read(url, since='{"users": ["text", "z"]}')
    assert snapshot.complete
    assert snapshot.watermark is None
    assert len(snapshot.users) == 1


def test_a_watermark_that_is_none(sqlite):
    """Text of another connector is refused with what to do."""
    put(sqlite, "people", ("id", "name"), [("1", "a")])
    for since in ("2024-01-01", "[]", '{"users": ["integer", "x"]}', '{"users": 1}'):
        with pytest.raises(SettingsError, match="scope watermark"):
            read(sqlite, {"watermark": "name"}, since=since)


def test_values_that_cannot_be_compared(sqlite):
    """A watermark column of numbers and text has no greatest value."""
    run(sqlite, "CREATE TABLE people (id, name)", "INSERT INTO people VALUES (1, 1), (2, 'x')")
    assert "cannot be compared" in refused(SettingsError, sqlite, {"watermark": "name"})


zones = st.sampled_from([UTC, None])


@given(
    st.one_of(
        st.text(),
        st.integers(),
        st.floats(allow_nan=False),
        st.decimals(allow_nan=False),
        st.datetimes(timezones=zones),
        st.dates(),
        st.binary(),
    )
)
def test_watermarks_survive_being_text(value):
    """What goes in comes out, with its type."""
    back = watermark.decode(watermark.encode({"users": value}))["users"]
    assert back == value
    assert type(back) is type(value)


# Errors


def test_missing_tables_and_columns_name_the_nearest(url):
    """The sentence says what was probably meant."""
    put(url, "people", ("id", "name", "Updated"), [])
    assert refused(SettingsError, url, {"table": "peple"}) == "There is no table peple. Did you mean 'people'?"
    assert "Did you mean 'id'?" in refused(SettingsError, url, {"key": "idd"})
    assert "Did you mean 'Updated'?" in refused(SettingsError, url, {"watermark": "updated"})
    assert "no column 'state'" in refused(SettingsError, url, {"enabled": "state"})
    query = {"query": "SELECT name AS nid FROM people"}
    assert "The query of users has no column" in refused(SettingsError, url, query).replace("the", "The")
    members = {"table": "people", "group": "id", "member": "nam"}
    assert "Did you mean 'name'?" in refused(
        SettingsError, url, groups={"table": "people", "key": "id"}, members=members
    )


def test_a_broken_query_is_told_in_one_line(url):
    """What the database says about it, without statement and parameters around it."""
    text = refused(SettingsError, url, {"query": "SELEC 1"})
    assert "syntax" in text
    assert "\n" not in text
    assert "sqlalche.me" not in text
    assert "does_not_exist" in refused(SettingsError, url, {"query": "SELECT * FROM does_not_exist"})


def test_an_empty_table_is_an_empty_company(url):
    """No rows, right types, complete."""
    put(url, "people", ("id", "name"), [])
    snapshot = read(url)
    assert len(snapshot.users) == 0
    assert snapshot.users.index.name == "key"
    assert snapshot.users.dtypes["name"] == "str"
    assert snapshot.complete


def test_sqlite_files_are_looked_up_from_the_folder_and_never_made(tmp_path):
    """A relative file belongs to the job's folder; a missing one is an error, not an empty database."""
    sqlite3.connect(tmp_path / "people.db").close()
    put(f"sqlite:///{tmp_path}/people.db", "people", ("id", "name"), [("1", "a")])
    assert len(source("sqlite:///people.db", folder=tmp_path).read(Wanted(users=())).users) == 1
    with pytest.raises(SettingsError, match=r"peeple.db does not exist. Did you mean people.db\?"):
        source("sqlite:///peeple.db", folder=tmp_path).check()
    assert not (tmp_path / "peeple.db").exists()
    (tmp_path / "text.db").write_text("no database at all " * 100)
    with pytest.raises(SettingsError, match="not a database"):
        source("sqlite:///text.db", folder=tmp_path).check()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("no address", "not a database address"),
        ("postgres://host/db", "Did you mean postgresql"),
        ("postgresql+asyncpg://host/db", "asyncpg"),
        ("mysql+pymysql://host/db", "needs the Python package pymysql"),
        ("postgresql+psycopg://host:port/db", "not a database address"),
    ],
)
def test_addresses_that_cannot_be_used(address, said):
    """Each mistake in an address has its own sentence."""
    assert said in refused(SettingsError, address)


def test_nobody_answers():
    """A closed port is told as such, with the address."""
    text = refused(UnreachableError, f"postgresql+psycopg://127.0.0.1:{free_port()}/db")
    assert "does not answer" in text
    assert "refused" in text


def test_no_such_database(postgresql_server):
    """A database that is not there is a setting to correct."""
    assert "does not exist" in refused(SettingsError, postgresql_server.url.rpartition("/")[0] + "/nothing_here")


PASSWORD = "p@ss/w:rd %41 hidden"


@pytest.fixture
def guarded(postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address of a user who must show a password; the password is in ``PW``."""
    monkeypatch.setenv("PW", PASSWORD)
    engine = sa.create_engine(postgres, poolclass=NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        rules = Path(connection.exec_driver_sql("SHOW hba_file").scalar_one())
        connection.execute(sa.text("CREATE ROLE hr_reader LOGIN PASSWORD 'p@ss/w:rd %41 hidden'"))
        before = rules.read_text()
        rules.write_text("host all hr_reader 127.0.0.1/32 scram-sha-256\n" + before)
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        yield postgres.replace("postgres@", "hr_reader:${env:PW}@")
        rules.write_text(before)
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        connection.exec_driver_sql("DROP OWNED BY hr_reader")
        connection.exec_driver_sql("DROP ROLE hr_reader")


def test_passwords_are_references_with_any_characters(guarded, postgres, monkeypatch):
    """A password from a reference needs no encoding; a wrong one is told without being shown."""
    put(postgres, "people", ("id", "name"), [("1", "a")])
    text = refused(CredentialsError, guarded)
    assert "does not let us read" in text
    assert "hr_reader" not in text
    run(postgres, "GRANT SELECT ON people TO hr_reader")
    assert len(read(guarded).users) == 1
    monkeypatch.setenv("DB", guarded.replace("${env:PW}", "p%40ss%2Fw%3Ard%20%2541%20hidden"))
    assert len(read("${env:DB}").users) == 1

    monkeypatch.setenv("PW", "wrong-word")
    text = refused(CredentialsError, guarded)
    assert "user or the password is wrong" in text
    for secret in ("wrong-word", "hr_reader", PASSWORD):
        assert secret not in text
    monkeypatch.delenv("PW")
    assert "environment variable PW" in refused(SettingsError, guarded)


def test_a_connection_that_breaks_half_way(postgres):
    """A server that goes away while rows are read is out of reach; nothing is given."""
    run(postgres, "CREATE TABLE people AS SELECT n::text AS id, 'x' AS name FROM generate_series(1, 50000) n")
    name = postgres.rpartition("/")[2]

    def end_it(_: int) -> None:
        others = f"datname = '{name}' AND pid <> pg_backend_pid()"
        run(postgres, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")

    with pytest.raises(UnreachableError, match="failed"):
        source(postgres).read(Wanted(users=("name",)), progress=end_it)


# Settings


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:written-down@host/db",
        "postgresql://u:written/down@host/db",
        "postgresql://u:${env:A}written-down@host/db",
        "postgresql://host/db?password=written-down",
    ],
)
def test_passwords_are_never_written_into_a_job(address):
    """A password in the address is refused, and the refusal does not repeat it."""
    with pytest.raises(ValidationError, match="must be a reference") as caught:
        source(address)
    assert "written" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("postgresql+psycopg://u:${env:PW}@host:5432/db?sslmode=require", "postgresql+psycopg://host:5432/db"),
        ("postgresql://${env:U}:${file:/run/a@b}@host/db", "postgresql://host/db"),
        ("sqlite:///people.db", "sqlite:///people.db"),
        ("${env:DB}", "${env:DB}"),
        ("postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_labels_hold_no_credentials(address, label):
    """What messages and snapshots call a database."""
    assert database.label_of(address) == label


def test_table_or_query():
    """Exactly one of both, and a schema only with a table."""
    for users in ({"table": "a", "query": "b"}, {"table": None}, {"query": "a", "table": None, "schema": "s"}):
        with pytest.raises(ValidationError):
            source("sqlite://", {"key": "id", **users})
    with pytest.raises(ValidationError, match="without groups"):
        source("sqlite://", members={"table": "m", "group": "g", "member": "m"})


def test_check_and_attributes(url):
    """The check connects, looks at every table and says what answered; attributes have types."""
    run(url, "CREATE TABLE people (id integer NOT NULL, name text, on_ boolean, at timestamp, n numeric)")
    opened = source(url, groups={"table": "people", "key": "id"})
    assert opened.check().endswith("can be read: table people (5 columns), table people (5 columns).")
    found = opened.attributes(Kind.USER)
    assert {name: info.form for name, info in found.items()} == {
        "id": Form.INTEGER,
        "name": Form.TEXT,
        "on_": Form.BOOLEAN,
        "at": Form.DATE,
        "n": Form.DECIMAL,
    }
    assert found["id"].required
    assert source(url).attributes(Kind.GROUP) == {}
    with pytest.raises(SettingsError):
        source(
            url, members={"table": "people", "group": "id", "member": "x"}, groups={"table": "people", "key": "id"}
        ).check()


def test_it_is_a_source_by_the_registry():
    """The registry finds it; opening touches nothing."""
    assert find("sql") is CONNECTOR
    opened = source("postgresql+psycopg://nowhere.invalid/db")
    assert isinstance(opened, Source)
    opened.close()
