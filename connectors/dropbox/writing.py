"""What is sent to Dropbox for a change, and what its answers mean. Pure.

Up to 20 new members go in one call, at once or as a job, each with an answer of its own. What Dropbox does by itself
when nothing is said (wiping devices, sending mail) is always said.

Source: dropbox/dropbox-api-spec, team.stone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.dropbox.answers import MEANINGS, Meaning, problem
from connectors.dropbox.attributes import (
    ACTIVE,
    ADDRESS_FORM,
    EMAIL,
    EXTERNAL_ID,
    GIVEN_NAME,
    ROLE,
    SURNAME,
    misfit,
)
from connectors.dropbox.settings import InvitedLeavers
from connectors.errors import ErrorCode
from connectors.http import Answer, Call
from connectors.kit import (
    ENTRY,
    MEMBERS,
    STATE,
    Action,
    Again,
    Change,
    Done,
    Effect,
    Held,
    Kind,
    Known,
    Later,
    Look,
    Lost,
    Refused,
    Step,
    Verdict,
    by_status,
    call,
)

ROWS = 20
"""New members that one call may hold."""
ADD, RECOVER, UNSUSPEND = "add members to the team", "recover a member", "unsuspend a member"
TAKES_SEAT = frozenset({ADD, RECOVER, UNSUSPEND})
"""Purposes of calls that need a free seat."""
REMOVE = "remove a member"
DELETE_GROUP = "delete a group"
JOBS = {
    ADD: "members/add/job_status/get_v2",
    REMOVE: "members/remove/job_status/get",
    DELETE_GROUP: "groups/job_status/get",
}
"""Where it is asked what came of a job."""
FULL = frozenset({"team_license_limit", "free_team_member_limit_reached"})
_BUSY = frozenset({"too_many_write_operations", "too_many_requests"})
_ITEM = {
    EMAIL: "member_email",
    EXTERNAL_ID: "member_external_id",
    GIVEN_NAME: "member_given_name",
    SURNAME: "member_surname",
    "persistent_id": "member_persistent_id",
    "is_directory_restricted": "is_directory_restricted",
}
_PROFILE = {path: f"new_{path.rpartition('.')[2]}" for path in _ITEM}


def steps(known: Known, change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    """The requests for a change."""
    if refusal := misfit(known, change):
        return refusal
    if change.kind is Kind.GROUP:
        return _group_steps(change)
    match change.action:
        case Action.CREATE if change.target_id is None:
            return _add(known, change)
        case Action.CREATE:
            return _recover(known, change)
        case Action.DELETE:
            invited = held is not None and held.row.get(STATE) == "invited"
            return [_remove(known, change.target_id or "", invited=invited)]
        case _:
            return _user_steps(known, change, held)


# Members


def _add(known: Known, change: Change) -> Sequence[Step] | Refused:
    values = {path: value for path, value in change.attributes.items() if value is not None}
    if values.get(ACTIVE) is False:
        text = "Nobody can be invited and suspended at once. The account is made when the entry is active."
        return Refused(ErrorCode.NOT_PERMITTED, ACTIVE, text)
    item: dict[str, Any] = {name: values[path] for path, name in _ITEM.items() if path in values}
    item["send_welcome_email"] = known.settings.welcome_email
    if ROLE in values:
        item["role_ids"] = [known.facts["roles"][str(values[ROLE]).casefold()]]
    return [Step(item, {ENTRY, *values}, Effect.ONCE, lane=ADD)]


def _recover(known: Known, change: Change) -> Sequence[Step]:
    """The account of somebody who comes back, then what is different now; nobody is in a group any more."""
    user = _user(change.target_id)
    values = {path: value for path, value in change.attributes.items() if path != ACTIVE and value is not None}
    first = Step(call("POST", "/members/recover", RECOVER, {"user": user}), {ENTRY}, Effect.ONCE)
    return [first, *_profile_steps(known, user, values)]


def _user_steps(known: Known, change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    values, user = dict(change.attributes), _user(change.target_id)
    active, state = values.pop(ACTIVE, None), held.row.get(STATE) if held is not None else None
    found: list[Step] = []
    if active is False and state != "suspended":  # what ends access goes first, and alone
        if state == "invited" and known.settings.invited_leavers is InvitedLeavers.KEEP:
            return _refused("suspend_inactive_user", "")
        if state == "invited":
            return [_remove(known, change.target_id or "", invited=True)]
        body = {"user": user, "wipe_data": known.settings.suspend.wipe_devices}
        # once: to a member who is suspended already Dropbox says the same as to one who has not accepted
        found.append(Step(call("POST", "/members/suspend", "suspend a member", body), {ACTIVE}, Effect.ONCE))
    elif active and state not in ("active", "invited"):
        found.append(Step(call("POST", "/members/unsuspend", UNSUSPEND, {"user": user}), {ACTIVE}))
    return [*found, *_profile_steps(known, user, values)] or Done()


def _profile_steps(known: Known, user: Mapping[str, str], values: Mapping[str, Any]) -> list[Step]:
    found: list[Step] = []
    new = {_PROFILE[path]: "" if value is None else value for path, value in values.items() if path in _PROFILE}
    if new:
        body = {"user": user, **new}
        done = set(values) & set(_PROFILE)
        found.append(Step(call("POST", "/members/set_profile_v2", "change a member", body), done))
    if ROLE in values:
        name = values[ROLE]
        body = {"user": user, "new_roles": [] if name is None else [known.facts["roles"][str(name).casefold()]]}
        found.append(Step(call("POST", "/members/set_admin_permissions_v2", "give an admin role", body), {ROLE}))
    return found


def _remove(known: Known, key: str, *, invited: bool) -> Step:
    """``invited``: nobody has come, so that there are neither files to transfer nor an account to keep."""
    wanted, dest = known.settings.remove, known.facts.get("transfer_to")
    body: dict[str, Any] = {
        "user": _user(key),
        "wipe_data": wanted.wipe_devices,
        "keep_account": wanted.keep_account and not invited,
        "retain_team_shares": wanted.retain_team_shares and not invited,
        "permanently_delete_files": False,
    }
    if dest is not None and not invited:
        body |= {"transfer_dest_id": _user(dest), "transfer_admin_id": _user(known.signed_in)}
    return Step(call("POST", "/members/remove", REMOVE, body), {ENTRY}, Effect.ONCE)


def _user(key: str | None) -> dict[str, str]:
    return {".tag": "team_member_id", "team_member_id": key or ""}


# Groups


def _group_steps(change: Change) -> Sequence[Step] | Done:
    key = change.target_id or ""
    chosen = {".tag": "group_id", "group_id": key}
    values = dict(change.attributes)
    sort = values.pop("group_management_type", None)
    match change.action:
        case Action.CREATE:
            body = {path: value for path, value in values.items() if value is not None}
            body |= {"group_management_type": {".tag": sort or "company_managed"}, "add_creator_as_owner": False}
            return [
                Step(call("POST", "/groups/create", "create a group", body), {ENTRY, *change.attributes}, Effect.ONCE)
            ]
        case Action.DELETE:
            return [Step(call("POST", "/groups/delete", DELETE_GROUP, chosen), {ENTRY})]
        case Action.ADD_MEMBERS:
            members = [{"user": _user(member), "access_type": {".tag": "member"}} for member in change.joins]
            body = {"group": chosen, "members": members, "return_members": False}
            return [Step(call("POST", "/groups/members/add", "add to a group", body), {MEMBERS}, serial=key)]
        case Action.REMOVE_MEMBERS:
            body = {"group": chosen, "users": [_user(member) for member in change.leaves], "return_members": False}
            return [Step(call("POST", "/groups/members/remove", "take out of a group", body), {MEMBERS}, serial=key)]
    body = {"group": chosen, "return_members": False}
    body |= {f"new_{path}": "" if value is None else value for path, value in values.items()}
    body |= {} if sort is None else {"new_group_management_type": {".tag": sort}}
    return [Step(call("POST", "/groups/update", "change a group", body), set(change.attributes))]


# Packs


def pack(known: Known, packed: Sequence[Step]) -> Call:
    """One call for new members."""
    del known
    body = {"new_members": [step.request for step in packed], "force_async": False}
    return call("POST", "/members/add_v2", ADD, body, weight=len(packed))


def unpack(known: Known, packed: Sequence[Step], answer: Answer) -> Sequence[Any]:
    """The answer for each new member: an item, a job with the member's place, or the call's own refusal."""
    del known
    if answer.status != 200:
        return [answer] * len(packed)
    body = answer.json()
    if body.get(".tag") == "async_job_id":
        return [job_of(body["async_job_id"], number, step) for number, step in enumerate(packed)]
    return [item_of(body, number, step.request["member_email"]) for number, step in enumerate(packed)]


def job_of(job: str, number: int, step: Step) -> dict[str, str]:
    """Where in which job the answer for one of several new members will be."""
    return {".tag": "async_job_id", "async_job_id": f"{job} {number} {step.request['member_email']}"}


def item_of(body: Mapping[str, Any], number: int, address: str) -> Any:
    """The answer for a new member: in its place, or wherever its address stands; None where it is missing."""
    items = [one for one in body.get("complete") or () if isinstance(one, Mapping)]
    if number < len(items) and _address(items[number]) in (address.casefold(), None):
        return items[number] if len(items) == len(body["complete"]) else _named(items, address)
    return _named(items, address)


def _named(items: Sequence[Mapping[str, Any]], address: str) -> Any:
    named = [one for one in items if _address(one) == address.casefold()]
    return named[0] if len(named) == 1 else None


def _address(item: Mapping[str, Any]) -> str | None:
    """The address that an answer is about; None where it does not say."""
    tag = str(item.get(".tag"))
    named = item.get("profile", {}).get(EMAIL) if tag == "success" else item.get(tag)
    return str(named).casefold() if isinstance(named, str) and ADDRESS_FORM.fullmatch(named) else None


# Verdicts


def verdict(known: Known, step: Step, answer: Any) -> Verdict:
    """What an answer means, or the part of one that is about a step."""
    del known
    if answer is None:
        return Lost("The job's result does not mention this member.")
    if isinstance(answer, Mapping):
        return _item(answer)
    purpose = step.request.purpose if isinstance(step.request, Call) else ADD
    trouble = problem(answer)
    if answer.status == 200:
        return _success(step, answer)
    if trouble.tag in _BUSY:
        return Again(None, trouble.tag)
    if trouble.tag == "invalid_async_job_id":
        return Lost("Dropbox no longer knows its job.")
    if purpose == REMOVE and trouble.tag in ("user_not_found", "user_not_in_team"):
        return Look("The member is not there.")
    if purpose == DELETE_GROUP and trouble.tag in ("group_not_found", "group_already_deleted"):
        return Look("The group is not there.")
    if trouble.tag == "unsuspend_non_suspended_member":
        return Look("The member is not suspended.")
    if MEMBERS in step.does and trouble.tag in _ALREADY:
        return Look("Some of them are members already.")
    if step.request.path.endswith("/remove") and MEMBERS in step.does and trouble.tag in _NOT_IN:
        return Look("Some of them are not members.")
    if answer.status == 409:
        return _refused(trouble.tag, trouble.text)
    return by_status(answer, step, text=trouble.text)


_ALREADY = frozenset({"duplicate_user"})
_NOT_IN = frozenset({"member_not_in_group", "members_not_in_team", "users_not_found"})


def _success(step: Step, answer: Answer) -> Verdict:
    body = answer.json()
    tag = body.get(".tag") if isinstance(body, Mapping) else None
    if tag == "async_job_id":
        return Later(f"{step.request.purpose}|{body['async_job_id']}")
    if ENTRY in step.does and isinstance(body, Mapping) and "group_id" in body:
        return Done(str(body["group_id"]))
    return Done()


def _item(item: Mapping[str, Any]) -> Verdict:
    match item.get(".tag"):
        case "success":
            return Done(str(item["profile"]["team_member_id"]))
        case "async_job_id":
            return Later(f"{ADD}|{item['async_job_id']}")
        case "in_progress":
            return Later(str(item["job"]))
        case "complete":
            return Done()
        case "failed":
            text = "Dropbox gave up the job. Check the member; the next cycle tries again."
            return Refused(ErrorCode.UNPROCESSABLE_ENTITY, "", f"{text} ({item.get('failed', '')})")
        case tag if tag in _BUSY:
            return Again(None, str(tag))
        case tag:
            return _refused(str(tag), "")


def _refused(tag: str, said: str) -> Refused:
    unknown = Meaning(
        ErrorCode.UNPROCESSABLE_ENTITY,
        "",
        "Dropbox rejects the change. See the Dropbox team API documentation, or report this.",
    )
    meaning = MEANINGS.get(tag, unknown)
    return Refused(meaning.code, meaning.about, f"{meaning.text} ({tag or said})")
