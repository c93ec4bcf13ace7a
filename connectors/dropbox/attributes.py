"""Attributes of members and groups, and how they stand in Dropbox' JSON.

Source: dropbox/dropbox-api-spec, team.stone (MemberProfile), team_common.stone (GroupSummary), common.stone (NamePart,
EmailAddress).
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from connectors.contract import STATE
from connectors.errors import ErrorCode
from connectors.kit import (
    KEY,
    Action,
    Attribute,
    Change,
    Edge,
    Form,
    Kind,
    Known,
    Reach,
    Refused,
    Row,
    Sameness,
    Write,
    table,
)

ACTIVE, EMAIL, EXTERNAL_ID, ROLE = "active", "email", "external_id", "role"
GIVEN_NAME, SURNAME = "name.given_name", "name.surname"
NAMES = frozenset({GIVEN_NAME, SURNAME})
MANAGED = {"company_managed", "user_managed"}
"""Sorts of groups that have members one may see and change; the system's own are not ours."""
ADDRESS_FORM = re.compile(r"['#&A-Za-z0-9._%+-]+@[A-Za-z0-9-][A-Za-z0-9.-]*\.[A-Za-z]{2,15}")
_NO_NAME = re.compile(r'[/:?*<>"|]')

_EXACT = Sameness.EXACT
_SHOWN = ("name.display_name", "status", "membership_type", "account_id", "invited_on", "joined_on", "suspended_on")

GROUPS = table(
    Attribute("group_id", write=Write.NEVER, unique=Reach.SYSTEM, same=_EXACT, searchable=False),
    Attribute("group_name", required=True, unique=Reach.SYSTEM),
    Attribute("group_external_id", unique=Reach.SYSTEM, same=_EXACT),
    Attribute("group_management_type", values=tuple(sorted(MANAGED)), searchable=False),
)


def users_of(roles: Mapping[str, str]) -> dict[str, Attribute]:
    """Attributes of members. ``roles``: the names of the team's admin roles."""
    shown = [
        Attribute(path, form=Form.DATE if path.endswith("_on") else Form.TEXT, write=Write.NEVER, searchable=False)
        for path in _SHOWN
    ]
    return table(
        Attribute("team_member_id", write=Write.NEVER, unique=Reach.SYSTEM, same=_EXACT, searchable=False),
        Attribute(EMAIL, required=True, unique=Reach.WORLD, longest=255),
        Attribute(EXTERNAL_ID, unique=Reach.SYSTEM, same=_EXACT, longest=64),
        Attribute(GIVEN_NAME, longest=50, searchable=False),
        Attribute(SURNAME, longest=50, searchable=False),
        Attribute(ACTIVE, form=Form.BOOLEAN, searchable=False),
        Attribute(ROLE, values=tuple(sorted(roles)), label="admin role", searchable=False),
        Attribute("persistent_id", unique=Reach.SYSTEM, same=_EXACT, searchable=False),
        Attribute("is_directory_restricted", form=Form.BOOLEAN, searchable=False),
        Attribute("email_verified", form=Form.BOOLEAN, write=Write.NEVER, searchable=False),
        *shown,
    )


# What is read


def status_of(info: Mapping[str, Any]) -> str:
    """``active``, ``invited``, ``suspended``, ``removed``, or a word that Dropbox adds one day."""
    return str(info["profile"]["status"][".tag"])


def member_row(info: Mapping[str, Any]) -> Row:
    """A member as a row."""
    profile, name, status = info["profile"], info["profile"]["name"], status_of(info)
    row = {
        path: profile.get(path) for path in ("account_id", "email", "email_verified", "external_id", "persistent_id")
    }
    row |= {path: profile.get(path) for path in ("invited_on", "joined_on", "suspended_on", "team_member_id")}
    row |= {f"name.{part}": name.get(part) or None for part in ("given_name", "surname", "display_name")}
    return {
        KEY: profile["team_member_id"],
        STATE: status,
        **row,
        ACTIVE: status in ("active", "invited"),
        "status": status,
        "membership_type": (profile.get("membership_type") or {}).get(".tag"),
        "is_directory_restricted": bool(profile.get("is_directory_restricted")),
        ROLE: next((one["name"] for one in info.get("roles") or ()), None),
    }


def edges_of_member(info: Mapping[str, Any]) -> list[Edge]:
    """Memberships of one member in groups of every sort."""
    return [Edge(str(group), info["profile"]["team_member_id"]) for group in info["profile"].get("groups") or ()]


def group_row(group: Mapping[str, Any]) -> Row:
    """A group as a row."""
    return {
        KEY: group["group_id"],
        "group_id": group["group_id"],
        "group_name": group["group_name"],
        "group_external_id": group.get("group_external_id"),
        "group_management_type": group["group_management_type"][".tag"],
    }


def is_seen(known: Known, group: Mapping[str, Any]) -> bool:
    """Whether the job is about a group of this sort."""
    sort = group["group_management_type"][".tag"]
    return sort == "company_managed" or (sort in MANAGED and known.settings.user_managed_groups)


# What would be refused


def can_be(path: str, value: str) -> bool:
    """Whether a member can have this value at all."""
    if path == EMAIL:
        return len(value) <= 255 and ADDRESS_FORM.fullmatch(value) is not None
    return 0 < len(value) <= 64 or path == "team_member_id"


def misfit(known: Known, change: Change) -> Refused | None:
    """The first value that Dropbox would refuse, with the whole call that it stands in."""
    for path, value in change.attributes.items():
        if value is None and change.action is Action.CREATE:
            continue
        if refusal := _problem(known, change.kind, path, value):
            return Refused(ErrorCode.UNPROCESSABLE_ENTITY, path, refusal)
    return None


def _problem(known: Known, kind: Kind, path: str, value: Any) -> str:
    attribute = known.attribute(kind, path)
    if value is None:
        needs = path in (*NAMES, EMAIL) or attribute.required
        return f"{path} cannot be cleared in Dropbox. Map a value for it." if needs else ""
    text = str(value)
    if attribute.longest is not None and len(text) > attribute.longest:
        return f"{path} takes {attribute.longest} characters at most, and the value has {len(text)}. Shorten it."
    if path in NAMES and _NO_NAME.search(text):
        return f'{path} may hold none of / : ? * < > " |. Remove them, for example with Replace in the mapping.'
    if path == EMAIL and not ADDRESS_FORM.fullmatch(text):
        return (
            "Dropbox takes only plain addresses: ASCII, and a domain that ends with 2 to 15 letters. Map another one."
        )
    if path == ROLE and text.casefold() not in known.facts["roles"]:
        near = difflib.get_close_matches(text, attribute.values, n=3, cutoff=0.5)
        named = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(attribute.values)}."
        return f"The team has no admin role of this name. {named}"
    if path == "group_management_type" and text not in MANAGED:
        return "A group is company_managed or user_managed."
    return ""
