"""What a job is: one source-target pairing, the sections of one YAML file.

The models here are what every later stage reads; they can also be built in Python. ``tasks.job.file`` reads them from
YAML and finds the line of every problem. A job is frozen: a changed job is another job with another fingerprint.
"""

import hashlib
import json
import re
from datetime import timedelta
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from connectors.file_section import FileSection
from connectors.settings import Name
from tasks.job.checks import Checks
from tasks.job.clauses import Filter
from tasks.job.employment import Joiners, Leavers
from tasks.job.limits import Approval, EscrowRules, Limits, QuarantineRules
from tasks.job.problems import JobError as JobError
from tasks.job.problems import Problem as Problem
from tasks.job.problems import did_you_mean, finding
from tasks.job.schedule import Schedule
from tasks.job.section import Flag, Section, Text
from tasks.job.systems import (
    AttributesSection,
    PeopleSection,
    PeopleSource,
    SourceSection,
    TargetSection,
    compiles,
    prefix_problem,
)
from tasks.job.values import Duration, Rate

if TYPE_CHECKING:
    from connectors.contract import Kind

Constant: TypeAlias = Any
"""A value for a target as YAML gives it: text, number, boolean, list, dict of sub-attributes, or None."""


def _address(text: str) -> str:
    if "://" not in text and not text.startswith("${"):
        raise ValueError("An address has the form that Apprise uses, like mailto://ops@example.com.")
    return text


Address = Annotated[str, AfterValidator(_address)]


class AssignmentMode(StrEnum):
    """Who is looked at in the first place."""

    ALL = "all"
    ASSIGNED = "assigned"


class AssignmentTable(FileSection):
    """A file with one assignment a row: of a user or of a group, and perhaps with a role."""

    user: Name | None = None
    """Column with the anchor of the assigned user; empty if the row assigns a group."""
    group: Name | None = None
    """Column with the anchor or name of the group that is assigned; empty where the row assigns a user."""
    role: Name | None = None
    """Column with the role, if any. Mappings find a person's roles in [appRoleAssignments]."""

    @model_validator(mode="after")
    def _somebody_is_named(self) -> Self:
        if self.user is None and self.group is None:
            raise ValueError("Name the column that says who is assigned: user, group, or both.")
        return self

    @property
    def columns(self) -> dict[str, str]:
        """The file's columns by what they hold: user, group, role."""
        named = {"user": self.user, "group": self.group, "role": self.role}
        return {key: column for key, column in named.items() if column is not None}


class Assignment(Section):
    """Who is assigned to the app. Scoping filters apply on top.

    In mode assigned a group is provisioned when it is listed itself; its members are provisioned with it or without.
    """

    mode: AssignmentMode = AssignmentMode.ALL
    """``all``: everybody in the source; ``assigned``: only those listed here, and members of groups listed here."""
    users: tuple[Text, ...] = ()
    """Anchors of assigned users."""
    groups: tuple[Text, ...] = ()
    """Anchors or names of assigned groups."""
    nested: Flag = False
    """Whether groups nested in assigned groups, and their members, are assigned too."""
    table: AssignmentTable | None = None
    """A file that lists users and groups, instead of the job file or in addition; read in every cycle."""
    from_source: Flag = False
    """Whether the source itself provides assignments and roles, like ``entra`` with an ``app``."""

    @model_validator(mode="after")
    def _lists_fit_mode(self) -> Self:
        listed = bool(self.users or self.groups or self.table or self.from_source)
        if self.mode is AssignmentMode.ASSIGNED and not listed:
            raise finding("mode", "Nobody is assigned: list users or groups, name a table, or write mode: all.")
        if self.mode is AssignmentMode.ALL and listed:
            raise finding("mode", "Users or groups are listed, but the mode is all: write mode: assigned.")
        if self.from_source and self.table is not None:
            raise finding("table", "Both the source and a table say who is assigned: remove one of them.")
        return self


class MatchingRule(Section):
    """One way to recognise an account that is already there; rules are tried in order until one finds something."""

    source: Text
    """Expression over the source's attributes."""
    target: Text
    """Attribute path of the target that must equal it."""


class Apply(StrEnum):
    """When a mapping is written."""

    ALWAYS = "always"
    ON_CREATE = "on_create"
    ADD_ONLY = "add_only"


