"""What is sent to Salesforce for a change, and what its answers mean. Pure.

Rows of one object go in collections of up to 200, each with an answer of its own; never two objects in one call, since
users, groups and memberships want a transaction each.

Source: Salesforce, REST API Developer Guide, "sObject Collections"; Apex Developer Guide, "sObjects That Cannot Be Used
Together in DML Operations"; SOAP API Developer Guide, "StatusCode".
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from connectors.errors import ErrorCode
from connectors.http import Answer, Call
from connectors.kit import (
    ENTRY,
    MEMBERS,
    Action,
    Again,
    Attribute,
    Change,
    Done,
    Effect,
    Held,
    Kind,
    Known,
    Refused,
    Step,
    Verdict,
    by_member,
    by_status,
    call,
)
from connectors.salesforce.fields import LOGIN, PROFILE, ROLE, sent, sort_of
from connectors.salesforce.reading import problem

ROWS = 200
"""Rows that one call may hold."""
TAKES_AWAY = frozenset({"freeze users", "deactivate users", "remove members"})
"""Purposes of calls that take access away; these may use the last requests of the day."""
_SWITCH = "IsActive"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one object on their way into a collection."""

    verb: str
    object: str
    purpose: str
    records: tuple[Mapping[str, Any], ...]
    members: tuple[str, ...] = ()
    """Whom each row is about, for memberships."""

    @property
    def lane(self) -> str:
        """Rows with the same may go together."""
        return f"{self.verb} {self.object}: {self.purpose}"


def steps(known: Known, change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    """The rows for a change."""
    if misfit := _misfit(known, change):
        return misfit
    return _group_steps(change, held) if change.kind is Kind.GROUP else _user_steps(known, change, held)


def _misfit(known: Known, change: Change) -> Refused | None:
    """The first value that Salesforce would refuse: too long, or the name of a profile or role that is not there."""
    for path, value in change.attributes.items():
        attribute = known.attribute(change.kind, path)
        if attribute.longest is not None and isinstance(value, str) and len(value) > attribute.longest:
            text = f"{path} takes {attribute.longest} characters at most, and the value has {len(value)}. Shorten it."
            return Refused(ErrorCode.UNPROCESSABLE_ENTITY, path, text)
        if path in (PROFILE, ROLE) and value is not None and str(value).casefold() not in known.facts[path]:
            return _unknown_name(attribute, path, str(value))
    return None


def _unknown_name(attribute: Attribute, path: str, value: str) -> Refused:
    near = difflib.get_close_matches(value, attribute.values, n=3, cutoff=0.5)
    what = "profile" if path == PROFILE else "role"
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(sorted(attribute.values)[:10])}."
    return Refused(ErrorCode.UNPROCESSABLE_ENTITY, path, f"The org has no {what} with this name. {hint}")


def _user_steps(known: Known, change: Change, held: Held | None) -> Sequence[Step]:
    values = dict(change.attributes)
    if change.action is Action.CREATE:
        made = {path: value for path, value in _record(known, values).items() if value is not None}
        rows = Rows("POST", "User", "create users", (made,))
        return [Step(rows, {ENTRY, *values}, Effect.ONCE, lane=rows.lane)]
    key, found = change.target_id or "", []
    login = held.row.get(LOGIN) if held is not None else None
    active = values.pop(_SWITCH, None)
    if active is False:  # what ends access goes first, and alone
        if login is not None:
            found.append(_update("UserLogin", str(login), {"IsFrozen": True}, "freeze users", {"frozen"}))
        found.append(_update("User", key, {_SWITCH: False}, "deactivate users", {_SWITCH}))
    elif active is not None:
        values[_SWITCH] = True
    if values:
        found.append(_update("User", key, _record(known, values), "change users", set(values)))
    if active and login is not None:
        found.append(_update("UserLogin", str(login), {"IsFrozen": False}, "unfreeze users", {"frozen"}))
    return found


