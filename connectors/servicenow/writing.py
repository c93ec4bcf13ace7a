"""What is sent to ServiceNow for a change, and what its answers mean. Pure.

One row is one request; requests go in batches, each with an answer of its own. A write that answers 200 may have left
out what the account may not write, so what the answer shows is compared with what was sent.

Source: ServiceNow, Table API; Batch API; "REST API HTTP response codes".
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from connectors.errors import CredentialsError, ErrorCode
from connectors.http import Answer, Call
from connectors.kit import (
    ENTRY,
    MEMBERS,
    Action,
    Again,
    Change,
    Done,
    Effect,
    Held,
    Kind,
    Known,
    Look,
    Lost,
    Partly,
    Refused,
    Step,
    Stop,
    Verdict,
    Write,
    by_member,
    by_status,
    call,
)
from connectors.kit.values import same
from connectors.servicenow.fields import GRANTS, GROUPS, ROLE, TABLES, USERS, row_of, sent
from connectors.servicenow.fields import MEMBERS as MEMBERSHIPS
from connectors.servicenow.settings import MissingReference

BATCH = "/api/now/v1/batch"
_VERBS = {"POST": "create", "PATCH": "change", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table on their way, each a request of its own."""

    verb: str
    table: str
    purpose: str
    records: tuple[tuple[str, Mapping[str, str]], ...]
    """Id (empty for a new row) and fields of each."""
    members: tuple[str, ...] = ()
    """Whom each row is about, for memberships."""
    skipped: Mapping[str, Refused] | None = None
    """Paths that are left out of it, each with why."""


@dataclass(frozen=True, slots=True)
class Item:
    """The answer about one row; ``status`` 0 where the batch did not come to it."""

    status: int
    body: Any = None


