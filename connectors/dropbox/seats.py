"""Seats counted before somebody takes one, and accounts that come back within seven days of their removal.

Source: dropbox/dropbox-api-spec, team.stone (get_info, members/recover).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.dropbox.attributes import EMAIL, EXTERNAL_ID, status_of
from connectors.dropbox.reading import LOOK, ask, members_by
from connectors.errors import ErrorCode
from connectors.kit import Known


async def without_seat(wire: Any, known: Known, changes: Sequence[Change]) -> dict[str, str]:
    """Ids of changes for which no seat is left, each with a sentence; the first ones get what is left."""
    taking = [one for one in changes if _takes_seat(one)]
    if not taking:
        return {}
    team = await ask(wire, "get_info", None, "read the team's seats")
    most, taken, reserve = team["num_licensed_users"], team["num_provisioned_users"], known.settings.seats_reserve
    if not most:  # Dropbox does not say
        return {}
    kept = f", {reserve:,} of them reserved by seats_reserve" if reserve else ""
    why = (
        f"Nothing was sent: the team has {most:,} seats{kept}, and {taken:,} are taken. Buy seats, or remove or "
        "suspend members; the next cycle tries again."
    )
    wire.full = False
    return {one.id: why for one in taking[max(0, most - taken - reserve) :]}


def _takes_seat(change: Change) -> bool:
    """One that comes back after it was refused, with the key it had, was counted before that."""
    if change.action is Action.CREATE:
        return change.kind is Kind.USER and change.target_id is None
    return change.kind is Kind.USER and change.action is Action.ENABLE


def may_come_back(change: Change, outcome: Outcome) -> bool:
    """Whether an account may not be made, or is not there to be enabled, because it was removed a few days ago."""
    if change.kind is not Kind.USER or outcome.status is not Status.REJECTED:
        return False
    if change.action is Action.ENABLE:
        return outcome.code is ErrorCode.INVALID_ANCHOR
    return change.action is Action.CREATE and change.target_id is None and outcome.code is ErrorCode.CONFLICT


async def coming_back(wire: Any, changes: Sequence[Change]) -> list[Change]:
    """Those changes whose account was removed and can be recovered, with its key: the one that was to be enabled, else
    the one with the same external id, or with the same address where the job gives no external id."""
    found: list[Change] = []
    for start in range(0, len(changes), LOOK):
        part = changes[start : start + LOOK]
        held: dict[tuple[str, str], Mapping[str, Any]] = {}
        for one in await members_by(wire, [_sought(change) for change in part]):
            if status_of(one) == "removed" and one["profile"]["status"]["is_recoverable"]:
                profile = one["profile"]
                held |= {(path, str(profile.get(path)).casefold()): profile for path in (_KEY, EXTERNAL_ID, EMAIL)}
        for change in part:
            path, value = _sought(change)
            profile = held.get((path, value.casefold()))
            if profile is not None and (path == EMAIL or profile[path] == value):
                found.append(replace(change, action=Action.CREATE, target_id=profile[_KEY]))
    return found


_KEY = "team_member_id"


def _sought(change: Change) -> tuple[str, str]:
    if change.target_id is not None:
        return _KEY, change.target_id
    path = EXTERNAL_ID if change.attributes.get(EXTERNAL_ID) else EMAIL
    return path, str(change.attributes.get(path) or "")
