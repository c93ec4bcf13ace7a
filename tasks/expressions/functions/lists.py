"""Functions on multi-valued attributes."""

from connectors.contract import Value
from tasks.expressions.functions.texts import SOURCE
from tasks.expressions.signature import Example, Null, Parameter, Type, function, text_source


@function(
    "Count",
    Parameter("attribute", Type.ANY, null=Null.IS_A_VALUE),
    gives="Number of values; 0 for null, 1 for a single value.",
    example=Example("Count([proxyAddresses])", 2, {"proxyAddresses": ["a", "b"]}),
    source=SOURCE,
)
def count(value: Value) -> int:
    if isinstance(value, list):
        return len(value)
    return 0 if value is None else 1


@function(
    "Item",
    Parameter("attribute", Type.ANY),
    Parameter("index", Type.NUMBER, at_least=1),
    gives="One of several values, counted from 1; null where there are fewer.",
    example=Example("Item([proxyAddresses], 2)", "b", {"proxyAddresses": ["a", "b"]}),
    source=SOURCE,
)
def item(value: Value, index: int) -> Value:
    values = value if isinstance(value, list) else [value]
    return values[index - 1] if index <= len(values) else None


@function(
    "Split",
    text_source(),
    Parameter("delimiter", required=False, null=Null.IS_A_VALUE),
    gives="The parts between the delimiters (a comma by default), each trimmed, in order; null for an empty source.",
    example=Example('Split([roles], ",")', ["Reader", "Editor"], {"roles": "Reader, Editor"}),
    source=SOURCE,
)
def split(text: str, delimiter: str | None) -> Value:
    if not text:
        return None
    parts = text.split("," if delimiter is None else delimiter) if delimiter != "" else [text]
    return [part.strip() for part in parts]


@function(
    "RemoveDuplicates",
    Parameter("attribute", Type.ANY),
    gives="The values without repetitions, in the order of their first occurrence; case matters.",
    example=Example("RemoveDuplicates([proxyAddresses])", ["a", "b"], {"proxyAddresses": ["a", "b", "a"]}),
    source=SOURCE,
)
def remove_duplicates(value: Value) -> Value:
    if not isinstance(value, list):
        return value
    unique: list[Value] = []
    seen: set[tuple[type, Value]] = set()
    for element in value:
        if isinstance(element, list | dict):
            if element not in unique:
                unique.append(element)
        elif (type(element), element) not in seen:
            seen.add((type(element), element))
            unique.append(element)
    return unique
