"""One request as the pages see it: who asks, what for, and how it is answered."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from flows.serve.web.errands import Errands
from flows.serve.web.provider import OpenIdProvider
from flows.serve.web.rendering import here, render_page
from flows.serve.web.rights import Deed
from flows.serve.web.settings import PagesSettings
from flows.serve.web.signing_in import Door, Person
from tasks.job import Job
from tasks.ledger import Ledger, Waiting

_DIGITS = 15
"""Of the largest number that means something here; databases refuse numbers of twenty."""


@dataclass(slots=True)
class Site:
    """What all pages work with."""

    ledger: Ledger
    state: Path
    """The state folder."""
    jobs: Callable[[], Mapping[str, Job]]
    """The jobs whose files are there, by name."""
    settings: PagesSettings
    door: Door
    errands: Errands
    clock: Callable[[], datetime]
    provider: OpenIdProvider | None = None
    prefect: str = ""
    """Where browsers find Prefect's UI; empty where there is none."""
    gathered: dict[Any, Any] = field(default_factory=dict)
    """What pages of large approvals say of all that waits, by what it was gathered from."""


@dataclass(slots=True)
class Visit:
    """One request."""

    request: Request
    site: Site
    person: Person | None
    form: Mapping[str, list[str]] = field(default_factory=dict)
    asked: Mapping[str, Sequence[Waiting]] | None = None
    """What waits, once it was looked up."""
    names: list[str] | None = None
    """Of all jobs, once they were looked up."""

    @property
    def now(self) -> datetime:
        """The present moment."""
        return self.site.clock()

    @property
    def ledger(self) -> Ledger:
        """What everything is read from."""
        return self.site.ledger

    @property
    def who(self) -> Person:
        """Who is signed in. Raises: HTTPException where nobody is."""
        if self.person is None:
            raise HTTPException(401)
        return self.person

    @property
    def by_htmx(self) -> bool:
        """Whether a part of a page is asked for."""
        return self.request.headers.get("HX-Request") == "true"

    def waiting(self) -> Mapping[str, Sequence[Waiting]]:
        """What nobody has decided about, of all jobs that this user may see; asked once a visit."""
        if self.asked is None:
            self.asked = self.ledger.lookup.waiting(self.jobs(Deed.FIND), self.now)
        return self.asked

    def param(self, name: str) -> str:
        """A part of the address's query, empty where it is not there."""
        return self.request.query_params.get(name, "").strip()[:500]

    def place(self, name: str) -> str:
        """Where a page of a list begins: a key of the address's query as it is, with its spaces, however long."""
        return self.request.query_params.get(name, "")

    def number(self, name: str) -> int | None:
        """A whole number of the address's query; None where there is none that could count anything."""
        return _whole(self.param(name))

    def numbered(self, name: str) -> int:
        """A whole number of the address's path. Raises: HTTPException 404 where nothing can have it."""
        number = _whole(self.request.path_params[name])
        if number is None:
            raise HTTPException(404)
        return number

    def field(self, name: str) -> str:
        """A field of the form, empty where it is not there."""
        return (self.form.get(name) or [""])[0].strip()

    def keys(self, name: str) -> frozenset[str]:
        """Keys of entries in the form: encoded, since browsers and pages change characters that are not seen.

        Raises: HTTPException 400 where one holds a NUL, which not every database takes.
        """
        found = frozenset(unquote(one) for one in self.form.get(name) or ())
        if any("\0" in one for one in found):
            raise HTTPException(400)
        return found

    def key_of_path(self) -> str:
        """The key of the entry that the address names; see :func:`entry_address`."""
        return self.request.path_params["anchor"] or self.place("key")

    def need(self, deed: Deed, job: str) -> str:
        """The job, where this may be done about it. Raises: HTTPException 404, as if there were no such page."""
        if not self.who.rights.may(deed, job) or job not in self.known_jobs():
            raise HTTPException(404)
        return job

    def known_jobs(self) -> list[str]:
        """All jobs: those with a file, and those that have run."""
        if self.names is None:
            self.names = sorted({*self.site.jobs(), *self.ledger.jobs()})
        return self.names

    def jobs(self, deed: Deed = Deed.READ) -> list[str]:
        """Those about which something may be done."""
        return self.who.rights.among(deed, self.known_jobs())

    def note_at(self, path: str, text: str) -> str:
        """An address of ours that says something when it is opened: sealed, so that no link of others can say it."""
        return f"{path}?{urlencode({'note': text, 'seal': self._seal(path, text)})}"

    def _note(self) -> str:
        """What the address says, where it was made for this session and this page."""
        text = self.request.query_params.get("note", "")
        seal = self.request.query_params.get("seal", "")
        mine = self.person is not None and hmac.compare_digest(
            seal.encode(), self._seal(self.request.url.path, text).encode()
        )
        return text if mine else ""

    def _seal(self, path: str, text: str) -> str:
        return hmac.new(self.who.session.secret.encode(), f"note {path} {text}".encode(), "sha256").hexdigest()

    def page(self, template: str, *, status: int = 200, **content: Any) -> Response:
        """A page as an answer."""
        return HTMLResponse(render_page(template, {**self.common(), **content}), status)

    def common(self) -> dict[str, Any]:
        """What every page shows."""
        person, rights = self.person, self.person.rights if self.person is not None else None
        return {
            "now": self.now,
            "zone": str(here()),
            "person": person,
            "rights": rights,
            "deed": Deed,
            "token": person.session.secret if person is not None else "",
            "path": self.request.url.path,
            "prefect": self.site.prefect if rights is not None and rights.may_somewhere(Deed.READ) else "",
            "to_decide": self._to_decide(),
            "htmx": self.by_htmx,
            "note": self._note(),
        }

    def _to_decide(self) -> int:
        """Questions that wait for the person who looks."""
        if self.person is None or not self.person.rights.may_somewhere(Deed.DECIDE):
            return 0
        mine = set(self.jobs(Deed.DECIDE))
        return sum(len(some) for job, some in self.waiting().items() if job in mine)


def _whole(text: str) -> int | None:
    """A number as addresses hold it: digits of ASCII, and not so many that no database takes them."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def see_other(path: str) -> Response:
    """The answer to a form: look there."""
    return RedirectResponse(path, 303)


def job_address(job: str, *more: str) -> str:
    """The address of a job's page."""
    return "/".join(["/jobs", *(quote(part, safe="") for part in (job, *more))])


def entry_address(job: str, kind: str, anchor: str) -> str:
    """The address of the page of a person or a group."""
    folder = "people" if kind == "user" else "groups"
    return f"/{folder}/{quote(job, safe='')}/{_last_part(anchor)}"


def belongings_address(job: str, kind: str, anchor: str) -> str:
    """The address of what a person or a group should be."""
    return f"/belongings/{quote(job, safe='')}/{quote(kind, safe='')}/{_last_part(anchor)}"


def _last_part(key: str) -> str:
    """A key at the end of an address; where browsers or proxies would change it as a path, as ``?key=`` instead."""
    text = quote(key, safe="")
    changed = key.strip(".") == "" or any(letter in "/\\;" or not letter.isprintable() for letter in key)
    return f"?key={text}" if changed else text
