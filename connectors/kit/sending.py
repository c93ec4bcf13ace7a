"""Changes carried out: each as a chain of steps, many at a time, until every one has an outcome.

A step is sent when its turn comes: at most as many requests in flight as the pace allows, steps of one lane together in
one request where the system takes that, steps with the same serial one after the other. What its answer means is the
connector's verdict; what follows from the verdict is decided here, the same for every system.
"""

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from connectors.contract import Action, Change, Kind, Made, Outcome, Status, Write
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
from connectors.kit.reading import look_up
from connectors.kit.settling import (
    MEMBERSHIPS,
    Resend,
    Settled,
    as_wired,
    differing,
    held_of,
    hold,
)
from connectors.kit.system import (
    ENTRY,
    KEY,
    Again,
    Done,
    Effect,
    Held,
    Later,
    Look,
    Lost,
    Partly,
    Refused,
    Sought,
    Step,
    Stop,
    Trust,
    Verdict,
)

ROUNDS = 3
"""Times that a step is sent anew after a look has shown that it had no effect."""
PATIENCE = 8
"""Times that a step is sent which the system puts off."""
WHOLE_REFUSALS = frozenset(
    {ErrorCode.INVALID_ANCHOR, ErrorCode.UNRESOLVED_REFERENCE, ErrorCode.UNPROCESSABLE_ENTITY, ErrorCode.CONFLICT}
)
"""Refusals of a call for several members that may be about one of them."""


