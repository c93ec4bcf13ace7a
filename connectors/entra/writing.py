"""What is sent to Microsoft Graph for a change, and what its answers mean. Pure: passwords are put in by the wire.

Source: Microsoft Graph v1.0, "Create user", "Update user", "Delete user", "Assign manager", "revokeSignInSessions",
"Create group", "Upsert group", "Add members", "Remove member"; "Microsoft Graph error responses".
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from connectors.entra.asking import problem
from connectors.entra.attributes import nested
from connectors.entra.returning import deleted_one, is_restored, renamed
from connectors.kit import (
    ENTRY,
    MEMBERS,
    Action,
    Again,
    Change,
    Done,
    Effect,
    ErrorCode,
    Held,
    Kind,
    Known,
    Look,
    Refused,
    Row,
    Step,
    Verdict,
    by_status,
    call,
)
from connectors.kit.settling import differing

PASSWORD = "provisor:random-password"
"""Stands in a request for the random password that the wire puts in, another one each time it is sent."""
_SWITCH = "accountEnabled"
_CONFLICTS = frozenset({"ObjectConflict", "ConflictingObjects"})
_TAKEN = "with the same value for property"
_JUST_MADE = frozenset({"set the user's manager", "change the restored user"})
_ELSEWHERE = {
    "on-premises mastered": "It is synchronized from an on-premises directory, where it has to be changed.",
    "mail-enabled security groups": "It is managed in Exchange; change its members there.",
}
"""By words of an error without a code of its own: why, and where to go."""
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def member_ref(group: str, member: str) -> str:
    """The address of one membership: nothing else may be deleted to remove a member.

    Without ``/$ref`` at its end the same address is the person, whom Graph would delete.
    """
    return f"/groups/{quote(group, safe='')}/members/{quote(member, safe='')}/$ref"


def steps(known: Known, change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    """The requests for a change."""
    del held
    if change.kind is Kind.GROUP:
        return _group_steps(known, change)
    values = dict(change.attributes)
    manager = values.pop("manager", None)
    manages = "manager" in change.attributes
    match change.action:
        case Action.CREATE:
            body = nested({path: value for path, value in values.items() if value is not None}, known.users)
            body.setdefault(_SWITCH, True)
            deleted = deleted_one(known, change)
            if isinstance(deleted, Refused):
                return deleted
            if deleted is not None:
                return [*_restoring(known, change, deleted, body), *_managing(known, manager)]
            body["passwordProfile"] = {
                "password": PASSWORD,
                "forceChangePasswordNextSignIn": known.settings.force_change,
            }
            made = [Step(call("POST", "/users", "create the user", body), {ENTRY, *values}, Effect.ONCE)]
            return [*made, *_managing(known, manager)]
        case Action.DELETE:
            return [Step(call("DELETE", _user(change.target_id), "delete the user"), {ENTRY})]
    sent: list[Step] = []
    if values.pop(_SWITCH, True) is False:  # what ends access goes first, and alone
        sent.append(Step(call("PATCH", _user(change.target_id), "disable the user", {_SWITCH: False}), {_SWITCH}))
        if known.settings.revoke_sessions:
            ending = call("POST", f"{_user(change.target_id)}/revokeSignInSessions", "end the user's sessions")
            sent.append(Step(ending, {_SWITCH}))
    elif _SWITCH in change.attributes:
        values[_SWITCH] = True
    if values:
        sent.append(
            Step(call("PATCH", _user(change.target_id), "change the user", nested(values, known.users)), set(values))
        )
    if manages:
        sent.append(Step(_manager(known, str(change.target_id), manager), {"manager"}))
    return sent


def _restoring(known: Known, change: Change, key: str, body: dict[str, Any]) -> list[Step]:
    """A deleted user, back with the values that a new one would have; the password stays as it was."""
    name = renamed(known, key, change)
    said = {"autoReconcileProxyConflict": True} | ({} if name is None else {"newUserPrincipalName": name})
    back = call("POST", f"/directory/deletedItems/{quote(key, safe='')}/restore", "restore the deleted user", said)
    return [
        Step(back, {ENTRY}, Effect.ONCE),
        Step(lambda there: call("PATCH", _user(there), "change the restored user", body), set(change.attributes)),
    ]


def _managing(known: Known, manager: str | None) -> list[Step]:
    """Sets the manager of the user that was made a moment ago."""
    return [] if manager is None else [Step(lambda key: _manager(known, key, manager), {"manager"})]


def _user(key: str | None) -> str:
    return f"/users/{quote(key or '', safe='')}"


def _manager(known: Known, key: str, manager: str | None) -> Any:
    if manager is None:
        return call("DELETE", f"{_user(key)}/manager/$ref", "take the user's manager away")
    body = {"@odata.id": f"{known.facts['base']}/users/{manager}"}
    return call("PUT", f"{_user(key)}/manager/$ref", "set the user's manager", body)


def _group_steps(known: Known, change: Change) -> Sequence[Step]:
    path = f"/groups/{quote(change.target_id or '', safe='')}"
    match change.action:
        case Action.CREATE:
            return [_create_group(known, change)]
        case Action.DELETE:
            return [Step(call("DELETE", path, "delete the group"), {ENTRY})]
        case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
            serial = change.target_id
            made = []
            if change.joins:
                body = {
                    "members@odata.bind": [
                        f"{known.facts['base']}/directoryObjects/{member}" for member in change.joins
                    ]
                }
                made.append(Step(call("PATCH", path, "add members", body), {MEMBERS}, serial=serial))
            made += [
                Step(
                    call("DELETE", member_ref(change.target_id or "", member), "remove a member"),
                    {MEMBERS},
                    serial=serial,
                )
                for member in change.leaves
            ]
            return made
        case _:
            body = nested(change.attributes, known.groups)
            return [Step(call("PATCH", path, "change the group", body), set(change.attributes))]


def _create_group(known: Known, change: Change) -> Step:
    """A security group. One with a unique name is created by an upsert, which may be sent twice."""
    values = {path: value for path, value in change.attributes.items() if value is not None}
    unique = values.pop("uniqueName", None)
    body = {"mailEnabled": False, "securityEnabled": True, **nested(values, known.groups)}
    body.setdefault("mailNickname", _NAME.sub("-", str(values.get("displayName", ""))).strip("-")[:50] or "group")
    does = {ENTRY, *values}
    if unique is None:
        return Step(call("POST", "/groups", "create the group", body), does, Effect.ONCE)
    path = f"/groups(uniqueName='{quote(str(unique).replace(chr(39), chr(39) * 2), safe='')}')"
    return Step(call("PATCH", path, "create the group", body, headers={"Prefer": "create-if-missing"}), does)


def verdict(known: Known, step: Step, answer: Any) -> Verdict:
    """What an answer means for its step: by status, code and details; by words only where there is nothing else."""
    del known
    if 200 <= answer.status < 300:
        body = answer.json() if answer.body.strip().startswith(b"{") else {}
        return Done(str(body["id"])) if ENTRY in step.does and "id" in body else Done()
    code, message, details = problem(answer)
    conflicts = [one for one in details if one.get("code") in _CONFLICTS]
    if conflicts or code in _CONFLICTS or _TAKEN in message:
        return Refused(ErrorCode.CONFLICT, _about(conflicts or details), "Another object in the tenant has this value.")
    purpose, deleting = step.request.purpose, step.request.method == "DELETE"
    match answer.status, code:
        case 400, _ if MEMBERS in step.does and "already exist" in message:
            return Look("Some of them are members already.")
        case ((400 | 404), _) if "one of the objects being referenced" in message:  # not replicated yet, or gone
            return Again(None, message, ErrorCode.UNRESOLVED_REFERENCE)
        case 404, _ if deleting:
            return Look("It is not there.")
        case 404, _ if purpose in _JUST_MADE:  # this replica does not know it yet
            return Again(None, message, ErrorCode.INVALID_ANCHOR)
        case 404, _ if purpose == "restore the deleted user":
            return Look("It is no longer among the deleted users.")
        case 409, "Directory_ConcurrencyViolation":
            return Again(1.0, message)
        case 400, _ if why := next((why for words, why in _ELSEWHERE.items() if words in message), ""):
            return Refused(ErrorCode.NOT_PERMITTED, "", why + _still_on(step))
        case 403, _:
            return Refused(
                ErrorCode.INSUFFICIENT_RIGHTS,
                "",
                f"Not allowed to {purpose} ({code}). The app registration may lack a permission, or the object is "
                "synchronized from elsewhere, dynamic, or holds an administrator role: then the app itself needs a "
                f"directory role.{_still_on(step)}",
            )
    return by_status(answer, step, about=_about(details), text=f"{code}: {message}" if code else "")


def _still_on(step: Step) -> str:
    """What somebody must know whose account could not be switched off."""
    return " The account is still active: disable it by hand." if step.request.purpose == "disable the user" else ""


def _about(details: list[dict[str, Any]]) -> str:
    return next((str(one["target"]) for one in details if one.get("target")), "")


def ours(known: Known, change: Change, row: Row) -> bool:
    """Whether an entry found after a lost create is the one that was restored, or holds all that was sent."""
    sent = [path for path, value in change.attributes.items() if value is not None and path != _SWITCH]
    return is_restored(known, change, row) or not differing(known, change, row, sent)
