"""Every connector's bench: one line each."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.contract.bench import Bench, MemoryBench
from tests.contract.dropbox_bench import dropbox_bench
from tests.contract.entra_bench import entra_bench
from tests.contract.file_bench import file_bench
from tests.contract.salesforce_bench import salesforce_bench
from tests.contract.scim_bench import scim_bench
from tests.contract.servicenow_bench import servicenow_bench
from tests.contract.sql_bench import sqlite_bench


@contextmanager
def _memory(folder: Path) -> Iterator[Bench]:
    bench = MemoryBench(folder)
    try:
        yield bench
    finally:
        bench.close()


BENCHES: dict[str, Callable[[Path], AbstractContextManager[Bench]]] = {
    "csv": file_bench,
    "dropbox": dropbox_bench,
    "entra": entra_bench,
    "memory": _memory,
    "salesforce": salesforce_bench,
    "scim": scim_bench,
    "servicenow": servicenow_bench,
    "sql": sqlite_bench,
}
