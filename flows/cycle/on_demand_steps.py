"""One entry through the five steps: connection, import, scope, match, action. Decides like a cycle, about one entry.

The source is read as every cycle reads it and the plan is made of everybody, so that nothing is decided otherwise than
in a cycle; then it is narrowed to the entry (``tasks.plan.narrow``). The target is asked about this entry alone
(``flows.cycle.sight.see_entry``). Nothing is written here.

Source: Microsoft Entra, "On-demand provisioning" (steps and what each shows); there nobody who has left the source can
be provisioned, a group takes five members, and there is no dry run.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from random import SystemRandom
from typing import Any

import pandas as pd

from connectors.contract import Attribute, Form, Kind, Snapshot, Unreadable, Value
from connectors.errors import FatalError, ProvisorError
from flows.cycle.preview import Decision, find_out, judge
from flows.cycle.sight import Hits, Sight, make_sure, see_entry
from flows.cycle.systems import Recalled, Systems, open_systems, recall
from flows.show.explain_entry import shown_row, with_matching_value
from flows.show.plan_json import changes_of
from flows.show.why_sentence import clause_text
from tasks.acting import as_it_acts
from tasks.agreement import check_agreement
from tasks.checks import refuse_empty
from tasks.elsewhere import refuse_elsewhere
from tasks.expectations import check_source
from tasks.expressions import Context, compile_expression
from tasks.extract import Facts, needs_of, read_sources, survey_source
from tasks.history import plain
from tasks.job import BuiltinChecks, Job
from tasks.knowledge import Question
from tasks.ledger import REDACTED, Ledger, LogLine, LogStatus, Staged
from tasks.lost import Regained, regain, whereabouts, with_regained, with_unsettled, without_deleted
from tasks.mapping import convert, redacted_paths
from tasks.plan import Plan, build_plan
from tasks.plan.narrow import only
from tasks.plan.people import Footing
from tasks.scope import ClauseVerdict, ScopeDecision, explain_scope, hidden_attributes, select
from tasks.sources import open_source_of


class UnknownEntryError(ProvisorError):
    """The name that was given is unknown, or means several entries; nothing was done."""


class StepName(StrEnum):
    """What is done with the entry, in this order."""

    CONNECTION = "connection"
    """Shown only when it fails."""
    IMPORT = "import"
    SCOPE = "scope"
    MATCH = "match"
    ACTION = "action"


class Result(StrEnum):
    """How it ended."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    """There was nothing to do."""
    FAILURE = "failure"
    """Something failed, or nothing may be done about the entry."""
    STAGED = "staged"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step and how it went."""

    name: StepName
    status: LogStatus
    sentence: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain values."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Who is meant."""

    kind: Kind
    anchor: str


@dataclass(slots=True)
class Page:
    """What is known of one provisioning on demand, while it runs and when it is over."""

    job: str
    asked: str
    plan_only: bool = False
    entry: Entry | None = None
    label: str = ""
    cycle: int | None = None
    """Number of the cycle; None where none began."""
    notices: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    result: Result = Result.STOPPED

    @property
    def exit_status(self) -> int:
        """0 done or nothing to do; 1 failed or held; 3 waiting for approval; 4 stopped."""
        return {Result.FAILURE: 1, Result.STAGED: 3, Result.STOPPED: 4}.get(self.result, 0)

    def add(self, name: StepName, status: LogStatus, sentence: str, **details: Any) -> None:
        """Notes how a step went."""
        self.steps.append(Step(name, status, sentence, details))

    @contextmanager
    def doing(self, name: StepName) -> Iterator[None]:
        """A fatal error inside is noted as the failure of this step, and goes on."""
        try:
            yield
        except FatalError as error:
            self.add(name, LogStatus.FAILURE, str(error))
            raise

    def as_json(self) -> dict[str, Any]:
        """Plain values for machines."""
        entry = self.entry
        return {
            "job": self.job,
            "asked": self.asked,
            "plan_only": self.plan_only,
            "cycle": self.cycle,
            "entry": entry and {"kind": str(entry.kind), "anchor": entry.anchor, "label": self.label or entry.anchor},
            "notices": self.notices,
            "steps": [
                {"step": str(one.name), "status": str(one.status), "message": one.sentence, **one.details}
                for one in self.steps
            ],
            "result": str(self.result),
            "exit_status": self.exit_status,
        }


