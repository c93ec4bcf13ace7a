"""The contract's behaviours, each with the lies that it has to catch.

A lie is an honest connector (or the kit) with one part replaced by a broken one: under it the behaviour must fail by an
assertion. A behaviour without a lie proves nothing and is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from connectors.kit import Kit, System
from tests.contract.bench import Gap, MemoryBench

Lie = Callable[[MemoryBench], None]


@dataclass(frozen=True)
class Behaviour:
    """One rule of the contract, shown on a bench."""

    number: int
    name: str
    show: Callable[[Any], None]
    lies: Mapping[str, Lie]


BEHAVIOURS: list[Behaviour] = []


def behaviour(number: int, **lies: Lie) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Registers a function as a behaviour of the contract."""
    if not lies:
        raise ValueError("a behaviour needs a lie that it catches")

    def register(show: Callable[[Any], None]) -> Callable[[Any], None]:
        BEHAVIOURS.append(Behaviour(number, show.__name__, show, lies))
        return show

    return register


def author(**parts: Callable[..., Any]) -> Lie:
    """An author's lie: each part is a function that takes the honest function and gives a broken one."""

    def lie(bench: MemoryBench) -> None:
        system: System = bench.system
        bench.system = replace(system, **{name: broken(getattr(system, name)) for name, broken in parts.items()})

    return lie


def kit(**parts: Any) -> Lie:
    """A kit's lie: each part is a function that takes the honest part and gives a broken one."""

    def lie(bench: MemoryBench) -> None:
        honest: Kit = bench.kit
        bench.kit = replace(honest, **{name: broken(getattr(honest, name)) for name, broken in parts.items()})

    return lie


def show_kept(
    bench: Any, behaviour: Behaviour, gaps: Mapping[tuple[str, str], str], otherwise: Mapping[tuple[str, str], str]
) -> None:
    """A rule kept by a bench; what a system cannot show (``gaps``), or does ``otherwise``, is declared."""
    rule = bench.name, behaviour.name
    if rule in gaps or rule in otherwise:
        with pytest.raises(Gap if rule in gaps else AssertionError):
            behaviour.show(bench)
    else:
        behaviour.show(bench)
