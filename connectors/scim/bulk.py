"""Writes that are ready at the same time, put into one request: SCIM Bulk, where it is offered and not slower.

To everything above it this is a session like the one below it: a call goes in, its own answer comes out, and what that
means is decided by the same table. Whether the service does more that way is tried out: so many writes one by one, as
many together, and the faster of the two from then on. Below that number of writes nobody asks for Bulk at all.

Nothing is believed because it worked one by one: see ``Applier``, which looks at the first of each kind.

Source: RFC 7644 section 3.7 (bulk operations); RFC 7643 section 5 (what a service says of them).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import orjson

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode, SchemaMismatchError, UnknownOutcomeError
from connectors.http import Answer, Call, Decision, Effect, decide
from connectors.rate_limits import is_rate_limit
from connectors.scim.errors import status_in
from connectors.throttle import Clock

BULK = "/Bulk"
BULK_REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
TRIAL = 300
"""Writes that are sent in each way before the two are compared."""
MOST_OPERATIONS = 100
"""In one request, whatever the service would take: when its answer is lost, so many entries have to be looked at."""
QUIET_ROUNDS = 3
"""Rounds of the loop without anybody new after which a request is put together."""
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ENVELOPE = 256
"""Bytes that an operation takes besides its data."""
_NOTHING_DONE = frozenset({403, 404, 405, 413, 415, 501, 505})
"""Refusals of a whole request after which nothing of it was done for certain."""

_log = logging.getLogger(__name__)


class Session(Protocol):
    """Sends calls."""

    @property
    def address(self) -> str:
        """The base address, for people."""
        ...

    async def send(self, call: Call) -> Answer:
        """See :class:`connectors.http.HttpSession`."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """How much of Bulk a service offers."""

    operations: int
    """In one request at most; 0 where it does not offer any."""
    payload: int
    """Bytes of one request at most."""


NO_OFFER = Offer(0, 0)


def offer_in(config: Mapping[str, Any]) -> Offer:
    """What a service provider configuration says about Bulk."""
    bulk = config.get("bulk")
    if not isinstance(bulk, dict) or bulk.get("supported") is not True:
        return NO_OFFER
    return Offer(_number(bulk.get("maxOperations"), MOST_OPERATIONS), _number(bulk.get("maxPayloadSize"), 1_048_576))


def _number(value: Any, default: int) -> int:
    """A limit; services that have none write nothing or zero."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default


class Speed:
    """Writes a second, counting only the time in which any were under way."""

    def __init__(self) -> None:
        self.done = 0
        self.most = 0
        """Under way at once."""
        self._busy_s = 0.0
        self._under_way = 0
        self._since = 0.0

    def begin(self, moment: float) -> None:
        """One more is under way."""
        if not self._under_way:
            self._since = moment
        self._under_way += 1
        self.most = max(self.most, self._under_way)

    def end(self, moment: float) -> None:
        """One is over."""
        self._under_way -= 1
        self.done += 1
        self._busy_s += moment - self._since
        self._since = moment

    @property
    def per_s(self) -> float:
        """Infinite where no time has passed."""
        return self.done / self._busy_s if self._busy_s > 0 else float("inf")


@dataclass(slots=True, eq=False)
class _Waiting:
    """A call that goes with the next request."""

    call: Call
    answer: "asyncio.Future[Answer]"

    @property
    def size(self) -> int:
        return _ENVELOPE + len(self.call.path) + len(self.call.body or b"")


