"""What a job is, and how it is read: one source-target pairing, one YAML file.

``models`` are the sections that every later stage reads (``clauses`` of scoping filters, ``limits`` and ``checks`` have
modules of their own); ``file`` reads them from YAML (``yaml``) and finds the line of every problem (``problems``);
``schema`` is for editors.
"""

from pathlib import Path
from typing import Any

from tasks.job.checks import BuiltinChecks, Check, Checked, Checks, OnFailure, Reaction, Swing
from tasks.job.clauses import Case, Clause, MultiValued, Operator
from tasks.job.limits import (
    Administrators,
    Approval,
    Budget,
    EscrowRules,
    Limit,
    Limits,
    MembershipLimits,
    QuarantineRules,
    SourceLimit,
)
from tasks.job.models import (
    Actions,
    Apply,
    Assignment,
    AssignmentMode,
    AssignmentTable,
    AttributeMapping,
    Deprovision,
    Drift,
    EntryRules,
    GroupRules,
    Job,
    Load,
    LogRules,
    MatchingRule,
    Members,
    Nested,
    Reconcile,
    Removal,
    Vanished,
    Workers,
)
from tasks.job.problems import JobError, Problem, Severity
from tasks.job.schedule import Blackout, Schedule
from tasks.job.systems import AttributeSource, Join, PeopleSource, SystemSection

__all__ = [
    "Actions",
    "Administrators",
    "Apply",
    "Approval",
    "Assignment",
    "AssignmentMode",
    "AssignmentTable",
    "AttributeMapping",
    "AttributeSource",
    "Blackout",
    "Budget",
    "BuiltinChecks",
    "Case",
    "Check",
    "Checked",
    "Checks",
    "Clause",
    "Deprovision",
    "Drift",
    "EntryRules",
    "EscrowRules",
    "GroupRules",
    "Job",
    "JobError",
    "Join",
    "Limit",
    "Limits",
    "Load",
    "LogRules",
    "MatchingRule",
    "Members",
    "MembershipLimits",
    "MultiValued",
    "Nested",
    "OnFailure",
    "Operator",
    "PeopleSource",
    "Problem",
    "QuarantineRules",
    "Reaction",
    "Reconcile",
    "Removal",
    "Schedule",
    "Severity",
    "SourceLimit",
    "Swing",
    "SystemSection",
    "Vanished",
    "Workers",
    "job_schema",
    "load_job",
]


def load_job(path: Path) -> Job:
    """The job in a YAML file. Raises: JobError with every problem of the file and its line."""
    from tasks.job.file import read_job_file  # here: a stage that is handed a job needs no YAML

    return read_job_file(path)


def job_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the job file, with the settings of every connector that is installed."""
    from tasks.job.schema import build_schema

    return build_schema()
