"""Changes on their way: what a chain of steps knows of itself, and what all loads of one target share."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from connectors.contract import Action, Change
from connectors.errors import FatalError, HaltedError
from connectors.http import redact
from connectors.kit.reading import RULES, Rules
from connectors.kit.settling import Looking, looks, settle
from connectors.kit.system import Done, Effect, Held, Known, Refused, Step, System
from connectors.throttle import INTERRUPTED, OVERTAKEN, Clock

BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 30.0


@dataclass(slots=True, eq=False)
class Chain:
    """One change on its way."""

    change: Change
    """As the connector sees it."""
    steps: deque[tuple[Step, Change]] = field(default_factory=deque)
    """What is left to be sent, each with the part of the change that it is for."""
    held: Held | None = None
    """What was there before, where the connector needs to know it."""
    id: str | None = None
    address: str | None = None
    pending: set[str] = field(default_factory=set)
    refused: dict[str, Refused] = field(default_factory=dict)
    done: int = 0
    """Steps that have taken effect."""
    rounds: int = 0
    tries: int = 0
    requests: int = 0
    reached: bool = False
    """True when a request may have taken effect whose verdict is not known yet."""
    doubtful: bool = False
    """True when an earlier request for the step that is sent now may have taken effect."""
    verified: bool = False
    began: float = field(default_factory=time.perf_counter)
    told: bool = False

    @property
    def step(self) -> Step:
        return self.steps[0][0]

    @property
    def part(self) -> Change:
        """What the next step is for; after a create, with the new id."""
        part = self.steps[0][1]
        return part if self.id is None or part.target_id is not None else replace(part, target_id=self.id)


def placeholder_first(system: System, known: Known, change: Change, held: Held | None) -> list[Step]:
    """Before the last members leave a group that must have one: steps that let the placeholder in."""
    stand_in = next((one.needs_member for one in known.families if one.needs_member), None)
    if stand_in is None or change.action is not Action.REMOVE_MEMBERS or held is None or system.steps is None:
        return []
    if stand_in in held.members or set(held.members) - set(change.leaves):
        return []
    made = system.steps(known, replace(change, action=Action.ADD_MEMBERS, members=(stand_in,)), held)
    return [] if isinstance(made, Done | Refused) else list(made)


@dataclass(frozen=True, slots=True)
class Kit:
    """The kit's own rules as parts, so that a test can put a broken one in the place of any."""

    rules: Rules = RULES
    late: Callable[[float], Iterator[float]] = looks
    settle: Callable[..., Any] = settle
    may_repeat: Callable[[Effect], bool] = lambda effect: effect is not Effect.ONCE
    redact: Callable[..., str] = redact
    pack_size: Callable[[Known], int] = lambda known: max(1, known.limits.pack)
    waits: Callable[[float | None, float], float] = lambda asked, usual: usual if asked is None else asked
    splits: Callable[[tuple[str, ...]], bool] = lambda members: len(members) > 1
    """Whether a refused call for several members is tried in halves."""
    placeholder: Callable[[System, Known, Change, Held | None], list[Step]] = placeholder_first
    stops: Callable[[FatalError], bool] = lambda error: True
    halts: Callable[[bool], bool] = lambda halted: halted
    done_in_part: Callable[[int], bool] = lambda steps: steps > 0
    backoff_s: Callable[[int], float] = lambda tries: min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** (tries - 1))


KIT = Kit()


class Halt:
    """Whether nothing more may be sent; waiting ends with it. ``permit``: as ``connectors.contract.Pace`` has it."""

    def __init__(self, clock: Clock, permit: Callable[[], bool] | None = None) -> None:
        self.clock = clock
        self.event = asyncio.Event()
        self._permit = permit
        self._why = INTERRUPTED

    @property
    def halted(self) -> bool:
        if not self.event.is_set() and self._permit is not None and not self._permit():
            self._why = OVERTAKEN
            self.event.set()
        return self.event.is_set()

    def refuse(self) -> None:
        """Passes while something may be sent. Raises: HaltedError."""
        if self.halted:
            raise HaltedError(f"Nothing more may be sent: {self._why}.")

    async def pause(self, seconds: float) -> None:
        """Let that much time pass. Raises: HaltedError."""
        self.refuse()
        if seconds <= 0:
            return
        sleep = asyncio.ensure_future(self.clock.sleep(seconds))
        news = asyncio.ensure_future(self.event.wait())
        try:
            await asyncio.wait((sleep, news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            news.cancel()
        self.refuse()


@dataclass(slots=True)
class Shared:
    """What all loads of one target share."""

    system: System
    wire: Any
    known: Known
    halt: Halt
    width: int
    kit: Kit = KIT
    serials: dict[str, asyncio.Lock] = field(default_factory=dict)
    trusted: set[tuple[Any, ...]] = field(default_factory=set)
    """Shapes of changes whose answers proved true."""
    forms: dict[tuple[Any, ...], int] = field(default_factory=dict)
    """Spelling of a request that worked, by shape."""

    @property
    def looking(self) -> Looking:
        return Looking(self.system, self.wire, self.known, self.halt.pause)
