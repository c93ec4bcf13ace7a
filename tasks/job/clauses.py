"""Scoping filters: clauses on attributes of the source, and how they compare."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from tasks.job.problems import finding
from tasks.job.section import Section, Text
from tasks.job.values import is_moment, regex_problem


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
    """One condition on one attribute of the source. On an attribute that is null every clause but IS NULL is false.

    A value that the operator cannot judge (text that is no number, or no date) holds the entry: it neither gets nor
    loses anything by it.
    """

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
    """How many values of a multi-valued attribute must satisfy the clause."""
    format: Text | None = None
    """How the source writes the date that BEFORE or AFTER looks at, as .NET spells formats: ``dd/MM/yyyy``.

    Without it, a date that can be read in several ways holds the entry where these ways disagree.
    """

    @model_validator(mode="after")
    def _value_fits_operator(self) -> Self:
        if problem := _value_problem(self.operator, self.value):
            raise finding("value", problem)
        if self.format is not None and (problem := _format_problem(self.operator, self.format)):
            raise finding("format", problem)
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


def _format_problem(operator: Operator, form: str) -> str | None:
    """Why a format cannot be used."""
    if operator not in _MOMENTS:
        return f"{operator} does not read dates: a format belongs to BEFORE or AFTER."
    from tasks.expressions.date_formats import split_format
    from tasks.expressions.errors import EvaluationError

    try:
        letters = {part.letter[:1] for part in split_format(form)}
    except EvaluationError as error:
        return f"This is no date format: {error}."
    if not {"d", "M", "y"} <= letters:
        return "The format needs year, month and day, like dd/MM/yyyy."
    return None


def _groups_of_clauses(value: object) -> object:
    if isinstance(value, Mapping):
        raise ValueError("The filter is a list of groups, and a group is a list of clauses: put - [ ] around it.")
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        raise ValueError("A group of clauses is a list too: put [ ] around clauses that must be true together.")
    return value


ClauseGroup = Annotated[tuple[Clause, ...], Field(min_length=1)]
Filter = Annotated[tuple[ClauseGroup, ...], BeforeValidator(_groups_of_clauses)]
"""Groups of clauses: true for an entry when all clauses of one group are."""
