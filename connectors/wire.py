"""Bytes over HTTP: the open connections to one system, whom they trust, and what it means when no answer comes.

The transport is aiohttp's below httpx's interface. It speaks HTTP/1.1 alone, on purpose: httpx's own transport, which
has HTTP/2, took three times the processor time for a request and did a third as many a second, and what HTTP/2 is for,
requests that do not wait for each other, connections that are kept give as well.
"""

import gc
import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from connectors.depth import nests_deeper
from connectors.errors import SchemaMismatchError, SettingsError
from connectors.http_settings import ClientCertificate, HttpSettings, check_proxy, eavesdropped, environment_proxy
from connectors.settings import reveal

if TYPE_CHECKING:
    import httpx
    from httpx_aiohttp import AiohttpTransport

_LOOKS_LIKE_JSON = re.compile(rb"\s*[\[{]")


@dataclass(frozen=True, slots=True)
class Answer:
    """A status that is final, with its body, decoded but not parsed."""

    status: int
    headers: "httpx.Headers"
    body: bytes

    def json(self) -> Any:
        """The body's JSON value. Raises: SchemaMismatchError when it is something else."""
        try:
            return _loads(self.body)
        except orjson.JSONDecodeError as error:
            raise SchemaMismatchError(
                f"Instead of JSON came {nature(self.body)} (HTTP {self.status}). Check that the url is that of the "
                "API itself, not of its web pages or of a login page in front of it."
            ) from error


def _loads(body: bytes) -> Any:
    """The JSON value. Large ones are parsed without garbage collections, which took two thirds of the parser's time.

    What a parser makes holds no cycles, so nothing is left behind that a collection would have found.
    """
    if len(body) < 65_536 or not gc.isenabled():
        return orjson.loads(body)
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        gc.enable()


def nature(body: bytes) -> str:
    """What a body is that should be JSON; never its text."""
    start = body[:512].lstrip().lower()
    if not start:
        return "an empty body"
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "an HTML page"
    return "XML" if start.startswith(b"<?xml") else "broken or cut-off JSON" if start[:1] in b"{[" else "plain text"


class Fault(StrEnum):
    """Why there is no answer."""

    UNTRUSTED = "untrusted"
    """The connection could not be secured."""
    UNKNOWN_CLIENT = "unknown client"
    """The system wants a client certificate, or another one than ours."""
    NOT_SENT = "not sent"
    """There was no connection, so the request had no effect."""
    LOST = "lost"
    """The connection ended after the request was sent."""
    LATE = "late"
    """The answer, or its next piece, took longer than the timeout."""


