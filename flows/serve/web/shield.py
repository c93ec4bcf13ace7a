"""What every request passes before a page is made: its host, its origin, its session, its form's token.

And what every answer carries: that nothing of it is kept, framed, or made to load anything from elsewhere.
"""

import hmac
from collections.abc import Callable, Collection
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.serve.web.signing_in import Person
from flows.serve.web.visit import Site, Visit

FORM_AT_MOST = 1_000_000
_FIELDS_AT_MOST = 20_000
TOKEN = "form_token"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
GUARDS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer carries."""


class Shield:
    """Lets requests to the known hosts through, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in GUARDS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = Headers(scope=scope).get("host", "").lower()
        if host not in self._hosts:
            answer = PlainTextResponse(
                "The pages are not served under this name. Set address in pages.yaml, or PROVISOR_PAGES_ADDRESS.\n", 421
            )
            await answer(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)


def cookie_name(site: Site) -> str:
    """What the ticket of a session is called; browsers send one with the prefix over TLS alone."""
    return "__Host-provisor" if site.settings.address.startswith("https:") else "provisor"


def page(make: Callable[[Visit], Response], *, public: bool = False) -> Callable[[Request], object]:
    """An endpoint: a page for who is signed in, or for everybody."""

    async def endpoint(request: Request) -> Response:
        form = await _read_form(request) if request.method == "POST" else {}
        return await run_in_threadpool(_answer, request, form, make, public)

    endpoint.__name__ = make.__name__
    return endpoint


async def _read_form(request: Request) -> dict[str, list[str]]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415)
    body = bytearray()
    async for some in request.stream():
        body += some
        if len(body) > FORM_AT_MOST:
            raise HTTPException(413)
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_FIELDS_AT_MOST)
    except ValueError:
        raise HTTPException(400) from None


def _answer(request: Request, form: dict[str, list[str]], make: Callable[[Visit], Response], public: bool) -> Response:
    _refuse_nul(request, form)
    site: Site = request.app.state.site
    visit = Visit(request, site, _who(request, site), form)
    if request.method == "POST":
        _refuse_foreign(request)
    if visit.person is None and not public:
        return _to_sign_in(visit)
    if request.method == "POST" and visit.person is not None:
        given = visit.field(TOKEN)
        if not hmac.compare_digest(given.encode(), visit.person.session.secret.encode()):
            raise HTTPException(403)
    return make(visit)


def _refuse_nul(request: Request, form: dict[str, list[str]]) -> None:
    """Passes where no text holds a NUL: no page sends one, and not every database takes it. Raises: HTTPException."""
    texts = [request.url.path, *map(str, request.path_params.values())]
    texts += [text for name, value in request.query_params.multi_items() for text in (name, value)]
    if any("\0" in text for text in (*texts, *(value for values in form.values() for value in values))):
        raise HTTPException(400)


def _who(request: Request, site: Site) -> Person | None:
    ticket = request.cookies.get(cookie_name(site), "")
    return site.door.person(ticket, now=site.clock()) if ticket else None


def _host_of(origin: str) -> str | None:
    """None where it is no address at all."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _refuse_foreign(request: Request) -> None:
    """Passes when a form was sent by a page of ours. Raises: HTTPException.

    Source: Fetch Metadata Request Headers; browsers send at least one of the two with every form.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None and site != "same-origin":
        raise HTTPException(403)
    if origin is not None and _host_of(origin) != request.headers.get("host", "").lower():
        raise HTTPException(403)
    if site is None and origin is None:
        raise HTTPException(403)


def _to_sign_in(visit: Visit) -> Response:
    # As it was sent: a key may hold what an address takes for something else once it is decoded.
    path = visit.request.scope["raw_path"].decode("latin-1")
    leads_to = path + (f"?{visit.request.url.query}" if visit.request.url.query else "")
    there = "/sign-in" if path == "/" or visit.request.method != "GET" else f"/sign-in?to={quote(leads_to, safe='')}"
    if visit.by_htmx:
        return PlainTextResponse("", 401, {"HX-Redirect": "/sign-in"})
    return RedirectResponse(there, 303)


def own_path(text: str) -> str:
    """An address of ours to go on to, ``/`` for everything that leads elsewhere."""
    safe = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if safe else "/"
