"""Which users and groups are not ours to write: known when the plan is made, and told there with where to go.

Source: Microsoft Graph v1.0, resource types "user" (onPremisesSyncEnabled, isManagementRestricted, userType) and
"group" (groupTypes, mailEnabled); "List unifiedRoleAssignments".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.entra.asking import LARGEST_PAGE, listed
from connectors.entra.reading import entries_by_id
from connectors.entra.settings import Administrators
from connectors.kit import Kind, Known

_PATHS = {
    Kind.USER: ("onPremisesSyncEnabled", "userType", "isManagementRestricted"),
    Kind.GROUP: ("onPremisesSyncEnabled", "groupTypes", "mailEnabled", "isManagementRestricted"),
}
_SYNCED = "It is synchronized from an on-premises directory, where it has to be changed."
_RESTRICTED = (
    "It is in a restricted management administrative unit: give the app a role on that unit, or change it by hand."
)
_GUEST = "It is the account of a guest. Set guests: true in the job's target to have guests changed."
_ADMINISTRATOR = (
    "It holds an administrator role, and the job leaves such accounts alone (administrators). Change it by hand, or "
    "give the app a directory role and set administrators: write."
)
_DYNAMIC = (
    "A rule says who is in this dynamic group: change the rule in the Entra admin center, or leave the group out."
)
_EXCHANGE = "It is a mail-enabled security group or distribution list, which only Exchange can change."


async def never(wire: Any, known: Known, kind: Kind, keys: Sequence[str]) -> Mapping[str, str]:
    """Keys of entries that Graph would not let us write, or the job does not want written, each with why."""
    found: dict[str, str] = {}
    for entry in await entries_by_id(wire, kind, keys, _PATHS[kind]):
        if why := _why(entry, kind, guests=known.settings.guests):
            found[str(entry["id"])] = why
    if kind is Kind.USER and known.settings.administrators is Administrators.LEAVE_ALONE:
        holders = await _administrators(wire)
        found |= {key: _ADMINISTRATOR for key in keys if key in holders and key not in found}
    return found


def _why(entry: Mapping[str, Any], kind: Kind, *, guests: bool) -> str:
    if entry.get("onPremisesSyncEnabled"):
        return _SYNCED
    if entry.get("isManagementRestricted"):
        return _RESTRICTED
    if kind is Kind.USER:
        return _GUEST if entry.get("userType") == "Guest" and not guests else ""
    types = entry.get("groupTypes") or ()
    if "DynamicMembership" in types:
        return _DYNAMIC
    return _EXCHANGE if entry.get("mailEnabled") and "Unified" not in types else ""


async def _administrators(wire: Any) -> set[str]:
    link = f"/roleManagement/directory/roleAssignments?$select=principalId&$top={LARGEST_PAGE}"
    found = await listed(wire, link, "read who holds administrator roles") or []
    return {str(one["principalId"]) for one in found}
