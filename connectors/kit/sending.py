"""Changes carried out: each as a chain of steps, many at a time, until every one has an outcome.

A step is sent when its turn comes: at most as many requests in flight as the pace allows, steps of one lane together in
one request where the system takes that, steps with the same serial one after the other. What its answer means is the
connector's verdict; what follows from the verdict is decided here, the same for every system.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from connectors.contract import Action, Change, Kind, Made, Outcome, Write
from connectors.errors import (
    ErrorCode,
    FatalError,
    HaltedError,
    RejectedError,
    RetryableError,
    SchemaMismatchError,
    UnknownOutcomeError,
)
from connectors.http import Call
from connectors.http import Effect as CallEffect
from connectors.kit.chains import Chain, Shared
from connectors.kit.course import Course
from connectors.kit.reading import look_up
from connectors.kit.settling import (
    as_wired,
    held_of,
)
from connectors.kit.system import (
    KEY,
    Again,
    Done,
    Effect,
    Held,
    Lost,
    Refused,
    Sought,
    Step,
    Verdict,
)

BREATH = 200
"""Changes whose steps are worked out before the loop sees to anything else."""


class Load:
    """Some changes that do not depend on each other, carried out."""

    def __init__(self, shared: Shared, tell: Callable[[Outcome], None]) -> None:
        self._s = shared
        self._course = Course(shared, tell)
        self._single: deque[Chain] = deque()
        self._lanes: dict[str, deque[Chain]] = {}
        self._parked: dict[str, deque[Chain]] = {}
        self._busy: set[str] = set()
        self._open: list[Chain] = []
        self._fatal: FatalError | None = None

    async def run(self, changes: Sequence[Change], *, grace_s: Callable[[], float]) -> None:
        """Every change gets its outcome, once. Raises: FatalError, after what was under way has been told."""
        self._open = [Chain(change) for change in changes]
        try:
            await self._prepare(self._open)
            await self._send_all(grace_s)
        except HaltedError:
            pass
        except FatalError as error:
            self._fatal = self._fatal or error
        finally:
            for chain in self._open:
                if not chain.told:
                    self._course.leave(chain)
        if self._fatal is not None:
            raise self._fatal

    @property
    def _halted(self) -> bool:
        return self._s.kit.halts(self._s.halt.halted)

    # -- steps -------------------------------------------------------------------------------------------------------

    async def _prepare(self, chains: Sequence[Chain]) -> None:
        """Works out the steps of every change; those that cannot be sent are told at once."""
        held = await self._held(chains)
        for number, chain in enumerate(chains):
            if number % BREATH == BREATH - 1:  # connections that the system closes meanwhile are noticed
                await asyncio.sleep(0)
            key = chain.change.target_id or ""
            there = held.get(key)
            try:
                chain.change = as_wired(self._s.known, self._with_stand_in(chain.change), there.row if there else None)
                if self._needs_row(chain.change) and there is None and chain.change.action is not Action.CREATE:
                    self._finish_missing(chain)
                    continue
                if refusal := self._forbidden(chain.change, there):
                    chain.refused[""] = refusal
                    self._course.finish(chain)
                    continue
                self._plan(chain, chain.change, there)
            except RejectedError as error:
                chain.refused[""] = Refused(error.code or ErrorCode.UNPROCESSABLE_ENTITY, text=str(error))
                self._course.finish(chain)

    def _plan(self, chain: Chain, change: Change, held: Held | None) -> None:
        """The steps of a change, in the place of those it had."""
        assert self._s.system.steps is not None
        chain.held = held
        made = self._s.system.steps(self._s.known, change, held)
        match made:
            case Done():
                chain.done += 1
                chain.id = made.id or chain.id
                self._course.finish(chain)
            case Refused():
                chain.refused[made.about] = made
                self._course.finish(chain)
            case _ if not made:
                text = f"{self._s.system.name} has no way to {change.action} a {change.kind} like this."
                chain.refused[""] = Refused(ErrorCode.NOT_PERMITTED, text=text)
                self._course.finish(chain)
            case _:
                chain.steps = deque(
                    (step, change)
                    for step in [*self._s.kit.placeholder(self._s.system, self._s.known, change, held), *made]
                )
                self._queue(chain)

    def _with_stand_in(self, change: Change) -> Change:
        """A new group of a family that must have a member begins with the one that stands in."""
        if change.kind is not Kind.GROUP or change.action is not Action.CREATE:
            return change
        stand_in = next((one.needs_member for one in self._s.known.families if one.needs_member), None)
        return change if stand_in is None or change.members else replace(change, members=(stand_in,))

    def _needs_row(self, change: Change) -> bool:
        known, action = self._s.known, change.action
        if action in self._s.system.needs_row:
            return True
        switch = known.switch
        if switch is not None and switch.needs_row and switch.column in change.attributes:
            return change.kind is Kind.USER and action is not Action.CREATE
        stand_in = any(one.needs_member for one in known.families)
        found = any(one.made is Made.FOUND for one in known.families) and len(known.families) > 1
        return change.kind is Kind.GROUP and (
            (stand_in and action is Action.REMOVE_MEMBERS) or (found and action is Action.DELETE)
        )

    async def _held(self, chains: Sequence[Chain]) -> dict[str, Held]:
        """The entries whose steps depend on what is there. Raises: FatalError, HaltedError."""
        found: dict[str, Held] = {}
        for kind in Kind:
            mine = [one.change for one in chains if one.change.kind is kind and self._needs_row(one.change)]
            keys = tuple(dict.fromkeys(change.target_id for change in mine if change.target_id))
            if not keys:
                continue
            switch = self._s.known.switch
            paths = dict.fromkeys(path for change in mine for path in change.attributes)
            if switch is not None and kind is Kind.USER:
                paths.pop(switch.column, None)
                paths[switch.path] = None
            try:
                listing = await look_up(
                    self._s.system, self._s.wire, self._s.known, Sought(kind, KEY, keys, tuple(paths))
                )
            except (RejectedError, RetryableError) as error:
                raise SchemaMismatchError(f"The current values could not be read before the change: {error}") from error
            for key in listing.rows:
                held = held_of(listing, key)
                if held is not None:
                    found[key] = held
        return found

    def _forbidden(self, change: Change, held: Held | None) -> Refused | None:
        """Why a change must not be sent although the plan has it."""
        known = self._s.known
        if (change.kind, change.action) in known.cannot:
            return Refused(
                ErrorCode.NOT_PERMITTED, text=f"{self._s.system.name} does not {change.action} {change.kind}s."
            )
        for path in change.attributes:
            write = known.attribute(change.kind, path).write
            if write is Write.NEVER or (write is Write.ON_CREATE and change.action is not Action.CREATE):
                return Refused(ErrorCode.NOT_PERMITTED, path, f"{self._s.system.name} does not let anybody write it.")
        takes_away = change.action in (Action.DISABLE, Action.DELETE) and change.kind is Kind.USER
        if takes_away and known.signed_in is not None and change.target_id == known.signed_in:
            return Refused(ErrorCode.NOT_PERMITTED, text="Provisor signs in with this account.")
        if change.kind is Kind.GROUP and change.action is Action.DELETE and held is not None:
            family = held.row.get("provisor:family")
            if any(one.name == family and one.made is Made.FOUND for one in known.families):
                return Refused(ErrorCode.NOT_PERMITTED, text=f"A {family} can be filled but never deleted.")
        return None

    def _finish_missing(self, chain: Chain) -> None:
        if chain.change.action is Action.DELETE:
            chain.done += 1
        else:
            gone = f"The {chain.change.kind} no longer exists in {self._s.system.name}."
            chain.refused[""] = Refused(ErrorCode.INVALID_ANCHOR, text=gone)
        self._course.finish(chain)

    # -- turns -------------------------------------------------------------------------------------------------------

    def _queue(self, chain: Chain) -> None:
        step = chain.step
        if step.serial is not None and step.serial in self._busy:
            self._parked.setdefault(step.serial, deque()).append(chain)
        elif step.lane is None or self._s.system.pack is None:
            self._single.append(chain)
        else:
            self._lanes.setdefault(step.lane, deque()).append(chain)

    def _take(self) -> list[Chain]:
        """Chains whose next steps go into the next request; empty where none is ready."""
        while self._single:
            chain = self._single.popleft()
            if self._reserve(chain):
                return [chain]
        for lane in list(self._lanes):
            waiting = self._lanes[lane]
            pack: list[Chain] = []
            room = self._s.kit.pack_size(self._s.known)
            while waiting and (not pack or room >= waiting[0].step.weight) and room > 0:
                chain = waiting.popleft()
                if self._reserve(chain):
                    pack.append(chain)
                    room -= chain.step.weight
            if not waiting:
                del self._lanes[lane]
            if pack:
                return pack
        return []

    def _reserve(self, chain: Chain) -> bool:
        serial = chain.step.serial
        if serial is None:
            return True
        if serial in self._busy:
            self._parked.setdefault(serial, deque()).append(chain)
            return False
        self._busy.add(serial)
        return True

    def _release(self, serial: str | None) -> None:
        if serial is None:
            return
        self._busy.discard(serial)
        parked = self._parked.get(serial)
        if parked:
            self._queue(parked.popleft())
        if not parked:
            self._parked.pop(serial, None)

    async def _send_all(self, grace_s: Callable[[], float]) -> None:
        running: set[asyncio.Task[None]] = set()
        halted = asyncio.ensure_future(self._s.halt.event.wait())
        try:
            while True:
                while self._fatal is None and not self._halted and len(running) < self._s.width:
                    pack = self._take()
                    if not pack:
                        break
                    running.add(asyncio.ensure_future(self._round(pack)))
                if not running:
                    return
                if self._halted:
                    self._leave_unsent()
                    await asyncio.wait(running, timeout=grace_s())
                    return
                await asyncio.wait((*running, halted), return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in running if task.done()]:
                    running.discard(task)
                    task.result()
        finally:
            halted.cancel()
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=1.0)

    def _leave_unsent(self) -> None:
        """What waits for its turn is told at once."""
        waiting: Iterable[Chain] = [
            *self._single,
            *(chain for lane in self._lanes.values() for chain in lane),
            *(chain for parked in self._parked.values() for chain in parked),
        ]
        self._single.clear()
        self._lanes.clear()
        self._parked.clear()
        for chain in waiting:
            self._course.leave(chain)

    # -- one request ---------------------------------------------------------------------------------------------------

    async def _round(self, pack: list[Chain]) -> None:
        serials = sorted({chain.step.serial for chain in pack if chain.step.serial is not None})
        locks = [self._s.serials.setdefault(serial, asyncio.Lock()) for serial in serials]
        for lock in locks:
            await lock.acquire()
        try:
            verdicts = await self._exchange(pack)
            await asyncio.gather(
                *(self._course.after(one, verdict) for one, verdict in zip(pack, verdicts, strict=True))
            )
        except HaltedError:
            for chain in pack:
                if not chain.told:
                    self._course.leave(chain)
        except FatalError as error:
            self._fatal = self._fatal or error
        finally:
            for lock in locks:
                lock.release()
            for serial in serials:
                self._release(serial)
        for chain in pack:
            if not chain.told and chain.steps and self._fatal is None and not self._halted:
                self._queue(chain)

    async def _exchange(self, pack: list[Chain]) -> list[Verdict]:
        """One request for the next step of each, and what its answer means. Raises: HaltedError, FatalError."""
        system, known = self._s.system, self._s.known
        steps = [self._course.spelled(chain) for chain in pack]
        packed = len(steps) > 1 or (steps[0].lane is not None and system.pack is not None)
        effect = max((step.effect for step in steps), key=list(Effect).index)
        request = system.pack(known, steps) if packed and system.pack is not None else steps[0].request
        for chain in pack:
            chain.reached, chain.requests = effect is not Effect.READ, chain.requests + 1
        try:
            if self._halted:
                self._s.halt.refuse()
            answer = await self._s.wire.send(_copy(request, effect))
        except RetryableError as error:
            for chain in pack:
                chain.reached = False
            again = Again(error.retry_after_s, str(error), error.code or ErrorCode.TOO_MANY_REQUESTS)
            return [again] * len(pack)
        except UnknownOutcomeError as error:
            return [Lost(str(error))] * len(pack)
        except RejectedError as error:
            for chain in pack:
                chain.reached = False
            refusal = Refused(error.code or ErrorCode.UNPROCESSABLE_ENTITY, text=str(error))
            return [refusal] * len(pack)
        except (HaltedError, FatalError) as error:
            for chain in pack:
                chain.reached = False
            if isinstance(error, FatalError) and not self._s.kit.stops(error):
                return [Again(why=str(error))] * len(pack)
            raise
        return self._judged(steps, answer, packed=packed)

    def _judged(self, steps: Sequence[Step], answer: Any, *, packed: bool) -> list[Verdict]:
        system, known = self._s.system, self._s.known
        assert system.verdict is not None
        if not packed:
            return [system.verdict(known, steps[0], answer)]
        assert system.unpack is not None
        answers = list(system.unpack(known, steps, answer))
        if len(answers) != len(steps):
            return [Lost("The answer is not about every part of the request.")] * len(steps)
        return [
            Lost("The response does not state the result.") if one is None else system.verdict(known, step, one)
            for step, one in zip(steps, answers, strict=True)
        ]


def _copy(request: Any, effect: Effect) -> Any:
    """A request of its own to send: the same step may be sent again."""
    if isinstance(request, Call):
        return replace(request, effect=CallEffect(effect.value), sent=0, status=None, doubtful=False, reached=False)
    return copy.copy(request)
