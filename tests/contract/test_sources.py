"""The part of the contract that is about reading, over systems that are only read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connectors.clocks import FakeClock
from tests.contract import reading
from tests.contract.source_benches import GAPS, OTHERWISE, RULES, SOURCES, SourceBench
from tests.contract.suite import BEHAVIOURS, Behaviour, show_kept

assert reading
ABOUT_READING = [one for one in BEHAVIOURS if one.number in RULES]


@pytest.fixture(params=sorted(SOURCES))
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SourceBench]:
    """Each bench in turn, empty."""
    monkeypatch.setattr("connectors.kit.target.SystemClock", FakeClock)  # some are asked a few times a second only
    with SOURCES[request.param](tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("behaviour", ABOUT_READING, ids=lambda one: one.name)
def test_a_source_keeps_the_contract(bench: SourceBench, behaviour: Behaviour) -> None:
    """Each rule about reading, by each source; what a system cannot show is declared."""
    show_kept(bench, behaviour, GAPS, OTHERWISE)


def test_gaps_of_sources_are_about_what_there_is() -> None:
    """No gap names a source or a behaviour that is gone, and none stands in both tables."""
    names = {behaviour.name for behaviour in ABOUT_READING}
    assert len(names) == len(RULES)
    assert not GAPS.keys() & OTHERWISE.keys()
    assert {name for _, name in GAPS | OTHERWISE} <= names
    assert {source for source, _ in GAPS | OTHERWISE} <= set(SOURCES)
