"""What a function of the language is: its name, what it takes, what it gives, how it is computed and documented.

A function is added by decorating a plain Python function with `function` (strict: all arguments are evaluated first) or
`lazy_function` (it decides itself which arguments it needs). Everything else follows from the declaration: argument
checks with places, conversion of arguments, null handling, multi-valued input, columns, and the reference table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from connectors.contract import Value
from tasks.expressions.context import Context
from tasks.expressions.errors import EvaluationError
from tasks.expressions.moments import Interval, Moment, read_moment
from tasks.expressions.operands import Operand, Partly
from tasks.expressions.tree import Call, Node
from tasks.expressions.values import integer_of, text_of, truth


class Place(StrEnum):
    """Where an expression stands in a job."""

    MAPPING = "a mapping"
    MATCHING = "a matching attribute"
    REFERENCE = "a reference"


ANYWHERE = frozenset(Place)


class Type(StrEnum):
    """What a parameter takes."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    CONDITION = "condition"
    INTERVAL = "interval"
    COMPARISON = "vbTextCompare or vbBinaryCompare"
    ANY = "value"


class Null(StrEnum):
    """What null in an argument means."""

    GIVES_NULL = "gives null"
    """The function is not called; its value is null."""
    IS_A_VALUE = "is a value"
    """The function is called with None."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function."""

    name: str
    type: Type = Type.TEXT
    required: bool = True
    variadic: bool = False
    """Stands for any number of arguments; only the last parameters can."""
    null: Null = Null.GIVES_NULL
    each: bool = False
    """A list is not an error: the function is applied to each of its values."""
    at_least: int | None = None
    at_most: int | None = None
    check: Callable[[str], object] | None = None
    """Raises EvaluationError for a text that cannot be meant."""

    def read(self, value: Value) -> Any:
        """The argument in the parameter's type. Raises: EvaluationError."""
        if value is None:
            return None
        match self.type:
            case Type.TEXT:
                return text_of(value)
            case Type.NUMBER:
                return self._number(integer_of(value))
            case Type.DATE:
                return read_moment(text_of(value))
            case Type.CONDITION:
                return truth(value)
            case Type.INTERVAL:
                return _interval(text_of(value))
            case Type.COMPARISON:
                return _comparison(text_of(value))
            case _:
                return value

    def check_literal(self, value: Value) -> None:
        """Raises EvaluationError for a literal that can never be right here."""
        if self.type is Type.DATE or (value == "" and self.type is Type.TEXT and not self.required):
            return
        read = self.read(value)
        if self.check is not None and isinstance(read, str):
            self.check(read)

    def _number(self, number: int) -> int:
        if self.at_least is not None and number < self.at_least:
            raise EvaluationError(f"{self.name} is at least {self.at_least}")
        if self.at_most is not None and number > self.at_most:
            raise EvaluationError(f"{self.name} is at most {self.at_most}")
        return number


def _interval(text: str) -> Interval:
    try:
        return Interval(text)
    except ValueError as error:
        raise EvaluationError(f"an interval is one of {', '.join(Interval)}") from error


def _comparison(text: str) -> str:
    if text not in COMPARE_WORDS:
        raise EvaluationError(f"the way to compare is one of {', '.join(COMPARE_WORDS)}")
    return text


COMPARE_WORDS = ("vbBinaryCompare", "vbTextCompare")
"""Bare words that say how InStr compares."""


@dataclass(frozen=True, slots=True)
class Example:
    """One use of a function, run by the tests and shown in the reference."""

    expression: str
    gives: Value
    attributes: Mapping[str, Value] = field(default_factory=dict)


class Values(Protocol):
    """How a lazy function evaluates its arguments for one entry."""

    context: Context

    def value(self, node: Node | None) -> Value:
        """The value of a node; None for an omitted argument."""
        ...


