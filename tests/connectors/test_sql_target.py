"""The sql connector as a target, against SQLite and a real PostgreSQL; what is there is read back by plain SQL."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from connectors.contract import Action, Form, Kind, Pace, Reach, Status, Wanted
from connectors.errors import CredentialsError, ErrorCode, SettingsError
from connectors.kit import KitTarget
from connectors.registry import find, open_target
from connectors.sql.target import SYSTEM, SqlTargetSettings
from tests.connectors import nasty
from tests.connectors.clocks import FakeClock
from tests.contract.bench import apply, change
from tests.servers.starting import DatabaseServer

WANTED = Wanted(("login", "mail", "level", "active", "boss"), ("title",))
TABLES = (
    """CREATE TABLE accounts (id {serial}, login varchar(40) NOT NULL UNIQUE, mail text, level integer,
       active boolean NOT NULL DEFAULT true, boss integer REFERENCES accounts (id), hired date, paid numeric(10,2),
       CHECK (level < 100))""",
    "CREATE TABLE teams (id {serial}, title text NOT NULL UNIQUE)",
    """CREATE TABLE seats (team integer NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
       person integer NOT NULL REFERENCES accounts (id) ON DELETE CASCADE, PRIMARY KEY (team, person))""",
)
SECTIONS: dict[str, Any] = {
    "users": {"table": "accounts", "key": "id", "enabled": {"column": "active"}},
    "groups": {"table": "teams", "key": "id"},
    "members": {"table": "seats", "group": "team", "member": "person"},
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Either database, with the app's tables and nobody in them."""
    if request.param == "sqlite":
        sqlite3.connect(tmp_path / "app.db").close()
        address = f"sqlite:///{tmp_path}/app.db"
    else:
        running: DatabaseServer = request.getfixturevalue("postgresql_server")
        address = running.create_database(f"t{abs(hash(request.node.name))}")
    serial = "integer PRIMARY KEY" if request.param == "sqlite" else "serial PRIMARY KEY"
    run(address, *(text.format(serial=serial) for text in TABLES))
    return address


