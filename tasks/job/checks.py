"""Checks of the frames that a cycle reads and of its plan, by Great Expectations."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

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