class BulkSession:
    """A session that puts writes together where the service takes them together faster.

    ``ask``: gives what the service offers; asked once, and only when there is enough to write. ``width``: requests in
    flight at most. Belongs to one event loop.
    """

    def __init__(self, session: Session, ask: Callable[[], Awaitable[Offer]], *, width: int, clock: Clock) -> None:
        self._session = session
        self._ask = ask
        self._width = width
        self._clock = clock
        self._asked = False
        self._offer = NO_OFFER
        self._singly, self._together = Speed(), Speed()
        self._chosen = False
        self._waiting: list[_Waiting] = []
        self._under_way = 0
        self._in_flight = 0
        self._gathering = False
        self._free = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking = asyncio.Lock()
        self.seen: set[tuple[Kind, Action]] = set()
        """What was looked at after it went with others, and was done."""
        self.turn = asyncio.Lock()
        """Held by a change that goes with others for the first time."""

    @property
    def address(self) -> str:
        """See :class:`Session`."""
        return self._session.address

    @property
    def together(self) -> bool:
        """True while writes go together."""
        return self._offer.operations > 1

    @property
    def operations(self) -> int:
        """Writes that may go together at most."""
        return max(1, min(self._offer.operations, MOST_OPERATIONS))

    def give_up(self, reason: str) -> None:
        """From now on writes go one by one."""
        if self.together:
            _log.warning("Bulk requests are no longer used: %s", reason)
        self._offer = NO_OFFER

    async def send(self, call: Call) -> Answer:
        """See :class:`connectors.http.HttpSession`."""
        if call.method not in _WRITES:
            return await self._session.send(call)
        if not self._asked and self._singly.done >= TRIAL:
            async with self._asking:
                if not self._asked:
                    self._offer, self._asked = await self._ask(), True
        together = call.sociable and self.together and call.headers is None
        speed = self._speed(together=together)
        speed.begin(self._clock.now())
        try:
            return await (self._send_together(call) if together else self._session.send(call))
        finally:
            speed.end(self._clock.now())
            self._compare()

    def _speed(self, *, together: bool) -> Speed:
        """Where a write counts; the first that goes together is looked at while all others wait, and counts nowhere."""
        if not together:
            return self._singly
        return self._together if self.seen else Speed()

    def _compare(self) -> None:
        if self._chosen or not self.together or self._together.done < max(TRIAL, self._together.most):
            return  # the first answers come late, when many wait for them at once
        self._chosen = True
        found = f"{self._together.per_s:.0f} writes a second together, {self._singly.per_s:.0f} one by one"
        if self._together.per_s < self._singly.per_s:
            self.give_up(f"{found}.")
        else:
            _log.info("Bulk requests are used: %s.", found)

    # -- together ------------------------------------------------------------------------------------------------

    async def _send_together(self, call: Call) -> Answer:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(call, loop.create_future())
        self._waiting.append(waiting)
        self._under_way += 1
        if not self._gathering:
            self._gathering = True
            self._start(self._gather())
        try:
            return await waiting.answer
        finally:
            self._under_way -= 1

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _gather(self) -> None:
        """Share waiting changes out among the requests that may be in flight, until none waits."""
        while self._waiting:
            await self._all_here()
            async with self._free:
                await self._free.wait_for(lambda: self._in_flight < self._width)
            if not self.together:  # given up meanwhile
                left, self._waiting = self._waiting, []
                self._start(self._send_singly(left))
                break
            size = min(self.operations, ceil(self._under_way / self._width))
            self._in_flight += 1
            self._start(self._send_some(self._take(size)))
        self._gathering = False

    async def _all_here(self) -> None:
        """Returns when nothing else comes in this moment; who was just answered comes back with the next write."""
        count, quiet = 0, 0
        while quiet < QUIET_ROUNDS:
            quiet = quiet + 1 if len(self._waiting) == count else 0
            count = len(self._waiting)
            await asyncio.sleep(0)

    def _take(self, size: int) -> list[_Waiting]:
        """The first that wait, so many at most and within the bytes of one request; one in any case."""
        room = self._offer.payload - _ENVELOPE
        count = 0
        for one in self._waiting[:size]:
            room -= one.size
            if room < 0 and count:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def _send_some(self, some: Sequence[_Waiting]) -> None:
        try:
            await self._exchange(some)
        except Exception as error:  # the changes that wait are told, and say what it means
            for one in some:
                if not one.answer.done():
                    one.answer.set_exception(error)
        finally:
            async with self._free:
                self._in_flight -= 1
                self._free.notify_all()

    async def _exchange(self, some: Sequence[_Waiting]) -> None:
        """One request for all of them. Raises: what the session raises, for those that have no answer yet."""
        calls = [one.call for one in some]
        bulk = Call(
            "POST",
            BULK,
            calls[0].purpose if len(calls) == 1 else f"{calls[0].purpose} and {len(calls) - 1} more in one request",
            effect=Effect.ONCE if any(call.effect is Effect.ONCE for call in calls) else Effect.REPEATABLE,
            body=bulk_message(calls),
            weight=len(calls),
        )
        try:
            answer = await self._session.send(bulk)
        finally:
            for call in calls:
                call.sent += bulk.sent
                call.reached = call.reached or bulk.reached
                call.doubtful = call.doubtful or bulk.doubtful
        if answer.status in _NOTHING_DONE:
            self.give_up(f"the service refuses them (HTTP {answer.status}).")
            await self._send_singly(some)
            return
        results = _results(answer, calls) if 200 <= answer.status < 300 else None
        if results is None:
            self.give_up(f"the service does not answer them as the standard has it (HTTP {answer.status}).")
            results = {}
        await self._deal_out(some, results)

    async def _deal_out(self, some: Sequence[_Waiting], results: Mapping[int, Answer]) -> None:
        """Each gets its own answer, by the decision table."""
        again: list[_Waiting] = []
        for number, one in enumerate(some):
            answer = results.get(number)
            limited = answer is not None and is_rate_limit(answer.status, answer.headers, answer.body)
            decision = Decision.UNKNOWN if answer is None else decide(answer.status, one.call.effect, limited=limited)
            if answer is not None and decision in {Decision.OK, Decision.REJECT}:
                one.call.status = answer.status
                one.answer.set_result(answer)
            elif decision is Decision.UNKNOWN:
                said = "does not state the result" if answer is None else f"failed (HTTP {answer.status})"
                one.answer.set_exception(
                    UnknownOutcomeError(
                        f"Sent with others, and the service {said}: to {one.call.purpose}.",
                        code=ErrorCode.PROTOCOL_ERROR,
                    )
                )
            else:
                one.call.doubtful = one.call.doubtful or not (limited or (answer is not None and answer.status == 425))
                again.append(one)
        await self._send_singly(again)

    async def _send_singly(self, some: Sequence[_Waiting]) -> None:
        """One by one, at the session's pace, with the repetitions that the session knows."""

        async def send(one: _Waiting) -> None:
            try:
                one.answer.set_result(await self._session.send(one.call))
            except Exception as error:  # the changes that wait are told, and say what it means
                one.answer.set_exception(error)

        await asyncio.gather(*map(send, some))


