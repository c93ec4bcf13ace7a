"""What the kit makes of a system, beside the contract: how its work ends."""

from pathlib import Path

import pytest

from connectors.contract import Kind
from connectors.errors import HaltedError
from tests.contract.bench import MemoryBench


def test_a_halted_read_is_no_fault_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is to end has not found a broken system: such an error would put the job into quarantine at once."""
    bench = MemoryBench(tmp_path)
    target = bench.target()

    def halted(store: object, verb: str) -> str:
        raise HaltedError("Nothing more may be sent: interrupted.")

    monkeypatch.setattr(type(bench.store), "strikes", halted)
    with pytest.raises(HaltedError):
        target.find(Kind.USER, "login", ["ann"], bench.wanted)
    with pytest.raises(HaltedError):
        target.read(bench.wanted)
    bench.close()
