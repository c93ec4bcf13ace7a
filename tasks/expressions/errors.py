"""What can go wrong with an expression: while it is read, and while it is evaluated for one entry.

ProvisorError
├── ExpressionError             the text is wrong: correct the job file
└── RejectedError
    └── EvaluationError         one entry's values do not fit: hold the entry, go on
        ├── RegexTimeoutError       a pattern took too long on this value
        └── NoUniqueValueError      every candidate of SelectUniqueValue is taken
"""

from connectors.errors import ErrorCode, ProvisorError, RejectedError


class ExpressionError(ProvisorError):
    """The text of an expression is wrong.

    ``text`` is the whole expression; ``line`` and ``column`` are 1-based and lie inside it; ``problem`` is the sentence
    without the place.
    """

    code = ErrorCode.EXPRESSION_FAILED

    def __init__(self, problem: str, text: str, offset: int) -> None:
        self.text = text
        self.problem = problem
        offset = max(0, min(offset, len(text.rstrip()) - 1))
        line_start = text.rfind("\n", 0, offset) + 1
        self.line = text.count("\n", 0, offset) + 1
        self.column = offset - line_start + 1
        place = f"line {self.line}, column {self.column}" if self.line > 1 else f"column {self.column}"
        super().__init__(f"{problem.rstrip('.')} (at {place}).")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.problem, self.text, self.line, self.column)

    def caret(self) -> str:
        """The offending source line and, below it, a caret under the offending column."""
        source = self.text.split("\n")[self.line - 1].replace("\t", " ").rstrip("\r")
        return f"{source}\n{' ' * (self.column - 1)}^"


def _rebuild(problem: str, text: str, line: int, column: int) -> ExpressionError:
    start = sum(len(part) + 1 for part in text.split("\n")[: line - 1])
    return ExpressionError(problem, text, start + column - 1)


class EvaluationError(RejectedError):
    """The values of one entry do not fit an expression; the entry is held, the others go on.

    ``problem`` names what was expected and never the value, which may be a person's or a secret.
    """

    code = ErrorCode.EXPRESSION_FAILED

    def __init__(self, problem: str, *, place: str | None = None) -> None:
        self.problem = problem
        self.place = place
        super().__init__(f"{place}: {problem}" if place else problem)

    def at(self, place: str) -> "EvaluationError":
        """The same error, naming the function call it happened in; the innermost call wins."""
        return self if self.place else type(self)(self.problem, place=place)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_evaluation, (type(self), self.problem, self.place)


def _rebuild_evaluation(kind: type[EvaluationError], problem: str, place: str | None) -> EvaluationError:
    return kind(problem, place=place)


class RegexTimeoutError(EvaluationError):
    """A pattern that needs backtracking took too long on one value."""


class NoUniqueValueError(EvaluationError):
    """Every candidate of SelectUniqueValue is taken in the target."""

    code = ErrorCode.CONFLICT