def bulk_message(calls: Sequence[Call]) -> bytes:
    """The body of a bulk request, made of bodies that are JSON already."""
    operations = []
    for number, call in enumerate(calls):
        operation: dict[str, Any] = {"method": call.method, "path": call.path, "bulkId": str(number)}
        if call.body is not None:
            operation["data"] = orjson.Fragment(call.body)
        operations.append(operation)
    return orjson.dumps({"schemas": [BULK_REQUEST], "Operations": operations})


def _results(answer: Answer, calls: Sequence[Call]) -> dict[int, Answer] | None:
    """Answers by the numbers of the calls they belong to; None where this is no answer to a bulk request.

    What names neither its ``bulkId``, which only creates must have, nor a place that only one call is about is left
    out: nobody knows whose it is.
    """
    try:
        document = answer.json()
    except SchemaMismatchError:
        return None
    operations = document.get("Operations") if isinstance(document, dict) else None
    if not isinstance(operations, list):
        return None
    places: dict[tuple[str, str], int | None] = {}
    for number, call in enumerate(calls):
        key = (call.method, call.path)
        places[key] = None if key in places else number
    found: dict[int, Answer] = {}
    for operation in operations:
        if isinstance(operation, dict):
            whose = _whose(operation, calls, places)
            status = _status(operation.get("status"))
            if whose is not None and status is not None:
                found[whose] = _answer(operation, status, answer)
    return found


def _whose(
    operation: Mapping[str, Any], calls: Sequence[Call], places: Mapping[tuple[str, str], int | None]
) -> int | None:
    number, method = operation.get("bulkId"), str(operation.get("method", "")).upper()
    if isinstance(number, str) and number.isascii() and number.isdigit() and int(number) < len(calls):
        return int(number) if method in {"", calls[int(number)].method} else None
    path = "/" + "/".join(urlsplit(str(operation.get("location", ""))).path.split("/")[-2:])
    return places.get((method, path)) if method != "POST" else None


def _status(said: Any) -> int | None:
    """A status as the standard has it, as text, as a number, or as SCIM 1.1 had it: an object with a code."""
    code = said.get("code") if isinstance(said, dict) else said
    try:
        number = int(str(code))
    except ValueError:
        return None
    return number if 200 <= number < 600 else None


def _answer(operation: Mapping[str, Any], status: int, whole: Answer) -> Answer:
    """The answer that the operation alone would have got; a create without its entry has at least the entry's id."""
    response, location = operation.get("response"), operation.get("location")
    if response is None and status < 300 and operation.get("method") == "POST" and isinstance(location, str):
        response = {"id": unquote(urlsplit(location).path.rpartition("/")[2])}
    body = b"" if response is None else orjson.dumps(response)
    headers = type(whole.headers)({"location": location} if isinstance(location, str) and location.isascii() else {})
    stated = status_in(body) if status < 300 else None
    return Answer(stated or status, headers, body)
