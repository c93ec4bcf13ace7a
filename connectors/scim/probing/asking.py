"""One question at a time: requests whose answers are looked at whatever they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.errors import RejectedError, RetryableError, SchemaMismatchError, UnknownOutcomeError
from connectors.http import Answer, Call, Effect
from connectors.scim.errors import error_of, problem_of
from connectors.scim.listing import Page, page_of
from connectors.scim.service import ScimService

DONE = "done"
SILENT = "answered with yes, not done"


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and what the service said to it."""

    subject: str
    """What it is about: ``lists``, ``filters``, ``changes``."""
    question: str
    answer: str
    form: str = ""
    """The form in which it was asked, of what was tried in several."""


@dataclass(slots=True)
class Notes:
    """What was found out so far, and how to speak to the service by it."""

    tell: Callable[[Finding], None]
    findings: list[Finding] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the profile that are not as the standard has them."""

    def said(self, subject: str, question: str) -> str | None:
        """The answer to a question; None where it was not asked."""
        return next((one.answer for one in self.findings if (one.subject, one.question) == (subject, question)), None)

    def note(self, subject: str, question: str, answer: str, *, form: str = "") -> None:
        """Writes down an answer."""
        finding = Finding(subject, question, answer, form)
        self.findings.append(finding)
        self.tell(finding)


class Asker:
    """Sends the requests of a probe: each once, whatever comes of it."""

    def __init__(self, service: ScimService) -> None:
        self.service = service

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer | str:
        """The answer; a few words where there is none. Raises: FatalError."""
        effect = Effect.READ if method == "GET" or path.endswith("/.search") else Effect.REPEATABLE
        call = Call(
            method, path, "answer a probe", effect=effect, params=params, body=body, headers=headers, known=True,
            impatient=True,
        )  # fmt: skip
        try:
            answer = await self.service.session.send(call)
        except (RejectedError, RetryableError, UnknownOutcomeError) as error:
            return f"no answer ({error.code})"
        if answer.status == 401:
            raise error_of(answer, call, address=self.service.session.address)
        return answer

    async def page(self, endpoint: str, **params: str | int) -> Page | str:
        """One page of a list, or what came instead. Raises: FatalError."""
        answer = await self.send("GET", endpoint, params=params)
        if isinstance(answer, str) or answer.status != 200:
            return said(answer)
        try:
            return page_of(answer.json(), what="entries")
        except SchemaMismatchError:
            return "not a SCIM list"

    async def entry(self, path: str) -> dict[str, Any] | None:
        """One entry; None where it cannot be read. Raises: FatalError."""
        answer = await self.send("GET", path)
        return body_of(answer) if not isinstance(answer, str) and answer.status == 200 else None


def body_of(answer: Answer | str) -> dict[str, Any]:
    """The object in an answer; empty where there is none."""
    if isinstance(answer, str):
        return {}
    try:
        body = answer.json()
    except SchemaMismatchError:
        return {}
    return body if isinstance(body, dict) else {}


def said(answer: Answer | str) -> str:
    """An answer in a few words, without anybody's values."""
    if isinstance(answer, str):
        return answer
    kind = problem_of(answer).type
    page = ", an HTML page" if "html" in answer.headers.get("content-type", "") else ""
    return f"HTTP {answer.status}{f' {kind}' if kind else ''}{page}"


def succeeded(answer: Answer | str) -> bool:
    """True for 2xx."""
    return not isinstance(answer, str) and 200 <= answer.status < 300
