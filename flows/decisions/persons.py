"""Who decides, who has started what was held, and whether that person may decide about it."""

import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from getpass import getuser

from connectors.errors import ProvisorError
from tasks.ledger import FINISHED_STATES, WHOLE_KINDS, Cycle, RunPurpose, RunRequest, Staged, StagedChanges, StagedState

VERBS = {StagedState.APPROVED: "approve", StagedState.REJECTED: "reject"}
"""What a decision is called in commands."""

_ON_THE_PAGES = "on the pages"
_TO_CARRY_OUT = "on the pages, to carry out a decision"
_BY_ACCOUNT = "by "
_BY_PLAN = "by plan "
_AFTER_A_JOB = re.compile(r"cycle \d+ of [^@,]+, which [^@,]+ runs after(, by plan [^,]*)?")
_SCHEDULE, _DEPLOYMENT = "schedule of ", "the deployment "


class DecisionError(ProvisorError):
    """What was to be decided about does not exist, or the decision makes no sense; nothing was decided."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who decides, beside the name that a person gives."""

    shown: str
    """For people: ``eve@laptop``, or how the decision came in where nobody knows who made it."""
    login: str | None = None
    """The account that signed in, of the operating system or of a server; None where nobody did by name."""
    clock: bool = False
    """True for a time limit that has passed: nobody decides, and no rule about persons applies."""


def own_identity() -> Identity:
    """The account of the operating system that runs this process."""
    login = login_name()
    return Identity(f"{login}@{socket.gethostname()}", login)


def login_name() -> str:
    """Who runs this process, by the operating system: what the environment says (LOGNAME, USER) anybody can write."""
    try:
        import pwd
    except ImportError:  # a system without such a list
        try:
            return getuser()
        except (OSError, KeyError, ImportError):
            return "somebody without a login name"
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container
        return f"uid {os.getuid()}"


# --- who has started a cycle, as the log says it ------------------------------------------------------------------


def started_here() -> str:
    """``eve@laptop``: a person who starts a cycle by a command."""
    return own_identity().shown


def started_on_the_pages(request: RunRequest) -> str:
    """``maria, on the pages``: the pages have begun the run for a person who is signed in."""
    how = _TO_CARRY_OUT if request.purpose is RunPurpose.DECISION else _ON_THE_PAGES
    return f"{request.login}, {how}"


def started_for(login: str) -> str:
    """The same for a command that the pages run: with the account that runs it, which counts as well."""
    return f"{login}, {_ON_THE_PAGES}, {_BY_ACCOUNT}{own_identity().shown}"


def started_by_schedule(name: str) -> str:
    """No person has."""
    return f"{_SCHEDULE}{name}"


def started_after(because: str, name: str) -> str:
    """No person has: ``cycle 42 of hr-to-ad, which hr-to-app runs after``. Without such news the run does nothing."""
    return f"{because}, which {name} runs after"


def started_in_prefect(name: str, who: str | None) -> str:
    """By the API, which may know who asked."""
    return f"{who}, by {_DEPLOYMENT}{name}" if who else f"{_DEPLOYMENT}{name}"


def starters_of(initiator: str) -> frozenset[str] | None:
    """Logins of those who started a cycle, given how the log says it; none for a schedule, None where nobody knows.

    Each form is told from the others by what no login can add: text after a comma, and the machine after an @.
    """
    if _AFTER_A_JOB.fullmatch(initiator):
        return frozenset()
    who, *more = initiator.split(", ")
    more = [one for one in more if not one.startswith(_BY_PLAN)]
    if not more and "@" not in who:
        if who.startswith(_SCHEDULE):
            return frozenset()
        if not who or who.startswith(_DEPLOYMENT):
            return None
    accounts = [one.removeprefix(_BY_ACCOUNT) for one in more if one.startswith(_BY_ACCOUNT) and "@" in one]
    return frozenset(map(_login_of, (who, *accounts)))


def _carries_out(initiator: str) -> bool:
    """Whether a cycle was begun for nothing but a decision."""
    return initiator.partition(", ")[2] == _TO_CARRY_OUT


def _login_of(text: str) -> str:
    """``eve`` of ``eve@laptop``."""
    return lower_ascii(text.partition(",")[0].partition("@")[0].strip())


def lower_ascii(text: str) -> str:
    """Text as logins are compared: A to Z in either case are one letter, and no other two letters are the same.

    Case folding would take ``ſam`` for ``sam``: a provider that lets people choose their names has both.
    """
    return text.encode(errors="surrogatepass").lower().decode(errors="surrogatepass")


# --- whether somebody may decide ------------------------------------------------------------------------------------


def refuse_the_wrong_person(
    changes: StagedChanges, last: Cycle, decision: StagedState, chosen: Sequence[Staged], identity: Identity
) -> None:
    """Passes when the job's rules let this person decide. Raises: DecisionError."""
    rules = changes.rules()
    allowed, separated = [str(name) for name in rules.get("by") or ()], bool(rules.get("not_by"))
    separated = separated and decision is StagedState.APPROVED
    if identity.clock or not (allowed or separated):
        return
    if identity.login is None:
        raise DecisionError(
            f"The job {last.job} says who may decide (approval), and {identity.shown} does not know who you are. Use "
            f"provisor {VERBS[decision]} {last.job} under your own account."
        )
    if allowed and lower_ascii(identity.login) not in set(map(lower_ascii, allowed)):
        raise DecisionError(
            f"{identity.login} may not decide for {last.job}: its job file lists {', '.join(allowed)} (approval.by)."
        )
    if separated:
        _refuse_who_started_it(changes, last, chosen, identity.login)


def _refuse_who_started_it(changes: StagedChanges, last: Cycle, chosen: Sequence[Staged], login: str) -> None:
    """Passes for somebody who has started neither the cycles that hold something nor the latest one.

    A cycle that only carries out this person's earlier decision does not count as the latest, but what it holds itself
    does. Where nobody knows who has started a cycle, that may have been this person: what it holds can be approved once
    a cycle that somebody is known to have started, or a schedule, holds it as well.
    """
    job = last.job
    held_in = [changes.cycle(id_) for id_ in sorted({one.cycle_id for one in chosen})]
    counted = [*held_in, *([] if _carries_out(last.initiator) else [last])]
    starters = [starters_of(one.initiator) for one in counted if one is not None]
    if any(_login_of(login) in found for found in starters if found is not None):
        raise DecisionError(
            f"{login} started the cycle in which this was held, and {job} requires that somebody else approves it "
            "(approval.not_by: initiator)."
        )
    if (unknown := _started_by_nobody_knows(changes, held_in)) is not None:
        raise DecisionError(
            f"Nobody knows who started cycle {unknown.number} of {job}, which holds this: it was begun in Prefect "
            f"without a name. {job} wants somebody else than that person to approve it (approval.not_by: initiator). "
            "Wait for the next scheduled cycle, or begin one with Run on the pages or with provisor run; who begins it "
            "does not approve what it holds."
        )


def _started_by_nobody_knows(changes: StagedChanges, held_in: Sequence[Cycle | None]) -> Cycle | None:
    """A cycle that holds something, and of which nobody knows who has started it; a later one may have cleared that."""
    latest = changes.last_cycle(kinds=WHOLE_KINDS)
    if latest is not None and starters_of(latest.initiator) is None:
        return latest
    finished = changes.last_cycle(kinds=WHOLE_KINDS, states=FINISHED_STATES)
    cleared = finished.number if finished is not None and starters_of(finished.initiator) is not None else 0
    unknown = (one for one in held_in if one is not None and starters_of(one.initiator) is None)
    return next((one for one in unknown if one.number >= cleared), None)
