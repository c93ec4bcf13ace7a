"""What is remembered of data checks: when they need not be looked at again, and what is no news."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from connectors.contract import Kind, Snapshot, Unreadable
from tasks.expectations import CheckResult, Known, check_source, digest_of, keep_known, mark_of, marks_of, read_known
from tasks.expectations.known import NOTHING_KNOWN
from tasks.expressions import Context
from tasks.job import Checked, OnFailure
from tests.tasks.plan.worlds import NOW, World, make_job


def world(**sections: object) -> World:
    made = World(make_job({}, {}, **sections))
    for number in range(5):
        made.users[f"p{number}"] = {"mail": f"p{number}@x", "department": None if number else "D"}
    made.groups["g"] = {"name": "Staff"}
    made.members = {("g", "p1")}
    return made


def changed(source: Snapshot, **parts: object) -> Snapshot:
    made = Snapshot(source.system, source.users.copy(), source.groups.copy(), source.members.copy(), read_at=NOW)
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def test_the_same_source_read_again_has_the_same_digest() -> None:
    """However the parts of its columns lie in memory; when it was read does not count."""
    made = world()
    source = made.source(None)
    again = changed(source, users=pd.concat([source.users.iloc[:2], source.users.iloc[2:]]))
    assert digest_of(made.job, source) == digest_of(made.job, again) != ""


@pytest.mark.parametrize(
    "what", ["cell", "null", "key", "row", "column", "group", "member", "unreadable", "checks", "rule"]
)
def test_whatever_decides_what_comes_of_a_check_changes_the_digest(what: str) -> None:
    """Otherwise something new would never be looked at."""
    made = world()
    source = made.source(None)
    other, users = made, source.users
    match what:
        case "cell":
            source = changed(source, users=users.assign(mail=users["mail"].where(users.index != "p3", "p4@x")))
        case "null":
            source = changed(source, users=users.assign(department=users["department"].fillna("")))
        case "key":
            source = changed(source, users=users.rename(index={"p3": "p9"}))
        case "row":
            source = changed(source, users=users.iloc[:-1])
        case "column":
            source = changed(source, users=users.rename(columns={"department": "division"}))
        case "group":
            source = changed(source, groups=source.groups.rename(index={"g": "h"}))
        case "member":
            source = changed(source, members=source.members.iloc[:0])
        case "unreadable":
            source = changed(source, unreadable=(Unreadable(Kind.USER, "p9", "row 9", "no"),))
        case "checks":
            other = world(checks={"builtin": {"managers": "off"}})
        case "rule":
            other = World(make_job({"nickName": "[mail]"}, {}))
    assert digest_of(other.job, source) != digest_of(made.job, made.source(None))


def test_a_source_that_holds_only_what_changed_has_no_digest() -> None:
    """The checks are about everybody."""
    made = world()
    assert digest_of(made.job, changed(made.source(None), everybody={Kind.USER: 5})) == ""


def test_what_came_of_checks_is_kept_and_nobodys_value_with_it(tmp_path: Path) -> None:
    """The same results come back; a file that cannot be read is none."""
    made = world()
    made.users["p3"]["mail"] = "p4@x"
    source = made.source(None)
    _, results = check_source(made.job, source, Context(now=NOW), {}, {})
    known = Known(digest_of(made.job, source), tuple(results), marks_of(results))
    assert any(one.keys == ("p3", "p4") for one in results)
    keep_known(tmp_path, known)
    assert read_known(tmp_path) == known
    file = tmp_path / "checks.json"
    assert file.stat().st_mode & 0o077 == 0
    assert b"p4@x" not in file.read_bytes()
    file.write_text("{}", encoding="utf-8")
    assert read_known(tmp_path) == NOTHING_KNOWN
    many = tuple(replace(results[0], keys=tuple(map(str, range(60_000)))) for _ in range(2))
    keep_known(tmp_path, Known("digest", many, marks_of(many)))
    assert read_known(tmp_path) == Known("", (), marks_of(many)), "working it out again is cheaper"


def finding(**parts: object) -> CheckResult:
    usual = CheckResult(
        Checked.SOURCE_USERS, "expect_x", {"column": "mail"}, OnFailure.WARN, False, ("a", "b"), 9, 2, words="2 of 9"
    )
    return replace(usual, **parts)


def test_a_finding_is_news_when_other_rows_fail() -> None:
    """Not when there are more rows in all; a figure that is unusual goes on moving, and is told once."""
    assert mark_of(finding()) == mark_of(finding(rows=10, words="2 of 10"))
    for other in (finding(keys=("a", "c")), finding(failing=3), finding(frame=Checked.SOURCE_GROUPS)):
        assert mark_of(other) != mark_of(finding())
    figure = {"builtin": "null_share", "rows": None, "failing": None, "keys": ()}
    assert mark_of(finding(observed="0.31", **figure)) == mark_of(finding(observed="0.32", **figure))
    assert mark_of(finding(observed="0.31", **figure)) != mark_of(finding(arguments={"column": "title"}, **figure))
    assert mark_of(finding(observed="7", rows=None)) != mark_of(finding(observed="8", rows=None))