class Columns(Protocol):
    """How a lazy function evaluates its arguments for many rows at once."""

    context: Context

    @property
    def size(self) -> int:
        """Number of rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """One function of the language."""

    name: str
    parameters: tuple[Parameter, ...]
    gives: str
    """What the value is, one line."""
    examples: tuple[Example, ...]
    source: str
    """Where the behaviour is taken from."""
    compute: Callable[..., Value] | None = None
    """Strict functions: takes the arguments in their types, and `context` when `wants_context`."""
    compute_column: Callable[[Sequence[Operand], Context], Operand | Partly | None] | None = None
    """Strict functions: all rows at once; where it gives None, or is not done, single values are looked at."""
    evaluate: Callable[[Call, Values], Value] | None = None
    """Lazy functions: for one entry."""
    evaluate_column: Callable[[Call, Any], Operand] | None = None
    """Lazy functions: for many rows (the second argument is a `columns.ColumnEvaluation`)."""
    check: Callable[[Call], list[tuple[Node, str]]] | None = None
    """Finds what the declaration of parameters cannot say: nodes and what is wrong with them."""
    wants_context: bool = False
    stable: bool = True
    """False where two calls with the same arguments differ."""
    top_only: bool = False
    """True where it cannot stand inside anything else."""
    places: frozenset[Place] = ANYWHERE
    form: str | None = None
    """How a call looks, where the parameters alone do not say it."""

    @property
    def lazy(self) -> bool:
        """True when the function decides which of its arguments are evaluated."""
        return self.evaluate is not None

    @property
    def variadic(self) -> tuple[Parameter, ...]:
        """The parameters that repeat."""
        return tuple(parameter for parameter in self.parameters if parameter.variadic)

    def parameter(self, index: int) -> Parameter:
        """The parameter that an argument belongs to."""
        if index < len(self.parameters):
            return self.parameters[index]
        repeated = self.variadic
        fixed = len(self.parameters) - len(repeated)
        return repeated[(index - fixed) % len(repeated)]

    @property
    def call_form(self) -> str:
        """How a call looks: ``Mid(source, start, length)``, optional parameters in brackets."""
        if self.form is not None:
            return self.form
        names = [p.name if p.required else f"[{p.name}]" for p in self.parameters]
        return f"{self.name}({', '.join([*names, '...'] if self.variadic else names)})"

    def apply(self, arguments: Sequence[Value], context: Context) -> Value:
        """The value for evaluated arguments (None: null or omitted). Strict functions only.

        Raises: EvaluationError.
        """
        listed = None
        for index, value in enumerate(arguments):
            if value is None:
                parameter = self.parameter(index)
                if parameter.required and parameter.null is Null.GIVES_NULL:
                    return None
            elif listed is None and isinstance(value, list) and self.parameter(index).each:
                listed = index
        if listed is not None:
            return self._apply_to_each(listed, arguments, context)
        read = [self.parameter(index).read(value) for index, value in enumerate(arguments)]
        read.extend(None for _ in self.parameters[len(read) :] if not self.variadic)
        assert self.compute is not None
        if self.wants_context:
            return self.compute(*read, context=context)
        return self.compute(*read)

    def _apply_to_each(self, listed: int, arguments: Sequence[Value], context: Context) -> Value:
        values: list[Value] = []
        for element in arguments[listed]:
            value = self.apply([*arguments[:listed], element, *arguments[listed + 1 :]], context)
            if value is not None:
                values.extend(value if isinstance(value, list) else [value])
        return values or None


FUNCTIONS: dict[str, Function] = {}
"""Every function of the language by name."""


def function(
    name: str, *parameters: Parameter, gives: str, example: Example | tuple[Example, ...], source: str, **more: Any
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Enter a strict function: all its arguments are evaluated, then the decorated function is called with them."""

    def enter(compute: Callable[..., Value]) -> Callable[..., Value]:
        FUNCTIONS[name] = Function(name, parameters, gives, _examples(example), source, compute=compute, **more)
        return compute

    return enter


def lazy_function(
    name: str, *parameters: Parameter, gives: str, example: Example | tuple[Example, ...], source: str, **more: Any
) -> Callable[[Callable[[Call, Values], Value]], Callable[[Call, Values], Value]]:
    """Enter a lazy function: the decorated function is given the call and evaluates the arguments it needs."""

    def enter(evaluate: Callable[[Call, Values], Value]) -> Callable[[Call, Values], Value]:
        FUNCTIONS[name] = Function(name, parameters, gives, _examples(example), source, evaluate=evaluate, **more)
        return evaluate

    return enter


def _examples(example: Example | tuple[Example, ...]) -> tuple[Example, ...]:
    return (example,) if isinstance(example, Example) else example


def text_source(name: str = "source") -> Parameter:
    """The text a function works on; a list is worked on value by value."""
    return Parameter(name, Type.TEXT, each=True)


__all__ = ["FUNCTIONS", "Example", "Function", "Moment", "Null", "Parameter", "Place", "Type"]
