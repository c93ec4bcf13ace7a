"""Replace, in all its forms."""

from collections.abc import Sequence

import pyarrow.compute as pc

from tasks.expressions.context import Context
from tasks.expressions.operands import Operand, Scalar, Vector, as_text, text_vector
from tasks.expressions.regex import Pattern, PatternError, compile_pattern
from tasks.expressions.signature import Example, Null, Parameter, Type, function
from tasks.expressions.tree import Call, Constant, Node

_OLD, _PATTERN, _GROUP, _REPLACEMENT, _ATTRIBUTE, _TEMPLATE = range(1, 7)


def _replace_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    text, *others = operands
    text = as_text(text) or text
    if not isinstance(text, Vector) or not all(isinstance(other, Scalar) for other in others):
        return None
    constants = [other.value for other in others if isinstance(other, Scalar)]
    constants.extend([None] * (6 - len(constants)))
    old, pattern, group, replacement, attribute, template = constants
    if text.kind != "text" or template is not None or not isinstance(replacement, str) or group is not None:
        return None
    if isinstance(old, str):
        return text_vector(pc.replace_substring(text.data, old, replacement)) if old else text
    if not isinstance(pattern, str) or attribute is not None:
        return None
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        return None
    replaced = compiled.replace_column(text.data, compiled.substitution(replacement))
    return None if replaced is None else text_vector(replaced)


def _check_replace(call: Call) -> list[tuple[Node, str]]:
    arguments = [*call.arguments, *[None] * (7 - len(call.arguments))]
    problems: list[tuple[Node, str]] = []
    if arguments[_OLD] is None and arguments[_PATTERN] is None:
        problems.append((call, "Replace needs oldValue or regexPattern to know what to look for"))
    elif all(arguments[index] is None for index in (_REPLACEMENT, _ATTRIBUTE, _TEMPLATE)):
        problems.append(
            (
                call,
                'Replace needs replacementValue, replacementAttributeName or template; "" removes what is found',
            )
        )
    elif arguments[_OLD] is None and all(arguments[index] is None for index in (_REPLACEMENT, _ATTRIBUTE)):
        problems.append((call, "Replace fills a template from oldValue, which is missing"))
    problems.extend(_check_group(arguments))
    return problems


def _check_group(arguments: Sequence[Node | None]) -> list[tuple[Node, str]]:
    pattern, group = arguments[_PATTERN], arguments[_GROUP]
    if not isinstance(pattern, Constant) or not isinstance(group, Constant) or not group.value:
        return []
    try:
        known = compile_pattern(str(pattern.value)).has_group(str(group.value))
    except PatternError:
        return []
    return [] if known else [(group, f"the pattern has no group named {group.value!r}")]


def _optional(name: str, type_: Type = Type.TEXT) -> Parameter:
    return Parameter(name, type_, required=False, null=Null.IS_A_VALUE)


@function(
    "Replace",
    Parameter("source", null=Null.IS_A_VALUE, each=True),
    _optional("oldValue"),
    Parameter("regexPattern", required=False, null=Null.IS_A_VALUE, check=compile_pattern),
    _optional("regexGroupName"),
    _optional("replacementValue"),
    _optional("replacementAttributeName"),
    _optional("template"),
    gives=(
        "The source with oldValue, every match of a .NET pattern, or one group of it replaced; or the template with "
        "oldValue replaced by the source; or, for an empty source, the group found in another attribute."
    ),
    example=(
        Example(
            'Replace([title], "Developer", , , "Engineer", , )', "Software Engineer", {"title": "Software Developer"}
        ),
        Example(r'Replace([mobile], , "[()\\s-]+", , "", , )', "+19998887777", {"mobile": "+1 (999) 888-7777"}),
        Example(
            r'Replace([name], , "(?<first>\\w+) (?<last>\\w+)", , "${last}, ${first}", , )',
            "Doe, John",
            {"name": "John Doe"},
        ),
        Example('Replace([mail], , "(?<Suffix>@(.)*)", "Suffix", "", , )', "ann", {"mail": "ann@example.com"}),
        Example('Replace([id], "{id}", , , , , "urn:user:{id}")', "urn:user:7", {"id": "7"}),
    ),
    source="Microsoft Entra ID, reference for writing expressions for attribute mappings",
    compute_column=_replace_column,
    check=_check_replace,
)
def replace(
    source: str | None,
    old: str | None,
    pattern: str | None,
    group: str | None,
    replacement: str | None,
    attribute: str | None,
    template: str | None,
) -> str | None:
    if pattern and group and replacement is None and not old:
        return _from_other(source, compile_pattern(pattern), group, attribute)
    if source is None:
        return None
    if old is not None and replacement is None and template is not None:
        return template.replace(old, source) if old else template
    value = (attribute if replacement is None else replacement) or ""
    if old is not None:
        return source.replace(old, value) if old else source
    if not pattern:
        return source
    compiled = compile_pattern(pattern)
    substitution = compiled.substitution(value)
    if group:
        return compiled.replace_group(source, group, substitution)
    return compiled.replace(source, substitution)


def _from_other(source: str | None, pattern: Pattern, group: str, other: str | None) -> str | None:
    """The source or, when it is empty, what a group matches in the other attribute."""
    if source or other is None:
        return source
    return pattern.find_group(other, group)
