"""``provisor fmt``: job files laid out alike, so that a review shows what was changed and nothing else.

Only the layout changes: indentation, blanks at the ends of lines, blank lines, the last line end. Comments, order,
quotes and what the job means stay as they are.
"""

import io
import re
from collections.abc import Iterable
from pathlib import Path

from ruamel.yaml import YAML

from tasks.job import JobError, Problem, load_job

_WIDTH = 4096
"""No line is folded."""


def job_yaml(*, width: int) -> YAML:
    """Reads job files and writes them again, comments and quotes included, as ``provisor fmt`` lays them out."""
    yaml = YAML()
    yaml.width = width
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def tidy_lines(lines: Iterable[str]) -> str:
    """Lines as the text of a file: no blanks at their ends, one empty line at most, one line end at the end."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n") + "\n"


def formatted(path: Path) -> str:
    """The text of a job file as it should be laid out. Raises: JobError for a file that is no job."""
    before = load_job(path)
    text = path.read_text(encoding="utf-8-sig")
    yaml = job_yaml(width=_WIDTH)
    out = io.StringIO()
    yaml.dump(yaml.load(text), out)
    made = tidy_lines(out.getvalue().splitlines())
    _refuse_other_meaning(path, made, before.model_dump(exclude={"file", "warnings"}))
    return made


def _refuse_other_meaning(path: Path, text: str, meant: dict[str, object]) -> None:
    """Passes when the text says the same job. Raises: JobError."""
    other = path.with_name(f".{path.name}.formatted.yaml")
    try:
        other.write_text(text, encoding="utf-8")
        same = load_job(other).model_dump(exclude={"file", "warnings"}) == meant
    except JobError:
        same = False
    finally:
        other.unlink(missing_ok=True)
    if not same:
        raise JobError(
            [Problem(path, None, None, "", "It cannot be formatted without changing its meaning: left as it is.")]
        )
