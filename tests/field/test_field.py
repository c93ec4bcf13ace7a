"""Trouble that people report: spreadsheets, views and services that do not do as they are asked.

Each test is one situation and its neighbours, in whole cycles without an orchestrator. What is only about one service's
way of answering has its tests beside the connector: members that are not shown, answers that contradict and disables
that are not done (tests/connectors/scim/test_unseen.py), limits told by 403 (test_faults.py there), NUL bytes
(tests/connectors/test_cells.py), files that are no export (tests/connectors/test_csv.py).
"""

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import connectors.scim.service
from connectors.contract import Action, Kind
from tasks.ledger import CycleState
from tests.connectors.clocks import FakeClock
from tests.model.driver import Driver, Ended
from tests.servers.scim_service import ScimService

Row = dict[str, str]


class Place:
    """One job between an export and a service."""

    def __init__(self, folder: Path, service: ScimService, **more: Any) -> None:
        self.folder, self.service = folder, service
        self.rows: list[Row] = [person(number) for number in range(30)]
        users = {"path": "people.csv", "key": "id", "enabled": {"column": "status", "values": ["active"]}}
        source = {"connector": "csv", "users": users, **more.pop("source", {})}
        rules = {
            "matching": [{"source": "[login]", "target": "userName"}],
            "attributes": {
                "userName": "[login]",
                "externalId": "[id]",
                "active": "Not([IsSoftDeleted])",
                **more.pop("attributes", {}),
            },
            **more.pop("users", {}),
        }
        target = {"connector": "scim", "url": service.url, "auth": {"bearer": "${env:SCIM_TOKEN}"}}
        self.job = {"name": "field", "source": source, "target": target, "users": rules, **more}
        self.driver = Driver(folder / "job.yaml")

    def row(self, number: int) -> Row:
        return next(row for row in self.rows if row["id"] == f"{number:05}")

    def write(self, name: str, rows: list[Row]) -> None:
        with (self.folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
            writer.writeheader()
            writer.writerows(rows)

    def run(self, choice: str = "auto") -> Ended:
        (self.folder / "job.yaml").write_bytes(orjson.dumps(self.job))
        self.write("people.csv", self.rows)
        ended = self.driver.cycle(choice)
        assert ended.report is not None
        return ended

    def active(self) -> dict[str, bool]:
        """By userName."""
        return {str(user["userName"]): bool(user["active"]) for user in self.service.users.values()}

    def said(self, ended: Ended) -> str:
        """Every sentence of a cycle about people."""
        assert ended.report is not None
        told = [*ended.report.held, *ended.report.notes]
        sentences = [f"{one.anchor}: {one.reason}" for one in told]
        return "\n".join([*sentences, *(failure.message for failure in ended.report.failures), *ended.report.guards])


def person(number: int, **more: str) -> Row:
    return {"id": f"{number:05}", "login": f"p{number}@example.com", "note": "x", "status": "active", **more}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScimService]:
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    clock = FakeClock()
    monkeypatch.setattr(connectors.scim.service, "SystemClock", lambda: clock)
    with ScimService() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, service: ScimService) -> Iterator[Place]:
    found = Place(tmp_path, service)
    yield found
    found.driver.close()


# -- taking away needs the key and the fact, nothing else --------------------------------------------------------------


def test_leavers_who_get_one_common_login_are_switched_off(place: Place) -> None:
    """HR gives everybody who has left the same login, which the target takes once: all of them are off."""
    place.run()
    for number in (1, 3, 5):
        place.row(number).update(login="left@example.com", status="terminated")
    place.run()
    off = {user["externalId"] for user in place.service.users.values() if not user["active"]}
    assert off == {"00001", "00003", "00005"}


@pytest.mark.parametrize(
    ("column", "value"),
    [("note", "n/a"), ("login", ""), ("login", "no address"), ("last", "2027-13-45")],
    ids=["a mapping fails", "no login", "a check holds the row", "a column of its own"],
)
def test_nothing_else_in_the_row_keeps_a_leaver_active(column: str, value: str, place: Place) -> None:
    """The source says that she has left: whatever else is wrong with her row, the account is off."""
    place.job["users"]["attributes"]["title"] = 'FormatDateTime([note], , "yyyy-MM-dd", "dd.MM.yyyy")'
    check = {"expect_column_values_to_match_regex": {"column": "login", "regex": "@"}, "on_failure": "hold_rows"}
    place.job["checks"] = {"source.users": [check]}
    for row in place.rows:
        row |= {"note": "2020-01-31", "last": "Smith"}
    place.run()
    place.row(3).update({column: value, "status": "terminated"})
    place.run()
    assert [name for name, active in place.active().items() if not active] == ["p3@example.com"]


