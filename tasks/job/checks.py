"""Checks of the frames that a cycle reads and of its plan: by Great Expectations, and those nobody has to write."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from tasks.job.problems import finding
from tasks.job.section import Section
from tasks.job.values import expectation_problem


class OnFailure(StrEnum):
    """What happens when a check does not hold."""

    STOP = "stop"
    HOLD_ROWS = "hold_rows"
    WARN = "warn"


class Check(Section):
    """One Great Expectations expectation on a frame."""

    expectation: str
    """Its name: ``expect_column_values_to_be_unique``."""
    arguments: dict[str, Any] = Field(default={})
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


class Reaction(StrEnum):
    """What happens when a built-in check does not hold; ``off``: it is not looked at."""

    OFF = "off"
    WARN = "warn"
    HOLD_ROWS = "hold_rows"
    STOP = "stop"

    @property
    def on_failure(self) -> OnFailure:
        """The same for a check that is looked at."""
        return OnFailure(self.value)


_ROWLESS = ("keys", "members", "row_count", "null_share", "distinct_count")
"""Built-in checks without rows that could be held: about a frame as a whole, or about rows that are left out anyway."""


def _unless_off(value: object) -> object:
    return Reaction.OFF if value is False else value  # what YAML 1.1 made of the word


ReactionItem = Annotated[Reaction, BeforeValidator(_unless_off, json_schema_input_type=Reaction | bool)]


class Swing(Section):
    """How far a figure may differ from recent cycles."""

    fraction: Annotated[float, Field(gt=0, le=100)]
    """The change that is still all right: of the figure itself, or in the share of nulls, 0 to 1."""
    on_failure: ReactionItem = Reaction.WARN
    """``off``, ``warn`` or ``stop``."""


def _swing(fraction: float) -> Any:
    """A swing with its default: a plain reaction changes what happens, an object the fraction too."""

    def long_form(value: object) -> object:
        if isinstance(value, str | bool):
            return {"fraction": fraction, "on_failure": value}
        return {"fraction": fraction, **value} if isinstance(value, Mapping) else value

    return BeforeValidator(long_form, json_schema_input_type=Swing | Reaction | bool)


class BuiltinChecks(Section):
    """Checks that nobody has to write: each ``warn``, ``stop``, ``off`` or, where it is about rows, ``hold_rows``."""

    keys: ReactionItem = Reaction.WARN
    """Rows without a key, or with another row's, or that could not be read; they are left out whatever happens."""
    matching: ReactionItem = Reaction.WARN
    """Entries that share a matching value, or have none."""
    case_twins: ReactionItem = Reaction.WARN
    """Entries whose matching values differ only in upper and lower case."""
    managers: ReactionItem = Reaction.WARN
    """References to entries that are not there, and people who are their own managers through others."""
    members: ReactionItem = Reaction.WARN
    """Memberships with unknown groups or people."""
    row_count: Annotated[Swing, _swing(0.2)] = Swing(fraction=0.2)
    """The number of entries, compared with the median of the last 20 snapshots."""
    null_share: Annotated[Swing, _swing(0.1)] = Swing(fraction=0.1)
    """The share of entries without a value, for each attribute."""
    distinct_count: Annotated[Swing, _swing(0.5)] = Swing(fraction=0.5)
    """The number of different values, for each attribute."""

    @model_validator(mode="after")
    def _rows_can_be_held(self) -> Self:
        for name in _ROWLESS:
            chosen = getattr(self, name)
            reaction = chosen.on_failure if isinstance(chosen, Swing) else chosen
            if reaction is Reaction.HOLD_ROWS:
                raise finding(name, "There are no rows that could be held for this: write off, warn or stop.")
        return self

    @classmethod
    def none(cls) -> Self:
        """All of them switched off."""
        return cls.model_validate(dict.fromkeys(cls.model_fields, Reaction.OFF))


def _all_off(value: object) -> object:
    return BuiltinChecks.none() if value is False or value == Reaction.OFF else value


CheckItems = tuple[CheckItem, ...]


class Checks(Section):
    """Data checks by frame, and the built-in ones."""

    source_users: CheckItems = Field(default=(), alias="source.users")
    """On the source's users, one column per attribute."""
    source_groups: CheckItems = Field(default=(), alias="source.groups")
    """On the source's groups."""
    source_members: CheckItems = Field(default=(), alias="source.members")
    """On the source's memberships: columns ``group`` and ``member``."""
    target_users: CheckItems = Field(default=(), alias="target.users")
    """On the accounts of the target."""
    target_groups: CheckItems = Field(default=(), alias="target.groups")
    """On the groups of the target."""
    target_members: CheckItems = Field(default=(), alias="target.members")
    """On the target's memberships."""
    plan: CheckItems = ()
    """On the plan, one row per change: columns ``action``, ``kind``, ``anchor``, ``target_id``, ``label``, ``reason``,
    ``cause``, ``attributes`` (names of those that change), ``members`` (how many), and each attribute's new value."""
    builtin: Annotated[
        BuiltinChecks, BeforeValidator(_all_off, json_schema_input_type=BuiltinChecks | Literal["off", False])
    ] = BuiltinChecks()
    """Checks that nobody has to write; ``off`` switches all of them off."""

    @model_validator(mode="after")
    def _memberships_are_not_held(self) -> Self:
        for name, frame in (("source_members", Checked.SOURCE_MEMBERS), ("target_members", Checked.TARGET_MEMBERS)):
            if any(check.on_failure is OnFailure.HOLD_ROWS for check in getattr(self, name)):
                raise finding(frame, "A membership that is left out would be one to remove: write stop or warn.")
        return self

    def of(self, frame: Checked) -> CheckItems:
        """The checks that somebody wrote for a frame."""
        found: CheckItems = getattr(self, frame.replace(".", "_"))
        return found

    @property
    def written(self) -> int:
        """How many somebody wrote."""
        return sum(len(self.of(frame)) for frame in Checked)