def _long_form(value: object) -> object:
    """A mapping as an object: text is an expression, a number or a boolean is a constant."""
    match value:
        case bool() | int() | float():
            return {"constant": value}
        case str():
            return {"expression": value}
        case [str() as name]:
            raise ValueError(f'YAML reads square brackets as a list: put it in quotes: "[{name}]".')
        case None:
            raise ValueError('Empty: write an expression like "[mail]", or an object like {constant: Berlin}.')
        case list():
            raise ValueError('YAML reads this as a list; an expression with square brackets goes in quotes: "[mail]".')
        case _:
            return value


class AttributeMapping(Section):
    """The value of one target attribute: an expression, a constant, a reference, or only a default."""

    expression: Text | None = None
    """Expression over the source's attributes: ``[mail]``, ``ToLower([mail])``."""
    constant: Constant | None = None
    """One value for everybody."""
    reference: Text | None = None
    """Expression that returns the anchor of another entry, like ``[manager]``; the target id of that entry is
    written."""
    default: Constant | None = None
    """Written on create where the source gives null; where nothing else is given, whenever the target is empty."""
    apply: Apply = Apply.ALWAYS
    """``always``; ``on_create`` only when the account is created; ``add_only`` adds values and never removes any."""
    clear: Flag = False
    """What null from the source means: true clears the target's value, false leaves it alone."""
    exact_case: Flag | None = None
    """Whether a difference in upper and lower case alone is written: ``true`` always, ``false`` never; without it when
    the source has changed, and never because the target spells the same value otherwise."""
    redact: Flag = False
    """Whether values of this attribute are hidden everywhere except on the wire."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [key for key in ("expression", "constant", "reference") if getattr(self, key) is not None]
        if len(given) > 1:
            raise finding(given[1], f"A value has one origin: {' and '.join(given)} exclude each other.")
        if not given and self.default is None:
            raise ValueError("Says no value: give expression, constant or reference, or at least a default.")
        return self


ShortMapping = Annotated[
    AttributeMapping, BeforeValidator(_long_form, json_schema_input_type=str | bool | int | float | AttributeMapping)
]


class Actions(Section):
    """Which kinds of change may be made."""

    create: Flag = True
    """Whether accounts may be created."""
    update: Flag = True
    """Whether accounts may be updated, disabled and enabled."""
    delete: Flag = True
    """Whether accounts may be deleted."""
    swap: Flag = False
    """Whether one of several entries that swap their names gets another name for the time between."""


class EntryRules(Section):
    """Which entries of one kind are provisioned, how accounts are recognised, and what is written."""

    scope: Filter = ()
    """Groups of clauses: an entry is in scope if all clauses of one group are true. Without groups, everybody is."""
    matching: Annotated[tuple[MatchingRule, ...], Field(min_length=1)]
    """How an account that is already there is recognised, in order of precedence."""
    attributes: Annotated[dict[Text, ShortMapping], Field(min_length=1)]
    """Attribute path of the target to its mapping: an expression in quotes, or an object with options."""
    actions: Actions = Actions()
    """Which kinds of change may be made to entries of this kind."""


class Members(StrEnum):
    """Who decides who is in a group of the target."""

    AUTHORITATIVE = "authoritative"
    ADDITIVE = "additive"


class Nested(StrEnum):
    """What becomes of groups that are members of groups."""

    KEEP = "keep"
    FLATTEN = "flatten"


class GroupRules(EntryRules):
    """Which groups are provisioned, and how."""

    members: Members = Members.AUTHORITATIVE
    """``authoritative``: members the source does not have are removed; ``additive``: members are only added."""
    nested: Nested = Nested.KEEP
    """Nested groups: ``keep`` them as members, or ``flatten`` them into their users."""


class Removal(StrEnum):
    """What happens to the account of somebody who must no longer have one."""

    DISABLE = "disable"
    DELETE = "delete"
    KEEP = "keep"


class Deprovision(Section):
    """What happens to the accounts of leavers, by how they left."""

    unassigned: Removal = Removal.DISABLE
    """No longer assigned."""
    out_of_scope: Removal = Removal.DISABLE
    """No longer in scope of the filters."""
    disabled: Removal = Removal.DISABLE
    """Disabled or soft-deleted in the source."""
    deleted: Removal = Removal.DISABLE
    """No longer in the source."""
    delete_after: Duration | None = None
    """How long after being disabled an account is deleted, however its owner left. Without it, never."""


class Workers(StrEnum):
    """Who sends the batches of a large load."""

    THREADS = "threads"
    DASK = "dask"


class Load(Section):
    """How fast the target is loaded."""

    batch_size: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    """Changes per load task. Without it, as many as the target completes in a few seconds."""
    concurrency: Annotated[int, Field(strict=True, ge=1, le=1000)] = 32
    """Maximum number of requests in flight."""
    members: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 100
    """Maximum number of members added or removed per request; fewer if the target accepts fewer."""
    rate: Rate = None
    """Maximum request rate, as ``200/s`` or ``600/min``. Without it, only the target sets the limit."""
    workers: Workers = Workers.THREADS
    """What sends the batches of a large load: ``threads`` of the run, or two processes on this machine with
    ``dask``."""

    @field_validator("workers")
    @classmethod
    def _workers_are_there(cls, workers: Workers) -> Workers:
        if workers is Workers.DASK and find_spec("prefect_dask") is None:
            raise ValueError(
                "The package prefect-dask is not installed here. Install it (pip install -c constraints.txt -e "
                "'.[dask]'), or leave workers out."
            )
        return workers


class Drift(StrEnum):
    """What happens to attributes that others have changed in the target."""

    REPORT = "report"
    CORRECT = "correct"


class Vanished(StrEnum):
    """What happens when others have deleted an account in the target."""

    RECREATE = "recreate"
    LEAVE = "leave"


class Reconcile(StrEnum):
    """How often a cycle compares with the real target instead of with what Provisor remembers."""

    NEVER = "never"
    DAILY = "daily"
    EVERY_CYCLE = "every_cycle"


_LOG_AT_LEAST = timedelta(days=7)
"""How long guards look back: what was taken away in the last week is counted from the log."""


class LogRules(Section):
    """Retention of the provisioning log."""

    keep: Duration | None = None
    """How long lines are kept, at least ``7d``. Without it for ever, because the log proves who had access."""
    quiet_cycles: Duration = timedelta(days=30)
    """How long to keep cycles that did nothing and left nothing in the log."""

    @model_validator(mode="after")
    def _guards_can_count(self) -> Self:
        if self.keep is not None and self.keep < _LOG_AT_LEAST:
            raise finding("keep", "The guards count the removals of the last seven days in the log: keep 7d or more.")
        return self


class History(Section):
    """What is kept of what cycles wanted the target to be, for ``provisor diff`` and ``provisor history``."""

    snapshots: Annotated[int, Field(strict=True, ge=0, le=1000)] = 20
    """How many different desired states are kept; the oldest is dropped first. 0 keeps none."""


_DECIDING = {
    "source",
    "sources",
    "enrich",
    "precedence",
    "same_person",
    "target",
    "assignment",
    "users",
    "groups",
    "deprovision",
}
"""Sections that decide who gets what: when one changes, everybody must be evaluated again."""


class Job(Section):
    """One source-target pairing: who gets an account in the target, and what is written to it."""

    name: str
    """Name of the job in the ledger, in logs and in the UI; a renamed job starts with nothing."""
    source: SourceSection | None = None
    """The system that says who there is; ``sources`` where there are several."""
    sources: tuple[PeopleSection, ...] = ()
    """Several systems that together provide the population, most trusted first."""
    enrich: tuple[AttributesSection, ...] = ()
    """Sources of additional attributes for these people: a directory with mail addresses, a phone list."""
    precedence: dict[Text, tuple[Text, ...]] = Field(default_factory=dict)
    """For an attribute that several sources give: their names, the most trusted first. The first that has a value
    counts, and sources that are not named do not give it."""
    same_person: Text | None = None
    """Expression over the attributes of people that is equal for the entries of one person in several ``sources``, like
    ``ToLower([mail])``; without it every entry is a person."""
    target: TargetSection
    """The system whose accounts are kept in step."""
    assignment: Assignment = Assignment()
    """Who is assigned to the app."""
    users: EntryRules
    """Which users are provisioned, and how."""
    groups: GroupRules | None = None
    """Which groups are provisioned, and how. Without it, no groups."""
    joiners: Joiners | None = None
    """When accounts of people who are in the source already are made; at once where this is left out."""
    leavers: Leavers | None = None
    """When accounts of people who are still in the source are switched off: at a date and hour that it names."""
    deprovision: Deprovision = Deprovision()
    """What happens to the accounts of people who leave."""
    limits: Limits = Limits()
    """How much may be taken away before a person is asked."""
    approval: Approval = Approval()
    """Who decides on held changes, and how long a run waits for the decision."""
    escrow: EscrowRules = EscrowRules()
    """When failed entries are retried."""
    quarantine: QuarantineRules = QuarantineRules()
    """When so much has failed that the whole job is tried less often."""
    protect: tuple[Text, ...] = ()
    """Accounts of the target, by anchor, id or matching attribute, that are never disabled or deleted. The account that
    Provisor signs in with is one of them by itself where the target can say which it is; elsewhere, list it here."""
    checks: Checks = Checks()
    """Data checks of both sides and of the plan: Great Expectations by frame, and built-in checks."""
    load: Load = Load()
    """Size of batches, and how hard the target is driven."""
    reconcile: Reconcile = Reconcile.DAILY
    """How often a cycle compares with the real target; in between it works with the target as last known."""
    drift: Drift = Drift.REPORT
    """What others have changed in the target: only ``report`` it, or ``correct`` it. People who must not have access
    lose it either way."""
    vanished: Vanished = Vanished.RECREATE
    """An account that others have deleted in the target: ``recreate`` it or adopt one that matches; or ``leave`` it."""
    log: LogRules = LogRules()
    """How long the provisioning log is kept."""
    history: History = History()
    """How many desired states of the target are kept."""
    schedule: Schedule | None = None
    """When cycles start by themselves; only by hand where this is left out."""
    notify: tuple[Address, ...] = ()
    """Apprise addresses that are told about what needs a person, like ``mailto://ops@example.com``."""
    file: SkipJsonSchema[Path] = Field(default=Path("job.yaml"), exclude=True)
    """Where the job was loaded from."""
    warnings: SkipJsonSchema[tuple[Problem, ...]] = Field(default=(), exclude=True)
    """What in the file is probably not meant, although it can be carried out."""

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
            raise ValueError("Use letters, digits, dots, hyphens and underscores, 80 at most: hr-to-scim.")
        return name

    @field_validator("same_person")
    @classmethod
    def _same_person_is_an_expression(cls, text: str | None) -> str | None:
        return None if text is None else compiles(text)

    @model_validator(mode="after")
    def _sources_fit_together(self) -> Self:
        if self.source is None and not self.sources:
            raise finding(
                "source", "Name the system that says who there is: source, or sources where there are several."
            )
        if self.source is not None and self.sources:
            raise finding("sources", "The job has source as well: put all of them under sources, each with a name.")
        if (problem := prefix_problem(self.sources)) is not None:
            raise finding("sources", problem)
        names = [one.name for one in (*self.people, *self.enrich)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise finding(
                "enrich" if twice in {one.name for one in self.enrich} else "sources", f"Two are called {twice}."
            )
        if self.same_person is not None and len(self.sources) < 2:
            raise finding("same_person", "same_person needs several sources, and the job has one.")
        for attribute, order in self.precedence.items():
            for name in order:
                if name not in names:
                    raise finding("precedence", f"{attribute}: no source is called {name}.{did_you_mean(name, names)}")
            if len(set(order)) < len(order):
                raise finding("precedence", f"{attribute}: a source is named twice.")
        return self

    @property
    def people(self) -> tuple[PeopleSource, ...]:
        """The sources whose people make up the population; a single ``source`` is called source, without a prefix."""
        if self.source is None:
            return self.sources
        return (PeopleSource(name="source", connector=self.source.connector, settings=self.source.settings),)

    @model_validator(mode="after")
    def _waits_for_others(self) -> Self:
        if self.name in self.after:
            raise finding(
                "schedule", f"The job {self.name} cannot run after itself: name the job that comes before it."
            )
        return self

    @property
    def after(self) -> tuple[str, ...]:
        """Names of the jobs after which it runs."""
        return () if self.schedule is None else self.schedule.after

    @model_validator(mode="after")
    def _guarded_groups_are_read(self) -> Self:
        if self.limits.administrators.groups and self.groups is None:
            raise finding("limits", "The groups of administrators are not read: the job needs a section groups.")
        return self

    @property
    def rules(self) -> "dict[Kind, EntryRules]":
        """The rules of each kind that the job provisions; users come first."""
        from connectors.contract import Kind  # here: a job is described without pandas

        return {Kind.USER: self.users} | ({} if self.groups is None else {Kind.GROUP: self.groups})

    @property
    def folder(self) -> Path:
        """The job file's folder, from which relative paths in settings are looked up."""
        return self.file.parent

    def fingerprint(self) -> str:
        """SHA-256 (hex) over what decides who gets what; credentials count as references, never as values.

        Equal for job files that mean the same, whatever their order of keys and their comments; options at their
        default do not count, so that a new version with a new option does not force an initial cycle.
        """
        deciding = self.model_dump(mode="json", include=_DECIDING, exclude_defaults=True)
        return hashlib.sha256(json.dumps(deciding, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
