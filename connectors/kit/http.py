"""What connectors to HTTP systems share: calls with JSON, reads that must succeed, the usual meaning of a status."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from connectors.errors import CredentialsError, ErrorCode, ProvisorError
from connectors.http import Answer, Call, HttpSession, Problem, refusal
from connectors.kit.system import Again, Done, Lost, Opening, Partly, Refused, Step, Stop, Verdict
from connectors.rate_limits import retry_after_s


def open_http(settings: Any, opening: Opening) -> HttpSession:
    """A session for settings that are ``HttpSettings``: what ``System.open`` is for most HTTP systems."""
    return HttpSession(settings, folder=opening.folder, pace=opening.pace, clock=opening.clock)


def call(method: str, path: str, purpose: str, body: Any = None, **details: Any) -> Call:
    """One request with a JSON body. ``purpose`` follows "refused to": ``create the user``."""
    encoded = None if body is None else orjson.dumps(body, default=str)
    return Call(method, path, purpose, body=encoded, **details)


async def read_json(
    wire: HttpSession, path: str, purpose: str, *, params: Mapping[str, str | int] | None = None, known: bool = False
) -> Any:
    """The JSON that a GET gives. ``known``: the path names an entry, so that 404 means that it is gone.

    Raises: GoneError, CredentialsError and other errors of the decision table; SchemaMismatchError for no JSON.
    """
    asked = Call("GET", path, purpose, params=params, known=known)
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refused(wire, asked, answer)
    return answer.json()


def refused(wire: HttpSession, asked: Call, answer: Answer, problem: Problem | None = None) -> ProvisorError:
    """The error for an answer that is not what was asked for."""
    return refusal(answer, asked, problem or Problem(), address=wire.address)


def by_status(answer: Answer, step: Step, *, about: str = "", text: str = "") -> Verdict:
    """What a status says when its body says no more. ``about`` and ``text``: what the body says nevertheless."""
    said = text or f"HTTP {answer.status}"
    match answer.status:
        case 200 | 201 | 204:
            return Done()
        case 401 | 407:
            return Stop(CredentialsError(f"The credentials are no longer accepted ({said})."))
        case 403:
            return Refused(ErrorCode.INSUFFICIENT_RIGHTS, about, f"Not allowed to {step.request.purpose} ({said}).")
        case 404 | 410:
            return Refused(ErrorCode.INVALID_ANCHOR, about, f"The entry is not there ({said}).")
        case 405 | 501:
            return Refused(ErrorCode.NOT_IMPLEMENTED, about, f"The system cannot {step.request.purpose} ({said}).")
        case 409:
            return Refused(ErrorCode.CONFLICT, about, said)
        case 425 | 429:
            return Again(retry_after_s(answer.headers, now=time.time()), said)
        case status if status >= 500 or status == 408:
            return Lost(said)
        case _:
            return Refused(ErrorCode.UNPROCESSABLE_ENTITY, about, said)


def by_member(members: Sequence[str], refusals: Sequence[Refused | None]) -> Verdict:
    """What the answers about members mean, one for each; a missing right is told once."""
    refused = [one for one in refusals if one is not None]
    if not refused:
        return Done()
    if len(refused) == len(members) and (len(refused) == 1 or refused[0].code is ErrorCode.INSUFFICIENT_RIGHTS):
        return refused[0]
    return Partly({who: one for who, one in zip(members, refusals, strict=True) if one is not None})