def run(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Plain SQL, apart from our own engine; the rows of the last statement."""
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            found = connection.exec_driver_sql(statement)
        return [tuple(row) for row in found] if found.returns_rows else []


@pytest.fixture
def target(url: str) -> Iterator[KitTarget]:
    opened = open_sql(url)
    yield opened
    opened.close()


def open_sql(url: str, **sections: Any) -> KitTarget:
    settings = SqlTargetSettings.model_validate({"url": url, **SECTIONS, **sections})
    return KitTarget(SYSTEM, settings, folder=Path(), pace=Pace(), clock=FakeClock())


def test_the_catalog_says_what_there_is(target: KitTarget, url: str) -> None:
    """Types, what must be unique and what must be there come from the database itself; SQLite holds no length."""
    found = target.attributes(Kind.USER)
    assert found is not None
    assert {path: one.form for path, one in found.items()} == {
        "id": Form.INTEGER,
        "login": Form.TEXT,
        "mail": Form.TEXT,
        "level": Form.INTEGER,
        "active": Form.BOOLEAN,
        "boss": Form.REFERENCE,
        "hired": Form.DATE,
        "paid": Form.DECIMAL,
    }
    login = found["login"]
    assert (login.unique, login.required) == (Reach.SYSTEM, True)
    assert login.longest == (None if url.startswith("sqlite") else 40)
    assert not found["id"].required
    assert target.traits().switch == "active"
    assert "accounts, teams, seats" in target.check()


def test_a_whole_life(target: KitTarget, url: str) -> None:
    """Created, found, changed, switched off, put into a team and taken out, deleted."""
    made = apply(target, *(change(Action.CREATE, login=f"u{n}", level=str(n), active=True) for n in range(30)))
    ids = [outcome.target_id or "" for outcome in made]
    assert {outcome.status for outcome in made} == {Status.DONE}
    assert run(url, "SELECT count(*), sum(level) FROM accounts") == [(30, 435)]
    (team,) = apply(target, change(Action.CREATE, kind=Kind.GROUP, title="Sales"))
    group = team.target_id
    apply(target, change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=ids[:5]))
    apply(target, change(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=ids[:2]))
    apply(target, change(Action.DISABLE, ids[0], active=False, before={"active": True}))
    apply(target, change(Action.UPDATE, ids[1], mail="a@b.c", boss=ids[2], hired="2026-02-03", paid="12.50"))
    assert run(url, "SELECT count(*) FROM seats") == [(3,)]
    assert run(url, f"SELECT active FROM accounts WHERE id = {ids[0]}")[0][0] in (False, 0)
    assert run(url, f"SELECT mail, boss FROM accounts WHERE id = {ids[1]}") == [("a@b.c", int(ids[2]))]
    snapshot = target.read(WANTED)
    assert snapshot.complete
    assert len(snapshot.users) == 30
    assert snapshot.users.loc[ids[0], "active"] == False  # noqa: E712
    assert snapshot.users.loc[ids[1], "boss"] == ids[2]
    assert set(snapshot.members["member"]) == set(ids[2:5])
    assert list(target.find(Kind.USER, "login", ["u7", "nobody"], WANTED).index) == [ids[7]]
    outcomes = apply(target, change(Action.DELETE, ids[9]), change(Action.DELETE, "99999"))
    assert [outcome.status for outcome in outcomes] == [Status.DONE, Status.DONE]
    assert run(url, "SELECT count(*) FROM accounts") == [(29,)]


def test_one_bad_row_takes_no_other_with_it(target: KitTarget, url: str) -> None:
    """Refusals name their column and no value; the others of the same transaction are done."""
    outcomes = apply(
        target,
        change(Action.CREATE, login="ann"),
        change(Action.CREATE, login="ann"),
        change(Action.CREATE, mail="nobody@example.com"),
        change(Action.CREATE, login="bob", level="100"),
        change(Action.CREATE, login="carl", level="many"),
        change(Action.CREATE, login="dora", boss="4711"),
        change(Action.CREATE, login="eve"),
    )
    codes = [outcome.code for outcome in outcomes]
    assert codes == [
        None,
        ErrorCode.CONFLICT,
        ErrorCode.MISSING_VALUES,
        ErrorCode.UNPROCESSABLE_ENTITY,
        ErrorCode.UNPROCESSABLE_ENTITY,
        ErrorCode.UNRESOLVED_REFERENCE,
        None,
    ]
    assert list(outcomes[1].refused) == ["login"]
    assert "ann" not in outcomes[1].message
    assert {row[0] for row in run(url, "SELECT login FROM accounts")} == {"ann", "eve"}


def test_what_somebody_else_changed_is_not_overwritten(target: KitTarget, url: str) -> None:
    """An update names what was there when the plan was made."""
    (made,) = apply(target, change(Action.CREATE, login="ann", mail="old@example.com"))
    key = made.target_id
    run(url, "UPDATE accounts SET mail = 'theirs@example.com'")
    stale = change(Action.UPDATE, key, mail="ours@example.com", before={"mail": "old@example.com"})
    (outcome,) = apply(target, stale)
    assert outcome.status is Status.REJECTED
    assert "changed by somebody else" in outcome.message
    assert run(url, "SELECT mail FROM accounts") == [("theirs@example.com",)]
    fresh = change(Action.UPDATE, key, mail="ours@example.com", before={"mail": "theirs@example.com"})
    assert apply(target, fresh)[0].status is Status.DONE


def test_nasty_values_come_back_as_they_were(target: KitTarget) -> None:
    """Quotes, emoji, long names, a person named None."""
    texts = [text for person in nasty.PEOPLE for text in person if text]
    made = apply(target, *(change(Action.CREATE, login=f"n{n}", mail=text) for n, text in enumerate(texts)))
    assert {outcome.status for outcome in made} == {Status.DONE}
    held = target.read(WANTED).users["mail"]
    assert [held[outcome.target_id] for outcome in made] == texts
    for text, outcome in zip(texts, made, strict=True):
        assert outcome.target_id in target.find(Kind.USER, "mail", [text], WANTED).index


def test_members_that_are_in_already_or_are_nobody(target: KitTarget) -> None:
    """All but the ghost join, and it is named."""
    ids = [one.target_id or "" for one in apply(target, *(change(Action.CREATE, login=f"u{n}") for n in range(50)))]
    (team,) = apply(target, change(Action.CREATE, kind=Kind.GROUP, title="All"))
    join = change(Action.ADD_MEMBERS, team.target_id, kind=Kind.GROUP, members=ids[:3])
    assert apply(target, join)[0].status is Status.DONE
    again = change(Action.ADD_MEMBERS, team.target_id, kind=Kind.GROUP, members=[*ids, "4711"])
    (outcome,) = apply(target, again)
    assert (outcome.status, list(outcome.refused)) == (Status.PARTLY, ["4711"])
    assert len(target.fetch(Kind.GROUP, [team.target_id or ""], WANTED).members) == 50


def test_a_commit_that_is_not_answered_is_looked_at(postgresql_server: DatabaseServer, tmp_path: Path) -> None:
    """The server's backend is ended in the middle of a commit: every account is there once, and is told as done.

    A trigger that is deferred to the commit ends the session's own backend, for the first transaction only.
    """
    url = postgresql_server.create_database("commits")
    run(url, *(text.format(serial="serial PRIMARY KEY") for text in TABLES))
    run(
        url,
        "CREATE TABLE calm (since integer)",
        """CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF (SELECT last_value FROM strikes) = 1 THEN
               PERFORM nextval('strikes'); PERFORM nextval('strikes');
               PERFORM pg_terminate_backend(pg_backend_pid());
             END IF; RETURN NULL; END $$""",
        "CREATE SEQUENCE strikes",
        """CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON accounts DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION cut()""",
    )
    target = open_sql(url)
    made = apply(target, *(change(Action.CREATE, login=f"u{number}") for number in range(40)))
    target.close()
    assert {outcome.status for outcome in made} == {Status.DONE}
    assert run(url, "SELECT count(*), count(DISTINCT login) FROM accounts") == [(40, 40)]
    assert run(url, "SELECT last_value > 1 FROM strikes") == [(True,)]


def test_statements_of_the_job(postgresql_server: DatabaseServer) -> None:
    """An app that lets nobody write its tables is written by its procedures."""
    url = postgresql_server.create_database("procedures")
    run(url, *(text.format(serial="serial PRIMARY KEY") for text in TABLES))
    run(
        url,
        """CREATE FUNCTION hire(who text, address text) RETURNS integer LANGUAGE sql AS
           $$ INSERT INTO accounts (login, mail) VALUES (lower(who), address) RETURNING id $$""",
        "CREATE FUNCTION fire(whom integer) RETURNS void LANGUAGE sql AS $$ DELETE FROM accounts WHERE id = whom $$",
    )
    target = open_sql(url, statements={"create_user": "SELECT hire(:login, :mail)", "delete_user": "SELECT fire(:key)"})
    (made,) = apply(target, change(Action.CREATE, login="ANN"))
    assert run(url, "SELECT id, login FROM accounts") == [(int(made.target_id or 0), "ann")]
    assert apply(target, change(Action.DELETE, made.target_id))[0].status is Status.DONE
    assert run(url, "SELECT count(*) FROM accounts") == [(0,)]
    target.close()


def test_settings_that_are_wrong_say_so(url: str) -> None:
    """A table or column that is not there is named, with the nearest that is."""
    for section, hint in (
        ({"table": "acounts", "key": "id"}, "accounts"),
        ({"table": "accounts", "key": "idd"}, "id"),
    ):
        opened = open_sql(url, users=section)
        with pytest.raises(SettingsError, match=hint):
            opened.check()
        opened.close()


def test_a_wrong_password_stops(postgresql_server: DatabaseServer) -> None:
    """Nothing is tried again and again."""
    opened = open_sql(postgresql_server.create_database("closed").replace("postgres@", "stranger@"))
    with pytest.raises(CredentialsError):
        opened.check()
    opened.close()


def test_it_is_in_the_registry(url: str) -> None:
    """A job names it like any other target."""
    settings_type = find("sql").target_settings
    assert settings_type is SqlTargetSettings
    opened = open_target("sql", settings_type.model_validate({"url": url, **SECTIONS}), folder=Path())
    assert "accounts" in opened.check()
    opened.close()


@pytest.mark.parametrize("action", [Action.DISABLE, Action.DELETE])
def test_rows_that_share_a_key_are_left_alone(tmp_path: Path, action: Action) -> None:
    """One of two people is meant, and nobody knows which: neither loses anything."""
    url = f"sqlite:///{tmp_path}/app.db"
    sqlite3.connect(tmp_path / "app.db").close()
    people = "CREATE TABLE accounts (id integer, login text, active boolean NOT NULL DEFAULT true)"
    run(url, people, "INSERT INTO accounts VALUES (1, 'root', true), (1, 'bob', true)")
    users = {"table": "accounts", "key": "id", "enabled": {"column": "active"}}
    target = open_sql(url, users=users, groups=None, members=None)
    values = {"active": False} if action is Action.DISABLE else {}
    (outcome,) = apply(target, change(action, "1", **values))
    target.close()
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.UNPROCESSABLE_ENTITY)
    assert outcome.message.startswith("2 rows have this key; none of them was changed.")
    assert run(url, "SELECT login, active FROM accounts") == [("root", 1), ("bob", 1)]


def test_a_trigger_that_switches_on_again_is_noticed(target: KitTarget, url: str) -> None:
    """The database says that a row was updated; who was switched off has access all the same, and that is told."""
    made = apply(
        target, change(Action.CREATE, login="ann", active=True), change(Action.CREATE, login="bob", active=True)
    )
    ann, bob = (outcome.target_id for outcome in made)
    if url.startswith("sqlite"):
        run(
            url,
            f"""CREATE TRIGGER lie AFTER UPDATE ON accounts WHEN new.id = {ann}
                BEGIN UPDATE accounts SET active = true WHERE id = new.id; END""",
        )
    else:
        run(
            url,
            f"""CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN IF new.id = {ann} THEN new.active := true; END IF; RETURN new; END $$""",
            "CREATE TRIGGER lie BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION lie()",
        )
    one, two = apply(target, change(Action.DISABLE, ann, active=False), change(Action.DISABLE, bob, active=False))
    assert (one.status, two.status) == (Status.REJECTED, Status.DONE)
    assert "active holds another value afterwards" in one.message
    assert run(url, "SELECT active FROM accounts ORDER BY login") in ([(1,), (0,)], [(True,), (False,)])