def preview_entry(job: Job, ledger: Ledger, page: Page, moment: datetime) -> None:
    """Notes what would be done about an entry now; nothing is written.

    Raises: UnknownEntryError, JobError, FatalError.
    """
    asked = look_up(job, ledger, page, now=moment)
    with open_systems(job) as systems:
        act(page, decide_entry(job, systems, ledger, asked, page, Context(now=moment, random=SystemRandom())))


# --- who is meant --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Asked:
    """The source as it is now, and who of it is meant."""

    entry: Entry
    source: Snapshot
    facts: Facts
    """What the source says about itself."""


def look_up(job: Job, ledger: Ledger, page: Page, *, now: datetime) -> Asked:
    """Reads the source, and finds the entry by anchor, value of a matching attribute, target id or name.

    Who is gone from the source is found by what the ledger remembers. Raises: UnknownEntryError, JobError, FatalError.
    """
    page.notices += _notices(job, ledger)
    source = open_source_of(job)
    with closing(source):
        with page.doing(StepName.CONNECTION):
            facts = survey_source(source)
        check_agreement(job, facts)
        with page.doing(StepName.IMPORT):
            snapshot = as_it_acts(job, read_sources(job, source, facts), Context(now=now))
            refuse_empty(snapshot, job, members_before=ledger.source_members(job.name))
    page.entry = _find(job, snapshot, ledger, page.asked, now)
    return Asked(page.entry, snapshot, facts)


def _notices(job: Job, ledger: Ledger) -> Iterator[str]:
    """A job that does not go on by itself; what is asked for by name is done all the same."""
    if (pause := ledger.paused(job.name)) is not None:
        yield f"The job was paused by {pause.who}{f': {pause.why}' if pause.why else ''} and stays paused."
    if (quarantine := ledger.quarantine(job.name)) is not None:
        yield f"The job is in quarantine and stays there: {quarantine.message}"


def _find(job: Job, source: Snapshot, ledger: Ledger, asked: str, now: datetime) -> Entry:
    """Users come before groups, and an anchor before everything else."""
    rules = job.rules
    asked = str(source.aliases.get(asked, asked))  # another key of somebody who is in several sources
    for kind in rules:
        if asked in source.entries(kind).index or any(_is(row, kind, asked) for row in source.unreadable):
            return Entry(kind, asked)
    found = {
        Entry(kind, anchor)
        for kind, rule in rules.items()
        for anchor in with_matching_value(rule, source.entries(kind), asked, now)
    }
    for anchor in () if found else ledger.identities(job.name, asked):
        linked = [kind for kind in rules if ledger.link(job.name, kind, anchor) is not None]
        present = [kind for kind in rules if anchor in source.entries(kind).index]
        logged = [Kind(line.kind) for chunk in ledger.log_chunks(job.name, identity=anchor, limit=1) for line in chunk]
        kinds = linked or present or [kind for kind in logged if kind in rules]
        found |= {Entry(kind, anchor) for kind in kinds}
    if not found:
        raise UnknownEntryError(
            f"{asked} is unknown: neither {source.system} nor the ledger of {job.name} knows such an anchor, value "
            "of a matching attribute, id in the target, or name."
        )
    if len(found) > 1:
        names = ", ".join(sorted(f"{one.kind} {one.anchor}" for one in found)[:10])
        raise UnknownEntryError(f"{len(found)} entries match {asked}: {names}. Give the anchor of one.")
    return found.pop()


def _is(row: Unreadable, kind: Kind, key: str) -> bool:
    return row.kind is kind and row.key == key


# --- import and scope ----------------------------------------------------------------------------------------------


