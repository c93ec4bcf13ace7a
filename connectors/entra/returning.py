"""Joiners whose account was deleted less than 30 days ago: it is restored, with mailbox and memberships, never doubled.

Source: Microsoft Graph v1.0, "List deleted items", "Restore deleted item".
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from connectors.entra.asking import deleted_users
from connectors.entra.attributes import flat, selected
from connectors.kit import KEY, Action, Change, ErrorCode, Kind, Known, Refused, Row

NAME = "userPrincipalName"
_DELETED = "deleted users"
DeletedUsers: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Soft-deleted users by key; user principal names as they were before."""


async def learn(wire: Any, known: Known, changes: Sequence[Change]) -> Known:
    """What is known, with the deleted users where somebody is to be created."""
    made = [one for one in changes if one.kind is Kind.USER and one.action is Action.CREATE]
    if not made or not known.settings.restore_deleted:
        return known
    paths = tuple(dict.fromkeys((NAME, *(path for one in made for path in one.known_by))))
    found = await deleted_users(wire, selected(paths))
    users = {str(one["id"]): _as_before(str(one["id"]), flat(one, paths)) for one in found}
    return replace(known, facts={**known.facts, _DELETED: users})


def _as_before(key: str, values: dict[str, Any]) -> dict[str, Any]:
    """A deleted user's values; Graph puts the id before the name, so that somebody else can have it."""
    name = str(values.get(NAME) or "")
    return {**values, NAME: name.removeprefix(key.replace("-", "")) or None}


def deleted_one(known: Known, change: Change) -> str | Refused | None:
    """Key of the deleted user who is to be created again; None where nobody is, refused where there are several.

    It is the one whose value of the job's first matching attribute is the same, unless another matching attribute says
    that it is somebody else: a name may have been given to the next person.
    """
    users: DeletedUsers = known.facts.get(_DELETED, {})
    if not users or not change.known_by:
        return None
    first, *others = change.known_by
    found = [
        key
        for key, one in users.items()
        if _same(one.get(first), change.attributes.get(first)) and not _is_another(one, change, others)
    ]
    if len(found) > 1:
        return Refused(
            ErrorCode.CONFLICT,
            first,
            f"{len(found)} deleted accounts have its {first}. Restore the right one in the Entra admin center under "
            "Deleted users, or delete the others there permanently.",
        )
    return found[0] if found else None


def _is_another(one: Mapping[str, Any], change: Change, paths: Sequence[str]) -> bool:
    """Whether an attribute other than the name, which changes, says that it is somebody else."""
    told = [(one.get(path), change.attributes.get(path)) for path in paths if path != NAME]
    return any(there and wanted and not _same(there, wanted) for there, wanted in told)


def _same(left: Any, right: Any) -> bool:
    return bool(left) and bool(right) and str(left).casefold() == str(right).casefold()


def renamed(known: Known, key: str, change: Change) -> str | None:
    """The name that a user is to be restored with, where it is another one than before."""
    wanted = change.attributes.get(NAME)
    return None if not wanted or _same(known.facts[_DELETED][key].get(NAME), wanted) else str(wanted)


def is_restored(known: Known, change: Change, row: Row) -> bool:
    """Whether an entry is the one that a create restores."""
    return change.action is Action.CREATE and deleted_one(known, change) == row[KEY]
