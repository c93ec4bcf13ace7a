"""What a job is: one source-target pairing, the sections of one YAML file.

The models here are what every later stage reads; they can also be built in Python. ``tasks.job.file`` reads them from
YAML and finds the line of every problem. A job is frozen: a changed job is another job with another fingerprint.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from connectors.errors import SettingsError
from connectors.file_section import FileSection
from connectors.settings import Name, Settings
from tasks.job.problems import JobError as JobError
from tasks.job.problems import Problem as Problem
from tasks.job.problems import finding
from tasks.job.values import (
    Duration,
    Rate,
    cron_problem,
    expectation_problem,
    is_moment,
    regex_problem,
    time_zone_problem,
)

if TYPE_CHECKING:
    from connectors.contract import Kind

Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(min_length=1)]
Constant: TypeAlias = Any
"""A value for a target as YAML gives it: text, number, boolean, list, dict of sub-attributes, or None."""


def _address(text: str) -> str:
    if "://" not in text and not text.startswith("${"):
        raise ValueError("An address has the form that Apprise uses, like mailto://ops@example.com.")
    return text


Address = Annotated[str, AfterValidator(_address)]


class Section(BaseModel):
    """Base of the sections: unknown keys are refused, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SystemSection(Section):
    """One of the two systems of a job: which connector speaks to it, and that connector's settings beside it."""

    connector: str
    """Name of the connector; ``provisor connectors`` lists them."""
    settings: SerializeAsAny[Settings]
    """What the connector needs to know; in YAML these keys lie beside ``connector``."""


Side: TypeAlias = Literal["source", "target"]


def settings_class(connector: str, side: Side) -> type[Settings]:
    """The settings that a connector takes on one side of a job.

    Raises: SettingsError when there is no such connector, or when it cannot be on that side.
    """
    from connectors.registry import find

    found = find(connector)
    settings = found.source_settings if side == "source" else found.target_settings
    if settings is None:
        raise SettingsError(f"The connector {connector} cannot be a {side}.")
    return settings


def _system_section(value: object, side: Side) -> object:
    """YAML's keys beside ``connector`` become ``settings``, validated by the connector itself."""
    if not isinstance(value, Mapping) or isinstance(value.get("settings"), Settings):
        return value
    name = value.get("connector")
    if not isinstance(name, str):
        raise finding("connector", "Name the connector, like csv, sql or scim; `provisor connectors` lists them.")
    try:
        settings = settings_class(name, side)
    except SettingsError as error:
        raise finding("connector", str(error)) from None
    return {
        "connector": name,
        "settings": settings.model_validate({key: item for key, item in value.items() if key != "connector"}),
    }


class Operator(StrEnum):
    """How a clause compares. In a job file case does not matter, and underscores may be blanks.

    Source: Microsoft Entra, "Scoping users or groups to be provisioned with scoping filters", table of operators; from
    LESS_THAN on they are Provisor's own.
    """

    EQUALS = "EQUALS"
    NOT_EQUALS = "NOT EQUALS"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"
    IS_TRUE = "IS TRUE"
    IS_FALSE = "IS FALSE"
    REGEX_MATCH = "REGEX MATCH"
    NOT_REGEX_MATCH = "NOT REGEX MATCH"
    GREATER_THAN = "Greater_Than"
    GREATER_THAN_OR_EQUALS = "Greater_Than_OR_EQUALS"
    INCLUDES = "Includes"
    ENDS_WITH = "ENDS_WITH"
    BITS = "&"
    NOT_BITS = "!&"
    LESS_THAN = "LESS_THAN"
    LESS_THAN_OR_EQUALS = "LESS_THAN_OR_EQUALS"
    IN = "IN"
    STARTS_WITH = "STARTS_WITH"
    MEMBER_OF = "MEMBER_OF"
    BEFORE = "BEFORE"
    AFTER = "AFTER"


_UNARY = frozenset({Operator.IS_NULL, Operator.IS_NOT_NULL, Operator.IS_TRUE, Operator.IS_FALSE})
_NUMERIC = frozenset(
    {
        Operator.GREATER_THAN,
        Operator.GREATER_THAN_OR_EQUALS,
        Operator.LESS_THAN,
        Operator.LESS_THAN_OR_EQUALS,
        Operator.BITS,
        Operator.NOT_BITS,
    }
)
_LISTS = frozenset({Operator.IN, Operator.MEMBER_OF})
REGEXES = frozenset({Operator.REGEX_MATCH, Operator.NOT_REGEX_MATCH})
_MOMENTS = frozenset({Operator.BEFORE, Operator.AFTER})


