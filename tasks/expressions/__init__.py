"""The mapping language: how the attributes of a target follow from those of a source.

An expression is a call (``ToLower([mail])``), an attribute (``[mail]``) or a constant (``"Berlin"``). It is compiled
once and applied to the columns of a frame; `Expression.evaluate` gives the same for a single entry, step by step.

    text --lexer--> tokens --parser--> tree --checker--> Expression --columns--> Column
                                                                    --rows-----> value, Trace
"""

from tasks.expressions.columns import Column
from tasks.expressions.compiler import Expression, check_expression, compile_expression
from tasks.expressions.context import Context
from tasks.expressions.errors import EvaluationError, ExpressionError, NoUniqueValueError, RegexTimeoutError
from tasks.expressions.reference import function_reference
from tasks.expressions.regex import Pattern, PatternError, compile_pattern
from tasks.expressions.rows import State, Trace
from tasks.expressions.signature import FUNCTIONS, Function, Place
from tasks.expressions.values import Flow

__all__ = [
    "FUNCTIONS",
    "Column",
    "Context",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Flow",
    "Function",
    "NoUniqueValueError",
    "Pattern",
    "PatternError",
    "Place",
    "RegexTimeoutError",
    "State",
    "Trace",
    "check_expression",
    "compile_expression",
    "compile_pattern",
    "function_reference",
]