class Load:
    """Some changes that do not depend on each other, carried out."""

    def __init__(self, shared: Shared, tell: Callable[[Outcome], None]) -> None:
        self._s = shared
        self._tell = tell
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
                    self._leave(chain)
        if self._fatal is not None:
            raise self._fatal

    @property
    def _halted(self) -> bool:
        return self._s.kit.halts(self._s.halt.halted)

    # -- steps -------------------------------------------------------------------------------------------------------

    async def _prepare(self, chains: Sequence[Chain]) -> None:
        """Works out the steps of every change; those that cannot be sent are told at once."""
        held = await self._held(chains)
        for chain in chains:
            key = chain.change.target_id or ""
            there = held.get(key)
            try:
                chain.change = as_wired(self._s.known, self._with_stand_in(chain.change), there.row if there else None)
                if self._needs_row(chain.change) and there is None and chain.change.action is not Action.CREATE:
                    self._finish_missing(chain)
                    continue
                if refusal := self._forbidden(chain.change, there):
                    chain.refused[""] = refusal
                    self._finish(chain)
                    continue
                self._plan(chain, chain.change, there)
            except RejectedError as error:
                chain.refused[""] = Refused(error.code or ErrorCode.UNPROCESSABLE_ENTITY, text=str(error))
                self._finish(chain)

    def _plan(self, chain: Chain, change: Change, held: Held | None) -> None:
        """The steps of a change, in the place of those it had."""
        assert self._s.system.steps is not None
        made = self._s.system.steps(self._s.known, change, held)
        match made:
            case Done():
                chain.done += 1
                chain.id = made.id or chain.id
                self._finish(chain)
            case Refused():
                chain.refused[made.about] = made
                self._finish(chain)
            case _ if not made:
                text = f"{self._s.system.name} has no way to {change.action} a {change.kind} like this."
                chain.refused[""] = Refused(ErrorCode.NOT_PERMITTED, text=text)
                self._finish(chain)
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
                raise SchemaMismatchError(f"What is there could not be read before it is changed: {error}") from error
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
                return Refused(ErrorCode.NOT_PERMITTED, text=f"A {family} is filled, never deleted.")
        return None

    def _finish_missing(self, chain: Chain) -> None:
        if chain.change.action is Action.DELETE:
            chain.done += 1
        else:
            gone = f"The {chain.change.kind} no longer exists in {self._s.system.name}."
            chain.refused[""] = Refused(ErrorCode.INVALID_ANCHOR, text=gone)
        self._finish(chain)

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
            while waiting and len(pack) < self._s.kit.pack_size(self._s.known):
                chain = waiting.popleft()
                if self._reserve(chain):
                    pack.append(chain)
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
            self._leave(chain)

    # -- one request ---------------------------------------------------------------------------------------------------

    async def _round(self, pack: list[Chain]) -> None:
        serials = sorted({chain.step.serial for chain in pack if chain.step.serial is not None})
        locks = [self._s.serials.setdefault(serial, asyncio.Lock()) for serial in serials]
        for lock in locks:
            await lock.acquire()
        try:
            verdicts = await self._exchange(pack)
            await asyncio.gather(*(self._after(one, verdict) for one, verdict in zip(pack, verdicts, strict=True)))
        except HaltedError:
            for chain in pack:
                if not chain.told:
                    self._leave(chain)
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
        steps = [self._spelled(chain) for chain in pack]
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
            Lost("The answer does not say what came of it.") if one is None else system.verdict(known, step, one)
            for step, one in zip(steps, answers, strict=True)
        ]

    def _spelled(self, chain: Chain) -> Step:
        """The next step in the form that has worked for its like."""
        step = chain.step
        if callable(step.request):  # known only now: it is about the entry that an earlier step has made
            step = replace(step, request=step.request(chain.id or chain.change.target_id))
        number = self._s.forms.get(_shape(chain.part, step), 0)
        return step if number == 0 or number > len(step.forms) else replace(step, request=step.forms[number - 1])

    # -- what follows --------------------------------------------------------------------------------------------------

    async def _after(self, chain: Chain, verdict: Verdict) -> None:
        """What follows from a verdict. Raises: HaltedError, FatalError."""
        if isinstance(verdict, Later):
            verdict = await self._until_finished(chain, verdict)
        match verdict:
            case Done():
                await self._advance(chain, verdict)
            case Partly():
                chain.refused |= verdict.refused
                await self._advance(chain, Done())
            case Refused():
                await self._refuse(chain, verdict)
            case Look() | Lost():
                await self._settle(chain, verdict)
            case Again():
                await self._put_off(chain, verdict)
            case Stop():
                chain.reached = False
                raise verdict.error
            case Later():
                self._finish(chain, Status.LATER, job=verdict.job)

    async def _until_finished(self, chain: Chain, verdict: Later) -> Verdict:
        """The verdict about a job once it is finished, or ``Later`` where that takes too long."""
        system, known = self._s.system, self._s.known
        if system.poll is None or system.verdict is None:
            return verdict
        waited = 0.0
        answer: Verdict = verdict
        while isinstance(answer, Later) and waited < known.limits.job_s:
            await self._s.halt.pause(answer.after_s)
            waited += max(answer.after_s, 0.1)
            try:
                answer = system.verdict(known, chain.step, await system.poll(self._s.wire, known, answer.job))
            except RetryableError:
                continue
            except (RejectedError, UnknownOutcomeError) as error:
                return Lost(f"What came of the job could not be asked: {error}")
        return answer

    async def _advance(self, chain: Chain, verdict: Done) -> None:
        step, part = chain.steps[0]
        chain.reached = chain.doubtful = False
        chain.tries = 0
        if part.action is Action.CREATE and chain.id is None and (not step.does or ENTRY in step.does):
            chain.id = verdict.id
            if chain.id is None and part.target_id is None:
                await self._settle(chain, Lost("The answer does not name the new entry."))
                return
        chain.address = verdict.address or chain.address
        chain.pending |= verdict.pending
        chain.done += 1
        chain.steps.popleft()
        chain.rounds = 0
        if not chain.steps and not await self._verify(chain):
            return
        if not chain.steps:
            self._finish(chain)

    async def _refuse(self, chain: Chain, verdict: Refused) -> None:
        step, part = chain.steps[0]
        chain.reached = False
        if chain.doubtful:
            settled = await self._s.kit.settle(self._s.looking, part, step, lost=True)
            if isinstance(settled, Done):
                await self._advance(chain, settled)
                return
            if isinstance(settled, Lost):
                self._finish(chain, Status.UNKNOWN, why=settled.why)
                return
        if verdict.code in (ErrorCode.NOT_IMPLEMENTED, ErrorCode.METHOD_NOT_ALLOWED) and self._respell(chain):
            return
        if part.action in MEMBERSHIPS and verdict.code in WHOLE_REFUSALS:
            if self._s.kit.splits(part.members):
                self._halve(chain, part)
                return
            if chain.change.members != part.members or chain.done or len(chain.steps) > 1:
                chain.refused[part.members[0]] = verdict
                chain.steps.popleft()
                if not chain.steps:
                    self._finish(chain)
                return
        chain.refused[verdict.about] = verdict
        chain.steps.clear()
        self._finish(chain)

    def _respell(self, chain: Chain) -> bool:
        """True where another form of the request is left to be tried."""
        shape = _shape(chain.part, chain.step)
        number = self._s.forms.get(shape, 0) + 1
        if number > len(chain.step.forms):
            return False
        self._s.forms[shape] = number
        return True

    def _halve(self, chain: Chain, part: Change) -> None:
        """A refused call for several members, as two for half of them each: the one it is about is found."""
        assert self._s.system.steps is not None
        middle = len(part.members) // 2
        chain.steps.popleft()
        for members in (part.members[middle:], part.members[:middle]):
            half = replace(part, members=members)
            made = self._s.system.steps(self._s.known, half, None)
            if not isinstance(made, Done | Refused):
                chain.steps.extendleft((step, half) for step in reversed(list(made)))

    async def _settle(self, chain: Chain, verdict: Look | Lost) -> None:
        step, part = chain.steps[0]
        lost = isinstance(verdict, Lost)
        if lost and self._s.kit.may_repeat(step.effect) and chain.rounds < 1 and part.action is not Action.CREATE:
            chain.rounds += 1
            chain.doubtful = True
            await self._s.halt.pause(self._s.kit.backoff_s(chain.rounds))
            return
        settled: Settled = await self._s.kit.settle(self._s.looking, part, step, lost=lost or chain.doubtful)
        match settled:
            case Done():
                await self._advance(chain, settled)
            case Refused():
                chain.reached = chain.doubtful = False
                await self._refuse(chain, settled)
            case Lost():
                self._finish(chain, Status.UNKNOWN, why=f"{verdict.why} {settled.why}".strip())
            case Resend() if chain.rounds >= ROUNDS:
                chain.reached = False
                why = f"{verdict.why} It has not taken effect after {chain.rounds + 1} attempts.".strip()
                chain.refused[""] = Refused(ErrorCode.TIMEOUT if lost else ErrorCode.UNPROCESSABLE_ENTITY, text=why)
                self._finish(chain)
            case Resend():
                chain.reached = chain.doubtful = False
                chain.rounds += 1
                if settled.change.members != part.members:
                    self._send_rest(chain, settled.change)
                else:
                    await self._s.halt.pause(self._s.kit.backoff_s(chain.rounds))

    def _send_rest(self, chain: Chain, rest: Change) -> None:
        """Members that are left to be added or removed, in the place of the step that did the others."""
        assert self._s.system.steps is not None
        made = self._s.system.steps(self._s.known, rest, None)
        chain.steps.popleft()
        if not isinstance(made, Done | Refused):
            chain.steps.extendleft((step, rest) for step in reversed(list(made)))

    async def _put_off(self, chain: Chain, verdict: Again) -> None:
        chain.reached = False
        chain.tries += 1
        if chain.tries >= PATIENCE:
            asked = verdict.why or "The system puts it off"
            chain.refused[""] = Refused(verdict.code, text=f"{asked} ({chain.tries} attempts).")
            self._finish(chain)
            return
        await self._s.halt.pause(self._s.kit.waits(verdict.after_s, self._s.kit.backoff_s(chain.tries)))

    async def _verify(self, chain: Chain) -> bool:
        """False where the system answered yes and has not done it; what it ignored is sent once more, by itself."""
        known, change = self._s.known, chain.change
        shape = (change.kind, change.action, frozenset(change.attributes))
        if known.limits.trust is Trust.ANSWER or change.action in MEMBERSHIPS or change.action is Action.DELETE:
            return True
        if known.limits.trust is Trust.FIRST and shape in self._s.trusted:
            return True
        there = replace(change, target_id=chain.id or change.target_id)
        try:
            listing = await hold(self._s.looking, there)
        except (RejectedError, RetryableError):
            return True
        row = listing.rows.get(there.target_id or "")
        if row is None:
            return True
        missing = [path for path in differing(known, there, row, there.attributes) if path not in chain.pending]
        if not missing:
            self._s.trusted.add(shape)
            return True
        if chain.verified:
            for path in missing:
                ignored = f"The system answers yes, and {path} stays as it was."
                chain.refused[path] = Refused(ErrorCode.UNPROCESSABLE_ENTITY, path, ignored)
            return True
        chain.verified = True
        attributes = {path: change.attributes[path] for path in missing}
        self._plan_rest(
            chain, replace(there, action=Action.UPDATE, attributes=attributes), held_of(listing, str(row[KEY]))
        )
        return True

    def _plan_rest(self, chain: Chain, change: Change, held: Held | None) -> None:
        assert self._s.system.steps is not None
        made = self._s.system.steps(self._s.known, change, held)
        if not isinstance(made, Done | Refused):
            chain.steps = deque((step, change) for step in made)

    # -- telling -------------------------------------------------------------------------------------------------------

    def _leave(self, chain: Chain) -> None:
        """A change that is not finished: it was not sent, is done in part, or nobody knows."""
        if chain.reached or chain.doubtful:
            self._finish(chain, Status.UNKNOWN, why="Interrupted before the answer came.")
        elif chain.done:
            chain.refused.setdefault("", Refused(ErrorCode.SKIPPED, text="Interrupted before all of it was sent."))
            self._finish(chain)
        else:
            self._finish(chain, Status.NOT_SENT)

    def _finish(self, chain: Chain, status: Status | None = None, *, why: str = "", job: str | None = None) -> None:
        """Tells how a change ended, once."""
        if chain.told:
            return
        chain.told = True
        chain.steps.clear()
        if status is None:
            status = (
                Status.DONE
                if not chain.refused
                else Status.PARTLY
                if self._s.kit.done_in_part(chain.done)
                else Status.REJECTED
            )
        sentences = {about: self._sentence(chain, refusal) for about, refusal in chain.refused.items()}
        first = next(iter(chain.refused.values()), None)
        code = first.code if first is not None else ErrorCode.UNKNOWN_OUTCOME if status is Status.UNKNOWN else None
        message = self._s.kit.redact(why, _values(chain.change), length=400) if why else " ".join(sentences.values())
        self._tell(
            Outcome(
                change_id=chain.change.id,
                status=status,
                target_id=chain.id or (chain.change.target_id if status in (Status.DONE, Status.PARTLY) else None),
                code=code,
                message=message,
                attempts=max(1, chain.requests),
                duration_ms=round((time.perf_counter() - chain.began) * 1000),
                address=chain.address,
                refused=sentences,
                pending=frozenset(chain.pending),
                job=job,
            )
        )

    def _sentence(self, chain: Chain, refusal: Refused) -> str:
        text = self._s.kit.redact(refusal.text, _values(chain.change), length=400)
        about = f"{refusal.about}: " if refusal.about and refusal.about not in text else ""
        return f"{about}{text or f'Refused ({refusal.code}).'}"


def _shape(change: Change, step: Step) -> tuple[Any, ...]:
    return (change.kind, change.action, step.lane, step.does)


def _copy(request: Any, effect: Effect) -> Any:
    """A request of its own to send: the same step may be sent again."""
    if isinstance(request, Call):
        return replace(request, effect=CallEffect(effect.value), sent=0, status=None, doubtful=False, reached=False)
    return copy.copy(request)


def _values(change: Change) -> list[Any]:
    """Every value that must not stand in a message."""
    found: list[Any] = [change.target_id, change.label, *change.members]
    for value in (*change.attributes.values(), *change.before.values()):
        if isinstance(value, list | tuple | set | frozenset):
            found += value
        elif isinstance(value, dict):
            found += value.values()
        else:
            found.append(value)
    return [str(value) for value in found if value is not None and not isinstance(value, bool) and len(str(value)) > 1]
