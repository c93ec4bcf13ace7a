"""What a cycle would do, worked out without doing it: the same stages as ``flows.provision``, without loading.

Nothing is written anywhere, and no orchestrator is needed: this is ``provisor plan`` and the numbers of ``check``.
"""

from collections.abc import Callable
from dataclasses import dataclass

from connectors.contract import Snapshot
from flows.systems import Recalled, Systems, recall
from tasks.agreement import check_agreement
from tasks.checks import Checked, check_plan, refuse_empty
from tasks.expectations import Finding, check_snapshots
from tasks.expressions import Context
from tasks.extract import Facts, read_source, read_target, survey
from tasks.job import Job
from tasks.ledger import Ledger
from tasks.plan import build_plan

Progress = Callable[[str, int], None]
"""Told what is being read and how many entries of it have been."""


@dataclass(slots=True)
class Decision:
    """Everything known before the first write: the plan after its guards, and the checks that did not hold.

    A plain slotted class on purpose: an orchestrator that walks parameters leaves it alone.
    """

    checked: Checked
    findings: list[Finding]


def preview(
    job: Job, systems: Systems, ledger: Ledger, context: Context, *, progress: Progress | None = None
) -> Decision:
    """What a cycle that starts now would do. Raises: FatalError, JobError."""

    def reading(what: str) -> Callable[[int], None] | None:
        return None if progress is None else lambda count: progress(what, count)

    facts = survey(systems.source, systems.target)
    check_agreement(job, facts)
    source = read_source(job, systems.source, facts, progress=reading("source"))
    refuse_empty(source)
    target = read_target(job, systems.target, facts, progress=reading("target"))
    return decide(job, source, target, recall(ledger, job, context.now), facts, context)


def decide(
    job: Job, source: Snapshot, target: Snapshot, recalled: Recalled, facts: Facts, context: Context
) -> Decision:
    """Data checks, then scope, mapping, matching and plan (``tasks.plan.build_plan``), then guards. Writes nothing.

    Raises: CheckFailedError.
    """
    source, target, findings = check_snapshots(job, source, target)
    plan = build_plan(job, source, target, recalled.links, facts, context)
    return Decision(checked=check_plan(plan, job.limits, recalled.history), findings=findings)
