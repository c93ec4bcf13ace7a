"""A service that shows what it has done only after a while: in lists, and in answers about single entries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime, timedelta

import orjson

from tests.servers.scim_service import ScimService
from tests.servers.scim_service.answers import Request, Response, ScimError

UNSEEN_LOOKS = 2
"""Times that a new entry is not there when it is asked for by its id."""
LATEST = timedelta(hours=1)
"""How late a list may be: the hour for which the product asks for whatever it has written lately."""


class Lateness:
    """Lists are those of the time before; entries that are new are not found by their id at first."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.on = False
        self._clock = clock
        self._pages: dict[tuple[str, str], tuple[datetime, Response]] = {}
        self._earlier: dict[tuple[str, str], tuple[datetime, Response]] = {}
        self._unseen: dict[str, int] = {}
        self.late_lists = 0
        """Pages that were out of date, or may have been."""

    def begin(self, *, late: bool) -> None:
        """A new time: what was listed until now is what is shown if this one is ``late``."""
        self.on = late
        self._earlier |= self._pages
        self._pages = {}
        self._unseen = {}

    def before(self, request: Request) -> Response | None:
        """What is answered instead; None for the truth."""
        if not self.on or request.method != "GET":
            return None
        listed_at, page = self._earlier.get(_listing(request), (None, None))
        if listed_at is not None and page is not None and self._clock() - listed_at < LATEST:
            self.late_lists += 1
            return copy(page)
        id_ = request.path.rpartition("/")[2]
        if self._unseen.get(id_, 0) > 0:
            self._unseen[id_] -= 1
            return ScimError(404, "There is no such resource").response()
        return None

    def note(self, request: Request, response: Response) -> None:
        """Remembers what was listed and what was made."""
        if request.method == "GET" and response.status == 200 and _listing(request)[0]:
            self._pages[_listing(request)] = self._clock(), copy(response)
        if self.on and request.method == "POST" and response.status == 201:
            self._unseen[str(orjson.loads(response.body)["id"])] = UNSEEN_LOOKS


def _listing(request: Request) -> tuple[str, str]:
    """Names a page of a list of everything; empty for another request."""
    whole = request.path.endswith(("/Users", "/Groups")) and "filter" not in request.query
    return (request.path, request.query) if whole else ("", "")


def _at_rest() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def lateness(service: ScimService, clock: Callable[[], datetime] = _at_rest) -> Iterator[Lateness]:
    """The service's answers go through it. ``clock``: where time passes between lists."""
    made, application = Lateness(clock), service.application
    answer = application.answer

    def answer_late(request: Request) -> Response:
        if (instead := made.before(request)) is not None:
            return instead
        response = answer(request)
        made.note(request, response)
        return response

    application.answer = answer_late  # type: ignore[method-assign]
    try:
        yield made
    finally:
        application.answer = answer  # type: ignore[method-assign]
