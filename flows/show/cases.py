"""``provisor explain --cases``: runs a file of cases and says which fail, so that people test their own mappings.

A case is an object with ``expression``, ``attributes`` and ``expected``, and where needed ``now``, ``target_existing``
and ``context``; ``function`` and ``note`` are for people. ``expected`` is a value, ``{"$regex": pattern}`` where chance
is involved, or ``{"$flow": "ignore_attribute" | "ignore_object" | "escrow"}``. Every case is evaluated for a single
entry and as a column among other entries, as in a cycle; both must give what is expected.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from connectors.contract import Value
from flows.show.console import AnyText, Terminal, Text, console
from flows.show.explain import WrongRequestError, read_now, shown, write_json
from tasks.expressions import (
    Column,
    Context,
    EvaluationError,
    Expression,
    ExpressionError,
    Flow,
    PatternError,
    RegexTimeoutError,
    check_expression,
    compile_expression,
    compile_pattern,
)
from tasks.expressions.values import normalise
from tasks.job.problems import nearest

_SEED = 20_260_101
"""Where chance begins, so that a case gives the same in every run."""


class Expected(StrEnum):
    """What a case may expect instead of a value."""

    IGNORE_ATTRIBUTE = "ignore_attribute"
    IGNORE_OBJECT = "ignore_object"
    ESCROW = "escrow"
    """The entry is held: its values do not fit, or every unique value is taken."""


_MARKERS = {Flow.IGNORE_ATTRIBUTE: Expected.IGNORE_ATTRIBUTE, Flow.IGNORE_OBJECT: Expected.IGNORE_OBJECT}


def _moment(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return read_now(value)
    except WrongRequestError:
        raise ValueError("a moment is written as ISO 8601, like 2026-01-31T08:00:00Z") from None


def _expected(value: object) -> object:
    """Checks the special forms; everything else is a value."""
    if not isinstance(value, Mapping) or not any(str(key).startswith("$") for key in value):
        return value
    match dict(value):
        case {"$flow": str() as flow, **rest} if not rest:
            if flow not in tuple(Expected):
                raise ValueError(f'{{"$flow": ...}} is one of {", ".join(Expected)}')
        case {"$regex": str() as pattern, **rest} if not rest:
            try:
                compile_pattern(pattern)
            except PatternError as error:
                raise ValueError(f"the pattern of $regex is none: {error}") from None
        case _:
            raise ValueError('write a value, {"$regex": "pattern"} or {"$flow": "ignore_attribute"}')
    return value


class CaseContext(BaseModel):
    """What an evaluation may look at besides the entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defaultDomain: str | None = None  # noqa: N815  (spelled as in the files)
    keep_empty: bool = False


class Case(BaseModel):
    """One expression, the attributes of one entry, and what must come out. Other keys are remarks and not looked at."""

    model_config = ConfigDict(extra="allow", frozen=True)

    function: str = ""
    expression: Annotated[str, Field(strict=True)]
    attributes: dict[str, Value] = {}
    expected: Annotated[Any, BeforeValidator(_expected)]
    note: str = ""
    now: Annotated[dt.datetime | None, BeforeValidator(_moment)] = None
    target_existing: tuple[str, ...] = ()
    context: CaseContext = CaseContext()


@dataclass(frozen=True, slots=True)
class Actual:
    """What a case gave: a value, or a marker instead of one."""

    value: Value = None
    marker: Expected | None = None
    problem: str = ""
    """Why the entry is held."""

    def as_json(self) -> Any:
        """The value, or the marker in the form in which a case expects it."""
        return self.value if self.marker is None else {"$flow": str(self.marker)}


@dataclass(frozen=True, slots=True)
class Failure:
    """One case that did not give what it should."""

    number: int
    """From 1, in the order of the file."""
    case: Case
    actual: Actual | None
    """None where the expression itself is wrong."""
    column: Actual | None = None
    """What the column form gave, where it differs from a single entry."""
    problem: str = ""
    """What is wrong with the expression, with a caret."""

    def as_json(self) -> dict[str, Any]:
        """The failure as plain values."""
        case, found = self.case, {"number": self.number, "expression": self.case.expression}
        found |= {"attributes": case.attributes, "expected": case.expected}
        if self.actual is not None:
            found["actual"] = self.actual.as_json()
        if self.column is not None:
            found["actual_in_a_column"] = self.column.as_json()
        problem = self.problem or (self.actual.problem if self.actual else "")
        found |= {"problem": problem} if problem else {}
        return found | ({"note": case.note} if case.note else {})


# --- reading -------------------------------------------------------------------------------------------------------


