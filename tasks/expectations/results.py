"""What came of data checks, in the words and the result format of Great Expectations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.errors import FatalError
from tasks.job import Checked, OnFailure

_TOLD = 120
"""Letters of an argument that are shown; a set of values may be endless."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check that was looked at. It holds keys of rows and figures, never a value of a row."""

    frame: Checked
    expectation: str
    """Name of the expectation: ``expect_column_values_to_be_unique``."""
    arguments: Mapping[str, Any]
    """As the job gives them."""
    on_failure: OnFailure
    success: bool
    keys: tuple[str, ...] = ()
    """Keys of the rows that fail it, sorted; empty where the check is about the frame as a whole."""
    rows: int | None = None
    """Rows it looked at; None where it looks at the frame as a whole."""
    failing: int | None = None
    """How many of these fail."""
    observed: str = ""
    """What was found instead, where that is a figure."""
    builtin: str = ""
    """Name of the built-in check; empty for one that somebody wrote."""
    words: str = ""
    """What should be, and is not, as a sentence without a full stop; made of the arguments where it is empty."""

    @property
    def about(self) -> str:
        """The expectation as it is called: ``expect_column_values_to_be_unique(column=mail)``."""
        given = ", ".join(f"{name}={_short(value)}" for name, value in self.arguments.items())
        return f"{self.expectation}({given})"

    @property
    def sentence(self) -> str:
        """What does not hold, with its numbers."""
        name = f"built-in check {self.builtin}: {self.words}" if self.builtin else f"{self.about}: {self._found}"
        return f"Check on {self.frame}: {name}."

    @property
    def _found(self) -> str:
        if self.failing:
            return "1 row fails" if self.failing == 1 else f"{self.failing:,} rows fail"
        return f"observed {self.observed}" if self.observed else "does not hold"

    def as_json(self) -> dict[str, Any]:
        """The result format of Great Expectations, with keys of rows instead of their values."""
        result: dict[str, Any] = {}
        if self.rows is not None:
            failing = self.failing or 0
            result = {
                "element_count": self.rows,
                "unexpected_count": failing,
                "unexpected_percent": 100.0 * failing / self.rows if self.rows else 0.0,
                "unexpected_index_list": list(self.keys),
            }
        if self.observed:
            result["observed_value"] = self.observed
        meta = {"frame": str(self.frame), "on_failure": str(self.on_failure)}
        if self.builtin:
            meta |= {"builtin": self.builtin, "words": self.words}
        return {
            "success": self.success,
            "expectation_config": {"type": self.expectation, "kwargs": dict(self.arguments), "meta": meta},
            "result": result,
        }


class CheckFailedError(FatalError):
    """A check that the job says must hold does not; nothing was written."""

    def __init__(self, message: str, results: Sequence[CheckResult] = ()) -> None:
        super().__init__(message)
        self.results = tuple(results)
        """What came of the checks until then."""


def failed(results: Iterable[CheckResult]) -> list[CheckResult]:
    """The results that do not hold, in their order."""
    return [one for one in results if not one.success]


def refuse_failed(results: Sequence[CheckResult]) -> None:
    """Passes when no check has failed that stops the cycle. Raises: CheckFailedError, naming each of them."""
    fatal = [one.sentence for one in failed(results) if one.on_failure is OnFailure.STOP]
    if fatal:
        raise CheckFailedError(" ".join([*fatal, "Nothing was written."]), results)


def reasons_to_hold(results: Iterable[CheckResult], frame: Checked) -> dict[str, str]:
    """Keys of the rows of a frame that a check holds, to the sentence that says why."""
    held: dict[str, str] = {}
    for one in failed(results):
        if one.on_failure is OnFailure.HOLD_ROWS and one.frame is frame:
            held |= {key: one.sentence for key in one.keys if key not in held}
    return held


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}…"
