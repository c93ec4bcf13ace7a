"""When a run is killed, and how: with no warning, at the n-th request that the service sees, or after some time."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.servers.scim_service import Commit, ScimService
from tests.servers.scim_service.answers import Request, Response


class Trap:
    """Kills a process from within the service, between two things that the service does."""

    def __init__(self) -> None:
        self.pid: int | None = None
        """Whom to kill; nobody as long as it is None."""
        self.sprung = False

    def spring(self) -> None:
        """Kills, once."""
        if self.pid is not None and not self.sprung:
            self.sprung = True
            os.kill(self.pid, signal.SIGKILL)


@contextmanager
def trap(service: ScimService, nth: int, commit: Commit) -> Iterator[Trap]:
    """A trap at the n-th request from now on, before or after the service has carried it out."""
    made, application, seen = Trap(), service.application, 0
    answer = application.answer

    def answer_or_kill(request: Request) -> Response:
        nonlocal seen
        seen += 1
        if seen == nth and commit is Commit.BEFORE:
            made.spring()
        response = answer(request)
        if seen == nth and commit is Commit.AFTER:
            made.spring()
        return response

    application.answer = answer_or_kill  # type: ignore[method-assign]
    try:
        yield made
    finally:
        application.answer = answer  # type: ignore[method-assign]


@contextmanager
def trap_in(service: Any, nth: int, commit: Commit) -> Iterator[Trap]:
    """The same in a service that answers on a loop of this process (``await service.answer(request)``)."""
    made, answer, seen = Trap(), service.answer, 0

    async def answer_or_kill(request: Any) -> Any:
        nonlocal seen
        seen += 1
        mine = seen == nth
        if mine and commit is Commit.BEFORE:
            made.spring()
        response = await answer(request)
        if mine and commit is Commit.AFTER:
            made.spring()
        return response

    service.answer = answer_or_kill
    try:
        yield made
    finally:
        del service.answer


@dataclass(frozen=True, slots=True)
class Death:
    """One moment at which a run dies."""

    nth: int = 0
    """At this request, counted from 1; 0 where time decides."""
    commit: Commit = Commit.BEFORE
    """Whether the service has carried out the request by then."""
    share: float = 0.0
    """After this share of the time that a run takes: it may be reading, planning, writing, or gone already."""

    @classmethod
    def draw(cls, chance: random.Random, requests: int) -> "Death":
        """A moment of a run that sends at least so many requests."""
        if chance.random() < 0.35:
            return cls(share=chance.random())
        return cls(nth=chance.randint(1, requests), commit=chance.choice(list(Commit)))