def test_copies_of_a_row_count_once(place: Place) -> None:
    """A join doubled two rows: the joiner gets an account, the leaver is off; copies that differ in a note too."""
    place.rows.append(dict(place.row(11)))
    place.run()
    assert "p11@example.com" in place.active()
    place.row(5)["status"] = "terminated"
    place.rows.append(place.row(5) | {"note": "copied"})
    place.run()
    assert not place.active()["p5@example.com"]


# -- not understood is not no ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "limit", "cells"),
    [
        ("AFTER", "now-1d", ["31.12.2027", "46752", "20271231", "05/12/2027", "soon"]),
        ("Greater_Than", 20, ["37.5", " 40", "37,5", "1,234", "full time"]),
        ("IS TRUE", None, ["WAHR", "Y", "x"]),
    ],
    ids=["dates", "numbers", "truths"],
)
def test_a_cell_that_is_not_understood_costs_nobody_the_account(
    operator: str, limit: str | int | None, cells: list[str], tmp_path: Path, service: ScimService
) -> None:
    """A filter meets what spreadsheets make of a value: who is not plainly outside stays, and what is held says why."""
    clause = {"attribute": "note", "operator": operator, **({} if limit is None else {"value": limit})}
    place = Place(tmp_path, service, users={"scope": [[clause]]})
    good = {"AFTER": "2027-12-31", "Greater_Than": "40", "IS TRUE": "true"}[operator]
    for row in place.rows:
        row["note"] = good
    place.run()
    for number, cell in enumerate(cells):
        place.row(number)["note"] = cell
    ended = place.run()
    assert all(place.active().values())
    assert f"00{len(cells) - 1:03}" in place.said(ended)
    place.driver.close()


# -- absence where somebody is there -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spoilt", ["1.23457E+11", "1,23457E+11"])
def test_keys_that_a_spreadsheet_has_rounded_end_nobody(spoilt: str, place: Place) -> None:
    """Long personnel numbers became one number: who is meant cannot be told, and nobody loses access by it."""
    for number, key in ((0, "123456789012"), (1, "123456700001")):
        place.rows[number]["id"] = key
    place.run()
    for number in (0, 1):
        place.rows[number]["id"] = spoilt
    place.run()
    assert all(place.active().values())


@pytest.mark.parametrize("ends", ["by its status", "by a filter"])
def test_a_contractor_who_becomes_an_employee_keeps_the_account(
    ends: str, tmp_path: Path, service: ScimService
) -> None:
    """One record ends and another of the same login begins, both in the export: the person works there."""
    rules = {"scope": [[{"attribute": "note", "operator": "NOT EQUALS", "value": "over"}]]}
    place = Place(tmp_path, service, users=rules)
    place.run()
    place.row(2).update({"status": "terminated"} if ends == "by its status" else {"note": "over"})
    place.rows.append(place.row(2) | {"id": "90002", "status": "active", "note": "x"})
    place.run()
    assert place.active()["p2@example.com"]
    assert len(place.active()) == 30
    place.driver.close()


@pytest.mark.parametrize("spoil", [lambda key: key.lstrip("0"), lambda key: f"{key}.0", lambda key: f"X{key}"])
def test_members_that_lead_nowhere_empty_no_group(spoil: Any, tmp_path: Path, service: ScimService) -> None:
    """The members file alone was saved by a spreadsheet: its keys are nobody's, and nobody leaves the group."""
    groups = {"path": "groups.csv", "key": "id"}
    members = {"path": "members.csv", "group": "group", "member": "member"}
    place = Place(
        tmp_path,
        service,
        source={"groups": groups, "members": members},
        groups={"matching": [{"source": "[name]", "target": "displayName"}], "attributes": {"displayName": "[name]"}},
    )
    place.write("groups.csv", [{"id": "G1", "name": "Team"}])
    place.write("members.csv", [{"group": "G1", "member": f"{number:05}"} for number in range(8)])
    place.run()
    place.write("members.csv", [{"group": "G1", "member": spoil(f"{number:05}")} for number in range(8)])
    place.run()
    (group,) = service.groups.values()
    assert len(group["members"]) == 8
    place.driver.close()