def _operator(value: object) -> object:
    if not isinstance(value, str):
        return value
    plain = {re.sub(r"[\s_]+", " ", known.value).casefold(): known for known in Operator}
    return plain.get(re.sub(r"[\s_]+", " ", value.strip()).casefold(), value)


class Case(StrEnum):
    """Whether upper and lower case make a difference."""

    EXACT = "exact"
    IGNORE = "ignore"


class MultiValued(StrEnum):
    """How many values of a multi-valued attribute must make a clause true."""

    ANY = "any"
    ALL = "all"


def _clause_value(value: object) -> object:
    match value:
        case bool():
            raise ValueError("To test for true or false use the operator IS TRUE or IS FALSE, which takes no value.")
        case float():
            raise ValueError("Must be text or a whole number: put it in quotes.")
        case None | str() | int():
            return value
        case list() | tuple():
            if not value or not all(isinstance(item, str | int) and not isinstance(item, bool) for item in value):
                raise ValueError("A list of values must hold text or whole numbers, and at least one.")
            return tuple(value)
        case _:
            raise ValueError("Must be text, a whole number, or a list of those.")


class Clause(Section):
    """One condition on one attribute of the source. On an attribute that is null every clause but IS NULL is false."""

    attribute: Text
    """Attribute of the source."""
    operator: Annotated[Operator, BeforeValidator(_operator)]
    """How the attribute is compared with the value."""
    value: Annotated[
        str | int | tuple[str | int, ...] | None,
        BeforeValidator(_clause_value),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": ["string", "integer", "null"]},
                    {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
                ]
            }
        ),
    ] = None
    """What to compare with: none for IS NULL, IS NOT NULL, IS TRUE and IS FALSE, a list for IN and MEMBER_OF."""
    case: Case = Case.EXACT
    """Whether the value must be spelled with the same upper and lower case."""
    multi: MultiValued = MultiValued.ALL
    """How many values of a multi-valued attribute must make the clause true."""

    @model_validator(mode="after")
    def _value_fits_operator(self) -> Self:
        if problem := _value_problem(self.operator, self.value):
            raise finding("value", problem)
        return self


def _value_problem(operator: Operator, value: str | int | tuple[str | int, ...] | None) -> str | None:
    """Why an operator cannot be used with a value."""
    if operator in _UNARY:
        return None if value is None else f"{operator} takes no value: leave it out."
    if value is None:
        return f"{operator} needs a value."
    if isinstance(value, tuple):
        return None if operator in _LISTS else f"{operator} takes one value; for a list use IN."
    if operator in _NUMERIC and (not isinstance(value, int) or value < 0):
        return f"{operator} compares whole numbers: the value must be a whole number, 0 or more."
    if operator in REGEXES:
        return regex_problem(str(value))
    if operator in _MOMENTS and not is_moment(str(value)):
        return f"{operator} needs a date like 2026-01-31, or an offset from now like now-30d or now+12h."
    return None


class AssignmentMode(StrEnum):
    """Who is looked at in the first place."""

    ALL = "all"
    ASSIGNED = "assigned"


class AssignmentTable(FileSection):
    """A file with one assignment a row: of a user or of a group, and perhaps with a role."""

    user: Name | None = None
    """Column with the anchor of the user who is assigned; empty where the row assigns a group."""
    group: Name | None = None
    """Column with the anchor or name of the group that is assigned; empty where the row assigns a user."""
    role: Name | None = None
    """Column with the role that the row gives, if any; mappings find a person's roles in [appRoleAssignments]."""

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
    """Whom the app is assigned to. Scoping filters apply on top.

    In mode assigned a group is provisioned when it is listed itself; its members are provisioned with it or without.
    """

    mode: AssignmentMode = AssignmentMode.ALL
    """``all``: everybody in the source; ``assigned``: only those listed here, and members of groups listed here."""
    users: tuple[Text, ...] = ()
    """Anchors of assigned users."""
    groups: tuple[Text, ...] = ()
    """Anchors or names of assigned groups."""
    nested: Flag = False
    """Whether groups inside assigned groups, and their members, are assigned too."""
    table: AssignmentTable | None = None
    """A file that lists users and groups, instead of the job file or besides it; read anew in every cycle."""

    @model_validator(mode="after")
    def _lists_fit_mode(self) -> Self:
        listed = bool(self.users or self.groups or self.table)
        if self.mode is AssignmentMode.ASSIGNED and not listed:
            raise finding("mode", "Nobody is assigned: list users or groups, name a table, or write mode: all.")
        if self.mode is AssignmentMode.ALL and listed:
            raise finding("mode", "Users or groups are listed, but the mode is all: write mode: assigned.")
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
    """Where the value of one target attribute comes from: an expression, a constant, a reference, or only a default."""

    expression: Text | None = None
    """Expression over the source's attributes: ``[mail]``, ``ToLower([mail])``."""
    constant: Constant | None = None
    """One value for everybody."""
    reference: Text | None = None
    """Expression that yields the anchor of another entry, like ``[manager]``; its target id is what is written."""
    default: Constant | None = None
    """Written on create where the source gives null; where nothing else is given, whenever the target is empty."""
    apply: Apply = Apply.ALWAYS
    """``always``; ``on_create`` only when the account is created; ``add_only`` adds values and never takes one away."""
    clear: Flag = False
    """What null from the source means: true clears the target's value, false leaves it alone."""
    exact_case: Flag = False
    """Whether a difference in upper and lower case alone is a change worth writing."""
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