def _import(job: Job, asked: Asked, page: Page) -> None:
    kind, anchor = asked.entry.kind, asked.entry.anchor
    frame = asked.source.entries(kind)
    if anchor in frame.index:
        shown = shown_row(frame, anchor, hidden_attributes(job.rules[kind]))
        page.add(StepName.IMPORT, LogStatus.SUCCESS, f"{asked.source.system} has the {kind}.", properties=shown)
        return
    unreadable = next((row for row in asked.source.unreadable if _is(row, kind, anchor)), None)
    if unreadable is not None:
        sentence = f"It could not be read ({unreadable.place}): {unreadable.reason}"
        page.add(StepName.IMPORT, LogStatus.FAILURE, sentence)
        return
    doubts = "".join(f" {reason}" for reason in asked.source.doubts)
    page.add(StepName.IMPORT, LogStatus.SKIPPED, f"{asked.source.system} has no such {kind} any more.{doubts}")


def _scope(job: Job, asked: Asked, page: Page, *, now: datetime) -> ScopeDecision:
    kind, anchor = asked.entry.kind, asked.entry.anchor
    decision = explain_scope(job.rules[kind], asked.source, kind, anchor, assignment=job.assignment, now=now)
    if not decision.present:
        page.add(StepName.SCOPE, LogStatus.SKIPPED, "A person who is not in the source is not in scope.")
        return decision
    details = {
        "active_in_source": not decision.disabled,
        "coming": list(decision.coming),
        "assignment": str(job.assignment.mode),
        "assigned": decision.assigned,
        "assigned_by_key": decision.by_key,
        "assigned_by_groups": [one.listed for one in decision.by_groups],
        "clauses": [[_clause(verdict) for verdict in group] for group in decision.groups],
    }
    if not decision.assigned:
        status, sentence = LogStatus.SKIPPED, "It is not assigned to the app."
    elif decision.undecided:
        doubts = " ".join(dict.fromkeys(verdict.doubt for verdict in decision.undecided))
        status, sentence = LogStatus.FAILURE, f"Whether it is in scope cannot be said: {doubts}"
    elif not decision.passed:
        status, sentence = LogStatus.SKIPPED, "It is out of scope: no group of clauses is true."
    elif decision.waiting:
        status, sentence = LogStatus.SKIPPED, f"It is {decision.waiting}."
    elif decision.left:
        status, sentence = LogStatus.SUCCESS, f"It is in scope, and {decision.left}."
    elif decision.disabled:
        status, sentence = LogStatus.SUCCESS, "It is in scope, and disabled in the source."
    else:
        status, sentence = LogStatus.SUCCESS, "It is in scope."
    page.add(StepName.SCOPE, status, sentence, **details)
    return decision


def _clause(verdict: ClauseVerdict) -> dict[str, Any]:
    found: dict[str, Any] = {"clause": clause_text(verdict.clause), "holds": None if verdict.doubt else verdict.holds}
    if isinstance(verdict.value, tuple):
        return found | {"value": [one.listed for one in verdict.value]}
    return found | {"value": REDACTED if verdict.hidden else plain(verdict.value)}


# --- match ---------------------------------------------------------------------------------------------------------


def _sought(job: Job, asked: Asked, context: Context) -> list[tuple[str, str | None]]:
    """Matching attributes of the target, in order, with the entry's value; nothing where it is not in scope."""
    kind, anchor = asked.entry.kind, asked.entry.anchor
    rules = job.rules[kind]
    inside = select(rules, asked.source, kind, assignment=job.assignment, now=context.now).entries
    if anchor not in inside.index:
        return []
    row = inside.loc[[anchor]]
    found: list[tuple[str, str | None]] = []
    for rule in rules.matching:
        column = compile_expression(rule.source).column(row, context).values
        value = plain(convert(column, Attribute(form=Form.REFERENCE), rule.target, {}).iloc[0])
        found.append((rule.target, value or None))
    return found


def _match(job: Job, asked: Asked, linked: str | None, hits: Sequence[Hits], sight: Sight, page: Page) -> None:
    kind = asked.entry.kind
    hidden = redacted_paths(job.rules[kind])
    attributes = [
        {
            "attribute": one.attribute,
            "value": REDACTED if one.value is not None and one.attribute in hidden else one.value,
            "hits": [_account(one.accounts, str(id_), hidden) for id_ in one.accounts.index],
        }
        for one in hits
    ]
    accounts = sight.snapshot.entries(kind)
    status = LogStatus.SUCCESS
    first = next((one for one in hits if len(one.accounts)), None)
    if linked is not None and linked in accounts.index:
        sentence = f"It is linked to the account {linked}."
    elif linked is not None:
        sentence = f"It was linked to the account {linked}, which is no longer in the target."
    elif first is None:
        sentence = "No account of the target matches." if hits else "It has no account, and none is looked for."
    elif len(first.accounts) == 1:
        sentence = f"The account {first.accounts.index[0]} matches by {first.attribute}."
    else:
        status = LogStatus.FAILURE
        sentence = f"{len(first.accounts)} accounts of the target match by {first.attribute}."
    page.add(StepName.MATCH, status, sentence, linked=linked, attributes=attributes)


