"""Sentences that several pages share: names before numbers, and the verb of every action. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from connectors.contract import Action, Kind
from tasks.ledger import Cycle, CycleState, LogAction

VERBS: Mapping[Action, str] = {
    Action.CREATE: "Create",
    Action.UPDATE: "Change",
    Action.ENABLE: "Enable",
    Action.DISABLE: "Disable",
    Action.DELETE: "Delete",
    Action.ADD_MEMBERS: "Add",
    Action.REMOVE_MEMBERS: "Remove",
}
"""What is done to an account, as a command."""

DONE: Mapping[LogAction, str] = {
    LogAction.CREATE: "Created",
    LogAction.UPDATE: "Changed",
    LogAction.ENABLE: "Enabled",
    LogAction.DISABLE: "Disabled",
    LogAction.DELETE: "Deleted",
    LogAction.ADD_MEMBERS: "Members added",
    LogAction.REMOVE_MEMBERS: "Members removed",
    LogAction.STAGED_DISABLE: "Held: disable",
    LogAction.STAGED_DELETE: "Held: delete",
    LogAction.STAGED_UPDATE: "Held: change",
    LogAction.STAGED_REMOVE_MEMBERS: "Held: remove members",
    LogAction.APPROVE: "Approved",
    LogAction.REJECT: "Rejected",
    LogAction.LAPSE: "No longer wanted",
    LogAction.SKIP: "Left alone",
    LogAction.DRIFT: "Changed outside Provisor",
}
"""What the log says was done, in the past."""

LOOKS: Mapping[LogAction, str] = {
    LogAction.CREATE: "created",
    LogAction.ENABLE: "created",
    LogAction.UPDATE: "changed",
    LogAction.DISABLE: "disabled",
    LogAction.DELETE: "deleted",
    LogAction.ADD_MEMBERS: "member",
    LogAction.REMOVE_MEMBERS: "member",
    LogAction.STAGED_DISABLE: "waiting",
    LogAction.STAGED_DELETE: "waiting",
    LogAction.STAGED_UPDATE: "waiting",
    LogAction.STAGED_REMOVE_MEMBERS: "waiting",
    LogAction.APPROVE: "waiting",
    LogAction.REJECT: "quiet",
    LogAction.LAPSE: "quiet",
    LogAction.SKIP: "quiet",
    LogAction.DRIFT: "disabled",
}
"""Colours and icons of what was done."""

_COUNTED = {
    "created": "created {}",
    "updated": "changed {}",
    "enabled": "enabled {}",
    "disabled": "disabled {}",
    "deleted": "deleted {}",
    "members_added": "added {} members",
    "members_removed": "removed {} members",
    "failed": "{} failed",
}


def plural(kind: Kind | str, count: int) -> str:
    """``user`` or ``users``."""
    return str(kind) if count == 1 else f"{kind}s"


def named(names: Sequence[str], total: int, *, shown: int = 2) -> tuple[list[str], int]:
    """The names that stand for all, and how many more there are."""
    some = list(names[: total if total <= shown + 1 else shown])
    return some, max(total - len(some), 0)


def cycle_sentence(cycle: Cycle) -> str:
    """What a cycle did, in a few words: ``Created 2, changed 11; 80 held for approval``."""
    if cycle.state is CycleState.RUNNING:
        return "Under way"
    if cycle.state in (CycleState.STOPPED, CycleState.CRASHED):
        return cycle.message or "It was stopped."
    parts = [text.format(f"{count:,}") for name, text in _COUNTED.items() if (count := cycle.counts.get(name, 0))]
    if cycle.counts.get("staged", 0):
        parts.append("the rest waits for approval" if parts else "everything waits for approval")
    if not parts:
        return "Nothing to do"
    text = ", ".join(parts)
    return text[:1].upper() + text[1:]


def clock_time(moment: datetime, zone: tzinfo, now: datetime) -> str:
    """A moment as people say it: ``today, 09:46``; ``Fri 4 Dec, 07:40``; ``2 Mar 2026, 10:00``."""
    there, here = moment.astimezone(zone), now.astimezone(zone)
    days = (here.date() - there.date()).days
    if days in (-1, 0, 1):
        return f"{ {0: 'today', 1: 'yesterday', -1: 'tomorrow'}[days] }, {there:%H:%M}"
    if abs(days) < 200:
        return f"{there:%a} {there.day} {there:%b}, {there:%H:%M}"
    return f"{there.day} {there:%b %Y}, {there:%H:%M}"


def day_of(moment: datetime, zone: tzinfo) -> str:
    """A day as people say it: ``2 Mar 2026``."""
    there = moment.astimezone(zone)
    return f"{there.day} {there:%b %Y}"