def _groups_of_clauses(value: object) -> object:
    if isinstance(value, Mapping):
        raise ValueError("The filter is a list of groups, and a group is a list of clauses: put - [ ] around it.")
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        raise ValueError("A group of clauses is a list too: put [ ] around clauses that must be true together.")
    return value


ClauseGroup = Annotated[tuple[Clause, ...], Field(min_length=1)]


class EntryRules(Section):
    """Who of one kind is provisioned, how accounts are recognised, and what is written."""

    scope: Annotated[tuple[ClauseGroup, ...], BeforeValidator(_groups_of_clauses)] = ()
    """Groups of clauses: an entry is in scope when all clauses of one group are true. Without groups everybody is."""
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
    """Groups inside groups: ``keep`` them as members, or ``flatten``: their users are members instead."""


class Removal(StrEnum):
    """What happens to the account of somebody who must no longer have one."""

    DISABLE = "disable"
    DELETE = "delete"
    KEEP = "keep"


class Deprovision(Section):
    """What happens to the accounts of people who leave, by the way in which they left."""

    unassigned: Removal = Removal.DISABLE
    """No longer assigned."""
    out_of_scope: Removal = Removal.DISABLE
    """No longer in scope of the filters."""
    disabled: Removal = Removal.DISABLE
    """Disabled or soft-deleted in the source."""
    deleted: Removal = Removal.DISABLE
    """No longer in the source at all."""
    delete_after: Duration | None = None
    """How long after it was disabled an account is deleted; never where this is left out."""


class Limit(Section):
    """How much one cycle may do before a person is asked: more than ``count``, or more than ``fraction`` of all."""

    count: Annotated[int, Field(strict=True, ge=0)] | None = 500
    """So many at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.1
    """So many at most, of what there is: 0 to 1."""
    minimum: Annotated[int, Field(strict=True, ge=0)] = 20
    """Population from which on the fraction is looked at."""


class SourceLimit(Limit):
    """How much smaller the source may be than it was, before nothing is concluded from anybody's absence."""

    count: Annotated[int, Field(strict=True, ge=0)] | None = None
    """So many users fewer at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.2
    """So many users fewer at most, of those there were: 0 to 1."""


class UpdatesLimit(Limit):
    """How many entries of one kind a cycle may change, unless the job itself has changed.

    The default lets anything through in small jobs, in the first cycle and in the one after a change of the job, which
    rewrite many on purpose; in all others it stops at half of the accounts, which no ordinary day changes.
    """

    count: Annotated[int, Field(strict=True, ge=0)] | None = None
    """So many at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.5
    """So many at most, of the accounts there are: 0 to 1."""
    minimum: Annotated[int, Field(strict=True, ge=0)] = 100
    """Population from which on the fraction is looked at."""


class DayLimit(Limit):
    """Removals within 24 hours."""

    count: Annotated[int, Field(strict=True, ge=0)] | None = 1000
    """So many at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.2
    """So many at most, of what there was at their beginning: 0 to 1."""


class WeekLimit(Limit):
    """Removals within seven days."""

    count: Annotated[int, Field(strict=True, ge=0)] | None = 2500
    """So many at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.3
    """So many at most, of what there was at their beginning: 0 to 1."""


class Budget(Section):
    """Accounts disabled and deleted over time, whatever number of cycles it takes; approved ones do not count."""

    per_day: DayLimit = DayLimit()
    """In the last 24 hours, this cycle included."""
    per_week: WeekLimit = WeekLimit()
    """In the last seven days, this cycle included."""


