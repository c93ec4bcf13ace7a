"""The one sentence that answers why: what happened to an entry, or will, and what decided it. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from connectors.contract import Action, Value, short_path
from flows.show.why import Evidence
from tasks.job import Clause, Operator
from tasks.ledger import LinkState, LogLine, LogStatus, StagedState
from tasks.plan.blocks import Cause, DriftKind
from tasks.scope import FILTERED_OUT, ClauseVerdict, ScopeDecision

_DONE = {
    Action.CREATE: "Created",
    Action.UPDATE: "Updated",
    Action.ENABLE: "Enabled",
    Action.DISABLE: "Disabled",
    Action.DELETE: "Deleted",
}
_TAKES = frozenset({Action.DISABLE, Action.DELETE})
_VALUES_SHOWN = 4
NO_NAMES: Mapping[str, str] = {}
_NOTHING = "nothing"
_NO_VALUE = frozenset({Operator.IS_NULL, Operator.IS_NOT_NULL, Operator.IS_TRUE, Operator.IS_FALSE})


def sentence(evidence: Evidence) -> str:
    """Why the entry is as it is, in one sentence; the strongest reason wins."""
    if evidence.who is None:
        return f"Nobody called {evidence.asked} is in the source, the target or the log of {evidence.job.name}."
    if evidence.outage:
        return f"{_history(evidence)} What a cycle would do now cannot be said: {evidence.outage}"
    if evidence.who.anchor is None:
        return _of_nobody(evidence)
    return (
        _held(evidence)
        or _staged(evidence)
        or _pending(evidence)
        or _drifted(evidence)
        or _taken_away(evidence)
        or _never(evidence)
        or _settled(evidence)
    )


# --- what is in the way, or about to be done -----------------------------------------------------------------------


def _held(evidence: Evidence) -> str:
    """The entry is left alone, whatever it should be."""
    if evidence.source is not None and evidence.source.unreadable is not None:
        row = evidence.source.unreadable
        return f"Left alone: its row in the source could not be read ({row.place}): {_end(row.reason)}"
    if evidence.plans.held:
        held = evidence.plans.held[0]
        return f"Left alone ({held.code}): {_end(held.reason)}"
    return ""


def _staged(evidence: Evidence) -> str:
    waiting = [one for one in evidence.decisions if one.state is StagedState.STAGED]
    if not evidence.plans.staged and not waiting:
        return ""
    if waiting:
        one = waiting[0]
        return (
            f"Waits for approval to {one.action} since {_day(one.since)}: {one.guard.rstrip('.')}. "
            f"The reason to {one.action}: {_end(cause(evidence) or 'changed in the source')}"
        )
    change = evidence.plans.staged[0]
    return f"The next cycle will hold it for approval ({change['action']}): {_end(cause(evidence) or change['reason'])}"


def _pending(evidence: Evidence) -> str:
    if not evidence.plans.runs:
        return _memberships(evidence)
    change = evidence.plans.runs[0]
    action, why = change["action"], change["reason"]
    if action in _TAKES:
        why = cause(evidence) or why
    values = _after(change, evidence.names) if action in (Action.UPDATE, Action.ENABLE) else ""
    tried = _failed_before(evidence)
    return f"The next cycle will {action} it: {why}{f' ({values})' if values else ''}.{tried}"


def _memberships(evidence: Evidence) -> str:
    if not evidence.plans.groups:
        return ""
    action, group = evidence.plans.groups[0]
    verb = "make it a member of" if action == Action.ADD_MEMBERS else "end its membership of"
    return f"The next cycle will {verb} {group}; its account is as it should be."


def _failed_before(evidence: Evidence) -> str:
    last = _last(evidence, LogStatus.FAILURE)
    if evidence.escrow is None or last is None:
        return ""
    return f" {_capital(_when(last, 'failed'))}: {last.code or 'no code'}, {_end(last.message)}"


def _drifted(evidence: Evidence) -> str:
    """Others have changed the account, and the job leaves it so."""
    left = [one for one in evidence.plans.drifted if not one.corrected]
    if not left:
        return ""
    one = left[0]
    what = "have deleted the account" if one.what is DriftKind.DELETED else f"have changed {', '.join(one.attributes)}"
    return f"Others {what} in the target, and the job only reports it (drift: {evidence.job.drift})."


# --- what has been done --------------------------------------------------------------------------------------------


def _taken_away(evidence: Evidence) -> str:
    """The account is disabled or gone, for a reason that still holds."""
    why = cause(evidence)
    last = _last(evidence, LogStatus.SUCCESS)
    disabled = evidence.link is not None and evidence.link.state is LinkState.DISABLED
    if evidence.link is not None and evidence.account is None and why:
        return (
            f"Its account is no longer in the target: it was deleted outside Provisor. It should have none: {_end(why)}"
        )
    if last is not None and last.action in _TAKES and (disabled or evidence.link is None):
        return f"{_when(last, _DONE[Action(last.action)])}: {_end(why or last.reason)}"
    if disabled and evidence.link is not None:
        unknown = "outside Provisor, or before Provisor managed it"
        return f"Disabled since {_day(evidence.link.state_since)}: {_end(why or unknown)}"
    if evidence.link is not None and why:
        if evidence.off:
            return f"Its account is already disabled, outside Provisor. It should have none: {_end(why)}"
        return f"The job's deprovision and actions leave its account alone. It should have none: {_end(why)}"
    return ""


def _never(evidence: Evidence) -> str:
    if evidence.link is not None or evidence.account is not None:
        return ""
    why = cause(evidence) or evidence.plans.passed_over
    return f"No account: {_end(why)}" if why else ""


def _settled(evidence: Evidence) -> str:
    """Everything is as it should be: what Provisor did last, and what for."""
    last = _last(evidence, LogStatus.SUCCESS)
    if last is None:
        if evidence.link is None:
            return "There is nothing to do, and nothing was ever done."
        how = evidence.link.how or "linked"
        return f"Up to date: {how} on {_day(evidence.link.linked_at)}, and nothing had to change since."
    what = _when(last, _DONE[Action(last.action)])
    match last.action:
        case Action.CREATE:
            why = _admitted(evidence) or last.reason
        case Action.UPDATE:
            why = f"{last.reason} ({_modified(last, evidence.names)})" if last.modified else last.reason
        case _:
            why = last.reason
    return f"{what}: {why}. Since then everything is as it should be."


def _admitted(evidence: Evidence) -> str:
    """Why somebody got an account whom an earlier cycle had passed over."""
    before = next(
        (line for line in evidence.log if line.action == "skip" and line.code == "EntrySynchronizationSkipped"), None
    )
    if before is None:
        return ""
    now = ""
    if before.reason.startswith(FILTERED_OUT) and evidence.scope is not None and evidence.scope.passing is not None:
        held = evidence.scope.groups[evidence.scope.passing]
        now = f"in scope since {_judged(held)} {'is' if len(held) == 1 else 'are'} true"
    return f"{now or 'in scope and active now'}; cycle {before.cycle} had passed it over ({before.reason})"


def _history(evidence: Evidence) -> str:
    """The last thing that was done, by the log alone."""
    last = next(iter(evidence.log), None)
    if last is None:
        return "The log has nothing about it."
    if last.status == LogStatus.SUCCESS and last.action in set(Action):
        return f"{_when(last, _DONE.get(Action(last.action), 'Changed'))}: {_end(last.reason)}"
    why = last.message or last.reason
    return f"{_capital(_when(last, f'{last.action} {last.status}'))}: {_end(why)}"


def _of_nobody(evidence: Evidence) -> str:
    if evidence.plans.by_others is not None:
        return f"The account belongs to the job {evidence.plans.by_others}; this job never touches it."
    return (
        "Not Provisor's: the account is in the target, is linked to nobody, and the plan gives it to no entry of the "
        "source. It is not touched."
    )


# --- what decided it -----------------------------------------------------------------------------------------------


def cause(evidence: Evidence) -> str:
    """Why the entry must have no active account now; empty when it may have one."""
    scope = evidence.scope
    if scope is None:
        return ""
    if not scope.present:
        return str(Cause.GONE)
    if not scope.assigned:
        return "not assigned, neither directly nor through a group"
    if scope.undecided:
        return ""
    if not scope.passed and not (scope.disabled and not scope.failing):
        return outside(scope)
    if scope.waiting:
        return scope.waiting
    return (scope.left or str(Cause.DISABLED)) if scope.disabled else ""


def outside(scope: ScopeDecision) -> str:
    """Which clauses keep the entry out."""
    failing = list(dict.fromkeys(scope.failing))
    one = len(failing) == 1
    return f"out of scope since {'clause' if one else 'clauses'} {_judged(failing)} {'is' if one else 'are'} false"


def _judged(verdicts: "list[ClauseVerdict] | tuple[ClauseVerdict, ...]") -> str:
    said = [f"{clause_text(verdict.clause)} ({_value_of(verdict)})" for verdict in verdicts]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def clause_text(clause: Clause) -> str:
    """``department EQUALS Sales``."""
    if clause.operator in _NO_VALUE:
        return f"{clause.attribute} {clause.operator}"
    value = clause.value
    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
    return f"{clause.attribute} {clause.operator} {shown}"


def _value_of(verdict: ClauseVerdict) -> str:
    if verdict.hidden:
        return f"{verdict.clause.attribute} is redacted"
    if verdict.clause.operator is Operator.MEMBER_OF:
        return "a member" if verdict.value else "no member"
    value = verdict.value
    return f"{verdict.clause.attribute} is {'empty' if value is None or value == '' else value}"


# --- words ---------------------------------------------------------------------------------------------------------


def _last(evidence: Evidence, status: LogStatus) -> LogLine | None:
    """The newest line about a change of the account itself that ended so."""
    return next((line for line in evidence.log if line.action in _DONE and line.status == status), None)


def _when(line: LogLine, what: str) -> str:
    cycle = f" in cycle {line.cycle}" if line.cycle is not None else ""
    return f"{what}{cycle} on {line.time:%Y-%m-%d}"


def _after(change: dict[str, Any], names: Mapping[str, str]) -> str:
    before = change.get("before") or {}
    return _listed([(path, before.get(path), new) for path, new in (change.get("after") or {}).items()], names)


def _modified(line: LogLine, names: Mapping[str, str]) -> str:
    return _listed([(one["name"], one["old"], one["new"]) for one in line.modified or ()], names)


def _listed(values: list[tuple[str, Value, Value]], names: Mapping[str, str]) -> str:
    said = [
        f"{short_path(path)}: {shown(old, names)} → {shown(new, names)}" for path, old, new in values[:_VALUES_SHOWN]
    ]
    more = len(values) - _VALUES_SHOWN
    return ", ".join([*said, f"{more} more"] if more > 0 else said)


def shown(value: Value, names: Mapping[str, str] = NO_NAMES) -> str:
    """A value as JSON spells it; a reference with the name of whom it refers to."""
    if value is None:
        return _NOTHING
    if isinstance(value, str) and value in names:
        return f"{names[value]} ({value})"
    return orjson.dumps(value, default=str).decode()


def _day(moment: Any) -> str:
    return f"{moment:%Y-%m-%d}"


def _end(text: str | None) -> str:
    return f"{(text or '').rstrip('. ')}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
