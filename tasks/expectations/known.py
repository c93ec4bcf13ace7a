"""What is remembered of a job's data checks: what came of them on the last source, and what people were told.

    snapshots/<job>/checks.json   keys of rows and figures; no value of anybody is in it

Most cycles find the source as the last one did. Nothing else can come of its checks then, and nobody wants to read the
same warning every twenty minutes.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa

from connectors.contract import Snapshot
from tasks.expectations.results import CheckResult
from tasks.job import Checked, Job, OnFailure
from tasks.private import make_folder, replace_file

_FORMAT = 1
"""Another one with every change of the built-in checks, so that they are looked at again."""
_KEYS = 100_000
"""Keys of failing rows, beyond which results are rather worked out again than kept."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered."""

    digest: str = ""
    """Of the source and of everything that decides what comes of its checks; empty where there is none."""
    results: tuple[CheckResult, ...] = ()
    """What came of the checks on that source."""
    told: frozenset[str] = frozenset()
    """Marks of the findings of the last cycle, on whatever frame, and of why the source was not complete."""


NOTHING_KNOWN = Known()


def digest_of(job: Job, source: Snapshot) -> str:
    """Equal for two sources of which the same checks must find the same. Empty where that cannot be told."""
    if source.everybody:
        return ""  # it holds what changed, and the checks are about all of it
    found = hashlib.blake2b(digest_size=32)
    about = [_FORMAT, job.fingerprint(), job.checks.model_dump_json(), *(map(repr, source.unreadable))]
    found.update("\x1f".join(map(str, about)).encode())
    try:
        for frame in (source.users, source.groups, source.members):
            _digest_frame(frame, found)
    except pa.ArrowException:
        return ""  # a column of mixed values
    return found.hexdigest()


def _digest_frame(frame: pd.DataFrame, found: "hashlib.blake2b") -> None:
    """The keys and the columns one after the other, as Arrow writes them; however their parts lie in memory."""
    for name, values in (("", frame.index), *frame.items()):
        column = pa.array(values.array, from_pandas=True)
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        batch = pa.record_batch([column], names=[str(name)])
        with pa.ipc.new_stream(_Into(found), batch.schema) as stream:
            stream.write_batch(batch)


class _Into:
    """A file that only digests what is written to it."""

    closed = False

    def __init__(self, found: "hashlib.blake2b") -> None:
        self._found = found

    def write(self, some: Any) -> int:
        self._found.update(some)
        return memoryview(some).nbytes

    def flush(self) -> None:
        """Nothing waits."""


def mark_of(result: CheckResult) -> str:
    """Equal for a finding that is no news beside another one: the same rows fail the same check."""
    about: list[Any] = [result.frame, result.expectation, result.builtin]
    if result.builtin and result.rows is None:
        about.append(result.arguments.get("column"))  # a figure that is unusual goes on moving
    else:
        about += [sorted(result.arguments.items()), result.failing, result.keys, result.observed]
    return hashlib.sha256(repr(about).encode()).hexdigest()[:32]


def marks_of(findings: Iterable[CheckResult], doubts: Iterable[str] = ()) -> frozenset[str]:
    """The marks of all findings, and of the sentences that say why a source is not complete."""
    return frozenset(map(mark_of, findings)) | frozenset(map(mark_of_sentence, doubts))


def mark_of_sentence(sentence: str) -> str:
    """Equal for the same sentence; nobody can read it there."""
    return hashlib.sha256(sentence.encode()).hexdigest()[:32]


def read_known(folder: Path) -> Known:
    """What is kept in a job's folder of snapshots; nothing where it cannot be read."""
    try:
        found = json.loads((folder / "checks.json").read_bytes())
        return Known(found["digest"], tuple(map(_result, found["results"])), frozenset(found["told"]))
    except (OSError, ValueError, TypeError, KeyError):
        return NOTHING_KNOWN


def keep_known(folder: Path, known: Known) -> None:
    """Keeps it. Raises: OSError."""
    small = sum(len(one.keys) for one in known.results) <= _KEYS
    document = {
        "digest": known.digest if small else "",
        "results": [asdict(one) for one in known.results] if small else [],
        "told": sorted(known.told),
    }
    replace_file(make_folder(folder) / "checks.json", orjson.dumps(document, default=str))


def _result(document: dict[str, Any]) -> CheckResult:
    document |= {
        "frame": Checked(document["frame"]),
        "on_failure": OnFailure(document["on_failure"]),
        "keys": tuple(document["keys"]),
    }
    return CheckResult(**document)
