"""The application: addresses to pages, and what goes wrong said in words."""

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from flows.cycle.systems import now
from flows.serve.web import pages_deciding, pages_looking, pages_of_access, pages_of_jobs, pages_signing
from flows.serve.web.errands import BusyError, Errands
from flows.serve.web.kept_pages import KEPT_POLICY, find_kept_page
from flows.serve.web.metrics import health, metrics
from flows.serve.web.provider import OpenIdProvider
from flows.serve.web.rendering import STATIC, asset, here, render_page
from flows.serve.web.rights import Deed
from flows.serve.web.settings import PagesSettings
from flows.serve.web.shield import GUARDS, Shield, page
from flows.serve.web.signing_in import Door
from flows.serve.web.visit import Site, Visit
from tasks.job import Job
from tasks.ledger import Ledger, LedgerError

_LOG = logging.getLogger("provisor")
_STATIC_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}

_SAID = {
    400: ("This cannot be read", "The request is not well formed. Nothing was done."),
    401: ("Sign in", "Sign in first. Nothing was done."),
    403: (
        "Refused",
        "This form was not sent by a page of yours, or is too old. Go back, load the page again, and send "
        "it once more. Nothing was done.",
    ),
    404: ("There is no such page", "It may have been forgotten since, or is not for your role."),
    405: ("This is not done so", "Nothing was done."),
    413: ("Too much at once", "The form is too large. Nothing was done."),
    415: ("This cannot be read", "The form has a form of its own. Nothing was done."),
}


