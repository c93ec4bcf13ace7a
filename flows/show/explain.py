"""``provisor explain``: how one expression comes to its value, shown as a tree, for attributes that are typed in."""

import datetime as dt
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

import orjson
from rich.tree import Tree

from connectors.contract import Value
from connectors.errors import ProvisorError
from flows.show.console import Terminal, Text, console
from flows.show.json_out import json_out
from tasks.expressions import (
    Context,
    Expression,
    ExpressionError,
    State,
    Trace,
    check_expression,
    compile_expression,
)
from tasks.expressions.tree import Attribute, Call, Comparison, Constant, Node, children
from tasks.job.problems import nearest

_FLOWS = {
    "IgnoreAttributeFlow": "the attribute of the target is left alone",
    "IgnoreObjectFlow": "the whole entry is skipped in this cycle",
}
LONGEST_VALUE, _LONGEST_TEXT = 120, 72
"""Characters of a value and of a piece of an expression that one line of a tree shows."""
_WIDTH = 240
"""Columns of a tree that goes to a file or another command, where nothing may be cut off."""


class WrongRequestError(ProvisorError):
    """What was asked for cannot be explained: the expression, an option or a file is wrong. The text says what is.

    ``problems`` are those of the expression, where it is the expression that is wrong.
    """

    def __init__(self, message: str, *, problems: Sequence[ExpressionError] = ()) -> None:
        super().__init__(message)
        self.problems = problems

    def as_json(self) -> dict[str, Any]:
        """What is wrong, as plain values."""
        places = [{"line": one.line, "column": one.column, "problem": one.problem} for one in self.problems]
        return {"error": str(self)} | ({"problems": places} if places else {})


def redacted() -> str:
    """What is shown instead of a redacted value."""
    from tasks.ledger import REDACTED  # here: the ledger's libraries take long, and few expressions are redacted

    return REDACTED


# --- what people type ----------------------------------------------------------------------------------------------


def read_attributes(given: Sequence[str]) -> dict[str, Value]:
    """Source attributes from ``name=value`` texts.

    ``name=`` is the empty text; a name given several times has several values; ``name:json=[1, true, null]`` holds
    whatever JSON can say. Raises: WrongRequestError.
    """
    attributes: dict[str, Value] = {}
    for text in given:
        _require_characters(text, "an --attr option")
        name, equals, value = text.partition("=")
        plain, _, form = name.rpartition(":")
        name = plain if form == "json" else name
        if not equals or not name.strip():
            raise WrongRequestError(
                f"--attr {text}: write the attribute's name and its value, as in --attr givenName=Zoë"
            )
        read = _json_value(text, value) if form == "json" else value
        if name not in attributes:
            attributes[name] = read
        else:
            before = attributes[name]
            attributes[name] = [*(before if isinstance(before, list) else [before]), read]
    return attributes


def _json_value(text: str, value: str) -> Value:
    try:
        return json.loads(value)
    except ValueError as error:
        raise WrongRequestError(
            f"--attr {text}: this is not JSON ({error}). Texts stand in double quotes inside it, as in "
            """--attr 'proxyAddresses:json=["a@example.com", "b@example.com"]'"""
        ) from error


