"""Functions that turn one kind of value into another."""

import base64
from collections.abc import Sequence

from connectors.contract import Value
from tasks.expressions.context import Context
from tasks.expressions.functions.texts import SOURCE
from tasks.expressions.operands import Kind, Operand, Vector, as_text, boolean_vector
from tasks.expressions.signature import Example, Null, Parameter, Type, function, text_source
from tasks.expressions.values import text_of, truth


@function(
    "BitAnd",
    Parameter("value1", Type.NUMBER),
    Parameter("value2", Type.NUMBER),
    gives="The bits that both numbers have.",
    example=Example("BitAnd(&HF, &HF7)", 7),
    source=SOURCE,
)
def bit_and(first: int, second: int) -> int:
    return first & second


def _boolean_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    operand = operands[0]
    if isinstance(operand, Vector) and operand.kind is Kind.BOOLEAN:
        return boolean_vector(operand.data.fill_null(False))
    return None


@function(
    "CBool",
    Parameter("expression", Type.ANY, null=Null.IS_A_VALUE),
    gives="True for true, for numbers other than zero and for comparisons that hold; else False.",
    example=(Example("CBool([a] = [b])", True, {"a": "x", "b": "x"}), Example('CBool("0")', False)),
    source=SOURCE,
    compute_column=_boolean_column,
)
def c_bool(value: Value) -> bool:
    return truth(value)


def _text_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    text = as_text(operands[0])
    return text if isinstance(text, Vector) else None


@function(
    "CStr",
    Parameter("value", Type.ANY, each=True),
    gives="The value as text; booleans are True and False.",
    example=(Example("CStr(&HFF)", "255"), Example("CStr(IsPresent([mail]))", "False")),
    source=SOURCE,
    compute_column=_text_column,
)
def c_str(value: Value) -> str:
    return text_of(value)


@function(
    "ConvertToBase64",
    text_source(),
    gives="Base64 of the text's UTF-16LE bytes.",
    example=Example('ConvertToBase64("Hello world!")', "SABlAGwAbABvACAAdwBvAHIAbABkACEA"),
    source=SOURCE,
)
def convert_to_base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-16-le", "surrogatepass")).decode("ascii")


@function(
    "ConvertToUTF8Hex",
    text_source(),
    gives="The text's UTF-8 bytes in upper-case hexadecimal.",
    example=Example('ConvertToUTF8Hex("Hello world!")', "48656C6C6F20776F726C6421"),
    source=SOURCE,
)
def convert_to_utf8_hex(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").hex().upper()


@function(
    "IsString",
    Parameter("expression", Type.ANY, null=Null.IS_A_VALUE),
    gives="True when the value can be a text: anything but null, several values and sub-attributes.",
    example=(Example("IsString([mail])", True, {"mail": "ann@example.com"}), Example("IsString([mail])", False)),
    source=SOURCE,
)
def is_string(value: Value) -> bool:
    if isinstance(value, list):
        return len(value) == 1 and is_string(value[0])
    return value is not None and not isinstance(value, dict)


@function(
    "Redact",
    Parameter("value", Type.ANY),
    gives="The value; the provisioning log, plans and messages show [Redact] instead.",
    example=Example("Redact([userPrincipalName])", "ann@example.com", {"userPrincipalName": "ann@example.com"}),
    source=SOURCE,
    compute_column=lambda operands, context: operands[0],
)
def redact(value: Value) -> Value:
    return value