class Administrators(Section):
    """Groups of the target in which somebody must be left."""

    groups: tuple[Text, ...] = ()
    """Groups by anchor, id in the target, or name."""
    minimum: Annotated[int, Field(strict=True, ge=1)] = 1
    """Active members that each of them keeps."""


class Limits(Section):
    """Guards: what exceeds one of these is held until a person has approved or rejected it; the rest goes on."""

    removals: Limit = Limit()
    """Accounts disabled and deleted by one cycle: users, groups, and both together."""
    members: Limit = Limit()
    """Members removed from one group by one cycle."""
    attribute: Limit = Limit()
    """Entries of one kind for which one cycle clears one attribute."""
    updates: UpdatesLimit = UpdatesLimit()
    """Entries of one kind that one cycle changes."""
    budget: Budget = Budget()
    """Accounts disabled and deleted over several cycles."""
    source: SourceLimit = SourceLimit()
    """Users missing in the source, compared with the last cycle that read it completely and did not doubt it."""
    administrators: Administrators = Administrators()
    """Groups that keep an active member, whatever the source says."""


class EscrowRules(Section):
    """When an entry that failed is tried again: in the next cycle, then with gaps that double."""

    first_gap: Duration = timedelta(minutes=40)
    """Time to wait after the second failure; twice as long after each further one."""
    longest_gap: Duration = timedelta(hours=24)
    """No gap grows beyond this."""
    give_up_after: Duration = timedelta(days=28)
    """How long after its first failure an entry is tried; from then on only when it changes, or when told to."""


class QuarantineRules(Section):
    """When a job has failed so much that it is tried less and less often. Failures are counted per cycle."""

    floor: Annotated[int, Field(strict=True, ge=1)] = 5_000
    """Failures below which neither proportion nor totals are looked at."""
    proportion: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.4
    """Failed share of everything tried, 0 to 1, references left out: more than this is too much."""
    failures: Annotated[int, Field(strict=True, ge=0)] = 40_000
    """Failures, references left out: more than this is too much, whatever else went well."""
    total: Annotated[int, Field(strict=True, ge=0)] = 60_000
    """Failures with references (managers, members): more than this is too much."""
    all_of: Annotated[int, Field(strict=True, ge=1)] = 20
    """For small jobs: at least so many were tried for the first time, and every single one failed."""
    stops: Annotated[int, Field(strict=True, ge=1)] = 12
    """Cycles in a row that could not be carried out at all, because a system did not answer, for example."""
    give_up_after: Duration = timedelta(days=28)
    """How long a job is tried in quarantine; from then on only a person starts it again."""


class OnFailure(StrEnum):
    """What happens when a check does not hold."""

    STOP = "stop"
    HOLD_ROWS = "hold_rows"
    WARN = "warn"


class Check(Section):
    """One Great Expectations expectation on a frame."""

    expectation: str
    """Its name: ``expect_column_values_to_be_unique``."""
    arguments: dict[str, Any] = {}
    """Its arguments by name."""
    on_failure: OnFailure = OnFailure.STOP
    """``stop`` the cycle, ``hold_rows`` that fail and go on with the others, or only ``warn``."""

    @field_validator("expectation")
    @classmethod
    def _expectation_exists(cls, name: str) -> str:
        if problem := expectation_problem(name):
            raise ValueError(problem)
        return name

    @model_validator(mode="after")
    def _rows_can_be_held(self) -> Self:
        if self.on_failure is OnFailure.HOLD_ROWS and self.expectation.startswith("expect_table_"):
            raise finding("on_failure", f"{self.expectation} names no rows that could be held: write stop or warn.")
        return self


def _check_item(value: object) -> object:
    """``{expect_...: {...}, on_failure: ...}`` as name, arguments and what to do."""
    if isinstance(value, Check) or (isinstance(value, Mapping) and "expectation" in value):
        return value
    names = [key for key in value if key != "on_failure"] if isinstance(value, Mapping) else []
    if not isinstance(value, Mapping) or len(names) != 1:
        raise ValueError("A check is one expectation and on_failure: {expect_...: {column: ...}, on_failure: stop}.")
    arguments = value[names[0]]
    if arguments is not None and not isinstance(arguments, Mapping):
        raise finding(str(names[0]), "The arguments of an expectation are given by name: {column: mail}.")
    return {"expectation": names[0], "arguments": arguments or {}} | {
        key: item for key, item in value.items() if key == "on_failure"
    }


