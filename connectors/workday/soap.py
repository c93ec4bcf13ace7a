"""SOAP as Workday speaks it: envelopes, the user's token in them, and faults by what is to be done about them.

Elements are built, never written as text, so that no value can become markup. Source: SOAP 1.1; OASIS Web Services
Security, "UsernameToken Profile 1.1" (PasswordText); Workday Web Services, "Processing_Fault", "Validation_Fault".
"""

import time
from typing import Any

from lxml import etree

from connectors.errors import (
    ConflictError,
    CredentialsError,
    ErrorCode,
    InvalidValueError,
    ProvisorError,
    RetryableError,
    SchemaMismatchError,
    SettingsError,
    UnknownOutcomeError,
)
from connectors.http import Answer, Call, HttpSession, redact
from connectors.http import Effect as CallEffect
from connectors.kit import Opening, refused
from connectors.kit.wires import SessionWire
from connectors.rate_limits import is_rate_limit, retry_after_s
from connectors.settings import reveal
from connectors.wire import nature
from connectors.workday.attributes import NAMESPACE
from connectors.workday.settings import WorkdaySettings

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_PASSWORD_TEXT = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText"
ATTEMPTS = 5
"""Requests for one answer while Workday fails or wants peace."""
MAX_WAIT_S = 120.0


def wd(name: str) -> str:
    """A name of Workday's own namespace."""
    return f"{{{NAMESPACE}}}{name}"


def element(name: str, *children: Any, text: str | None = None, **attributes: str) -> Any:
    """An element of Workday's own namespace; attributes are of it too."""
    made = etree.Element(wd(name), {wd(key): value for key, value in attributes.items()}, nsmap={"wd": NAMESPACE})
    made.text = text
    for child in children:
        if child is not None:
            made.append(child)
    return made


def flag(value: bool) -> str:
    """A boolean as Workday writes it."""
    return "1" if value else "0"


def reference(name: str, kind: str, value: str) -> Any:
    """A reference to something by one of its ids."""
    return element(name, element("ID", text=value, type=kind))


