"""Changes for tests, and how to carry them out."""

from collections.abc import Mapping
from typing import Any

from connectors.contract import Action, Change, Kind, Outcome
from connectors.scim.connector import ScimTarget
from connectors.scim.schema import ENTERPRISE

WORK = 'emails[type eq "work"].value'
MANAGER = f"{ENTERPRISE}:manager"
DEPARTMENT = f"{ENTERPRISE}:department"


def person(name: str, **more: Any) -> dict[str, Any]:
    return {
        "userName": f"{name}@example.com",
        "externalId": f"E-{name}",
        "active": True,
        "displayName": name,
        "name.givenName": "Ann",
        "name.familyName": "O'Brien 😀",
        WORK: f"{name}@example.com",
        DEPARTMENT: "Sales",
        **more,
    }


def create(name: str, **more: Any) -> Change:
    return Change(f"create {name}", Kind.USER, Action.CREATE, name, None, attributes=person(name, **more))


def create_group(name: str, **more: Any) -> Change:
    attributes = {"displayName": name, "externalId": f"G-{name}", **more}
    return Change(f"create {name}", Kind.GROUP, Action.CREATE, name, None, attributes=attributes)


def update(
    target_id: str, attributes: Mapping[str, Any], before: Mapping[str, Any] | None = None, *, kind: Kind = Kind.USER
) -> Change:
    return Change(
        f"update {target_id}", kind, Action.UPDATE, "x", target_id, attributes=attributes, before=before or {}
    )


def act(action: Action, target_id: str, *, kind: Kind = Kind.USER, members: tuple[str, ...] = ()) -> Change:
    attributes = {Action.DISABLE: {"active": False}, Action.ENABLE: {"active": True}}.get(action, {})
    return Change(f"{action} {target_id}", kind, action, "x", target_id, attributes=attributes, members=members)


def apply(target: ScimTarget, *changes: Change) -> dict[str, Outcome]:
    """Outcomes by change; fails when a change has not exactly one."""
    outcomes: list[Outcome] = []
    target.apply(changes, outcomes.append)
    assert sorted(outcome.change_id for outcome in outcomes) == sorted(change.id for change in changes)
    return {outcome.change_id: outcome for outcome in outcomes}


def apply_one(target: ScimTarget, change: Change) -> Outcome:
    return apply(target, change)[change.id]