CheckItem = Annotated[
    Check,
    BeforeValidator(_check_item),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"on_failure": {"enum": [str(choice) for choice in OnFailure], "default": "stop"}},
            "patternProperties": {"^expect_": {"type": ["object", "null"]}},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 2,
        }
    ),
]


class Checked(StrEnum):
    """Frames that checks can look at."""

    SOURCE_USERS = "source.users"
    SOURCE_GROUPS = "source.groups"
    SOURCE_MEMBERS = "source.members"
    TARGET_USERS = "target.users"
    TARGET_GROUPS = "target.groups"
    TARGET_MEMBERS = "target.members"
    PLAN = "plan"


class Load(Section):
    """How hard the target is driven."""

    batch_size: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 500
    """Changes in one load task."""
    concurrency: Annotated[int, Field(strict=True, ge=1, le=1000)] = 32
    """Requests in flight at most."""
    members: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 100
    """Members that are added or removed by one request, at most; fewer where the target takes fewer."""
    rate: Rate = None
    """Requests at most, as ``200/s`` or ``600/min``; without it only the target itself is the limit."""


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
    """What becomes of the provisioning log."""

    keep: Duration | None = None
    """How long lines are kept, at least ``7d``; without it for ever, because the log is what proves who had access."""

    @model_validator(mode="after")
    def _guards_can_count(self) -> Self:
        if self.keep is not None and self.keep < _LOG_AT_LEAST:
            raise finding("keep", "The guards count the removals of the last seven days by the log: keep 7d or more.")
        return self


class History(Section):
    """What is kept of what cycles wanted the target to be, for ``provisor diff`` and ``provisor history``."""

    snapshots: Annotated[int, Field(strict=True, ge=0, le=1000)] = 20
    """How many different desired states are kept, the oldest goes first; 0 keeps none."""


class Schedule(Section):
    """When cycles start by themselves: ``every`` so often, or by ``cron``."""

    every: Duration | None = None
    """Time between two starts: ``20m``."""
    cron: Text | None = None
    """Five cron fields: ``0 6 * * 1-5``."""
    timezone: str = "UTC"
    """Time zone of the cron fields, as in the IANA data base: ``Europe/Berlin``."""

    @field_validator("cron")
    @classmethod
    def _cron_is_valid(cls, text: str | None) -> str | None:
        if text is not None and (problem := cron_problem(text)):
            raise ValueError(problem)
        return text

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, name: str) -> str:
        if problem := time_zone_problem(name):
            raise ValueError(problem)
        return name

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("Give either every, like 20m, or cron, like 0 6 * * 1-5.")
        return self


_DECIDING = {"source", "target", "assignment", "users", "groups", "deprovision"}
"""Sections that decide who gets what: when one changes, everybody must be evaluated again."""


class Job(Section):
    """One source-target pairing: who of the source gets an account in the target, and what is written to it."""

    name: str
    """Name of the job in the ledger, in logs and in the UI; a renamed job starts with nothing."""
    source: Annotated[SystemSection, BeforeValidator(lambda value: _system_section(value, "source"))]
    """The system that says who there is."""
    target: Annotated[SystemSection, BeforeValidator(lambda value: _system_section(value, "target"))]
    """The system whose accounts are kept in step."""
    assignment: Assignment = Assignment()
    """Whom the app is assigned to."""
    users: EntryRules
    """Which users are provisioned, and how."""
    groups: GroupRules | None = None
    """Which groups are provisioned, and how; no groups where this is left out."""
    deprovision: Deprovision = Deprovision()
    """What happens to the accounts of people who leave."""
    limits: Limits = Limits()
    """How much may be taken away before a person is asked."""
    escrow: EscrowRules = EscrowRules()
    """When entries that failed are tried again."""
    quarantine: QuarantineRules = QuarantineRules()
    """When so much has failed that the whole job is tried less often."""
    protect: tuple[Text, ...] = ()
    """Accounts of the target, by any matching attribute, that are never disabled or deleted."""
    checks: dict[Checked, tuple[CheckItem, ...]] = {}
    """Great Expectations checks by the frame they look at."""
    load: Load = Load()
    """Size of batches, and how hard the target is driven."""
    reconcile: Reconcile = Reconcile.DAILY
    """How often a cycle compares with the real target; in between it works with the target as last known."""
    drift: Drift = Drift.REPORT
    """What others have changed in the target: only ``report`` it, or ``correct`` it. Whoever must not have access loses
    it either way."""
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
