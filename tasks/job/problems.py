"""What is said about a job file that cannot be used: problems with their line, all of them at once."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from connectors.errors import ProvisorError


class Severity(StrEnum):
    """Whether a job file can be used all the same."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a job file, or looks wrong, and what would be right. Holds no credential."""

    file: Path
    line: int | None
    """From 1; None where the file as a whole is meant."""
    column: int | None
    """From 1, in the file."""
    key: str
    """Path of the key: ``users.attributes.title.apply``; empty where the file as a whole is meant."""
    message: str
    """A sentence that says what would be right."""
    caret: str = ""
    """Lines of text with a mark under the place, where that helps."""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class JobError(ProvisorError):
    """A job file cannot be used. Holds every problem of the file, in the order of its lines, one line of text each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[Self], tuple[list[Problem]]]:
        return type(self), (self.problems,)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that was probably meant, if any; case, blanks, hyphens and underscores count little."""
    spelled = {re.sub(r"[\s_-]+", "", known).casefold(): known for known in names}
    found = difflib.get_close_matches(re.sub(r"[\s_-]+", "", name).casefold(), spelled, n=1, cutoff=0.65)
    return spelled[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a message about a wrong name: `` Did you mean title?``, or nothing where nothing is near."""
    near = nearest(name, names)
    return f" Did you mean {near}?" if near else ""


def finding(key: str, message: str) -> ValidationError:
    """A finding about one key of a section, to be raised by the section's own validator."""
    error = PydanticCustomError("job", "{message}", {"message": message})
    return ValidationError.from_exception_data("job", [InitErrorDetails(type=error, loc=(key,), input=None)])