def read_cases(path: Path) -> list[Case]:
    """The cases of a file. Raises: WrongRequestError with everything that is wrong with the file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise WrongRequestError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise WrongRequestError(f"{path} is not UTF-8 text (byte {error.start + 1}).") from error
    except json.JSONDecodeError as error:
        raise WrongRequestError(f"{path}:{error.lineno}:{error.colno}: this is not JSON: {error.msg}.") from error
    except RecursionError as error:
        raise WrongRequestError(f"{path} is nested too deeply.") from error
    if not isinstance(document, list):
        raise WrongRequestError(f"{path} must hold a list of cases: [ {{...}}, {{...}} ].")
    if not document:
        raise WrongRequestError(f"{path} holds no case.")
    cases, problems = [], []
    for number, item in enumerate(document, start=1):
        found = _item_problems(item)
        problems += [f"{path}: case {number}: {problem}" for problem in found]
        if not found:
            cases.append(Case.model_validate(item))
    if problems:
        raise WrongRequestError("\n".join(problems))
    return cases


def _item_problems(item: object) -> list[str]:
    if not isinstance(item, Mapping):
        return ["a case is an object with the keys expression, attributes and expected."]
    problems = [
        f"there is no key {key!r}; did you mean {near}?"
        for key in item
        if key not in Case.model_fields and (near := nearest(key, Case.model_fields)) and near not in item
    ]
    try:
        Case.model_validate(item)
    except ValidationError as error:
        # A key that is missing because it is misspelled has been said.
        problems += [
            _sentence(detail)
            for detail in error.errors(include_url=False)
            if not (detail["type"] == "missing" and any(f"mean {detail['loc'][-1]}?" in known for known in problems))
        ]
    return problems


def _sentence(detail: Any) -> str:
    place = ".".join(map(str, detail["loc"]))
    match detail["type"]:
        case "missing":
            return f"{place} is missing."
        case "extra_forbidden":
            return f"{place}: there is no such key; known: {', '.join(CaseContext.model_fields)}."
        case "value_error":
            return f"{place}: {detail['ctx']['error']}."
        case "string_type":
            return f"{place} must be a text in double quotes."
        case "dict_type":
            return f'{place} must be an object, like {{"mail": "ann@example.com"}}.'
        case "tuple_type" | "list_type":
            return f'{place} must be a list, like ["ann@example.com"].'
        case _:
            return f"{place}: {detail['msg']}."


# --- running -------------------------------------------------------------------------------------------------------


def run_cases(cases: Sequence[Case], *, now: dt.datetime) -> list[Failure]:
    """The cases that fail, in the order of the file; ``now`` counts where a case does not pin the clock."""
    failures = (_run(number, case, now) for number, case in enumerate(cases, start=1))
    return [failure for failure in failures if failure is not None]


def _run(number: int, case: Case, now: dt.datetime) -> Failure | None:
    try:
        expression = compile_expression(case.expression)
    except ExpressionError:
        problems = check_expression(case.expression)
        return Failure(number, case, None, problem="\n".join(f"{one.caret()}\n{one}" for one in problems))
    single = _single(expression, case, now)
    column = _in_column(expression, case, now)
    right, right_in_column = _fits(single, case.expected), _fits(column, case.expected)
    if right and right_in_column:
        return None
    differs = right != right_in_column or (not _chance(case) and not _same_actual(single, column))
    return Failure(number, case, single, column=column if differs else None)


def _chance(case: Case) -> bool:
    return isinstance(case.expected, Mapping) and "$regex" in case.expected


def _context(case: Case, now: dt.datetime) -> Context:
    # Accounts differ by more than case: that is how a cycle looks for a free value too.
    existing = {value.lower() for value in case.target_existing}
    return Context(
        now=case.now or now,
        default_domain=case.context.defaultDomain,
        random=Random(_SEED),
        taken=lambda value: value.lower() in existing,
        keep_empty=case.context.keep_empty,
    )


def _single(expression: Expression, case: Case, now: dt.datetime) -> Actual:
    try:
        value = expression.evaluate(case.attributes, _context(case, now))
    except EvaluationError as error:
        return Actual(marker=Expected.ESCROW, problem=str(error))
    return Actual(marker=_MARKERS[value]) if isinstance(value, Flow) else Actual(value)


def _in_column(expression: Expression, case: Case, now: dt.datetime) -> Actual:
    """What the entry gets among others that have nothing at all, as one row of a frame."""
    names = sorted(expression.attributes | set(case.attributes))
    frame = pd.DataFrame(
        {name: _series(case.attributes.get(name)) for name in names}, index=pd.Index(["before", "entry", "after"])
    )
    column = expression.column(frame, _context(case, now))
    if "entry" in column.failed:
        return Actual(marker=Expected.ESCROW, problem=column.failed["entry"])
    for rows, marker in ((column.left_alone, Expected.IGNORE_ATTRIBUTE), (column.skipped, Expected.IGNORE_OBJECT)):
        if rows is not None and rows[1]:
            return Actual(marker=marker)
    return Actual(_plain(column))


def _plain(column: Column) -> Value:
    value = normalise(column.values.iloc[1])
    # A list that is empty is a value: it takes away what the target has.
    return [] if value is None and isinstance(column.values.iloc[1], list) else value


def _series(value: Value) -> pd.Series:
    """A column in which one entry has the value, of the kind that a source would deliver."""
    index = pd.Index(["before", "entry", "after"])
    cells = [None, value, None]
    match value:
        case bool():
            return pd.Series(cells, index=index, dtype="boolean")
        case int() if abs(value) < 2**63:
            return pd.Series(cells, index=index, dtype="Int64")
        case None | str():
            return pd.Series(cells, index=index, dtype="str")
        case _:
            return pd.Series(cells, index=index, dtype=object)


def _fits(actual: Actual, expected: Any) -> bool:
    match expected:
        case {"$flow": flow}:
            return actual.marker is not None and actual.marker == flow
        case {"$regex": pattern}:
            return isinstance(actual.value, str) and _matches(pattern, actual.value)
        case _:
            return actual.marker is None and _same(actual.value, expected)


def _matches(pattern: str, text: str) -> bool:
    try:
        return compile_pattern(pattern).search(text)
    except RegexTimeoutError:
        return False


def _same_actual(one: Actual, other: Actual) -> bool:
    return one.marker == other.marker and _same(one.value, other.value)


def _same(value: Value, other: Value) -> bool:
    """Equality as JSON has it: true is not 1, but 1 and 1.0 are one number."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_same(value[key], other[key]) for key in value)
    return bool(value == other)


