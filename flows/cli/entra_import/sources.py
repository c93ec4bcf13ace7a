"""From the stored tree of a mapping's source to the text of an expression.

Source: Microsoft Graph, attributeMappingSource and "synchronizationSchema: functions" (names of parameters).
"""

from collections.abc import Sequence

from flows.cli.entra_import.schema import Node, Parameter
from tasks.expressions import FUNCTIONS, Context, EvaluationError, Place, check_expression, compile_expression
from tasks.expressions.lexer import TokenKind, tokenize
from tasks.scope import SOFT_DELETED

_PARAMETERS = {
    "Replace": (
        "source",
        "find",
        "regularexpression",
        "regularexpressiongroupname",
        "replacement",
        "replacementpropertyname",
        "template",
    ),
    "Switch": ("source", "defaultvalue", "switchvalue"),
}
"""Names of parameters, in lower case, where a stored tree has others than the function reference."""
_REPEATED = frozenset({"switchvalue"})
_COMPARISONS = frozenset({"=", "<>", ">", ">=", "<", "<="})


def expression_of(node: Node, *, place: Place = Place.MAPPING) -> tuple[str, str | None]:
    """The expression of a node, and why it cannot be used; None when it can.

    The node's own text is taken where it has one and it can be used, else the text that its tree amounts to.
    """
    texts = [text for text in (node.expression, render(node)) if text and text.strip()]
    if not texts:
        return "", "it names no source"
    for text in texts:
        if not check_expression(text, place=place):
            return tidy(text), None
    problem = check_expression(texts[0], place=place)[0]
    return " ".join(texts[0].split()), str(problem)


def tidy(text: str) -> str:
    """The same expression on one line: what lies between its parts is at most one blank."""
    parts: list[str] = []
    end = 0
    for token in tokenize(text):
        gap = text[end : token.start]
        if parts and gap and token.kind is not TokenKind.END:
            parts.append(" ")
        parts.append(text[token.start : token.end])
        end = token.end
    return "".join(parts)


def render(node: Node) -> str:
    """The text that a tree amounts to; empty for a node that says nothing."""
    match node.type.casefold():
        case "attribute":
            return f"[{node.name}]" if node.name else ""
        case "constant":
            return quoted(node.name or "")
        case "function" if node.name in _COMPARISONS and len(node.parameters) == 2:
            left, right = (_argument(parameter) for parameter in node.parameters)
            return f"{left} {node.name} {right}"
        case "function" if node.name:
            return f"{node.name}({', '.join(_arguments(node.name, node.parameters))})"
        case _:
            return ""


def quoted(text: str) -> str:
    """A constant as an expression writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _arguments(function: str, parameters: Sequence[Parameter]) -> list[str]:
    """The arguments in their places, empty where one is left out; in the order of the tree where names say nothing."""
    names, repeated = _names(function)
    keys = [parameter.key.casefold() for parameter in parameters]
    if not set(keys) <= {*names, *repeated} or any(keys.count(name) > 1 for name in names):
        return [_argument(parameter) for parameter in parameters]
    by_name = {key: _argument(parameter) for key, parameter in zip(keys, parameters, strict=True)}
    rest = [_argument(parameter) for key, parameter in zip(keys, parameters, strict=True) if key in repeated]
    placed = [by_name.get(name, "") for name in names] + rest
    while placed and not placed[-1]:
        placed.pop()
    return placed


def _names(function: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of the parameters with a place of their own, and of those that repeat."""
    if function in _PARAMETERS:
        names = _PARAMETERS[function]
        return tuple(name for name in names if name not in _REPEATED), _REPEATED
    if function not in FUNCTIONS:
        return (), frozenset()
    parameters = FUNCTIONS[function].parameters
    repeated = frozenset(one.name.casefold() for one in parameters if one.variadic)
    return tuple(one.name.casefold() for one in parameters if one.name.casefold() not in repeated), repeated


def _argument(parameter: Parameter) -> str:
    node = parameter.value
    if node is None:
        return ""
    return node.expression if node.expression and not check_expression(node.expression) else render(node)


def negates_soft_deleted(text: str) -> bool:
    """Whether an expression only turns IsSoftDeleted round, in whatever way it is written."""
    expression = compile_expression(text)
    if expression.attributes != {SOFT_DELETED}:
        return False
    try:
        given = [expression.evaluate({SOFT_DELETED: deleted}, Context()) for deleted in (False, True)]
    except EvaluationError:
        return False
    return [str(value).casefold() for value in given] == ["true", "false"]