def steps(known: Known, change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    """The rows for a change."""
    if change.action in (Action.ADD_MEMBERS, Action.REMOVE_MEMBERS):
        return _member_steps(change, held)
    key, table = change.target_id or "", USERS if change.kind is Kind.USER else GROUPS
    noun = f"{change.kind}s"
    if key.startswith(ROLE):
        return Refused(ErrorCode.NOT_PERMITTED, "", "Roles are filled, never changed or deleted.")
    if change.action is Action.DELETE:
        return [_step(Rows("DELETE", table, f"delete {noun}", ((key, {}),)), {ENTRY})]
    if misfit := _misfit(known, change):
        return misfit
    values, skipped = _values(known, change)
    if isinstance(values, Refused):
        return values
    left_out = skipped or None
    if change.action is Action.CREATE:
        made = {path: value for path, value in values.items() if value != ""}
        rows = Rows("POST", table, f"create {noun}", (("", made),), skipped=left_out)
        return [_step(rows, {ENTRY, *change.attributes}, Effect.ONCE)]
    found = []
    active = values.get("active") if change.kind is Kind.USER else None
    if active == "false":  # what ends access goes first, and alone
        values.pop("active")
        found.append(_step(Rows("PATCH", table, "disable users", ((key, {"active": "false"}),)), {"active"}))
    elif active == "true":  # the instance locks out who is inactive, and unlocks nobody
        values["locked_out"] = "false"
    if values or skipped:
        rows = Rows("PATCH", table, f"change {noun}", ((key, values),), skipped=left_out)
        found.append(_step(rows, set(values)))
    return found


def _step(rows: Rows, does: set[str], effect: Effect = Effect.REPEATABLE) -> Step:
    return Step(rows, does, effect, lane="rows", weight=len(rows.records))


def _misfit(known: Known, change: Change) -> Refused | None:
    """The first value that ServiceNow would cut off without a word."""
    for path, value in change.attributes.items():
        longest = known.attribute(change.kind, path).longest
        if longest is not None and isinstance(value, str) and len(value) > longest:
            text = f"{path} takes {longest} characters at most, and the value has {len(value)}. Shorten it."
            return Refused(ErrorCode.UNPROCESSABLE_ENTITY, path, text)
    return None


def _values(known: Known, change: Change) -> tuple[dict[str, str] | Refused, dict[str, Refused]]:
    """Fields and their values, names of records as ids; a refusal; and what is left out, with why."""
    found: dict[str, str] = {}
    skipped: dict[str, Refused] = {}
    for path, value in change.attributes.items():
        if change.kind is not Kind.USER or value is None or path not in known.settings.references:
            found[path] = sent(known.attribute(change.kind, path), value)
            continue
        ids = known.facts["names"].get((path, str(value).casefold()), [])
        if len(ids) == 1:
            found[path] = ids[0]
            continue
        refusal = _no_record(known, path, len(ids))
        if known.settings.missing_references is MissingReference.REJECT or ids:
            return refusal, {}
        skipped[path] = refusal
    return found, skipped


def _no_record(known: Known, path: str, hits: int) -> Refused:
    table = known.facts["tables"].get(path) or TABLES.get(path, path)
    field = known.settings.references[path]
    if hits:
        text = f"{hits} records of {table} have this {field}. Merge them, or give one of them another {field}."
    else:
        text = (
            f"No record of {table} has this {field}. Create it, correct the value, or set missing_references: "
            "create or skip."
        )
    return Refused(ErrorCode.UNRESOLVED_REFERENCE, path, text)


def _member_steps(change: Change, held: Held | None) -> Sequence[Step] | Done:
    """A row for each membership; the rows of one that ends go by their ids, of which there may be several."""
    key, there = change.target_id or "", held.members if held is not None else {}
    table, field = (GRANTS, "role") if key.startswith(ROLE) else (MEMBERSHIPS, "group")
    if change.joins:
        members = tuple(one for one in change.joins if one not in there)
        records = tuple(("", {"user": one, field: key.removeprefix(ROLE)}) for one in members)
        rows = Rows("POST", table, "add members", records, members)
        return [_step(rows, {MEMBERS}, Effect.ONCE)] if records else Done()
    ends = [(one, id_) for one in change.leaves if one in there for id_ in there[one].split(",")]
    rows = Rows("DELETE", table, "remove members", tuple((id_, {}) for _, id_ in ends), tuple(one for one, _ in ends))
    return [_step(rows, {MEMBERS})] if ends else Done()


# Batches


def pack(known: Known, packed: Sequence[Step]) -> Call:
    """One request for rows; a batch where there are several."""
    del known
    calls = [_row_call(step.request, key, values) for step in packed for key, values in step.request.records]
    purpose = packed[0].request.purpose
    if len(calls) == 1:
        return calls[0]
    parts = [
        {
            "id": str(number),
            "method": one.method,
            "url": one.path,
            "headers": [{"name": name, "value": "application/json"} for name in ("Accept", "Content-Type")],
            "exclude_response_headers": True,
            **({} if one.body is None else {"body": base64.b64encode(one.body).decode()}),
        }
        for number, one in enumerate(calls)
    ]
    return call("POST", BATCH, purpose, {"batch_request_id": "1", "rest_requests": parts}, weight=len(calls))


def _row_call(rows: Rows, key: str, values: Mapping[str, str]) -> Call:
    path = f"/api/now/table/{rows.table}" + (f"/{quote(key, safe='')}" if key else "")
    if rows.verb == "DELETE":
        return call("DELETE", path, rows.purpose)
    fields = ",".join(("sys_id", *values))
    return call(rows.verb, f"{path}?sysparm_exclude_reference_link=true&sysparm_fields={fields}", rows.purpose, values)


def unpack(known: Known, packed: Sequence[Step], answer: Any) -> Sequence[Any]:
    """The answers about each step's rows; the answer itself where a batch failed whole, None for what is missing."""
    del known
    count = sum(len(step.request.records) for step in packed)
    if count == 1:
        return [[Item(answer.status, _json(answer.body))]]
    if answer.status != 200:
        return [answer] * len(packed)
    body = answer.json()
    items: dict[str, Item] = {str(one): Item(0) for one in body.get("unserviced_requests") or ()}
    for one in body.get("serviced_requests") or ():
        items[str(one["id"])] = Item(int(one["status_code"]), _json(base64.b64decode(one.get("body") or "")))
    found: list[Any] = []
    start = 0
    for step in packed:
        end = start + len(step.request.records)
        mine = [items.get(str(number)) for number in range(start, end)]
        found.append(None if None in mine else mine)
        start = end
    return found


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


# Verdicts


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a refused write means."""

    words: str
    """A pattern that message and detail match; its group is ``{0}`` of the text."""
    code: ErrorCode
    text: str


_RIGHTS = ErrorCode.INSUFFICIENT_RIGHTS
MEANINGS = (
    Meaning(
        r"aborted by Business Rule '([^'^]+)",
        ErrorCode.NOT_PERMITTED,
        "The instance's business rule {0} rejects the change. Ask the instance's administrator about the rule.",
    ),
    Meaning(
        r"Data Policy Exception: (?:.*mandatory: ([\w, ]+)|(\w+) is mandatory)",
        ErrorCode.MISSING_VALUES,
        "A data policy of the instance requires {0}. Map it, or change the policy.",
    ),
    Meaning(
        r"ACL Exception (\w+) Failed",
        _RIGHTS,
        "Access rules of the instance do not allow Provisor's account to do this ({0}). Give it user_admin, or a "
        "role with access to this table; members of groups with admin rights can only be changed by admins.",
    ),
    Meaning(
        "Insufficient rights",
        _RIGHTS,
        "Provisor's account may not do this. Give it user_admin, or a role with access to this table.",
    ),
)
_CLOSED = "Failed API level ACL Validation|User Not Authorized"
_DOUBLE = (
    "ServiceNow refuses the insert, mostly because another account has this user name: one that Provisor's account may "
    "not see, such as an inactive one. Look for it in ServiceNow, or give Provisor's account the right to see it."
)


def verdict(known: Known, step: Step, answer: Any) -> Verdict:
    """What the answers about a step's rows mean, or the answer to a batch that failed whole."""
    rows: Rows = step.request
    if isinstance(answer, Answer):
        return by_status(answer, Step(call(rows.verb, "", rows.purpose)))
    if len(rows.members) == 0:
        return _of_entry(known, rows, answer[0])
    found = [_refusal(rows, one) for one in answer]
    if stop := next((one for one in found if isinstance(one, Stop)), None):
        return stop
    if all(isinstance(one, Again) for one in found):
        return next(one for one in found if one is not None)
    if any(isinstance(one, Again | Look | Lost) for one in found):
        return Look("ServiceNow did not say of all members whether they were added or removed.")
    return by_member(rows.members, [one if isinstance(one, Refused) else None for one in found])


def _of_entry(known: Known, rows: Rows, item: Item) -> Verdict:
    refusal = _refusal(rows, item)
    if refusal is not None:
        return refusal
    if rows.verb == "DELETE":
        return Done()
    shown = item.body.get("result") if isinstance(item.body, Mapping) else None
    if not isinstance(shown, Mapping) or not shown.get("sys_id") or "error" in item.body:
        return Lost("ServiceNow's answer does not show the row.")
    id_ = str(shown["sys_id"]) if rows.verb == "POST" else None
    untaken = dict(rows.skipped or {}) | _untaken(known, rows, shown)
    if not untaken:
        return Done(id_)
    sent_paths = set(rows.records[0][1]) | set(rows.skipped or ())
    return next(iter(untaken.values())) if id_ is None and len(untaken) == len(sent_paths) else Partly(untaken, id_)


def _untaken(known: Known, rows: Rows, shown: Mapping[str, Any]) -> dict[str, Refused]:
    """What the answer does not show as it was sent: the account may not write it, or something else rewrote it."""
    found: dict[str, Refused] = {}
    kind = Kind.USER if rows.table == USERS else Kind.GROUP
    attributes = known.attributes(kind)
    values = rows.records[0][1]
    told = row_of(shown, list(values), attributes, {})
    meant = row_of({**values, "sys_id": ""}, list(values), attributes, {})
    for path in values:
        attribute, value = known.attribute(kind, path), meant[path]
        if attribute.write is Write.BLIND or same(attribute, told[path], value):
            continue
        if path not in shown:
            text = f"ServiceNow does not have {path}, or hides it from Provisor's account. Grant it read access."
        elif told[path] and isinstance(value, str) and value.startswith(str(told[path])):
            text = f"ServiceNow truncated {path} after {len(str(told[path]))} characters. Shorten it."
        else:
            text = (
                f"ServiceNow answers yes, and {path} is not what was sent: Provisor's account may not write the field, "
                "or a business rule rewrites it. Give it the right, or take the field out of the mappings."
            )
        found[path] = Refused(ErrorCode.NOT_PERMITTED, path, text)
    return found


def _refusal(rows: Rows, item: Item) -> Verdict | None:
    """Why one row was refused; None where it is as it should be."""
    if item.status in (200, 201, 204):
        return None
    if item.status == 0:
        return Again(0.0, "The batch ran out of time before it.")
    error = item.body.get("error") if isinstance(item.body, Mapping) else None
    parts = [str(error.get(name) or "") for name in ("message", "detail")] if isinstance(error, Mapping) else []
    said = ": ".join(part for part in parts if part) or f"HTTP {item.status}"
    match item.status:
        case 404 if rows.verb == "DELETE" and rows.members:
            return None
        case 404:
            return Look(
                f"ServiceNow says that the row is not there, which it also says where access rules forbid to "
                f"{_VERBS[rows.verb]} it ({said})."
            )
        case 403 if re.search(_CLOSED, said):
            text = f"The table {rows.table} is closed for web services ({said}). Allow access to it by web services."
            return Stop(CredentialsError(text, code=_RIGHTS))
        case 403 if "Error during" in said and rows.table == USERS:
            return Look(_DOUBLE)
        case 403 if "Error during" in said and rows.members:
            text = f"ServiceNow refuses it: the user or the group is not there ({said})."
            return Refused(ErrorCode.INVALID_ANCHOR, "", text)
    for one in MEANINGS:
        if item.status in (400, 403) and (found := re.search(one.words, said)):
            what = next((group for group in found.groups() if group), "a field")
            about = what.strip() if one.code is ErrorCode.MISSING_VALUES and re.fullmatch(r"\w+", what.strip()) else ""
            return Refused(one.code, about, f"{one.text.format(what)} ({said})")
    answer = Answer(item.status, {}, b"")  # type: ignore[arg-type]
    return by_status(answer, Step(call(rows.verb, "", rows.purpose)), text=said)