# --- the command ---------------------------------------------------------------------------------------------------


def run_case_file(path: Path, now: str | None, *, as_json: bool) -> int:
    """Runs the cases of a file and says which fail; gives the exit status. Raises: WrongRequestError."""
    moment = read_now(now)
    cases = read_cases(path)
    failures = run_cases(cases, now=moment)
    if as_json:
        document = {
            "file": str(path),
            "cases": len(cases),
            "passed": len(cases) - len(failures),
            "failed": [failure.as_json() for failure in failures],
        }
        write_json(document)
    else:
        show_failures(console(), path, len(cases), failures)
    return int(bool(failures))


# --- showing -------------------------------------------------------------------------------------------------------


def show_failures(out: Terminal, path: Path, count: int, failures: Sequence[Failure]) -> None:
    """Each failed case with what was expected and what came out, then how many there are."""
    for failure in failures:
        _show_failure(out, failure)
        out.print()
    cases = "1 case" if count == 1 else f"{count:,} cases"
    if not failures:
        out.print(Text().append("✓ ", style="green").append(f"{path}: {cases}, all as expected", style="default"))
        return
    out.print(Text(f"{path}: {len(failures):,} of {cases} failed", style="bold red"))


def _show_failure(out: Terminal, failure: Failure) -> None:
    case, actual = failure.case, failure.actual
    heading = Text().append("✗ ", style="red").append(f"case {failure.number}", style="bold")
    if case.function:
        heading.append(f"  {case.function}", style="default")
    out.print(heading.append(f"  {case.note}" if case.note else "", style="dim"))
    if actual is None:
        out.print(_indented(Text.of_lines(failure.problem, style="red")))
        return
    out.print(_indented(Text.of_lines(case.expression)))
    for name, value in case.attributes.items():
        out.print(_indented(Text().append(f"[{name}]  ", style="dim").append_text(shown(value))))
    out.print(_indented(Text().append("expected  ", style="dim").append_text(_as_text(case.expected))))
    out.print(_indented(Text().append("actual    ", style="dim").append_text(_actual_text(actual))))
    if failure.column is not None:
        out.print(_indented(Text().append("as column ", style="dim").append_text(_actual_text(failure.column))))
        sentence = "A single entry and a column differ: this is a defect of Provisor, please report it."
        out.print(_indented(Text(sentence, style="yellow")))
    elif hint := _hint(actual, case.expected):
        out.print(_indented(Text(hint, style="yellow")))


def _as_text(expected: Any) -> Text:
    match expected:
        case {"$flow": flow}:
            return Text(_WORDS[Expected(flow)], style="green")
        case {"$regex": pattern}:
            return Text(f"text that matches {pattern}", style="green")
        case _:
            return shown(expected)


_WORDS = {
    Expected.IGNORE_ATTRIBUTE: "no value: the attribute is left alone",
    Expected.IGNORE_OBJECT: "no value: the entry is skipped",
    Expected.ESCROW: "no value: the entry is held",
}


def _actual_text(actual: Actual) -> Text:
    if actual.marker is None:
        return Text().append_text(shown(actual.value))
    return Text(_WORDS[actual.marker] + (f" ({actual.problem})" if actual.problem else ""), style="red")


def _hint(actual: Actual, expected: Any) -> str:
    """What the difference may come from, where it can hardly be seen."""
    if actual.marker is not None or isinstance(expected, Mapping):
        return ""
    value = actual.value
    if isinstance(value, str) and isinstance(expected, str):
        if value.strip() == expected.strip():
            return "Only blanks at the beginning or the end differ."
        return "Only upper and lower case differ." if value.lower() == expected.lower() else ""
    if type(value) is not type(expected) and str(value).lower() == str(expected).lower():
        return "The values look the same, but one is text and the other is not: mind the quotes in expected."
    return ""


def _indented(text: AnyText) -> AnyText:
    return Text.of_lines("\n").join(Text("    ").append_text(line) for line in text.split("\n"))
