"""Where the processor time of a load goes: ``provisor run`` once, with clocks inside.

    python -m tests.benchmarks.load_parts JOB

Called by ``tests.benchmarks.load --parts``, as a process of its own. Nothing is taken from a difference between two
runs: the thread of the connector's event loop, the batches, the ledger's part of them, and the local API's process are
each read from their own clock, when the load begins and when it ends. What is left of the process is the orchestrator's
client: task runs, logs, the bar.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LEDGER = ("journal", "record", "target_ids", "withdraw")


@dataclass(frozen=True, slots=True)
class Clocks:
    """Processor seconds so far."""

    process: float
    wire: float
    children: float
    """Of the processes that this one started: the local API."""
    memory_mb: float
    """Resident now."""


class Parts:
    """What was measured."""

    def __init__(self) -> None:
        self.batches = 0.0
        self.ledger = 0.0
        self.before: Clocks | None = None
        self.after: Clocks | None = None
        self._lock = threading.Lock()

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Adds the time of this thread to one part."""
        began = time.thread_time()
        try:
            yield
        finally:
            with self._lock:
                setattr(self, name, getattr(self, name) + time.thread_time() - began)


def read_clocks() -> Clocks:
    """All clocks as they are now."""
    wire = [thread.ident for thread in threading.enumerate() if thread.name == "scim"]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Clocks(
        process=time.process_time(),
        wire=sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in wire if ident is not None),
        children=sum(_children(os.getpid())),
        memory_mb=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
    )


def _children(parent: int) -> Iterator[float]:
    """Processor seconds of each process that ``parent`` started and that runs."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == parent:
                yield (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def watch(parts: Parts) -> None:
    """Puts the clocks in."""
    import flows.provision
    from flows.cycle.running import Running
    from tasks.ledger import Ledger

    def timed(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*args: Any, **named: Any) -> Any:
            with parts.clock(name):
                return inner(*args, **named)

        return outer

    for name in _LEDGER:
        setattr(Ledger, name, timed("ledger", getattr(Ledger, name)))
    flows.provision.load_batch = timed("batches", flows.provision.load_batch)
    loading = Running.loading

    @contextmanager
    def watched(self: Running, decision: Any) -> Iterator[Any]:
        with loading(self, decision) as progress:
            parts.before, parts.ledger, parts.batches = read_clocks(), 0.0, 0.0
            yield progress
        parts.after = read_clocks()

    Running.loading = watched  # type: ignore[method-assign]


def show(parts: Parts) -> None:
    """Prints what was found."""
    before, after = parts.before, parts.after
    assert before is not None
    assert after is not None
    whole, end = after.process - before.process + after.children - before.children, read_clocks()
    wire = after.wire - before.wire
    client = after.process - before.process - wire - parts.batches
    rows = {
        "the wire": wire,
        "the ledger": parts.ledger,
        "changes made ready, outcomes taken in": parts.batches - parts.ledger,
        "the orchestrator's client": client,
        "the orchestrator's API": after.children - before.children,
    }
    print(f"  while loading, {whole:.1f} s CPU:")
    for name, seconds in rows.items():
        print(f"    {name:38} {seconds:7.2f} s {seconds / whole:6.1%}")
    orchestration = rows["the orchestrator's client"] + rows["the orchestrator's API"]
    print(f"    {'orchestration in all':38} {orchestration:7.2f} s {orchestration / whole:6.1%}")
    print(f"  before and after, {end.process + end.children - whole:.1f} s CPU:")
    print(f"    {'imports, reading, planning, keeping':38} {end.process - (after.process - before.process):7.2f} s")
    print(f"    {'start and end of a local API':38} {end.children - (after.children - before.children):7.2f} s")
    print(f"  memory while loading: {before.memory_mb:,.0f} MB at the beginning, {after.memory_mb:,.0f} MB at the end")


def main() -> None:
    from flows.cycle.home import home
    from flows.serve.local_api import serving

    parts = Parts()
    with serving(home()) as api_ready:
        watch(parts)
        from flows.cli.here import run_cycle
        from flows.cycle.sight import CycleChoice

        report = run_cycle(Path(sys.argv[1]), CycleChoice.AUTO, at_once=(), api_ready=api_ready, quiet=True)
        assert report is not None
        assert report.exit_status == 0, report.message
        show(parts)


if __name__ == "__main__":
    main()
