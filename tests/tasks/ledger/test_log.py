"""The provisioning log: what was done, or not done, to whom, when and why."""

from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.errors import ErrorCode
from tasks.ledger import (
    REDACTED,
    Cycle,
    CycleKind,
    Ledger,
    LogAction,
    LogEntry,
    LogStatus,
    Modified,
    log_outcome,
    modified_properties,
)
from tasks.ledger.rows import LOG_FRAME
from tasks.ledger.tables import SCHEMA

UPDATE = Change(
    "c1",
    Kind.USER,
    Action.UPDATE,
    "a1",
    "t1",
    {"title": None, "password": "new secret", "nickName": "Ann"},
    {"title": "Clerk", "password": "old secret"},
    label="anna@example.com",
)


def entry(anchor: str, **options: object) -> LogEntry:
    """A line about a skipped user."""
    values = {"kind": Kind.USER, "action": LogAction.SKIP, "status": LogStatus.SKIPPED, "reason": "nothing changed"}
    return LogEntry(anchor=anchor, **{**values, **options})  # type: ignore[arg-type]


def test_a_line_comes_back_whole(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Every field, with its type; a missing one is null, not a text."""
    full = LogEntry(
        kind=Kind.GROUP,
        action=LogAction.STAGED_DELETE,
        status=LogStatus.WARNING,
        anchor="00123",
        target_id="t",
        label="None",
        reason="left the source",
        code=ErrorCode.CONFLICT,
        message="O'Brien \\ \t 😀",
        modified=[Modified("members", ["x"], None)],
        duration_ms=17,
        change_id="c",
    )
    ledger.log_entries(cycle, [full, entry("a2")], now=now)
    log = ledger.log("hr")
    assert tuple(log.columns) == LOG_FRAME
    assert log["time"].tolist() == [now, now]
    assert {name: str(log.dtypes[name]) for name in ("time", "cycle", "duration_ms", "label", "modified")} == {
        "time": "datetime64[us, UTC]",
        "cycle": "Int64",
        "duration_ms": "Int64",
        "label": "str",
        "modified": "object",
    }
    bare, line = log.to_dict("records")
    assert line.pop("id") < bare.pop("id")
    line.pop("time")
    assert line == {
        "cycle": 1,
        "kind": "group",
        "action": "StagedDelete",
        "status": "warning",
        "label": "None",
        "anchor": "00123",
        "target_id": "t",
        "reason": "left the source",
        "code": "Conflict",
        "message": "O'Brien \\ \t 😀",
        "modified": [{"name": "members", "old": ["x"], "new": None}],
        "duration_ms": 17,
        "change_id": "c",
        "job": "hr",
        "initiator": "",
        "source": "",
        "target": "",
    }
    assert bare["anchor"] == "a2"
    assert log.iloc[0][["target_id", "code", "duration_ms", "change_id", "modified"]].isna().all()


def test_an_empty_log_has_its_columns(ledger: Ledger) -> None:
    """Also for a job that never ran."""
    log = ledger.log("nobody")
    assert tuple(log.columns) == LOG_FRAME
    assert len(log) == 0


def test_times_of_any_zone_are_one_moment(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Stored and compared in UTC, whatever zone the caller or the database server lives in."""
    tokyo = now.astimezone(timezone(timedelta(hours=9)))
    ledger.log_entries(cycle, [entry("a")], now=tokyo)
    assert ledger.log("hr")["time"].tolist() == [now]
    assert len(ledger.log("hr", since=tokyo)) == 1
    assert len(ledger.log("hr", since=tokyo + timedelta(microseconds=1))) == 0


def test_the_log_can_be_asked_by_cycle_status_action_and_time(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Newest first, as many as asked for; filters are combined."""
    ledger.log_entries(cycle, [entry("a1"), entry("a2", status=LogStatus.FAILURE, action=LogAction.CREATE)], now=now)
    later = now + timedelta(hours=1)
    second = ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f", now=later)
    ledger.log_entries(second, [entry("a3"), entry("a4", status=LogStatus.FAILURE)], now=later)
    crm = ledger.begin_cycle("crm", CycleKind.INITIAL, fingerprint="f", now=later)
    ledger.log_entries(crm, [entry("a5")], now=later)

    def anchors(**filters: object) -> list[str]:
        return ledger.log("hr", **filters)["anchor"].tolist()  # type: ignore[arg-type]

    assert anchors() == ["a4", "a3", "a2", "a1"]
    assert anchors(limit=3) == ["a4", "a3", "a2"]
    assert anchors(limit=None) == ["a4", "a3", "a2", "a1"]
    assert anchors(cycle=1) == ["a2", "a1"]
    assert anchors(cycle=7) == []
    assert anchors(status=LogStatus.FAILURE) == ["a4", "a2"]
    assert anchors(action=LogAction.CREATE) == ["a2"]
    assert anchors(since=later) == ["a4", "a3"]
    assert anchors(since=later, status=LogStatus.FAILURE, cycle=2) == ["a4"]
    assert ledger.log("crm")["cycle"].tolist() == [1]


@pytest.mark.parametrize("identity", ["a1", "t1", "Zoë@Example.com", "ZOË@EXAMPLE.COM"])
def test_a_person_is_found_by_anchor_target_id_or_label(
    ledger: Ledger, cycle: Cycle, now: datetime, identity: str
) -> None:
    """Every line of the person, also those from before the account had an id; labels in any case, in any alphabet."""
    lines = [
        entry("a1", label="zoë@example.com"),
        entry("a1", target_id="t1", label="old name"),
        entry("a2", label="x"),
    ]
    ledger.log_entries(cycle, lines, now=now)
    assert ledger.log("hr", identity=identity)["anchor"].tolist() == ["a1", "a1"]
    assert len(ledger.log("crm", identity=identity)) == 0


def test_people_who_share_a_label_are_both_found(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """The leaver who has the account, and the new one whose create failed because of it."""
    ledger.log_entries(cycle, [entry("old", label="ann"), entry("new", label="Ann"), entry("x", label="anna")], now=now)
    assert sorted(ledger.log("hr", identity="ann")["anchor"]) == ["new", "old"]
    assert len(ledger.log("hr", identity="nobody")) == 0


def test_redacted_attributes_show_that_they_changed_and_never_a_value(
    ledger: Ledger, cycle: Cycle, now: datetime
) -> None:
    """Neither the old value nor the new one reaches the database."""
    line = log_outcome(UPDATE, Outcome("c1", Status.DONE, "t1"), redacted={"password"})
    assert list(line.modified) == [
        Modified("title", "Clerk", None),
        Modified("password", REDACTED, REDACTED),
        Modified("nickName", None, "Ann"),
    ]
    ledger.log_entries(cycle, [line], now=now)
    assert "secret" not in ledger.log("hr").to_csv()


def test_members_are_modified_properties_too() -> None:
    """Who was added stands on the new side, who was removed on the old one."""
    add = Change("c", Kind.GROUP, Action.ADD_MEMBERS, "g", "t", members=("m1", "m2"))
    remove = Change("c", Kind.GROUP, Action.REMOVE_MEMBERS, "g", "t", members=("m3",))
    assert modified_properties(add) == (Modified("members", None, ["m1", "m2"]),)
    assert modified_properties(remove) == (Modified("members", ["m3"], None),)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(Status.DONE, LogStatus.SUCCESS), (Status.REJECTED, LogStatus.FAILURE), (Status.UNKNOWN, LogStatus.FAILURE)],
)
def test_only_what_is_known_to_be_done_is_a_success(status: Status, expected: LogStatus) -> None:
    """A lost answer is a failure until it was read back."""
    assert log_outcome(UPDATE, Outcome("c1", status)).status is expected


def test_every_action_of_a_change_has_a_name_in_the_log() -> None:
    """A new action cannot be forgotten here."""
    assert {action.value for action in Action} <= {action.value for action in LogAction}


def test_the_view_changelog_is_the_log_with_cycle_numbers(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """People read it with SQL."""
    second = ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f", now=now)
    ledger.log_entries(second, [entry("a1", label="ann", code=ErrorCode.CONFLICT)], now=now)
    view = "changelog" if ledger._database.sqlite else f"{SCHEMA}.changelog"
    with ledger._database.reading() as connection:
        (line,) = connection.execute(sa.text(f"SELECT * FROM {view}")).mappings().all()
    assert (line["job"], line["cycle"], line["label"], line["error_code"]) == ("hr", 2, "ann", "Conflict")
