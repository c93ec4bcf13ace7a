"""Pages of signing in and out, and the log of it."""

import hashlib
import hmac
import secrets
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import Response

from flows.serve.web.provider import ProviderError
from flows.serve.web.shield import TOKEN, cookie_name, own_path
from flows.serve.web.signing_in import KNOWN_FOR, LASTS, PROVIDER, CrowdError, TooOftenError
from flows.serve.web.visit import Visit, see_other

_BEFORE = "provisor-before"
"""Cookie of a browser that has not signed in: its forms carry the same text."""
_STATE = "provisor-provider"
_TOO_OFTEN = (
    "Too many attempts. Wait a quarter of an hour, then try again. A browser in which this login has signed in before "
    "is not affected by attempts elsewhere."
)
_SHORT_S = 600
_LOG_SHOWN = 200


def sign_in_page(visit: Visit, said: str = "", status: int = 200) -> Response:
    """Who are you? Tells nothing of jobs or people."""
    if visit.person is not None:
        return see_other("/")
    before = visit.request.cookies.get(_named(visit, _BEFORE)) or secrets.token_urlsafe(24)
    provider = visit.site.settings.provider
    answer = visit.page(
        "sign_in.html.j2",
        status=status,
        said=said,
        before=before,
        to=own_path(visit.field("to") or visit.place("to") or "/"),
        login=visit.field("login"),
        provider=provider.name if provider is not None else "",
    )
    _set(visit, answer, _named(visit, _BEFORE), before, _SHORT_S * 6)
    return answer


def sign_in(visit: Visit) -> Response:
    """With a login and a password of this server."""
    _refuse_forged(visit)
    login, password = visit.field("login")[:200], (visit.form.get("password") or [""])[0][:1000]
    mark = visit.request.cookies.get(_known_as(visit, login), "")
    try:
        ticket = visit.site.door.enter(login, password, address=_address(visit), now=visit.now, mark=mark)
    except TooOftenError:
        return sign_in_page(visit, _TOO_OFTEN, 429)
    except CrowdError:
        return sign_in_page(visit, "Many people sign in at this moment. Try again in some seconds.", 429)
    if ticket is None:
        return sign_in_page(visit, "The login or the password is wrong.", 401)
    answer = _let_in(visit, ticket, own_path(visit.field("to") or "/"))
    if not mark and (mark := visit.site.door.mark_of(login)):
        _set(visit, answer, _known_as(visit, login), mark, int(KNOWN_FOR.total_seconds()))
    return answer


def to_provider(visit: Visit) -> Response:
    """On to the provider, who comes back to :func:`from_provider`.

    By a page: browsers hold each stop of a redirect after a form against ``form-action``, and many providers lead on.
    """
    _refuse_forged(visit)
    settings = visit.site.settings.provider
    if visit.site.provider is None or settings is None:
        raise HTTPException(404)
    try:
        address, kept = visit.site.provider.begin(own_path(visit.field("to") or "/"), now=visit.now)
    except ProviderError as error:
        return sign_in_page(visit, str(error), 502)
    answer = visit.page("to_provider.html.j2", address=address, provider=settings.name)
    _set(visit, answer, _named(visit, _STATE), kept, _SHORT_S)
    return answer


def from_provider(visit: Visit) -> Response:
    """Back from the provider, in the browser that was sent there."""
    kept = visit.request.cookies.get(_named(visit, _STATE), "")
    not_begun = "This sign-in was not begun here. Begin again."
    if visit.site.provider is None or not kept:
        return sign_in_page(visit, not_begun, 403)
    try:
        found = visit.site.provider.finish(visit.request.query_params, kept, now=visit.now)
    except ProviderError as error:
        visit.site.door.refuse("", PROVIDER, address=_address(visit), now=visit.now)
        return sign_in_page(visit, str(error), 403)
    if found is None:
        return sign_in_page(visit, not_begun, 403)
    named, leads_to = found
    if not visit.site.settings.rights_of(named.login, named.groups).grants:
        visit.site.door.refuse(named.login, PROVIDER, address=_address(visit), now=visit.now)
        said = f"{named.login} has no role here. Ask an administrator of Provisor for one."
        if named.groups_left_out:
            said = f"{named.login} has too many groups: {visit.site.settings.provider_name} has left them out. " + (
                "Let it send only the groups that are assigned to Provisor."
            )
        return sign_in_page(visit, said, 403)
    ticket = visit.site.door.begin(
        named.login, named.name, PROVIDER, named.groups, address=_address(visit), now=visit.now
    )
    answer = _let_in(visit, ticket, leads_to)
    answer.delete_cookie(_named(visit, _STATE), path="/", secure=_secure(visit), httponly=True, samesite="lax")
    return answer


def sign_out(visit: Visit) -> Response:
    """Ends the session."""
    visit.site.door.leave(visit.who, address=_address(visit), now=visit.now)
    answer = see_other("/sign-in")
    answer.delete_cookie(cookie_name(visit.site), path="/", secure=_secure(visit), httponly=True, samesite="lax")
    return answer


def sign_ins(visit: Visit) -> Response:
    """Who was here."""
    if not visit.who.rights.operates_all():
        raise HTTPException(404)
    return visit.page("sign_ins.html.j2", lines=visit.ledger.sign_ins.latest(_LOG_SHOWN))


def _let_in(visit: Visit, ticket: str, leads_to: str) -> Response:
    if visit.person is not None:  # somebody else's, or an older one: nothing of it stays open
        visit.site.door.leave(visit.person, address=_address(visit), now=visit.now)
    answer = see_other(own_path(leads_to))
    _set(visit, answer, cookie_name(visit.site), ticket, int(LASTS.total_seconds()))
    answer.delete_cookie(_named(visit, _BEFORE), path="/", secure=_secure(visit), httponly=True, samesite="lax")
    return answer


def _refuse_forged(visit: Visit) -> None:
    """Nobody is signed in by another site's form."""
    kept = visit.request.cookies.get(_named(visit, _BEFORE), "")
    if not kept or not hmac.compare_digest(visit.field(TOKEN).encode(), kept.encode()):
        raise HTTPException(403)


def _set(visit: Visit, answer: Response, name: str, value: str, seconds: int) -> None:
    answer.set_cookie(name, value, max_age=seconds, path="/", secure=_secure(visit), httponly=True, samesite="lax")


def _secure(visit: Visit) -> bool:
    return urlsplit(visit.site.settings.address).scheme == "https"


def _named(visit: Visit, name: str) -> str:
    """A cookie's name; over TLS with the prefix by which browsers take it from no other host of the domain."""
    return f"__Host-{name}" if _secure(visit) else name


def _known_as(visit: Visit, login: str) -> str:
    """Name of the cookie by which a browser is known to a login."""
    digest = hashlib.sha256(login.encode("utf-8", "replace")).hexdigest()[:12]
    return _named(visit, f"provisor-known-{digest}")


def _address(visit: Visit) -> str:
    """Where a request comes from; of IPv6 the network, since one machine has as many addresses as it likes.

    Of a header the last entry counts, which the proxy adds; anybody may write others.
    """
    client = visit.request.client.host if visit.request.client is not None else ""
    header = visit.site.settings.client_header
    last = ",".join(visit.request.headers.getlist(header)).rpartition(",")[2].strip() if header else ""
    try:
        at = ip_address(last or client)
    except ValueError:
        return client
    if not isinstance(at, IPv6Address) or at.is_loopback:
        return str(at)
    return str(at.ipv4_mapped or ip_network((int(at), 64), strict=False))
