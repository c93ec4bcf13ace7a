"""What a job does to the accounts of people who leave, in sentences: ``provisor check`` says it. Pure."""

from datetime import timedelta

from connectors.contract import Action, Kind, Traits
from tasks.job import Deprovision, Job, Removal

_WAYS = {
    "deleted": "gone from the source",
    "disabled": "disabled in the source",
    "out_of_scope": "out of scope",
    "unassigned": "not assigned any more",
}


def what_leaving_means(job: Job, traits: Traits) -> list[str]:
    """A sentence for each way in which people leave, ways with the same end together; and one for groups."""
    ends: dict[str, list[str]] = {}
    for way, words in _WAYS.items():
        members = ", with the memberships that the source says" if way == "disabled" else " and loses its memberships"
        end = _end(job, getattr(job.deprovision, way), traits, members)
        ends.setdefault(end, []).append(words)
    said = [f"Users {_or(ways)}: {end}." for end, ways in ends.items()]
    if job.groups is not None:
        said.append(f"Groups that leave: {_end_of_group(job, job.deprovision)}.")
    return said


def _end(job: Job, removal: Removal, traits: Traits, members: str) -> str:
    rules, grace = job.users.actions, job.deprovision.delete_after
    deletes = rules.delete and traits.does(Kind.USER, Action.DELETE)
    match removal:
        case Removal.KEEP:
            return "the account stays as it is, with its memberships"
        case Removal.DELETE if deletes:
            return "the account is deleted; one that is only just adopted is disabled first"
        case Removal.DELETE:
            return "nothing is done, because deleting is switched off or the target cannot do it"
        case Removal.DISABLE if not rules.update or traits.switch is None:
            return "nothing is done, because updating is switched off or the target cannot disable accounts"
        case Removal.DISABLE if grace is not None and deletes:
            return f"the account is disabled{members}, and is deleted {_length(grace)} after that"
        case Removal.DISABLE:
            return f"the account is disabled{members}, and is never deleted"


def _end_of_group(job: Job, policy: Deprovision) -> str:
    assert job.groups is not None
    additive = job.groups.members.value == "additive"
    match policy.deleted:
        case Removal.DELETE:
            return "they are deleted when they are gone from the source"
        case Removal.KEEP:
            return "they stay as they are"
        case Removal.DISABLE if additive:
            return "they stay as they are, because members are only ever added (members: additive)"
        case Removal.DISABLE:
            return "a group cannot be disabled, so it loses its members and stays"


def _or(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _length(length: timedelta) -> str:
    return f"{length.days} days" if length >= timedelta(days=2) else f"{length.total_seconds() / 3600:.4g} hours"