class NoAnswer(Exception):  # noqa: N818
    """An exchange ended without a whole answer."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault

    def sentence(self, address: str, settings: HttpSettings) -> str:
        """For people: who does not answer at ``address``, why, and what to do."""
        if self.fault is Fault.UNTRUSTED:
            trusted = f"ca_file ({settings.ca_file}) " if settings.ca_file else "the usual certificate authorities "
            return (
                f"The connection to {address} cannot be trusted ({self}). Its certificate was not issued by "
                f"{trusted}or is for another name. Name the PEM file of the authority that issued it in ca_file; "
                "verification cannot be switched off."
            )
        if self.fault is Fault.UNKNOWN_CLIENT:
            given = settings.client_certificate
            what = "gets none" if given is None else f"does not accept {given.certificate}"
            return f"{address} wants a client certificate and {what} ({self}). Check client_certificate."
        through = " through the proxy" if settings.proxy else ""
        return (
            f"Nobody answers at {address}{through} ({self}). Check the url, the network and whether the system is up."
        )


class Wire:
    """The open connections to one system. Gives answers as they come: nothing is repeated, no redirect is followed.

    Requests go straight to the transport: a client on top of it would follow its own ideas about cookies and redirects,
    and writes addresses, which hold people's names in filters, to its log.
    """

    def __init__(self, settings: HttpSettings, *, url: str, folder: Path, connections: int) -> None:
        import httpx

        self.url = url
        """The base address."""
        proxy = reveal(settings.proxy, folder=folder) if settings.proxy else environment_proxy(url)
        if settings.proxy and proxy:
            check_proxy(proxy, "The setting proxy")
        if settings.auth is not None and (why := eavesdropped(settings, url, proxy=proxy)):
            raise SettingsError(f"Nothing was sent: {why}.")
        if proxy and urlsplit(proxy).password and (why := eavesdropped(settings, proxy)):
            raise SettingsError(f"Nothing was sent: the proxy's {why}.")
        self._transport = _transport(settings, proxy, url=url, folder=folder, connections=connections)
        self._timeouts = {
            "timeout": {"connect": settings.connect_timeout_s, "read": settings.timeout_s, "pool": None, "write": None}
        }
        self._most = settings.max_answer_mb << 20
        self._most_levels = settings.max_depth
        self._urls: dict[str, httpx.URL] = {}
        self._request = httpx.Request
        self._url = httpx.URL

    async def close(self) -> None:
        """Let go of all connections."""
        await self._transport.aclose()

    def address(self, path: str, *, params: Mapping[str, str | int] | None = None, lasting: bool) -> "httpx.URL":
        """The address of a path; ``lasting``: it is asked for again and again."""
        if params is not None:
            return self._url(self.url + path, params=dict(params))
        if not lasting:
            return self._url(self.url + path)
        address = self._urls.get(path)
        if address is None:
            address = self._urls[path] = self._url(self.url + path)
        return address

    async def exchange(
        self,
        method: str,
        address: "httpx.URL",
        *,
        headers: "httpx.Headers",
        body: bytes | None,
        secrets: Callable[[], Iterable[str]],
    ) -> Answer:
        """One request and its whole answer, refusals without ``secrets`` in them. Raises: NoAnswer."""
        import aiohttp
        import httpx

        request = self._request(method, address, headers=headers, content=body, extensions=self._timeouts)
        try:
            response = await self._transport.handle_async_request(request)
            try:
                content = await _read_within(response, self._most, self.url)
            finally:
                await response.aclose()
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise _classify(error) from None  # the cause's text may hold addresses, which hold names of persons
        if _LOOKS_LIKE_JSON.match(content) and nests_deeper(content, self._most_levels):
            raise SchemaMismatchError(
                f"An answer of {urlsplit(self.url).hostname} nests deeper than {self._most_levels} levels: it was "
                "not read. Check that the url is that of the API. If the system really responds like this, raise "
                "max_depth."
            )
        if response.status_code >= 400:  # some systems repeat what they refuse, and what they say is told to people
            for secret in secrets():
                content = content.replace(secret.encode(), "…".encode())
        return Answer(response.status_code, response.headers, content)


async def _read_within(response: "httpx.Response", most: int, url: str) -> bytes:
    """The unpacked body; reading ends where it is more than ``most`` bytes. Raises: SchemaMismatchError."""
    pieces, size = [], 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise SchemaMismatchError(
                f"An answer of {urlsplit(url).hostname} is larger than {most >> 20:,} MB once it is unpacked: nothing "
                "more of it was read. If the system really gives so much at once, make page_size smaller, or raise "
                "max_answer_mb."
            )
    return b"".join(pieces)


def _transport(
    settings: HttpSettings, proxy: str | None, *, url: str, folder: Path, connections: int
) -> "AiohttpTransport":
    import aiohttp
    import httpx
    from httpx_aiohttp import AiohttpTransport

    secured = url.startswith("https:") or (proxy or "").startswith("https:")
    trust = _trust(settings, secured=secured, folder=folder)

    def connect() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=max(1, connections), ssl=trust)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    return AiohttpTransport(verify=trust, proxy=httpx.Proxy(proxy) if proxy else None, client=connect)


def _trust(settings: HttpSettings, *, secured: bool, folder: Path) -> ssl.SSLContext:
    """Who is trusted: the usual authorities, the machine's own, and those in ca_file; and who we are.

    Raises: SettingsError.
    """
    import httpx

    if not secured and settings.ca_file is None and settings.client_certificate is None:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; loading authorities takes a tenth of a second
    trust = httpx.create_ssl_context()
    trust.load_default_certs()
    if settings.ca_file is not None:
        path = folder / settings.ca_file.expanduser()
        try:
            trust.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"The ca_file {path} cannot be read as PEM: {error.strerror or error}.") from error
    if settings.client_certificate is not None:
        _present(trust, settings.client_certificate, folder=folder)
    return trust


def _present(trust: ssl.SSLContext, given: ClientCertificate, *, folder: Path) -> None:
    """The certificate by which the system knows us. Raises: SettingsError."""
    certificate = folder / given.certificate.expanduser()
    key = folder / (given.key or given.certificate).expanduser()
    password = None if given.password is None else reveal(given.password, folder=folder)
    asked = False

    def answer() -> str:  # without it OpenSSL would ask on the terminal
        nonlocal asked
        asked = True
        return password or ""

    for path in (certificate, key):
        if not path.is_file():
            raise SettingsError(f"The file {path} that client_certificate names is not there.")
    try:
        trust.load_cert_chain(certificate, key, password=answer)
    except (OSError, ssl.SSLError) as error:
        if asked and password is None:
            why = "the key is encrypted: give client_certificate a password, as a reference"
        elif asked:
            why = "the password that client_certificate refers to does not open the key"
        elif "MISMATCH" in (getattr(error, "reason", None) or ""):
            why = "the key is not the certificate's"
        else:
            why = "they are not a certificate and a key in PEM form"
        raise SettingsError(f"The client certificate {certificate} and its key {key} cannot be used: {why}.") from None


def _classify(error: Exception) -> NoAnswer:
    """What a transport error means. By the cause below httpx: its mapping calls a lost connection a connect timeout."""
    import aiohttp

    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError | OSError) else error
    alert = _certificate_alert(cause)
    if alert is not None:
        return NoAnswer(Fault.UNKNOWN_CLIENT, alert)
    match cause:
        case aiohttp.ClientConnectorCertificateError():
            return NoAnswer(Fault.UNTRUSTED, _certificate_reason(cause.certificate_error))
        case aiohttp.ClientSSLError() if "WRONG_VERSION_NUMBER" in str(cause):
            return NoAnswer(Fault.NOT_SENT, "that port does not speak TLS: is it plain http, or another port?")
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return NoAnswer(Fault.UNTRUSTED, "the TLS handshake failed")
        case aiohttp.ClientConnectorDNSError():
            return NoAnswer(Fault.NOT_SENT, "the host name is not known")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return NoAnswer(Fault.NOT_SENT, "the proxy does not let us through")
        case aiohttp.ClientConnectorError():
            return NoAnswer(Fault.NOT_SENT, _system_reason(cause.os_error))
        case aiohttp.ConnectionTimeoutError():
            return NoAnswer(Fault.NOT_SENT, "no connection in time")
        case TimeoutError():
            return NoAnswer(Fault.LATE, "no response in time")
        case _:
            return NoAnswer(Fault.LOST, "connection lost")


_CERTIFICATE_ALERTS = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_EXPIRED", "ACCESS_DENIED")


def _certificate_alert(error: BaseException | None) -> str | None:
    """What the other side says against our certificate. With TLS 1.3 it does so after the handshake.

    Source: RFC 8446 section 6.2 (alerts).
    """
    seen = 0
    while error is not None and seen < 8:
        seen += 1
        reason = getattr(error, "reason", None)
        if isinstance(error, ssl.SSLError) and isinstance(reason, str) and "ALERT" in reason:
            said = next((alert for alert in _CERTIFICATE_ALERTS if alert in reason), None)
            return None if said is None else said.lower().replace("_", " ")
        error = error.__cause__ or error.__context__
    return None


def _system_reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "no connection"


def _certificate_reason(error: Exception) -> str:
    return getattr(error, "verify_message", "") or "its certificate is not valid"