def _account(frame: pd.DataFrame, id_: str, hidden: frozenset[str]) -> dict[str, Value]:
    shown = shown_row(frame, id_, hidden)
    return {"id": id_, "properties": {name: value for name, value in shown.items() if value is not None}}


# --- deciding ------------------------------------------------------------------------------------------------------


def decide_entry(job: Job, systems: Systems, ledger: Ledger, asked: Asked, page: Page, context: Context) -> Decision:
    """What a cycle would do about the entry now, judged by the guards. Raises: JobError, FatalError.

    Neither the wait in escrow applies, nor checks on the target, of which nothing but the entry is looked at.
    """
    entry, target = asked.entry, systems.target
    with page.doing(StepName.CONNECTION):
        attributes = {kind: target.attributes(kind) for kind in Kind}
        facts = replace(asked.facts, traits=target.traits(), target=attributes)
        check_agreement(job, facts)
        wanted = needs_of(job, facts.traits).target
        target.fetch(Kind.USER, [], wanted)  # so that a target that does not answer fails this step
    _import(job, asked, page)
    _scope(job, asked, page, now=context.now)
    recalled = recall(ledger, job, context.now)
    linked = _linked(recalled, entry)
    mine = tuple(one for one in recalled.attempts if (one.kind, one.anchor) == (entry.kind, entry.anchor))
    recalled = replace(recalled, attempts=mine)
    lost = recalled.lost
    also = [(question.attribute, value) for question in whereabouts(lost) for value in question.values]
    with page.doing(StepName.MATCH):
        sight, hits = see_entry(
            job,
            systems,
            ledger,
            facts,
            entry.kind,
            linked=linked,
            sought=list(dict.fromkeys([*_sought(job, asked, context), *also])),
            late=also,
            links=recalled.links.links,
            attempts=mine,
            recent=recalled.recent.get(entry.kind, ()),
        )
        regained = regain(lost, job, recalled.links, sight.snapshot, facts.target)
        links = without_deleted(recalled.links, mine, sight.snapshot, sight.looked)
        known, recalled = recalled, replace(recalled, links=with_unsettled(with_regained(links, regained), mine))
        linked = _linked(recalled, entry)
    _match(job, asked, linked, hits, sight, page)
    with page.doing(StepName.ACTION):
        decision = _decide(job, systems, asked, facts, recalled, sight, hits, regained, context)
        plan = decision.checked.plan
        decision.verdicts = find_out(job, plan, known, facts, decision.sight, regained, now=context.now)
    page.label = str(decision.checked.plan.entries[entry.kind].labels.get(entry.anchor, entry.anchor))
    return decision


def _linked(recalled: Recalled, entry: Entry) -> str | None:
    ids = recalled.links.links[entry.kind]["target_id"]
    return str(ids[entry.anchor]) if entry.anchor in ids.index else None


def _decide(
    job: Job,
    systems: Systems,
    asked: Asked,
    facts: Facts,
    recalled: Recalled,
    sight: Sight,
    hits: Sequence[Hits],
    regained: Sequence[Regained],
    context: Context,
) -> Decision:
    entry = asked.entry
    refuse_elsewhere(job, recalled.links.links, sight.snapshot, before=recalled.target)
    written_alone = job.model_copy(update={"checks": job.checks.model_copy(update={"builtin": BuiltinChecks.none()})})
    source, results = check_source(written_alone, asked.source, context, {}, {})

    def make_plan(sight: Sight) -> Plan:
        plan = build_plan(job, source, sight.snapshot, recalled.links, facts, context)
        return only(plan, entry.kind, [entry.anchor])

    known = [Question(entry.kind, one.attribute, (one.value,)) for one in hits if one.value is not None]
    refused = {(entry.kind, entry.anchor)}
    plan, sight = make_sure(job, systems, facts, sight, make_plan, refused=refused, recalled=recalled, asked=known)
    return judge(
        job,
        systems,
        plan,
        facts,
        recalled.history,
        sight=sight,
        source=asked.source,
        results=results,
        regained=regained,
    )