def _update(table: str, key: str, values: Mapping[str, Any], purpose: str, does: set[str]) -> Step:
    rows = Rows("PATCH", table, purpose, ({"id": key, **values},))
    return Step(rows, does, lane=rows.lane)


def _record(known: Known, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as fields: names of profiles and roles become ids."""
    record: dict[str, Any] = {}
    for path, value in values.items():
        if path in (PROFILE, ROLE):
            field = "ProfileId" if path == PROFILE else "UserRoleId"
            record[field] = None if value is None else known.facts[path][str(value).casefold()]
        else:
            record[path] = sent(value)
    return record


# Groups


def _group_steps(change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    key = change.target_id or ""
    match change.action:
        case Action.CREATE:
            values = {path: value for path, value in change.attributes.items() if value is not None}
            values.setdefault("DeveloperName", _developer_name(str(values.get("Name", ""))))
            rows = Rows("POST", "Group", "create groups", ({"Type": "Regular", **values},))
            return [Step(rows, {ENTRY, *change.attributes}, Effect.ONCE, lane=rows.lane)]
        case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
            return _member_steps(change, held)
    if not key.startswith("00G"):
        return Refused(ErrorCode.NOT_PERMITTED, "", "Permission sets are filled, never changed or deleted.")
    if change.action is Action.DELETE:
        rows = Rows("DELETE", "Group", "delete groups", ({"id": key},))
        return [Step(rows, {ENTRY}, lane=rows.lane)]
    values = {path: sent(value) for path, value in change.attributes.items()}
    return [_update("Group", key, values, "change groups", set(values))]


def _developer_name(name: str) -> str:
    """An API name: letters, digits and single underscores, beginning with a letter."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    plain = "_".join(part for part in plain.split("_") if part)
    return (plain if plain[:1].isalpha() else f"G_{plain}".rstrip("_"))[:80]


def _member_steps(change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    """One call for all members of a change; a membership is ended by its own id, which says whose it is."""
    key = change.target_id or ""
    sort = sort_of(key)
    if sort is None:
        return Refused(ErrorCode.INVALID_ANCHOR, "", "This is not a Salesforce group.")
    if change.joins:
        records = tuple({sort.group: key, sort.member: member} for member in change.joins)
        rows = Rows("POST", sort.edges, "add members", records, change.joins)
        return [Step(rows, {MEMBERS}, serial=key, lane=f"{rows.lane} to {key}")]
    there = {member: held.members[member] for member in change.leaves if held is not None and member in held.members}
    if not there:
        return Done()
    records = tuple({"id": edge} for edge in there.values())
    rows = Rows("DELETE", sort.edges, "remove members", records, tuple(there))
    return [Step(rows, {MEMBERS}, serial=key, lane=f"{rows.lane} of {key}")]


# Collections


def pack(known: Known, packed: Sequence[Step]) -> Call:
    """One call for rows of one lane."""
    del known
    first: Rows = packed[0].request
    records = [record for step in packed for record in step.request.records]
    if first.verb == "DELETE":
        ids = quote(",".join(record["id"] for record in records), safe=",")
        return call("DELETE", f"/composite/sobjects?ids={ids}&allOrNone=false", first.purpose)
    body = {
        "allOrNone": False,
        "records": [{"attributes": {"type": first.object}, **record} for record in records],
    }
    return call(first.verb, "/composite/sobjects", first.purpose, body, weight=len(records))


def unpack(known: Known, packed: Sequence[Step], answer: Any) -> Sequence[Any]:
    """The results of each step's rows; the answer itself where the whole call failed, None for what is missing."""
    del known
    if answer.status != 200:
        return [answer] * len(packed)
    results = answer.json()
    if not isinstance(results, list):
        return [None] * len(packed)
    found: list[Any] = []
    for step in packed:
        count = len(step.request.records)
        part, results = results[:count], results[count:]
        found.append(part if len(part) == count and all(isinstance(one, Mapping) for one in part) else None)
    return found


# Verdicts


class Meaning(NamedTuple):
    """What a refusal means: our code, the field where the answer names none, and the sentence with the next step."""

    code: ErrorCode
    about: str
    text: str


_VALUE, _MAY_NOT = ErrorCode.UNPROCESSABLE_ENTITY, ErrorCode.INSUFFICIENT_RIGHTS
_TAKEN, _NOT_NOW = ErrorCode.CONFLICT, ErrorCode.NOT_PERMITTED
_FULL = "No licence of this type is left. Add licences, or deactivate accounts that are no longer needed."
_LOST = "The entry is not there any more. A later cycle looks for it again."
MEANINGS: dict[str, Meaning] = {
    "DUPLICATE_USERNAME": Meaning(
        _TAKEN,
        "Username",
        "Another account has this user name, perhaps in an org that cannot be seen from here: user names are unique in "
        "the whole world. Add a matching rule on Username if it is the same person, or use another suffix.",
    ),
    "DUPLICATE_COMM_NICKNAME": Meaning(
        _TAKEN, "CommunityNickname", "Another account has this nickname. Map CommunityNickname to one that is free."
    ),
    "DUPLICATE_VALUE": Meaning(
        _TAKEN,
        "",
        "Another entry has this value, which must be unique. Add a matching rule on the attribute if it is the same "
        "one, or map another value.",
    ),
    "DUPLICATE_DEVELOPER_NAME": Meaning(
        _TAKEN, "DeveloperName", "Another group has this API name. Match groups by DeveloperName, or map another one."
    ),
    "LICENSE_LIMIT_EXCEEDED": Meaning(_NOT_NOW, "", _FULL),
    "REQUIRED_FIELD_MISSING": Meaning(
        ErrorCode.MISSING_VALUES, "", "Salesforce requires a value for this field. Map it, or give it a default."
    ),
    "STRING_TOO_LONG": Meaning(
        _VALUE, "", "The value is too long for the field. Shorten it with Left() in its mapping."
    ),
    "FIELD_INTEGRITY_EXCEPTION": Meaning(
        _VALUE,
        "",
        "The value does not fit the field. Change its mapping; a user name has the form of an e-mail address.",
    ),
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": Meaning(
        _VALUE,
        "",
        "The field does not offer this value. Map one that it offers, or add the value in Salesforce's setup.",
    ),
    "INVALID_EMAIL_ADDRESS": Meaning(_VALUE, "Email", "This is not an e-mail address. Correct it in the source."),
    "INVALID_TYPE_ON_FIELD_IN_RECORD": Meaning(
        _VALUE, "", "The field requires another type of value. Change its mapping."
    ),
    "NUMBER_OUTSIDE_VALID_RANGE": Meaning(
        _VALUE, "", "The number is too large or too small for the field. Correct it in the source."
    ),
    "INVALID_FIELD_FOR_INSERT_UPDATE": Meaning(
        _NOT_NOW,
        "",
        "Provisor's user may not write this field. Give the right (field-level security), or take it out of the "
        "mappings.",
    ),
    **dict.fromkeys(
        (
            "INSUFFICIENT_ACCESS_OR_READONLY",
            "INSUFFICIENT_ACCESS",
            "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        ),
        Meaning(
            _MAY_NOT,
            "",
            "Provisor's user may not do this. Give it Manage Users and, for permission sets, Assign Permission Sets.",
        ),
    ),
    **dict.fromkeys(
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "CANNOT_EXECUTE_FLOW_TRIGGER"),
        Meaning(
            _NOT_NOW, "", "Automation of the org (a trigger, a flow or a validation rule) refuses it. Ask who owns it."
        ),
    ),
    "MIXED_DML_OPERATION": Meaning(
        _NOT_NOW,
        "",
        "Automation of the org writes an object that is not set-up in the same transaction. Let it do so "
        "asynchronously.",
    ),
    "STORAGE_LIMIT_EXCEEDED": Meaning(
        _NOT_NOW, "", "The org's data storage is full. Free some or add storage; a later cycle tries again."
    ),
    "MALFORMED_ID": Meaning(
        ErrorCode.INVALID_ANCHOR, "", "This is no id of Salesforce. Map a reference to an account, or an id."
    ),
    **dict.fromkeys(
        ("INVALID_CROSS_REFERENCE_KEY", "ENTITY_IS_DELETED", "NOT_FOUND"), Meaning(ErrorCode.INVALID_ANCHOR, "", _LOST)
    ),
}
_OTHER = "Salesforce refuses it. Look its code up in Salesforce's API guide, or ask who administers the org."
_GONE = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND", "MALFORMED_ID"})
_STUCK = (
    "Salesforce does not let this account be deactivated: it may be a default owner or creator, an approver, or named "
    "in a hierarchy field. Give that to somebody else, or set freeze: true so that it cannot sign in meanwhile."
)


def verdict(known: Known, step: Step, answer: Any) -> Verdict:
    """What the results of a step's rows mean, or the answer to a call that failed whole."""
    del known
    if isinstance(answer, Answer):
        return _whole(step, answer)
    rows: Rows = step.request
    refusals = [_refusal(rows, result) for result in answer]
    if any(isinstance(one, Again) for one in refusals):  # what is done already is done again without effect
        return next(one for one in refusals if isinstance(one, Again))
    refused = [one for one in refusals if isinstance(one, Refused)]
    if not refused:
        return _done(rows, answer[0])
    if not rows.members:
        return refused[0]
    return by_member(rows.members, [one if isinstance(one, Refused) else None for one in refusals])


def _done(rows: Rows, result: Mapping[str, Any]) -> Done:
    if rows.verb == "POST" and not rows.members:
        return Done(str(result["id"]))
    waits = rows.purpose == "change users" and "Email" in rows.records[0]
    return Done(pending=frozenset({"Email"} if waits else ()))  # the owner has to confirm a new address first


def _refusal(rows: Rows, result: Mapping[str, Any]) -> Refused | Again | None:
    """Why one row was refused; None where it is as it should be."""
    if result.get("success") is True:
        return None
    error: Mapping[str, Any] = next(iter(result.get("errors") or ()), {})
    code = str(error.get("statusCode") or error.get("errorCode") or "")
    message = str(error.get("message") or "")
    if code == "UNABLE_TO_LOCK_ROW":
        return Again(1.0, "Another transaction holds the record.")
    if rows.verb == "DELETE" and code in _GONE:
        return None
    if rows.members and rows.verb == "POST" and code.startswith("DUPLICATE"):
        return None
    meaning = MEANINGS.get(code)
    if meaning is None:
        text = _STUCK if rows.purpose == "deactivate users" else _OTHER
        meaning = Meaning(ErrorCode.UNPROCESSABLE_ENTITY, "", text)
    fields = [_path(str(one)) for one in error.get("fields") or ()]
    about = fields[0] if fields else "IsActive" if rows.purpose == "deactivate users" else meaning.about
    return Refused(meaning.code, about, f"{meaning.text} ({code}: {message})")


def _path(field: str) -> str:
    return {"ProfileId": PROFILE, "UserRoleId": ROLE}.get(field, field)


def _whole(step: Step, answer: Answer) -> Verdict:
    code, message, fields = problem(answer)
    said = f"{code}: {message}" if code else ""
    if code in MEANINGS:
        meaning = MEANINGS[code]
        return Refused(meaning.code, fields[0] if fields else meaning.about, f"{meaning.text} ({said})")
    asked = Step(call(step.request.verb, "", step.request.purpose))
    return by_status(answer, asked, about=fields[0] if fields else "", text=said)
