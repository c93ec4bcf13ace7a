"""The thin layer over python-ldap: connect, sign in, send a request, wait for its answer. Nothing else imports it.

No exception of python-ldap leaves this module, and none of its types: requests and answers are our own plain data.
Every connection belongs to one thread at a time.
"""

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from connectors.errors import CredentialsError, FatalError, SettingsError, UnreachableError
from connectors.ldap.controls import Control, Oid
from connectors.ldap.requests import Add, Delete, Extended, Modify, Rename, Request, Search
from connectors.ldap.results import Answer, Code, Fault, sign_in_error
from connectors.ldap.settings import GssapiAuth, LdapSettings
from connectors.settings import reveal

MISSING = (
    "Directories need the Python package python-ldap, which is not installed. On Debian or Ubuntu: "
    "apt-get install gcc python3-dev libldap2-dev libsasl2-dev, then pip install 'provisor[ldap]'."
)

_SLICE_S = 0.5
"""How long the library waits before a signal can be seen again."""

_ENVIRONMENT = threading.Lock()
"""Kerberos takes its keytab from the environment, which all threads share."""

Entry = tuple[str, dict[str, list[bytes]]]
"""Name and attributes of an entry, the attributes as the server spells them."""


def library() -> Any:
    """python-ldap. Raises: SettingsError, saying what to install, where it is missing."""
    try:
        import ldap
        import ldap.sasl
    except ImportError as error:
        raise SettingsError(MISSING) from error
    return ldap


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with what came along."""

    answer: Answer
    entries: Sequence[Entry] = ()
    references: int = 0
    """References to other servers; they are never followed."""
    controls: tuple[Control, ...] = ()
    of_entries: Sequence[tuple[Control, ...]] = ()
    """Controls of each entry, where they were asked for."""
    between: Sequence[tuple[str, bytes]] = ()
    """Intermediate messages: name and value."""
    value: bytes | None = None
    """Of an extended operation."""

    def control(self, oid: str) -> Control | None:
        """The control of this name, if it came."""
        return next((one for one in self.controls if one.oid == oid), None)


class _Raw:
    """A control of an answer, left as bytes."""

    def __init__(self) -> None:
        self.controlType, self.criticality = "", False
        self.raw: bytes | None = None

    def decodeControlValue(self, encoded: bytes | None) -> None:  # noqa: N802 - python-ldap calls it so
        self.raw = encoded


_KEPT = {str(oid): _Raw for oid in (Oid.PAGED, Oid.PRE_READ, Oid.POST_READ, Oid.SYNC_STATE, Oid.SYNC_DONE)}


@dataclass(slots=True)
class Sent:
    """A request that is under way."""

    number: int
    request: Request
    fault: Answer | None = None
    """Set where it did not even leave."""


@dataclass(slots=True)
class Connection:
    """One connection, signed in."""

    address: str
    timeout_s: float
    _ldap: Any = field(repr=False)
    _handle: Any = field(repr=False)
    dead: bool = False
    used_at: float = 0.0

    def send(self, request: Request) -> Sent:
        """Hand a request over; its answer is waited for by :meth:`result`."""
        if self.dead:
            return Sent(-1, request, Answer(0, fault=Fault.NOT_SENT))
        try:
            return Sent(self._start(request), request)
        except self._ldap.LDAPError as error:
            answer = self._answer(error)
            if answer.fault is not None:
                answer = replace(answer, fault=Fault.NOT_SENT)
            return Sent(-1, request, answer)

    def result(self, sent: Sent, *, entry_controls: bool = False) -> Reply:
        """Wait for the answer to a request."""
        if sent.fault is not None:
            return Reply(sent.fault)
        deadline = time.monotonic() + self.timeout_s
        extra = 1 if entry_controls else 0
        while True:
            try:
                kind, data, _, controls, _, value = self._handle.result4(
                    sent.number,
                    1,
                    _SLICE_S,
                    add_ctrls=extra,
                    add_intermediates=extra,
                    add_extop=1,
                    resp_ctrl_classes=_KEPT,
                )
            except self._ldap.TIMEOUT:
                if time.monotonic() > deadline:
                    self.dead = True
                    return Reply(Answer(0, fault=Fault.LATE))
                continue
            except self._ldap.LDAPError as error:
                return Reply(self._answer(error))
            break
        self.used_at = time.monotonic()
        del kind
        return self._reply(data or [], controls or [], value, extra=bool(extra))

    def ask(self, request: Request, *, entry_controls: bool = False) -> Reply:
        """Send a request and wait for its answer."""
        return self.result(self.send(request), entry_controls=entry_controls)

    def close(self) -> None:
        """Let go of the connection; safe to call twice."""
        self.dead = True
        with suppress(self._ldap.LDAPError):
            self._handle.unbind_s()

    def _start(self, request: Request) -> int:
        handle = self._handle
        controls = [self._ldap.controls.LDAPControl(*_parts(one)) for one in getattr(request, "controls", ())]
        match request:
            case Search():
                number = handle.search_ext(
                    request.base,
                    int(request.scope),
                    request.filter,
                    list(request.attributes),
                    serverctrls=controls,
                    sizelimit=request.size,
                )
            case Add():
                listed = [(name, list(values)) for name, values in request.attributes.items() if values]
                number = handle.add_ext(request.dn, listed, serverctrls=controls)
            case Modify():
                changes = [(int(op), name, list(values) or None) for op, name, values in request.changes]
                number = handle.modify_ext(request.dn, changes, serverctrls=controls)
            case Rename():
                number = handle.rename(request.dn, request.rdn, request.parent or None, 1, serverctrls=controls)
            case Delete():
                number = handle.delete_ext(request.dn, serverctrls=controls)
            case Extended():
                from ldap.extop import ExtendedRequest

                wrapped = ExtendedRequest(request.oid, request.value)
                wrapped.encodedRequestValue = lambda: request.value
                number = handle.extop(wrapped)
        return int(number)

    def _reply(self, data: list[Any], controls: list[Any], value: bytes | None, *, extra: bool) -> Reply:
        entries: list[Entry] = []
        of_entries: list[tuple[Control, ...]] = []
        between: list[tuple[str, bytes]] = []
        references = 0
        for item in data:
            name, attributes = item[0], item[1]
            if name is None:
                references += 1
            elif isinstance(attributes, bytes) or attributes is None:
                between.append((name, attributes or b""))
            else:
                entries.append((name, attributes))
                if extra:
                    of_entries.append(_plain(item[2]))
        return Reply(Answer(0), entries, references, _plain(controls), of_entries, between, value)

    def _answer(self, error: Any) -> Answer:
        """What an exception of the library means."""
        told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        number = int(told.get("result", getattr(error, "errnum", -1)))
        text = str(told.get("info") or "")
        if number >= 0:
            return Answer(number, text)
        if number in (_LOCAL_FILTER, _LOCAL_PARAMETER, _LOCAL_ENCODING):
            return Answer(Code.PROTOCOL_ERROR, f"{told.get('desc', '')} {text}".strip())
        self.dead = True
        return Answer(0, text, Fault.LOST)


_LOCAL_ENCODING, _LOCAL_FILTER, _LOCAL_PARAMETER = -3, -7, -9


def _parts(control: Control) -> tuple[str, bool, None, bytes | None]:
    return control.oid, control.critical, None, control.value


def _plain(controls: Sequence[Any]) -> tuple[Control, ...]:
    return tuple(Control(one.controlType, one.raw, bool(one.criticality)) for one in controls if isinstance(one, _Raw))


# Connecting


def connect(settings: LdapSettings, address: str, *, folder: Path) -> Connection:
    """A connection to one address: encrypted, then signed in. Raises: FatalError."""
    ldap = library()
    url = reveal(address, folder=folder)
    if not settings.keeps_secrets(url):
        raise SettingsError(
            f"{url} would send the password unencrypted, so nothing was sent: use ldaps://, or start_tls: true."
        )
    try:
        handle = ldap.initialize(url)
        _configure(ldap, handle, settings, url, folder)
        if settings.start_tls:
            handle.start_tls_s()
    except ldap.LDAPError as error:
        raise _unreachable(settings, url, folder, error) from None
    connection = Connection(url, settings.timeout_s, ldap, handle)
    try:
        _sign_in(ldap, handle, settings, folder)
    except ldap.LDAPError as error:
        answer = connection._answer(error)
        connection.close()
        if answer.fault is not None:
            raise _unreachable(settings, url, folder, error) from None
        raise sign_in_error(answer, f"The directory at {url}") from None
    connection.used_at = time.monotonic()
    return connection


def _configure(ldap: Any, handle: Any, settings: LdapSettings, url: str, folder: Path) -> None:
    handle.set_option(ldap.OPT_PROTOCOL_VERSION, 3)
    handle.set_option(ldap.OPT_REFERRALS, 0)
    handle.set_option(ldap.OPT_NETWORK_TIMEOUT, settings.connect_timeout_s)
    handle.set_option(ldap.OPT_TIMEOUT, settings.timeout_s)
    handle.set_option(ldap.OPT_X_KEEPALIVE_IDLE, 60)
    handle.set_option(ldap.OPT_X_KEEPALIVE_INTERVAL, 10)
    handle.set_option(ldap.OPT_X_KEEPALIVE_PROBES, 3)
    handle.set_option(ldap.OPT_X_SASL_NOCANON, 1)
    if url.startswith("ldapi://"):
        return
    if settings.ca_file is not None:
        handle.set_option(ldap.OPT_X_TLS_CACERTFILE, str(_file(settings.ca_file, folder, "ca_file")))
    external = settings.auth.external
    if external is not None and external.certificate is not None:
        certificate = _file(external.certificate, folder, "auth.external.certificate")
        key = _file(external.key, folder, "auth.external.key") if external.key is not None else certificate
        handle.set_option(ldap.OPT_X_TLS_CERTFILE, str(certificate))
        handle.set_option(ldap.OPT_X_TLS_KEYFILE, str(key))
    handle.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
    handle.set_option(ldap.OPT_X_TLS_PROTOCOL_MIN, ldap.OPT_X_TLS_PROTOCOL_TLS1_2)
    handle.set_option(ldap.OPT_X_TLS_NEWCTX, 0)  # last: it makes a context of all that was set before


def _file(path: Path, folder: Path, setting: str) -> Path:
    found = folder / path.expanduser()
    if not found.is_file():
        raise SettingsError(f"The file {found} (setting {setting}) is not there.")
    return found


def _sign_in(ldap: Any, handle: Any, settings: LdapSettings, folder: Path) -> None:
    auth = settings.auth
    if auth.simple is not None:
        password = reveal(auth.simple.password, folder=folder)
        handle.simple_bind_s(reveal(auth.simple.user, folder=folder), password)
    elif auth.external is not None:
        handle.sasl_interactive_bind_s("", ldap.sasl.external())
    else:
        assert auth.gssapi is not None
        encrypted = settings.start_tls or str(handle.get_option(ldap.OPT_URI)).startswith("ldaps://")
        # Without TLS the connection is sealed by Kerberos; inside TLS a second layer is not allowed.
        if encrypted:
            handle.set_option(ldap.OPT_X_SASL_SSF_MAX, 0)
        else:
            handle.set_option(ldap.OPT_X_SASL_SSF_MIN, 56)
        with _kerberos(auth.gssapi, folder):
            try:
                handle.sasl_interactive_bind_s("", ldap.sasl.gssapi(""))
            except ldap.LOCAL_ERROR as error:
                reason = _kerberos_reason(error)
                raise CredentialsError(
                    f"Kerberos did not sign in: {reason}. Check auth.gssapi in the job file."
                ) from None


def _kerberos_reason(error: Any) -> str:
    told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    text = str(told.get("info") or told.get("desc") or "no reason given")
    return text.rpartition("Minor code may provide more information")[2].strip(" ()") or text


@contextmanager
def _kerberos(auth: GssapiAuth, folder: Path) -> Iterator[None]:
    """The environment in which Kerberos finds the keytab, for as long as the sign-in takes."""
    if auth.keytab is None:
        yield
        return
    values = {
        "KRB5_CLIENT_KTNAME": f"FILE:{_file(auth.keytab, folder, 'auth.gssapi.keytab')}",
        "KRB5CCNAME": f"MEMORY:provisor-{auth.principal or 'any'}",
    }
    with _ENVIRONMENT:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


# Why a connection could not be made


_START_TLS_REQUEST = bytes((0x30, 0x1D, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16)) + Oid.START_TLS.encode()


def _unreachable(settings: LdapSettings, url: str, folder: Path, error: Any) -> FatalError:
    """Why nobody answers, or why the connection cannot be trusted; the library itself tells too little."""
    told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    number = int(told.get("result", -1))
    if settings.start_tls and number > 0:
        return UnreachableError(
            f"{url} refuses StartTLS (result {number}), so nothing was sent. Use ldaps://, or set the server up for it."
        )
    parts = urlsplit(url)
    if parts.scheme == "ldapi":
        return UnreachableError(f"Nobody listens on the socket {unquote(parts.netloc)}.")
    host, port = parts.hostname or "", parts.port or (636 if parts.scheme == "ldaps" else 389)
    try:
        with socket.create_connection((host, port), timeout=settings.connect_timeout_s) as plain:
            if parts.scheme == "ldaps" or settings.start_tls:
                return _untrusted(settings, url, folder, host, plain)
    except OSError as reason:
        return UnreachableError(f"{url} does not answer: {reason.strerror or reason}.")
    return UnreachableError(f"{url} closed the connection.")


def _untrusted(settings: LdapSettings, url: str, folder: Path, host: str, plain: socket.socket) -> FatalError:
    context = ssl.create_default_context(cafile=str(folder / settings.ca_file) if settings.ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if settings.start_tls:
            plain.sendall(_START_TLS_REQUEST)
            plain.recv(4096)
        with context.wrap_socket(plain, server_hostname=host):
            pass
    except ssl.SSLCertVerificationError as reason:
        return UnreachableError(
            f"The certificate of {url} cannot be trusted: {reason.verify_message.rstrip('.')}. "
            "Nothing was sent. Name the authority that issued it: ca_file."
        )
    except (ssl.SSLError, OSError) as reason:
        return UnreachableError(f"{url} does not speak TLS 1.2 or later: {reason}.")
    return UnreachableError(f"The encrypted connection to {url} could not be made.")
