"""What a cycle would do, worked out without doing it: the same stages as ``flows.provision``, without loading.

Nothing is written anywhere, and no orchestrator is needed: this is ``provisor plan`` and the numbers of ``check``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from connectors.contract import REMOVALS, Kind, KnowsItself, KnowsUnwritable, Snapshot, Target
from flows.cycle.forecast import NOTHING, Forecast, forecast
from flows.cycle.sight import CycleChoice, Sight, kind_of_cycle, make_sure, see_source, see_target
from flows.cycle.systems import Recalled, Systems, recall
from tasks.agreement import check_agreement
from tasks.checks import Checked, History, check_plan, protection_of, refuse_empty, rosters, unused_names
from tasks.elsewhere import refuse_elsewhere
from tasks.escrow import withhold
from tasks.expectations import (
    NOTHING_KNOWN,
    CheckResult,
    Figures,
    FrameFigures,
    Known,
    check_again,
    check_listed,
    check_planned,
    check_source,
    check_target,
    digest_of,
    failed,
    figures_of,
    mark_of,
    mark_of_sentence,
    marks_of,
)
from tasks.expressions import Context
from tasks.extract import Facts, survey
from tasks.job import Checked as Frame
from tasks.job import Job
from tasks.knowledge import created_anchors
from tasks.ledger import Ledger
from tasks.lost import Regained, Verdict, judge_attempts, regain, with_regained, with_unsettled, without_deleted
from tasks.mapping import Mapper, map_entries
from tasks.matching import LINKED
from tasks.plan import Plan, build_plan

Progress = Callable[[str, int], None]
"""Told what is being read and how many entries of it have been."""


@dataclass(slots=True)
class Decision:
    """Everything known before the first write: the plan after its guards, and the checks that did not hold.

    A plain slotted class on purpose: an orchestrator that walks parameters leaves it alone.
    """

    checked: Checked
    results: list[CheckResult]
    """What came of every data check."""
    sight: Sight
    """What was seen of the target, and how."""
    source: Snapshot
    """The source as it was read."""
    regained: list[Regained] = field(default_factory=list)
    """Accounts that creates have made whose answers were lost; the plan takes them as linked."""
    verdicts: list[Verdict] = field(default_factory=list)
    """How requests whose answers were lost have ended."""
    forecast: Forecast = NOTHING
    """What carrying it out needs."""
    figures: Figures = field(default_factory=dict)
    """Of the frames that were seen whole, and for the first time: what later cycles are held against."""
    known: Known = NOTHING_KNOWN
    """What later cycles need not look at again."""
    told: frozenset[str] = frozenset()
    """Marks of what people know from the last cycle."""
    unused: str = ""
    """What is said about names that the job protects and that nobody has."""

    @property
    def findings(self) -> list[CheckResult]:
        """The data checks that do not hold."""
        return failed(self.results)

    @property
    def news(self) -> list[CheckResult]:
        """The findings that are not those of the last cycle."""
        return [one for one in self.findings if mark_of(one) not in self.told]

    @property
    def new_unused(self) -> str:
        """The same, where it was not said in the last cycle."""
        return self.unused if mark_of_sentence(self.unused) not in self.told else ""

    @property
    def new_doubts(self) -> list[str]:
        """Why the source is not complete, where that was not so in the last cycle."""
        return [one for one in self.checked.plan.doubts if mark_of_sentence(one) not in self.told]


@dataclass(slots=True)
class Seen:
    """Both sides as a cycle that starts now would see them, and what is remembered."""

    facts: Facts
    source: Snapshot
    sight: Sight
    recalled: Recalled


def preview(
    job: Job,
    systems: Systems,
    ledger: Ledger,
    context: Context,
    *,
    choice: CycleChoice = CycleChoice.AUTO,
    progress: Progress | None = None,
    reviewed: bool = False,
) -> Decision:
    """What a cycle that starts now would do. ``reviewed``: a person looks at it before exactly this is done.

    Raises: FatalError, JobError.
    """
    seen = look(job, systems, ledger, context, choice=choice, progress=progress, reviewed=reviewed)
    return decide(job, systems, seen.source, seen.sight, seen.recalled, seen.facts, context)


def look(
    job: Job,
    systems: Systems,
    ledger: Ledger,
    context: Context,
    *,
    choice: CycleChoice = CycleChoice.AUTO,
    progress: Progress | None = None,
    reviewed: bool = False,
) -> Seen:
    """What a cycle that starts now would decide by. Raises: FatalError, JobError."""

    def reading(what: str) -> Callable[[int], None] | None:
        return None if progress is None else lambda count: progress(what, count)

    kind = kind_of_cycle(ledger, job, choice, now=context.now)
    facts = survey(systems.source, systems.target)
    check_agreement(job, facts)
    source = see_source(job, systems, ledger, facts, kind, context, progress=reading("source"))
    refuse_empty(source, job, members_before=ledger.source_members(job.name))
    sight = see_target(job, systems, ledger, facts, kind, progress=reading("target"))
    return Seen(facts, source, sight, recall(ledger, job, context.now, reviewed=reviewed))


def decide(
    job: Job,
    systems: Systems,
    source: Snapshot,
    sight: Sight,
    recalled: Recalled,
    facts: Facts,
    context: Context,
    *,
    mapper: Mapper = map_entries,
) -> Decision:
    """Data checks, then scope, mapping, matching and plan (``tasks.plan.build_plan``), then guards. Writes nothing.

    Who gets an account is looked up in a target that was not listed. Raises: FatalError.
    """
    refuse_elsewhere(job, recalled.links.links, sight.snapshot, before=recalled.target)
    digest, figures = digest_of(job, source), dict[Frame, FrameFigures]()
    if digest and digest == recalled.known.digest and sight.listing is None:  # once a day everything is looked at
        checked_source, results = check_again(source, recalled.known.results)
    else:
        figures |= figures_of(job, source, "source")
        checked_source, results = check_source(job, source, context, figures, recalled.figures)
    of_source = tuple(results)
    of_target: list[CheckResult] = []
    regained: list[Regained] = []

    def make_plan(sight: Sight) -> Plan:
        target = sight.snapshot
        checked_target, of_target[:] = check_target(job, target)
        regained[:] = regain(recalled.lost, job, recalled.links, target, facts.target)
        links = without_deleted(recalled.links, recalled.attempts, target, sight.looked)
        links = with_unsettled(with_regained(links, regained), recalled.attempts)
        plan = build_plan(job, checked_source, checked_target, links, facts, context, mapper=mapper)
        return withhold(plan, recalled.escrows, job, now=context.now, at_once=recalled.at_once)

    refused = {(one.kind, one.anchor) for one in recalled.escrows}
    plan, sight = make_sure(job, systems, facts, sight, make_plan, refused=refused, recalled=recalled)
    verdicts = find_out(job, plan, recalled, facts, sight, regained, now=context.now)
    results += of_target
    if sight.listing is not None:
        listed = figures_of(job, sight.listing, "target")
        results += check_listed(job, sight.listing, listed, recalled.figures)
        figures |= listed
    plan, of_plan = check_planned(job.checks.of(Frame.PLAN), plan)
    results += of_plan
    decision = judge(
        job,
        systems,
        plan,
        facts,
        recalled.history,
        sight=sight,
        source=source,
        results=results,
        regained=regained,
        pace=recalled.pace,
    )
    decision.verdicts = verdicts
    decision.figures = figures
    decision.unused = unused_names(job, plan, source, sight.snapshot)
    decision.known = Known(digest, of_source, marks_of(decision.findings, [*plan.doubts, decision.unused]))
    decision.told = recalled.known.told
    return decision


def find_out(
    job: Job,
    plan: Plan,
    recalled: Recalled,
    facts: Facts,
    sight: Sight,
    regained: Sequence[Regained],
    *,
    now: datetime,
) -> list[Verdict]:
    """How requests whose answers were lost have ended, by what the target shows now."""
    if not recalled.attempts:
        return []
    adopted = {
        (kind, str(anchor)): str(row.target_id)
        for kind, entries in plan.entries.items()
        for anchor, row in entries.settled.iterrows()
        if row.how != LINKED
    }
    return judge_attempts(
        recalled.attempts,
        job,
        recalled.links,
        sight.snapshot,
        facts.target,
        looked=sight.looked,
        regained=regained,
        wanted={(kind, anchor) for kind in Kind for anchor in created_anchors(plan.blocks, kind)},
        adopted=adopted,
        now=now,
    )


def judge(
    job: Job,
    systems: Systems,
    plan: Plan,
    facts: Facts,
    history: History,
    *,
    sight: Sight,
    source: Snapshot,
    results: Sequence[CheckResult] = (),
    regained: Sequence[Regained] = (),
    pace: float | None = None,
) -> Decision:
    """The plan after its guards, with what it was made from: every plan passes through here, whatever made it.

    ``pace``: requests a second in earlier loads. Raises: FatalError.
    """
    administrators = rosters(job, plan, sight.snapshot, switch=facts.traits.switch)
    protection = protection_of(
        job,
        sight.snapshot,
        own=facts.traits.signed_in or _own_account(systems.target, plan),
        unwritable=_unwritable(systems.target, plan),
    )
    checked = check_plan(plan, job.limits, history, administrators, protection)
    expected = forecast(sum(len(block) for block in checked.blocks), pace=pace, rate=job.load.rate)
    return Decision(
        checked=checked,
        results=[*results],
        sight=sight,
        source=source,
        regained=[*regained],
        forecast=expected,
    )


def _unwritable(target: Target, plan: Plan) -> dict[Kind, Mapping[str, str]]:
    """Of what the plan would change, the entries that the target lets nobody write, each with why."""
    if not isinstance(target, KnowsUnwritable):
        return {}
    ids: dict[Kind, dict[str, None]] = {kind: {} for kind in Kind}
    for block in plan.blocks:
        ids[block.kind] |= dict.fromkeys(block.table["target_id"].dropna())
    return {kind: target.unwritable(kind, list(some)) for kind, some in ids.items() if some}


def _own_account(target: Target, plan: Plan) -> str | None:
    """Id of the account that Provisor signs in with, of a target that says it when asked: where something is taken."""
    if not isinstance(target, KnowsItself) or not any(block.action in REMOVALS for block in plan.blocks):
        return None
    return target.signed_in_as()