def test_what_has_not_changed_is_not_said_again(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A row without a key makes the source incomplete: said in the first cycle, and again when another reason comes."""
    said = []
    for cycle in range(3):
        if cycle != 1:
            place.rows.append(person(90 + cycle, id=""))
        caplog.clear()
        place.run()
        said.append([one.getMessage() for one in caplog.records if "is not complete: " in one.getMessage()])
    assert [len(lines) for lines in said] == [1, 0, 1]


# -- what looks the same, names that are given again -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jo\u0308rg@example.com", "jörg@example.com\u00a0", "jörg\u200b@example.com"])
def test_a_name_that_looks_the_same_makes_no_second_account(name: str, place: Place) -> None:
    """The letters of a Mac, a no-break space, a blank of no width: the account is there, under a name that looks so."""
    place.service.seed(users=[{"userName": "jörg@example.com", "active": True}])
    place.row(0)["login"] = name
    ended = place.run()
    alike = [user for user in place.active() if user.startswith("j")]
    assert alike == ["jörg@example.com"] or "looks the same" in place.said(ended)
    assert len(alike) == 1


def test_a_login_given_again_names_the_owner_before(place: Place) -> None:
    """Somebody left weeks ago; a newcomer gets the login, and so the account: both are told whose it was."""
    place.run()
    gone = place.rows.pop(0)
    place.run()
    place.rows.append(gone | {"id": "90000"})
    ended = place.run()
    assert "It takes over the account of 00000" in place.said(ended)
    assert "Its account now belongs to 90000" in place.said(ended)


def test_names_move_on_in_one_cycle(place: Place) -> None:
    """A chain of renames at whose end a joiner gets the name that became free: one cycle, no refusal."""
    place.run()
    names = [row["login"] for row in place.rows]
    for row, name in zip(place.rows[1:], names, strict=False):
        row["login"] = name
    place.rows[0]["login"] = "ann@example.com"
    place.rows.append(person(99, login=names[-1]))
    ended = place.run()
    assert ended.report is not None
    assert ended.report.state is CycleState.DONE, place.said(ended)
    owners = {user["externalId"]: user["userName"] for user in place.service.users.values()}
    assert owners == {row["id"]: row["login"] for row in place.rows}


# -- who has left ends without access, whatever is refused -------------------------------------------------------------

QUIRKS = {
    "patch": ["honoured", "silent", "not_allowed", "not_implemented"],
    "put": ["clears", "keeps", "demands_attributes", "error_500"],
    "patch_answer": ["body", "no_content"],
    "active_text": ["refused", "demanded"],
    "operation_case": ["both", "lower_only", "capital_only"],
    "good_then_bad": ["nothing_kept", "good_half_kept"],
    "owner": ["done", "shown_active", "error_in_200", "silent"],
    "duplicate_user_name": ["conflict", "error_500_html"],
    "email_domain": ["stored", "refused"],
}
CELLS = ["", "n/a", "p1@example.com", "a@somewhere.invalid", "ünï\u200bcode", "=1+1", "x" * 3000, "2027-02-30"]


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return lambda: tmp_path_factory.mktemp("field")


@settings(
    max_examples=10_000 if "PROVISOR_LONG" in os.environ else 8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    quirks=st.fixed_dictionaries({}, optional={name: st.sampled_from(answers) for name, answers in QUIRKS.items()}),
    cells=st.dictionaries(st.sampled_from(["login", "note", "mail", "boss"]), st.sampled_from(CELLS), max_size=4),
    gone=st.booleans(),
    login=st.sampled_from(["p0@example.com", "owner@example.com"]),
)
def test_who_has_left_ends_without_access(
    quirks: Mapping[str, str], cells: Row, gone: bool, login: str, fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any row and any way of refusing: the account is off after one cycle, or the run says why not, and fails."""
    folder, clock = fresh(), FakeClock()
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    monkeypatch.setenv("PROVISOR_HOME", str(folder / "state"))
    monkeypatch.setattr(connectors.scim.service, "SystemClock", lambda: clock)
    attributes = {"title": "[note]", 'emails[type eq "work"].value': "[mail]", "displayName": "CDate([boss])"}
    with ScimService() as service:
        place = Place(folder, service, attributes=attributes)
        place.rows = [person(number, mail=f"p{number}@example.com", boss="2020-01-31") for number in range(6)]
        place.rows[0]["login"] = login
        place.run()
        service.quirks.update(quirks)
        if gone:
            del place.rows[0]
        else:
            place.rows[0] |= cells | {"status": "terminated"}
        ended = place.run()
        place.driver.close()
        account = next(user for user in service.users.values() if user["externalId"] == "00000")
        assert ended.report is not None
        if str(account["active"]) != "False":
            assert ended.report.state is not CycleState.DONE
            assert place.said(ended) or ended.report.error
        others = [user for user in service.users.values() if user["externalId"] != "00000"]
        assert all(str(user["active"]) == "True" for user in others)
        assert ended.plan is None or all(
            block.action is not Action.DISABLE or set(block.table["anchor"]) <= {"00000"}
            for block in ended.plan.blocks
            if block.kind is Kind.USER
        )
