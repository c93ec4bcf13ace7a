"""What is wrong after everything has come to rest; an empty list where nothing is.

The app is read from the service's own store, what the service did from its own log, and both are held against the
company and against the provisioning log. Nothing here asks the product what it thinks, except for its log.
"""

from collections import Counter

import pandas as pd

from connectors.contract import Kind
from tasks.ledger import Ledger
from tests.data.expected import State
from tests.faults.changes import Operation
from tests.faults.company import JOB, STRANGERS, group
from tests.flows.reading_back import differences, found_in
from tests.servers.scim_service import ScimService
from tests.servers.scim_service.running import Resources

_STRANGERS = {one["id"] for entries in STRANGERS.values() for one in entries}
_WRITES = {
    **dict.fromkeys(("update", "enable", "disable", "add members", "remove members"), "changed"),
    "create": "created",
    "delete": "deleted",
}


def wrong_in_the_app(service: ScimService, wanted: State, strangers: dict[str, object]) -> list[str]:
    """Where the app is not as it must be: attributes, members, entries too many or lost, strangers touched.

    ``strangers`` is what ``strangers_of`` gave before.
    """
    users = [user for id, user in service.users.items() if id not in _STRANGERS]
    groups = [group for id, group in service.groups.items() if id not in _STRANGERS]
    names = Counter(str(user["userName"]).lower() for user in users)
    lines = [f"{count} accounts are called {name}" for name, count in names.items() if count > 1]
    try:
        lines += differences(found_in(users, groups), wanted)
    except AssertionError as twins:
        lines.append(str(twins))
    if strangers_of(service) != strangers:
        lines.append("an account that is nobody's was touched")
    return lines


def strangers_of(service: ScimService) -> dict[str, object]:
    """The accounts that are nobody's, as they are."""
    return {id: one for held in _held(service).values() for id, one in held.items() if id in _STRANGERS}


def _held(service: ScimService) -> dict[Kind, Resources]:
    return {Kind.USER: service.users, Kind.GROUP: service.groups}


def wrong_in_the_ledger(ledger: Ledger, service: ScimService) -> list[str]:
    """Where the ledger is not at rest: attempts without an end, links that are not one for each entry."""
    lines = [f"the attempt to {one.action} {one.anchor} is open" for one in ledger.open_attempts(JOB)]
    lines += [f"{one.anchor} is in escrow" for one in ledger.escrows(JOB)]
    for kind, held in _held(service).items():
        links = ledger.links(JOB, kind)
        real = {str(one["externalId"]): id for id, one in held.items() if id not in _STRANGERS}
        if dict(zip(links.index, links["target_id"], strict=True)) != real:
            lines.append(f"the links of {kind}s are not what the app holds")
    return lines


def ids_about(service: ScimService, operation: Operation) -> set[str]:
    """Ids of the accounts and groups that an operation is about, as far as they are there."""
    about = {*map(operation.entries, operation.touched), *map(group, operation.groups)}
    return {id for held in _held(service).values() for id, one in held.items() if one.get("externalId") in about}


def wrong_in_the_log(service: ScimService, log: pd.DataFrame, touched: set[str]) -> list[str]:
    """Where the provisioning log and the service's own log disagree, and whom else the service was made to change.

    What was carried out and had an effect has exactly one line of success, and each line of success one effect. A write
    that was sent twice and changed something once is one effect. ``touched``: ids of the entries that were to be
    changed; those that were created belong to them.
    """
    effects = Counter(effect for request in service.log for effect in request.effects)
    created = {id for verb, id in effects if verb == "created"}
    lines = [f"{id} was {verb}, and nobody asked for that" for verb, id in effects if id not in touched | created]
    good = log[(log["status"] == "success") & log["action"].isin(_WRITES)]
    # Of an account that a dead run made, the line that reads it back knows the owner alone.
    owned = {(kind, one.get("externalId")): id for kind, held in _held(service).items() for id, one in held.items()}
    ids = [
        owned.get((kind, anchor), "") if pd.isna(id) else id
        for kind, anchor, id in zip(good["kind"], good["anchor"], good["target_id"], strict=True)
    ]
    told = Counter(zip(good["action"].map(_WRITES), ids, strict=True))
    for verb, id in sorted(effects.keys() | told.keys(), key=str):
        if effects[verb, id] != told[verb, id]:
            lines.append(f"{id} was {verb} {effects[verb, id]} times, and {told[verb, id]} lines say so")
    return lines
