"""What follows from a verdict: the next step, another attempt, a look, or the outcome that is told.

Decided here, the same for every system; what a connector says is only what an answer means for its step.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from connectors.contract import Action, Change, Outcome, Status
from connectors.errors import ErrorCode, RejectedError, RetryableError, UnknownOutcomeError
from connectors.kit.chains import Chain, Shared
from connectors.kit.settling import MEMBERSHIPS, Resend, Settled, differing, held_of, hold
from connectors.kit.system import (
    ENTRY,
    KEY,
    Again,
    Done,
    Held,
    Later,
    Look,
    Lost,
    Partly,
    Refused,
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


class Course:
    """The course of changes from one verdict to the next, until each has its outcome."""

    def __init__(self, shared: Shared, tell: Callable[[Outcome], None]) -> None:
        self._s = shared
        self._tell = tell

    def spelled(self, chain: Chain) -> Step:
        """The next step in the form that has worked for its like."""
        step = chain.step
        if callable(step.request):  # known only now: it is about the entry that an earlier step has made
            step = replace(step, request=step.request(chain.id or chain.change.target_id))
        number = self._s.forms.get(_shape(chain.part, step), 0)
        return step if number == 0 or number > len(step.forms) else replace(step, request=step.forms[number - 1])

    # -- what follows --------------------------------------------------------------------------------------------------

    async def after(self, chain: Chain, verdict: Verdict) -> None:
        """What follows from a verdict. Raises: HaltedError, FatalError."""
        if isinstance(verdict, Later):
            verdict = await self._until_finished(chain, verdict)
        match verdict:
            case Done():
                await self._advance(chain, verdict)
            case Partly():
                chain.refused |= verdict.refused
                await self._advance(chain, Done(verdict.id))
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
                self.finish(chain, Status.LATER, job=verdict.job)

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
                return Lost(f"The result of the job could not be read: {error}")
        return answer

    async def _advance(self, chain: Chain, verdict: Done) -> None:
        step, part = chain.steps[0]
        chain.reached = chain.doubtful = False
        chain.tries = 0
        if part.action is Action.CREATE and chain.id is None and (not step.does or ENTRY in step.does):
            chain.id = verdict.id
            if chain.id is None and part.target_id is None:
                await self._settle(chain, Lost("The response does not contain the id of the new entry."))
                return
        chain.address = verdict.address or chain.address
        chain.pending |= verdict.pending
        chain.done += 1
        chain.steps.popleft()
        chain.rounds = 0
        if not chain.steps and not await self._verify(chain):
            return
        if not chain.steps:
            self.finish(chain)

    async def _refuse(self, chain: Chain, verdict: Refused) -> None:
        step, part = chain.steps[0]
        chain.reached = False
        if chain.doubtful:
            settled = await self._s.kit.settle(self._s.looking, part, step, lost=True)
            if isinstance(settled, Done):
                await self._advance(chain, settled)
                return
            if isinstance(settled, Lost):
                self.finish(chain, Status.UNKNOWN, why=settled.why)
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
                    self.finish(chain)
                return
        chain.refused[verdict.about] = verdict
        chain.steps.clear()
        self.finish(chain)

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
            made = self._s.system.steps(self._s.known, half, chain.held)
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
                self.finish(chain, Status.UNKNOWN, why=f"{verdict.why} {settled.why}".strip())
            case Resend() if chain.rounds >= ROUNDS:
                chain.reached = False
                why = f"{verdict.why} It has not taken effect after {chain.rounds + 1} attempts.".strip()
                chain.refused[""] = Refused(ErrorCode.TIMEOUT if lost else ErrorCode.UNPROCESSABLE_ENTITY, text=why)
                self.finish(chain)
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
        made = self._s.system.steps(self._s.known, rest, chain.held)
        chain.steps.popleft()
        if not isinstance(made, Done | Refused):
            chain.steps.extendleft((step, rest) for step in reversed(list(made)))

    async def _put_off(self, chain: Chain, verdict: Again) -> None:
        chain.reached = False
        chain.tries += 1
        if chain.tries >= PATIENCE:
            asked = verdict.why or "The system postponed it"
            await self._refuse(chain, Refused(verdict.code, text=f"{asked} ({chain.tries} attempts)."))
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

    def leave(self, chain: Chain) -> None:
        """A change that is not finished: it was not sent, is done in part, or nobody knows."""
        if chain.reached or chain.doubtful:
            self.finish(chain, Status.UNKNOWN, why="Interrupted before the response arrived.")
        elif chain.done:
            chain.refused.setdefault("", Refused(ErrorCode.SKIPPED, text="Interrupted before all of it was sent."))
            self.finish(chain)
        else:
            self.finish(chain, Status.NOT_SENT)

    def finish(self, chain: Chain, status: Status | None = None, *, why: str = "", job: str | None = None) -> None:
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
