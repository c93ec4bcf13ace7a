"""Licences counted before accounts are created active or enabled, so that one refusal is not told a thousand times.

Source: Salesforce, Object Reference, "UserLicense", "Profile".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.contract import Action, Change, Kind
from connectors.kit import Known
from connectors.salesforce.fields import PROFILE, id18
from connectors.salesforce.reading import all_of


async def seats(wire: Any) -> dict[str, tuple[str, int | None, int]]:
    """Each user licence by id: its name, seats (None: no limit) and those in use."""
    records, _ = await all_of(wire, "Id, Name, TotalLicenses, UsedLicenses", "UserLicense", "", "read the licences")
    return {
        id18(one["Id"]): (
            str(one["Name"]),
            int(one["TotalLicenses"]) if int(one["TotalLicenses"]) >= 0 else None,
            int(one["UsedLicenses"]),
        )
        for one in records
    }


async def without_seat(wire: Any, known: Known, changes: Sequence[Change]) -> dict[str, str]:
    """Ids of changes for which no licence is left, each with a sentence; the first ones get what is left."""
    taking = [one for one in changes if one.kind is Kind.USER and _takes_seat(one)]
    if not taking:
        return {}
    licences = await seats(wire)
    held = await _licences_of(
        wire, [one.target_id for one in taking if one.target_id and PROFILE not in one.attributes]
    )
    left = {key: None if total is None else total - used for key, (_, total, used) in licences.items()}
    refused: dict[str, str] = {}
    for change in taking:
        key = _licence_of(known, change, held)
        free = left.get(key or "")
        if key is None or free is None:
            continue
        if free > 0:
            left[key] = free - 1
            continue
        name, total, _ = licences[key]
        refused[change.id] = (
            f"No licence {name} is left ({total:,} in all), so nothing was sent. Add licences, or deactivate accounts "
            "that are no longer needed; the next cycle tries again."
        )
    return refused


def _takes_seat(change: Change) -> bool:
    active = change.attributes.get("IsActive")
    return active is not False if change.action is Action.CREATE else active is True


def _licence_of(known: Known, change: Change, held: Mapping[str, str]) -> str | None:
    profile = change.attributes.get(PROFILE)
    if profile is None:
        return held.get(change.target_id or "")
    licences: Mapping[str, str] = known.facts["licences"]
    return licences.get(known.facts[PROFILE].get(str(profile).casefold()))


async def _licences_of(wire: Any, keys: Sequence[str]) -> dict[str, str]:
    """The licence of each account that is there."""
    found: dict[str, str] = {}
    for start in range(0, len(keys), 200):
        ids = ", ".join(f"'{key}'" for key in keys[start : start + 200])
        records, _ = await all_of(wire, "Id, Profile.UserLicenseId", "User", f"Id IN ({ids})", "read who has a licence")
        found |= {id18(one["Id"]): id18(one["Profile"]["UserLicenseId"]) for one in records if one.get("Profile")}
    return found