# --- action --------------------------------------------------------------------------------------------------------


def act(page: Page, decision: Decision, lines: Sequence[LogLine] = ()) -> None:
    """Notes the last step and how it all ended. ``lines``: the log of the cycle, the oldest first; none of a plan."""
    checked, plan = decision.checked, decision.checked.plan
    changes = [change for block in checked.blocks for change in changes_of(block)]
    staged = [change for block in checked.staged for change in changes_of(block)]
    done = [line for line in lines if line.change_id is not None]
    details = {
        "changes": changes,
        "staged": staged,
        "outcomes": [_outcome(line) for line in done],
        "held": [{"code": str(one.code), "reason": one.reason} for one in plan.held],
        "notes": list(dict.fromkeys(one.reason for one in plan.notes)),
        "guards": [verdict.sentence for verdict in checked.verdicts],
    }
    failed = [line for line in done if line.status == LogStatus.FAILURE]
    if failed:
        page.result, sentence = Result.FAILURE, " ".join(f"{line.action} failed: {line.message}" for line in failed)
    elif plan.held:
        page.result, sentence = Result.FAILURE, " ".join(one.reason for one in plan.held)
    elif checked.waiting:
        page.result, sentence = Result.STAGED, _how_to_decide(page, checked.waiting)
    elif changes:
        page.result, sentence = Result.SUCCESS, _what(changes, page)
    else:
        page.result, sentence = Result.SKIPPED, _why_nothing(page, decision)
    status = {Result.SUCCESS: LogStatus.SUCCESS, Result.FAILURE: LogStatus.FAILURE}.get(page.result, LogStatus.SKIPPED)
    page.add(StepName.ACTION, status, sentence, **details)


def _how_to_decide(page: Page, waiting: Sequence[Staged]) -> str:
    assert page.entry is not None
    why = " ".join(dict.fromkeys(one.guard for one in waiting))
    only = f"{page.job} --only {shlex.quote(page.entry.anchor)}"
    return f"It is waiting for approval: {why} Decide with provisor approve {only} or provisor reject {only}."


def _outcome(line: LogLine) -> dict[str, Any]:
    return {
        "action": line.action,
        "status": line.status,
        "id": line.target_id,
        "reason": line.reason,
        "code": line.code,
        "message": line.message,
        "modified": line.modified or [],
        "duration_ms": line.duration_ms,
    }


def _what(changes: Sequence[Mapping[str, Any]], page: Page) -> str:
    kinds = list(dict.fromkeys(str(change["action"]) for change in changes))
    reasons = "; ".join(dict.fromkeys(str(change["reason"]) for change in changes))
    verb = "To be done" if page.plan_only else "Done"
    return f"{verb}: {', '.join(kinds)} ({reasons})."


def _why_nothing(page: Page, decision: Decision) -> str:
    assert page.entry is not None
    entries = decision.checked.plan.entries[page.entry.kind]
    anchor = page.entry.anchor
    passed_over = entries.passed_over.result()
    if anchor in passed_over.index:
        return f"Nothing to do: it has no account and gets none, {passed_over[anchor]}."
    if any(not one.corrected for one in entries.drifted):
        return "Nothing is done: others have changed the account, and the job only reports that (drift: report)."
    match entries.people.footing(anchor):
        case Footing.ACCOUNT:
            return "Nothing to do: the account is as it should be."
        case Footing.ENDING:
            return (
                "Nothing to do: the account is already disabled, or the job's deprovision and actions leave it "
                f"alone. The entry should have no account: {entries.people.ending[anchor]}."
            )
        case Footing.HELD:
            return "Nothing to do: the account exists, and the entry is held in this cycle."
    return "Nothing to do: it has no account, and gets none."
