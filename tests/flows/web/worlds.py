"""Pages of any ledger, asked without a server: a page takes milliseconds."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.types import ASGIApp

from flows.cycle.systems import now
from flows.serve.web.app import make_app
from flows.serve.web.rights import Grant
from flows.serve.web.serving import JobFiles
from flows.serve.web.settings import PagesSettings
from tasks.ledger import Ledger, LocalUser
from tests.flows.web.conftest import _HASHED, PASSWORD, token_of

PORT = 9
ADDRESS = f"http://127.0.0.1:{PORT}"


@dataclass(slots=True)
class Asked:
    """The pages of a ledger, and those who have signed in to them."""

    ledger: Ledger
    state: Path
    visitors: dict[str, "Asking"] = field(default_factory=dict)


@dataclass(slots=True)
class Asking:
    """Somebody who is signed in. A fault of a page is raised here."""

    http: httpx.Client

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page; a redirect is not followed."""
        return self.http.get(path, headers=headers)

    def post(self, path: str, **fields: str | list[str]) -> httpx.Response:
        """Sends a form with the token of this session."""
        token = token_of(self.get("/").text)
        return self.http.post(path, data={"form_token": token, **fields})


class _Straight(httpx.BaseTransport):
    """Hands requests to an application in this process, one after the other."""

    def __init__(self, app: ASGIApp, portal: BlockingPortal) -> None:
        self._inner = httpx.ASGITransport(app, client=("127.0.0.1", PORT))
        self._portal = portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._portal.call(self._answer, request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


@contextmanager
def pages_of(
    ledger: Ledger, folder: Path, people: Mapping[str, Grant], settings: PagesSettings | None = None
) -> Iterator[Asked]:
    """The pages of a ledger; ``folder``: where job files and state are, ``people``: who signs in, by login."""
    app = make_app(
        ledger=ledger,
        state=folder / "state",
        jobs=JobFiles(folder),
        settings=settings or PagesSettings(),
        own_sign_in="provisor:the-key-of-the-server",
        port=PORT,
    )
    asked = Asked(ledger, folder / "state")
    with start_blocking_portal() as portal:
        for login, grant in people.items():
            ledger.sign_ins.put_user(LocalUser(login, login.title(), _HASHED, [grant.as_json()]), now=now())
            client = httpx.Client(transport=_Straight(app, portal), base_url=ADDRESS, headers={"Origin": ADDRESS})
            fields = {
                "login": login,
                "password": PASSWORD,
                "to": "/",
                "form_token": token_of(client.get("/sign-in").text),
            }
            assert client.post("/sign-in", data=fields).status_code == 303
            asked.visitors[login] = Asking(client)
        yield asked


def text_of(page: str) -> str:
    """What a page says, without markup, on one line."""
    import html

    without = re.sub(r"<(script|style|title|svg)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(
        html.unescape(
            re.sub(r"<[^>]+>", "", re.sub(r"<(?=(?:/?(?:p|div|td|th|li|tr|h\d|dd|dt))\b)", " <", without))
        ).split()
    )
