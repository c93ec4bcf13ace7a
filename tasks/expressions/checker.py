"""Everything that is wrong with an expression whose grammar is right: names, arguments, places. All of it at once."""

import difflib
from collections.abc import Callable, Collection, Iterator

from tasks.expressions.errors import EvaluationError, ExpressionError
from tasks.expressions.regex import PatternError
from tasks.expressions.signature import COMPARE_WORDS, FUNCTIONS, Function, Place, Type
from tasks.expressions.tree import Attribute, Call, Constant, Keyword, Node, walk
from tasks.expressions.values import Flow

_LITERALS = {"true": '"True"', "false": '"False"'}
_FEW = 12
"""Attributes of a source that a sentence lists."""


def find_problems(
    root: Node, text: str, *, attributes: Collection[str] | None, place: Place
) -> Iterator[ExpressionError]:
    """Every semantic problem of a tree, in the order of the text."""
    checker = _Checker(root, text, attributes, place)
    for node in walk(root):
        match node:
            case Attribute():
                yield from checker.attribute(node)
            case Keyword():
                yield from checker.keyword(node)
            case Call():
                yield from checker.call(node)


class _Checker:
    def __init__(self, root: Node, text: str, attributes: Collection[str] | None, place: Place) -> None:
        self.root = root
        self.text = text
        self.attributes = attributes
        self.place = place
        self.compare_words = _compare_words(root)

    def problem(self, sentence: str, node: Node) -> ExpressionError:
        return ExpressionError(sentence, self.text, node.start)

    def attribute(self, node: Attribute) -> Iterator[ExpressionError]:
        if self.attributes is not None and node.name not in self.attributes:
            yield self.problem(
                f"The source has no attribute [{node.name}]{_nearest_attribute(node.name, self.attributes)}", node
            )

    def keyword(self, node: Keyword) -> Iterator[ExpressionError]:
        if node.name in tuple(Flow):
            if self.place is not Place.MAPPING:
                yield self.problem(f"{node.name} has no meaning in {self.place}", node)
        elif node.name in COMPARE_WORDS:
            if node not in self.compare_words:
                yield self.problem(f"{node.name} only says how InStr compares", node)
        else:
            yield self.problem(f"The word {node.name} means nothing here{self.advice(node.name)}", node)

    def advice(self, name: str) -> str:
        if name.lower() in _LITERALS:
            return f"; write {_LITERALS[name.lower()]}"
        if name in FUNCTIONS:
            return f"; a function is called with brackets: {FUNCTIONS[name].call_form}"
        if self.attributes is not None and name in self.attributes:
            return f"; put an attribute in brackets: [{name}]"
        near = _nearest(name, [*Flow, *COMPARE_WORDS])
        return near or '; put text in double quotes ("text") and attributes in brackets ([attribute])'

    def call(self, call: Call) -> Iterator[ExpressionError]:
        function = FUNCTIONS.get(call.name)
        if function is None:
            yield self.problem(f"There is no function {call.name}{_nearest(call.name, FUNCTIONS)}", call)
            return
        if self.place not in function.places:
            yield self.problem(f"{call.name} cannot stand in {self.place}", call)
        if function.top_only and call is not self.root:
            yield self.problem(f"{call.name} cannot stand inside anything else; it must be the whole expression", call)
        wrong_count = _wrong_count(function, len(call.arguments))
        if wrong_count:
            yield self.problem(wrong_count, call)
            return
        yield from self.arguments(call, function)
        if function.check is not None:
            for node, sentence in function.check(call):
                yield self.problem(_sentence(sentence), node)

    def arguments(self, call: Call, function: Function) -> Iterator[ExpressionError]:
        for index, argument in enumerate(call.arguments):
            parameter = function.parameter(index)
            if argument is None:
                if parameter.required and not parameter.variadic:
                    yield self.problem(f"{call.name} needs {parameter.name}, which is left out", call)
                continue
            if not isinstance(argument, Constant | Keyword) or (
                isinstance(argument, Keyword) and parameter.type is not Type.COMPARISON
            ):
                continue
            value = argument.value if isinstance(argument, Constant) else argument.name
            if isinstance(argument, Keyword) and value not in COMPARE_WORDS:
                continue
            if sentence := _refusal(parameter.check_literal, value):
                yield self.problem(f"{call.name}, {parameter.name}: {sentence}", argument)


def _refusal(check: Callable[[str | int | float], None], value: str | int | float) -> str | None:
    try:
        check(value)
    except PatternError as error:
        return f"{error.problem} (character {error.offset + 1} of the pattern)"
    except EvaluationError as error:
        return error.problem
    return None


def _compare_words(root: Node) -> list[Node]:
    """The bare words that stand where a way to compare is expected."""
    return [
        argument
        for call in walk(root)
        if isinstance(call, Call) and call.name in FUNCTIONS
        for index, argument in enumerate(call.arguments)
        if argument is not None and _takes_compare_word(FUNCTIONS[call.name], index)
    ]


def _takes_compare_word(function: Function, index: int) -> bool:
    inside = index < len(function.parameters) or bool(function.variadic)
    return inside and function.parameter(index).type is Type.COMPARISON


def _wrong_count(function: Function, count: int) -> str | None:
    # Optional parameters may stand before required ones: what counts is the place of the last required one.
    least = max((index + 1 for index, parameter in enumerate(function.parameters) if parameter.required), default=0)
    most = None if function.variadic else len(function.parameters)
    if count < least or (most is not None and count > most):
        expected = str(least) if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        noun = "argument" if expected == "1" else "arguments"
        return f"{function.call_form} takes {expected} {noun}; here {'is' if count == 1 else 'are'} {count}"
    return None


def _nearest(name: str, names: Collection[str]) -> str:
    folded = {other.lower(): other for other in names}
    found = folded.get(name.lower()) or next(iter(difflib.get_close_matches(name, names, n=1)), None)
    return f"; did you mean {found}?" if found else ""


def _nearest_attribute(name: str, names: Collection[str]) -> str:
    """The one that is meant, with blanks at its ends to be seen; else all of them where they are few."""
    stripped = next((other for other in names if other.strip() == name), None)
    if stripped is not None:
        return f"; did you mean [{stripped}]? Its name has blanks at an end"
    near = _nearest(name, names)
    return near or (f"; it has {', '.join(sorted(names))}" if 0 < len(names) <= _FEW else "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