def make_app(
    *,
    ledger: Ledger,
    state: Path,
    jobs: Callable[[], Mapping[str, Job]],
    settings: PagesSettings,
    own_sign_in: str,
    port: int,
    prefect: str = "",
) -> Starlette:
    """The pages of a state folder. Raises: SettingsError where a secret of the settings is not there."""
    settings.check_secrets()
    at = urlsplit(settings.address)
    hosts = [f"127.0.0.1:{port}", f"localhost:{port}", *([at.netloc] if at.netloc else [])]
    base = settings.address or f"http://127.0.0.1:{port}"
    provider = OpenIdProvider(settings, f"{base}/sign-in/back") if settings.provider is not None else None
    errands = Errands(state / "errands")
    site = Site(
        ledger=ledger,
        state=state,
        jobs=jobs,
        settings=settings,
        door=Door(ledger, settings, own_sign_in),
        errands=errands,
        clock=now,
        provider=provider,
        prefect=settings.prefect or prefect,
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        errands.end_all()

    app = Starlette(routes=_routes(), exception_handlers=_handlers(), lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.site = site
    app.add_middleware(Shield, hosts=hosts)
    return app


class _KeyConvertor(PathConvertor):
    """The rest of an address is a key, whatever is in it: lines too."""

    regex = "(?s:.*)"


register_url_convertor("key", _KeyConvertor())


def _routes() -> list[Route]:
    get = {
        "/": pages_looking.overview,
        "/search": pages_looking.search,
        "/people/{job}/{anchor:key}": pages_looking.person,
        "/groups/{job}/{anchor:key}": pages_looking.group,
        "/belongings/{job}/{kind}/{anchor:key}": pages_looking.belongings,
        "/jobs/{job}": pages_of_jobs.job,
        "/jobs/{job}/cycles": pages_of_jobs.cycles,
        "/jobs/{job}/cycles/{number}": pages_looking.cycle,
        "/jobs/{job}/last": pages_looking.last_cycle,
        "/jobs/{job}/failures": pages_looking.failures,
        "/jobs/{job}/log.csv": pages_of_jobs.log_csv,
        "/approvals": pages_deciding.inbox,
        "/approvals/{job}": pages_deciding.item,
        "/access": pages_of_access.access,
        "/access.csv": pages_of_access.access_csv,
        "/access.xlsx": pages_of_access.access_xlsx,
        "/errands/{id}": pages_of_jobs.errand,
        "/sign-ins": pages_signing.sign_ins,
        "/{folder}/{job}/{name}": _kept_page,
    }
    post = {
        "/approvals/{job}": pages_deciding.ask,
        "/approvals/{job}/decision": pages_deciding.decide,
        "/jobs/{job}/plan": pages_of_jobs.plan_now,
        "/jobs/{job}/run": pages_of_jobs.run_now,
        "/jobs/{job}/pause": pages_of_jobs.pause,
        "/jobs/{job}/resume": pages_of_jobs.resume,
        "/errands/why": pages_of_jobs.ask_why,
        "/errands/preview": pages_of_jobs.ask_preview,
        "/errands/provision": pages_of_jobs.provision,
        "/sign-out": pages_signing.sign_out,
    }
    public = [
        Route("/sign-in", page(pages_signing.sign_in_page, public=True), methods=["GET"]),
        Route("/sign-in", page(pages_signing.sign_in, public=True), methods=["POST"]),
        Route("/sign-in/provider", page(pages_signing.to_provider, public=True), methods=["POST"]),
        Route("/sign-in/back", page(pages_signing.from_provider, public=True), methods=["GET"]),
        Route("/health", page(health, public=True), methods=["GET"]),
        Route("/metrics", page(metrics, public=True), methods=["GET"]),
        Route("/static/{digest}/{name}", _static, methods=["GET"]),
    ]
    return [
        *public,
        *(Route(address, page(make), methods=["POST"]) for address, make in post.items()),
        *(Route(address, page(make), methods=["GET"]) for address, make in get.items()),
    ]


async def _static(request: Request) -> Response:
    """A file that belongs to the pages; looked up among those there are."""
    name = request.path_params["name"]
    known = {path.name: path for path in STATIC.iterdir()}
    if name not in known or request.url.path != asset(name):
        raise HTTPException(404)
    return FileResponse(known[name], headers=_STATIC_FOREVER)


def _kept_page(visit: Visit) -> Response:
    """A report or a page of Data Docs that a cycle has left."""
    found = find_kept_page(visit.site.state, visit.request.scope["raw_path"].decode("ascii", "replace"))
    if found is None:
        raise HTTPException(404)
    visit.need(Deed.READ, found.parent.name)
    kind = "application/json" if found.suffix == ".json" else "text/html"
    return FileResponse(found, media_type=kind, headers={"Content-Security-Policy": KEPT_POLICY})


# --- what goes wrong -------------------------------------------------------------------------------------------------


def _handlers() -> Mapping[Any, Any]:
    return {HTTPException: _said, LedgerError: _no_ledger, BusyError: _busy, Exception: _fault}


async def _said(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title, said = _SAID.get(error.status_code, ("Something went wrong", "Nothing was done."))
    return _trouble(request, error.status_code, title, said)


async def _no_ledger(request: Request, error: Exception) -> Response:
    _LOG.error("%s", error)
    answer = _trouble(
        request, 503, "The ledger does not answer", "Running cycles are not affected. Try again in a few seconds."
    )
    answer.headers["Retry-After"] = "10"
    return answer


async def _busy(request: Request, error: Exception) -> Response:
    del error
    said = "Other plans and reasons are being worked out. Nothing was begun; try again in a minute."
    return _trouble(request, 503, "The server is busy", said)


async def _fault(request: Request, error: Exception) -> Response:
    number = secrets.token_hex(4)
    _LOG.error("fault %s at %s: %s", number, request.url.path, type(error).__name__, exc_info=error)
    answer = _trouble(
        request, 500, "A fault in Provisor", "The page could not be made. Running cycles are not affected.", number
    )
    # Made outside of the shield, which the fault has passed.
    answer.headers.update(GUARDS)
    return answer


def _trouble(request: Request, status: int, title: str, said: str, number: str = "") -> Response:
    if request.headers.get("HX-Request") == "true":
        return PlainTextResponse(said, status)
    content = {
        "title": title,
        "said": said,
        "number": number,
        "now": now(),
        "zone": str(here()),
        "person": None,
        "note": "",
        "path": request.url.path,
    }
    return HTMLResponse(render_page("trouble.html.j2", content), status)
