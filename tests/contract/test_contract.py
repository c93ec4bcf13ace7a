"""The contract between stages and connectors, over every bench; and that each behaviour catches its lies.

Active Directory is in the long form alone (``PROVISOR_LONG=1``): Samba takes minutes for it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import reading, writing
from tests.contract.bench import Bench, MemoryBench
from tests.contract.benches import BENCHES
from tests.contract.directory_bench import DIRECTORIES, directory_bench
from tests.contract.gaps import GAPS, OTHERWISE
from tests.contract.suite import BEHAVIOURS, Behaviour, show_kept

assert reading
assert writing

LONG = bool(os.environ.get("PROVISOR_LONG"))
SHOWN = sorted([*BENCHES, *(name for name, server in DIRECTORIES.items() if LONG or server != "samba")])


@pytest.fixture(params=SHOWN)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each bench in turn, empty."""
    name = request.param
    if name in DIRECTORIES:
        directory = request.getfixturevalue(DIRECTORIES[name])
        with directory_bench(name, directory, tmp_path) as opened:
            yield opened
    else:
        with BENCHES[name](tmp_path) as opened:
            yield opened


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda one: one.name)
def test_the_contract_is_kept(bench: Bench, behaviour: Behaviour) -> None:
    """Each rule, by each connector; what a system cannot show is declared."""
    show_kept(bench, behaviour, GAPS, OTHERWISE)


@pytest.mark.parametrize(
    ("behaviour", "lie"),
    [(behaviour, lie) for behaviour in BEHAVIOURS for lie in behaviour.lies],
    ids=lambda one: one.name if isinstance(one, Behaviour) else one,
)
def test_every_lie_is_caught(behaviour: Behaviour, lie: str, tmp_path: Path) -> None:
    """The honest connector passes, and with one part replaced by a broken one the behaviour fails by an assertion."""
    liar = MemoryBench(tmp_path)
    behaviour.lies[lie](liar)
    try:
        with pytest.raises(AssertionError):
            behaviour.show(liar)
    finally:
        liar.close()


def test_every_rule_of_the_contract_is_there() -> None:
    """42 rules, each once."""
    assert sorted(behaviour.number for behaviour in BEHAVIOURS) == list(range(1, 43))


def test_gaps_are_about_what_there_is() -> None:
    """No gap names a bench or a behaviour that is gone."""
    names = {behaviour.name for behaviour in BEHAVIOURS}
    assert not GAPS.keys() & OTHERWISE.keys()
    declared = GAPS | OTHERWISE
    assert {name for _, name in declared} <= names
    assert {bench for bench, _ in declared} <= {name.partition("-")[0] for name in [*BENCHES, *DIRECTORIES]}