class WorkdayWire(SessionWire):
    """Asks one tenant's Human_Resources service."""

    def __init__(self, settings: WorkdaySettings, opening: Opening) -> None:
        super().__init__(
            HttpSession(
                settings.http(),
                folder=opening.folder,
                pace=opening.pace,
                media_type="text/xml; charset=utf-8",
                clock=opening.clock,
            )
        )
        self._settings, self._folder, self._clock = settings, opening.folder, opening.clock
        self._token: tuple[str, str] | None = None
        self.waited_s = 0.0
        """Seconds spent waiting because Workday asked for it or failed."""

    async def send(self, request: Any) -> Any:
        """A body that has been built: as :meth:`ask`, for what it says it is for."""
        purpose, body = request
        return await self.ask(purpose, body)

    async def ask(self, purpose: str, body: Any, *, effect: CallEffect = CallEffect.READ) -> Any:
        """What answers a body, as an element. Reads are repeated where Workday fails; a wrong credential never is.

        Raises: CredentialsError, SettingsError, SchemaMismatchError; RetryableError where it keeps failing.
        """
        for attempt in range(1, ATTEMPTS + 1):
            asked = Call(
                "POST",
                f"/Human_Resources/{self._settings.version}",
                purpose,
                effect=effect,
                body=self._envelope(body),
                headers={"soapaction": '""', "accept-encoding": "gzip"},
                impatient=True,
                faults_with_500=True,
            )
            answer = await self._session.send(asked)
            try:
                return self._judged(asked, answer)
            except RetryableError as error:
                last = attempt == ATTEMPTS or effect is not CallEffect.READ
                if last or (error.retry_after_s or 0.0) > MAX_WAIT_S:
                    raise
                wait_s = error.retry_after_s if error.retry_after_s is not None else min(2.0**attempt, 20.0)
                self.waited_s += wait_s
                await self._clock.sleep(wait_s)
        raise AssertionError("unreachable")

    def _envelope(self, body: Any) -> bytes:
        """Raises: SettingsError for references that lead nowhere."""
        envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"env": SOAP, "wd": NAMESPACE})
        header = etree.SubElement(envelope, f"{{{SOAP}}}Header")
        if (user := self._user()) is not None:
            security = etree.SubElement(header, f"{{{_WSS}}}Security", nsmap={"wsse": _WSS})
            security.set(f"{{{SOAP}}}mustUnderstand", "1")
            token = etree.SubElement(security, f"{{{_WSS}}}UsernameToken")
            etree.SubElement(token, f"{{{_WSS}}}Username").text = user[0]
            etree.SubElement(token, f"{{{_WSS}}}Password", Type=_PASSWORD_TEXT).text = user[1]
        common = element("Workday_Common_Header", element("Include_Reference_Descriptors_In_Response", text="1"))
        header.append(common)
        etree.SubElement(envelope, f"{{{SOAP}}}Body").append(body)
        return bytes(etree.tostring(envelope, xml_declaration=True, encoding="utf-8"))

    def _user(self) -> tuple[str, str] | None:
        """Name with the tenant, and password."""
        user = self._settings.auth.user
        if user is not None and self._token is None:
            tenant = reveal(self._settings.url, folder=self._folder).rstrip("/").rpartition("/")[2]
            name = reveal(user.username, folder=self._folder)
            name = name if "@" in name else f"{name}@{tenant}"
            self._token = name, reveal(user.password, folder=self._folder)
        return self._token

    def _judged(self, asked: Call, answer: Answer) -> Any:
        """The body's element. Raises: ProvisorError."""
        if is_rate_limit(answer.status, answer.headers, b""):
            raise RetryableError(
                f"Could not {asked.purpose}: Workday reports too many requests (HTTP {answer.status}).",
                retry_after_s=retry_after_s(answer.headers, now=time.time()),
                code=ErrorCode.TOO_MANY_REQUESTS,
            )
        root = parsed(answer.body)
        body = None if root is None or root.tag != f"{{{SOAP}}}Envelope" else root.find(f"{{{SOAP}}}Body")
        if body is None or len(body) == 0:
            error = self._no_soap(asked, answer)
            raise error if asked.effect is CallEffect.READ else _of_a_change(asked, error)
        found = body[0]
        if found.tag == f"{{{SOAP}}}Fault":
            error = self._fault(asked, found)
            raise error if asked.effect is CallEffect.READ else _of_a_change(asked, error)
        if answer.status != 200:
            raise refused(self._session, asked, answer)
        return found

    def _no_soap(self, asked: Call, answer: Answer) -> ProvisorError:
        what = nature(answer.body)
        if what == "an HTML page" or answer.status >= 500:
            return RetryableError(
                f"Could not {asked.purpose}: instead of an answer Workday sent {what} (HTTP {answer.status}). A tenant "
                "that is being maintained does so; the next cycle tries again."
            )
        if answer.status == 200:
            return RetryableError(
                f"Could not {asked.purpose}: the answer was cut off or is no SOAP message. Make page_size smaller if "
                "this happens again."
            )
        return refused(self._session, asked, answer)

    def _fault(self, asked: Call, fault: Any) -> ProvisorError:
        """What a fault means, by its code, its kind and, where there is nothing else, its words."""
        code = (fault.findtext("faultcode") or "").rpartition(":")[2]
        said = fault.findtext("faultstring") or ""
        errors = [
            ": ".join(part for part in (one.findtext(wd("Message")), one.findtext(wd("Detail_Message"))) if part)
            for one in fault.iter(wd("Validation_Error"), wd("Processing_Fault"))
        ]
        places = [one.findtext(wd("Xpath")) or "" for one in fault.iter(wd("Validation_Error"))]
        secrets = self._token or ()
        text = redact(" ".join(dict.fromkeys([said, *errors])), secrets)
        where = next((f" (at {redact(place, secrets)})" for place in places if place), "")
        if "authenticationError" in code or "invalid username or password" in said.lower():
            who = f" as {self._token[0]}" if self._token is not None else ""
            return CredentialsError(
                f"Workday does not let Provisor sign in{who}: {text} Check the user, its password, and that its "
                "account is not locked or restricted to other addresses."
            )
        if "not authorized" in said.lower():
            return CredentialsError(
                f"Workday does not allow the integration user to {asked.purpose}: {text} Give its security group "
                "Get on the "
                "domains Worker Data: Public Worker Reports, Workers, and Current Staffing Information, and activate "
                "the pending security policy changes.",
                code=ErrorCode.INSUFFICIENT_RIGHTS,
            )
        if "version" in said.lower() and "invalid" in said.lower():
            return SettingsError(
                f"Workday does not know version {self._settings.version} of Human_Resources: {text} Set version to one "
                "that the tenant offers."
            )
        if any(True for _ in fault.iter(wd("Validation_Fault"))) or "validationError" in code:
            return SchemaMismatchError(f"Workday refused to {asked.purpose}: {text}{where}")
        if any(True for _ in fault.iter(wd("Processing_Fault"))) or code.startswith("Server"):
            return RetryableError(f"Could not {asked.purpose}: Workday failed: {text}")
        return SchemaMismatchError(f"Workday refused to {asked.purpose} ({code}): {text}")


_TAKEN = ("already", "in use", "must be unique", "not unique")
_PENDING = ("cannot initiate", "pending")


def _of_a_change(asked: Call, error: ProvisorError) -> ProvisorError:
    """The same where something was to be written: a refusal is about one worker, and after a failure nobody knows."""
    said = str(error)
    match error:
        case CredentialsError(code=ErrorCode.INSUFFICIENT_RIGHTS):
            return CredentialsError(
                f"{said.partition(' Give its')[0]} Give its security group Put on the domains Person Data: Work "
                "Contact Information and Workday Accounts, and Change Work Contact Information (Web Service) in the "
                "business process policy of Work Contact Change, and activate the pending security policy changes.",
                code=ErrorCode.INSUFFICIENT_RIGHTS,
            )
        case SchemaMismatchError() if any(word in said.lower() for word in _PENDING):
            return RetryableError(f"Another process of this worker has to end first. {said}")
        case SchemaMismatchError() if any(word in said.lower() for word in _TAKEN):
            return ConflictError(said)
        case SchemaMismatchError():
            return InvalidValueError(said)
        case RetryableError():
            return UnknownOutcomeError(f"Whether Workday has done it is not known. {said}")
        case _:
            return error


def parsed(body: bytes) -> Any:
    """The root of a document; None where it is none. Entities are not followed, and nothing is fetched."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, remove_pis=True)
    try:
        return etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