def _require_characters(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WrongRequestError(f"Character {error.start + 1} of {what} is not UTF-8.") from error


def read_now(text: str | None) -> dt.datetime:
    """The moment that Now() gives: as ISO 8601, UTC unless it says otherwise; the present without one.

    Raises: WrongRequestError.
    """
    if text is None:
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise WrongRequestError(
            f"--now {text}: a moment is written as ISO 8601, like 2026-01-31 or 2026-01-31T08:00:00Z"
        ) from error


# --- one expression ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one expression came to its value."""

    expression: Expression
    trace: Trace
    known: frozenset[str] | None = None
    """Attributes that were given; the others are null for that reason alone. None where the entry is a real one."""
    notes: tuple[str, ...] = ()
    """What should be known besides, one sentence each."""
    hidden: bool = False
    """True when no value may be shown, because it is redacted."""

    @property
    def failed(self) -> bool:
        """True when there is no value because the attributes do not fit."""
        return self.trace.state is State.FAILED

    def as_json(self) -> dict[str, Any]:
        """The explanation as plain values."""
        trace = self.trace
        found: dict[str, Any] = {"expression": self.expression.text, "value": None, "type": None}
        if trace.state is State.EVALUATED:
            found |= {"value": redacted() if self.hidden else trace.value, "type": trace.kind}
        if trace.state is State.IGNORED:
            found["flow"] = trace.problem
        if self.failed:
            found["problem"] = trace.problem
        if self.notes:
            found["notes"] = list(self.notes)
        if not self.hidden:
            found["tree"] = trace.as_dict()
        return found


def explain_expression(
    text: str,
    attributes: Mapping[str, Value],
    context: Context,
    *,
    known: Collection[str] | None = None,
    redacting: bool = False,
) -> Explanation:
    """How an expression comes to its value for these attributes.

    ``known`` are the source's attribute names where there is a source; None means that the attributes were typed in.
    With ``redacting`` a value that passes through Redact is not shown. Raises: WrongRequestError with every problem of
    the expression and a caret below each.
    """
    _require_characters(text, "the expression")
    problems = check_expression(text, attributes=known)
    if problems:
        carets = "\n\n".join(f"{problem.caret()}\n{problem}" for problem in problems)
        raise WrongRequestError(carets, problems=problems)
    expression = compile_expression(text)
    notes = list(_unfamiliar(expression, attributes)) if known is None else []
    if expression.unique_rules and context.taken is None:
        notes.append("The target is not asked: every value that SelectUniqueValue tries counts as free.")
    if expression.redacted:
        notes.append(f"The value is redacted: logs, plans and reports show {redacted()}.")
    return Explanation(
        expression=expression,
        trace=expression.trace(attributes, context),
        known=frozenset(attributes) if known is None else None,
        notes=tuple(notes),
        hidden=redacting and expression.redacted,
    )


def _unfamiliar(expression: Expression, attributes: Mapping[str, Value]) -> Iterator[str]:
    """Given attributes that the expression does not read: probably misspelled, on one side or the other."""
    missing = sorted(expression.attributes - set(attributes))
    for name in attributes:
        if name not in expression.attributes:
            near = nearest(name, missing)
            hint = f" Did you mean [{near}], which was not given and is null?" if near else ""
            yield f"The expression does not read [{name}].{hint}"


def show_explanation(out: Terminal, explanation: Explanation) -> None:
    """The expression, its value and type, and the tree of everything that was evaluated on the way."""
    trace = explanation.trace
    out.print(Text.of_lines(explanation.expression.text.strip(), style="bold"))
    out.print()
    out.print(Text().append("value  ", style="dim").append_text(result(explanation, limit=None)))
    if trace.state is State.EVALUATED:
        out.print(Text().append("type   ", style="dim").append(trace.kind))
    for note in explanation.notes:
        out.print(Text().append("note   ", style="dim").append(note, style="yellow"))
    if not explanation.hidden:
        out.print()
        out.print(draw(explanation), width=None if out.is_terminal else _WIDTH)


def result(explanation: Explanation, *, limit: int | None) -> Text:
    """The value, cut after ``limit`` characters, or why there is none."""
    trace = explanation.trace
    match trace.state:
        case State.EVALUATED:
            return Text(redacted(), style="dim") if explanation.hidden else shown(trace.value, limit=limit)
        case State.IGNORED:
            return Text(f"none: {_FLOWS.get(trace.problem, trace.problem)} ({trace.problem})", style="yellow")
        case _:
            return Text(f"none: {trace.problem}", style="red")


def shown(value: Value, *, limit: int | None = LONGEST_VALUE) -> Text:
    """A value as JSON spells it, cut after ``limit`` characters."""
    if value is None:
        return Text().append("null", style="dim")
    text = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    return Text().append(_cut(text, limit), style="green")


def _cut(text: str, limit: int | None) -> str:
    return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"


# --- the tree ------------------------------------------------------------------------------------------------------


def draw(explanation: Explanation) -> Tree:
    """The expression as a tree, each part with what it gave."""
    node, trace = explanation.expression.tree, explanation.trace
    tree = Tree(_label(node, trace, explanation.known), guide_style="dim")
    _draw_parts(tree, node, trace, explanation.known)
    return tree


def _draw_parts(tree: Tree, node: Node, trace: Trace, known: frozenset[str] | None) -> None:
    if trace.state is State.NOT_NEEDED:
        return
    waiting: list[str] = []
    for child, part in zip(children(node), trace.parts, strict=True):
        if part.state is State.NOT_NEEDED and isinstance(child, Constant):
            waiting.append(part.text)
            continue
        _draw_waiting(tree, waiting)
        _draw_parts(tree.add(_label(child, part, known)), child, part, known)
    _draw_waiting(tree, waiting)


def _draw_waiting(tree: Tree, constants: list[str]) -> None:
    """Constants that were not looked at share one line: a Switch may have hundreds."""
    if constants:
        text = _cut(", ".join(constants), _LONGEST_TEXT)
        tree.add(Text(f"{text}  not evaluated", style="dim"))
        constants.clear()


def _label(node: Node, trace: Trace, known: frozenset[str] | None) -> Text:
    if trace.state is State.NOT_NEEDED:
        return Text(f"{_one_line(trace.text)}  not evaluated", style="dim")
    label = Text(_name(node, trace))
    if isinstance(node, Constant):
        return label
    match trace.state:
        case State.FAILED:
            return label.append("  ✗ fails here" if _is_origin(trace) else "  ✗", style="red")
        case State.IGNORED:
            return label.append("  gives no value" if _is_origin(trace) else "  no value", style="yellow")
    label.append("  →  ", style="dim").append_text(shown(trace.value))
    if isinstance(node, Attribute) and known is not None and node.name not in known:
        return label.append("  not given", style="dim")
    return label if trace.kind in ("text", "null") else label.append(f"  {trace.kind}", style="dim")


def _is_origin(trace: Trace) -> bool:
    """Whether a failure or a marker came up here, and not in one of the parts."""
    return all(part.state is not trace.state for part in trace.parts)


def _name(node: Node, trace: Trace) -> str:
    match node:
        case Call():
            return f"{node.name}(…)" if node.arguments else f"{node.name}()"
        case Comparison():
            return _one_line(trace.text)
        case _:
            return _cut(trace.text, _LONGEST_TEXT)


def _one_line(text: str) -> str:
    return _cut(" ".join(text.split()), _LONGEST_TEXT)


# --- the command ---------------------------------------------------------------------------------------------------


def run_explain(expression: str, given: Sequence[str], now: str | None, *, as_json: bool) -> int:
    """Explains one expression for attributes that were typed in; gives the exit status.

    Raises: WrongRequestError.
    """
    context = Context(now=read_now(now), random=SystemRandom())
    explanation = explain_expression(expression, read_attributes(given), context)
    if as_json:
        write_json(explanation.as_json())
    else:
        show_explanation(console(), explanation)
    return int(explanation.failed)


def write_json(document: Mapping[str, Any]) -> None:
    """One JSON document on standard output."""
    out = json_out()
    out.write(orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS) + b"\n")
    out.flush()
