"""A job held against the attributes of its two systems, before anything is read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.contract import Attribute, Count, Form, Kind, Traits, Write
from tasks.agreement import check_agreement, doubts_about
from tasks.extract import Facts
from tasks.job import JobError, load_job

TARGET = {
    "userName": Attribute(required=True),
    "id": Attribute(required=True, write=Write.NEVER),
    "schemas": Attribute(required=True, form=Form.REFERENCE, count=Count.LIST),
    "active": Attribute(form=Form.BOOLEAN),
    "level": Attribute(form=Form.INTEGER),
    "title": Attribute(longest=10),
    "userType": Attribute(values=("Employee", "Contractor")),
    "name": Attribute(form=Form.STRUCTURE, required=True),
    "name.familyName": Attribute(required=True),
    "emails.value": Attribute(required=True),
    "groups": Attribute(write=Write.NEVER, count=Count.LIST),
    "password": Attribute(write=Write.BLIND),
}
GOOD = {"userName": "[login]", "name.familyName": "[surname]"}


def facts() -> Facts:
    source = {name: Attribute() for name in ("login", "surname", "title")}
    return Facts(Traits(), {Kind.USER: TARGET, Kind.GROUP: None}, {Kind.USER: source, Kind.GROUP: None})


def job_with(folder: Path, attributes: dict[str, Any], **users: Any) -> Any:
    document = {
        "name": "j",
        "source": {"connector": "csv", "users": {"path": "p.csv", "key": "id"}},
        "target": {"connector": "scim", "url": "http://127.0.0.1:1"},
        "users": {"matching": [{"source": "[login]", "target": "userName"}], "attributes": attributes, **users},
    }
    path = folder / "j.yaml"
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return load_job(path)


def problems(folder: Path, attributes: dict[str, Any], **users: Any) -> list[str]:
    job = job_with(folder, attributes, **users)
    try:
        check_agreement(job, facts())
    except JobError as error:
        return [found.message for found in error.problems if found.line]
    return []


def doubts(folder: Path, attributes: dict[str, Any], **users: Any) -> list[str]:
    job = job_with(folder, attributes, **users)
    check_agreement(job, facts())
    return [found.message for found in doubts_about(job, facts()) if found.line]


def test_a_job_that_fits(tmp_path: Path) -> None:
    """What the target demands is given, by a part of it too; what it works out itself need not be."""
    assert problems(tmp_path, GOOD | {"active": "Not([IsSoftDeleted])"}) == []


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"titel": "[title]"}, "The target has no attribute titel. Did you mean title?"),
        ({"groups": "[title]"}, "The target does not let anybody write groups: it is read-only."),
        ({"name": "[surname]"}, "The target keeps name in parts: map each of them, with its name behind a dot."),
        ({"active": {"constant": "perhaps"}}, "The target requires true or false for active."),
        ({"active": {"constant": 1}}, "The target requires true or false for active."),
        ({"level": {"expression": "[title]", "default": "high"}}, "The target requires a whole number for level."),
    ],
)
def test_a_mapping_that_does_not_fit(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    """Unknown, read-only, of parts, of another type, demanded: said with its line, before a thousand refusals."""
    assert message in problems(tmp_path, GOOD | attributes)


@pytest.mark.parametrize("value", [True, "true", "False"])
def test_what_the_connector_writes_in_the_right_type_fits(tmp_path: Path, value: object) -> None:
    """Text that reads as a boolean is written as one."""
    assert problems(tmp_path, GOOD | {"active": {"constant": value}, "level": {"constant": "12"}}) == []


def test_what_the_target_demands_is_missed(tmp_path: Path) -> None:
    """An account that may be refused is known beforehand; where none is created, nothing is missed."""
    assert doubts(tmp_path, GOOD) == []
    missing = "The target demands name of everybody, and no mapping gives it."
    assert doubts(tmp_path, {"userName": "[login]"}) == [missing]
    assert doubts(tmp_path, {"userName": "[login]"}, actions={"create": False}) == []
    cleared = {"userName": {"expression": "[login]", "clear": True}}
    assert doubts(tmp_path, GOOD | cleared) == [
        "The target demands userName of everybody, so it may refuse that it is cleared."
    ]


def test_parts_that_the_target_demands_and_what_never_changes(tmp_path: Path) -> None:
    """A structure without a part that it must have is refused, and so is each change of what is set once."""
    schema = TARGET | {
        "name.formatted": Attribute(required=True, part_of="name"),
        "emails.value": Attribute(required=True, part_of="emails"),
        "costCenter": Attribute(write=Write.ON_CREATE),
    }
    known = replace(facts(), target={Kind.USER: schema, Kind.GROUP: None})

    def told(attributes: dict[str, Any], **users: Any) -> list[str]:
        return [found.message for found in doubts_about(job_with(tmp_path, attributes, **users), known)]

    formatted = "The target demands name.formatted wherever name is given, and no mapping gives it."
    assert told(GOOD) == [formatted]
    assert told(GOOD | {"name.formatted": "[login]"}) == []
    assert told({"userName": "[login]", "name": {"constant": {"formatted": "x"}}}) == []
    whole = GOOD | {"name.formatted": "[login]"}
    assert told(whole | {'emails[type eq "work"].value': "[login]"}) == []
    once = "The target takes costCenter only when it creates an entry: add apply: on_create, or changes are refused."
    assert told(whole | {"costCenter": "[title]"}) == [once]
    assert told(whole | {"costCenter": "[title]"}, actions={"update": False}) == []
    assert told(whole | {"costCenter": {"expression": "[title]", "apply": "on_create"}}) == []


def test_nobody_is_found_by_what_is_never_shown(tmp_path: Path) -> None:
    """A password matches nobody."""
    matching = [{"source": "[login]", "target": "password"}]
    found = problems(tmp_path, GOOD | {"password": {"expression": "[login]", "apply": "on_create"}}, matching=matching)
    assert found == ["The target never shows password, so nobody can be found by it."]


def test_odd_values_are_doubts_not_problems(tmp_path: Path) -> None:
    """The standard calls canonical values suggestions (RFC 7643 section 7): a slip is pointed out, and let pass."""
    odd = "The target names Employee, Contractor for userType, not Boss."
    assert doubts(tmp_path, GOOD | {"userType": {"constant": "Boss"}}) == [odd]
    assert doubts(tmp_path, GOOD | {"userType": {"constant": "employee"}}) == []


def test_what_is_too_long_for_the_target_is_said(tmp_path: Path) -> None:
    """A constant or default that every account would be refused for."""
    said = "The target takes 10 characters at most for title, and this has 11."
    assert doubts(tmp_path, GOOD | {"title": {"constant": "x" * 11}}) == [said]
    assert doubts(tmp_path, GOOD | {"title": {"expression": "[title]", "default": "x" * 11}}) == [said]
    assert doubts(tmp_path, GOOD | {"title": {"constant": "x" * 10}}) == []
