"""A SuccessFactors instance of our own for tests: PerPerson, EmpEmployment and the token endpoint, over OData v2.

As the real one it pages by numbers unless a snapshot is asked for, binds a snapshot to a cookie, leaves out what was
not expanded and shows a person as of a day. Assertions are verified by signxml. Nothing of the product is in here;
answers are read by pyodata with the small ``successfactors.edmx`` beside this file.
"""

import base64
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.exceptions import InvalidInput, InvalidSignature
from signxml.verifier import XMLVerifier
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.servers.starting import answering

COMPANY, CLIENT, API_USER, TOKEN = "contosoP", "an-api-key", "provisor", "a-successfactors-token"
EDMX = Path(__file__).with_name("successfactors.edmx")
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
TODAY = date(2026, 5, 1)


def key_pair() -> tuple[str, str]:
    """A key and its certificate, in PEM form."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provisor")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def stamp(day: date | None) -> str | None:
    """A day as the service writes it."""
    if day is None:
        return None
    return f"/Date({int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)})/"


@dataclass
class Employment:
    """One employment with what its job is from which day on."""

    user: str
    start: date
    jobs: list[tuple[date, dict[str, Any]]]
    end: date | None = None
    last_day: date | None = None
    assignment: str = "ST"
    account: dict[str, Any] | None = None
    """The user; None where it may not be seen."""


@dataclass
class Person:
    """A person."""

    key: str
    personal: dict[str, Any]
    employments: list[Employment] = field(default_factory=list)
    phones: list[dict[str, Any]] = field(default_factory=list)
    mails: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class SuccessFactorsService:
    """One instance."""

    today: date = TODAY
    certificate: str = ""
    """PEM of the certificate that the client has registered."""
    people: dict[str, Person] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    """People whom the listing leaves out although they are counted."""
    hides_jobs: bool = False
    ignores_filters: bool = False
    forgets_snapshots: bool = False
    troubles: dict[int, str] = field(default_factory=dict)
    """What goes wrong with which page of people: cut, empty, circle or doubled."""
    struck: int = 0
    write_troubles: list[str] = field(default_factory=list)
    """What goes wrong with the next upserts: refused, lost before, lost after, short; "" is nothing."""
    upserts: list[list[dict[str, Any]]] = field(default_factory=list)
    before_page: dict[int, Callable[[], None]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tokens: int = 0
    expired: set[str] = field(default_factory=set)
    assertions: set[str] = field(default_factory=set)
    url: str = ""
    _snapshots: dict[str, list[str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: Any = field(default_factory=threading.RLock)

    # -- put in by tests -----------------------------------------------------------------------------------------------

    def put(self, key: str, *, status: str = "A", start: date = date(2020, 1, 1), **values: Any) -> Person:
        """A person with one employment."""
        job = {"jobTitle": "Clerk", "department": "Sales", "country": "DE", "company": "Contoso", **values}
        account = {"username": key.lower(), "timeZone": "Europe/Berlin", "manager": values.get("manager")}
        personal = {"firstName": values.get("first", "Ann"), "lastName": values.get("last", "Lee")}
        person = Person(key, personal)
        person.employments.append(Employment(f"u{key}", start, [(start, job | {"status": status})], account=account))
        person.mails = [
            {"emailAddress": f"{key}@home.example", "isPrimary": False, "emailType": "1"},
            {"emailAddress": f"{key}@example.com", "isPrimary": True, "emailType": "2"},
        ]
        self.people[key] = person
        return person

    def change(self, key: str, day: date, **values: Any) -> None:
        """The job of the last employment from a day on."""
        jobs = self.people[key].employments[-1].jobs
        jobs.append((day, {**jobs[-1][1], **values}))

    # -- requests ------------------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        with self._lock:
            path = request.url.path
            if path == "/oauth/token":
                return self._token(parse_qs(body.decode()))
            self.requests.append(f"{path}?{request.url.query}")
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not given.startswith(TOKEN) or given in self.expired:
                return _error(401, "LGN0017", "Unable to authenticate the client")
            if path == "/odata/v2/$metadata":
                return Response(EDMX.read_bytes(), media_type="application/xml")
            if path == "/odata/v2/PerPerson/$count":
                return PlainTextResponse(str(len(self.people)))
            if path == "/odata/v2/PerPerson":
                return self._people(request)
            if path == "/odata/v2/upsert" and request.method == "POST":
                return self._upsert(request.query_params.get("purgeType", "incremental"), json.loads(body))
            if path == "/odata/v2/EmpEmployment":
                return self._employments(request)
            return _error(404, "NotFoundException", "Resource not found")

    def _token(self, form: dict[str, list[str]]) -> Response:
        if form.get("company_id") != [COMPANY] or form.get("client_id") != [CLIENT]:
            return JSONResponse({"error": "invalid_client"}, 401)
        text = form.get("assertion", [""])[0]
        if form.get("grant_type") != ["urn:ietf:params:oauth:grant-type:saml2-bearer"] or text in self.assertions:
            return JSONResponse({"error": "invalid_grant"}, 401)
        try:
            signed = XMLVerifier().verify(base64.b64decode(text), x509_cert=self.certificate).signed_xml
        except (InvalidSignature, InvalidInput, ValueError, etree.XMLSyntaxError):
            return JSONResponse({"error": "invalid_grant", "error_description": "Signature not valid"}, 401)
        assert signed is not None
        told = {
            etree.QName(one).localname: (one.text or "").strip() for one in signed.iter() if isinstance(one.tag, str)
        }
        recipient = signed.find(f".//{SAML}SubjectConfirmationData").get("Recipient")
        right = (told["NameID"], told["Audience"], told["AttributeValue"]) == (
            API_USER,
            "www.successfactors.com",
            CLIENT,
        )
        if not right or recipient != f"{self.url}/oauth/token":
            return JSONResponse({"error": "invalid_grant", "error_description": "Assertion not for us"}, 401)
        self.assertions.add(text)
        self.tokens += 1
        return JSONResponse({"access_token": f"{TOKEN}{self.tokens}", "token_type": "Bearer", "expires_in": 86400})

    def _upsert(self, purge: str, records: list[dict[str, Any]]) -> Response:
        """Each record has an answer of its own; addresses and phones of one person are judged together."""
        if purge != "incremental":
            return _error(400, "COE0020", "Nobody should delete what is not sent.")
        trouble = self.write_troubles.pop(0) if self.write_troubles else ""
        if trouble == "refused":
            return _error(403, "COE_PERMISSION", "No permission to upsert.")
        if trouble == "lost before":
            return _error(500, "COE_GENERAL", "Something went wrong.")
        results: list[dict[str, Any]] = [{} for _ in records]
        groups: dict[tuple[str, str], list[int]] = {}
        for number, record in enumerate(records):
            entity, keys = _key_of(record["__metadata"]["uri"])
            groups.setdefault((entity, keys.get("personIdExternal", keys.get("", ""))), []).append(number)
        for (entity, key), numbers in groups.items():
            message = self._write(entity, key, [records[number] for number in numbers])
            for number in numbers:
                results[number] = {
                    "key": records[number]["__metadata"]["uri"],
                    "status": "ERROR" if message else "OK",
                    "editStatus": None if message else "UPSERTED",
                    "message": message or None,
                    "index": number,
                    "httpCode": 500 if message else 200,
                    "inlineResults": None,
                }
        self.upserts.append(records)
        if trouble == "lost after":
            return _error(500, "COE_GENERAL", "Something went wrong.")
        return JSONResponse({"d": results[:-1] if trouble == "short" else results})

    def _write(self, entity: str, key: str, records: list[dict[str, Any]]) -> str:
        """Why nothing of it is written; empty where all of it is."""
        if entity == "User":
            return self._write_user(key, records[0])
        if key not in self.people:
            return f"No person with personIdExternal {key}."
        kind, value = ("emailType", "emailAddress") if entity == "PerEmail" else ("phoneType", "phoneNumber")
        person = self.people[key]
        held = {str(one[kind]): dict(one) for one in (person.mails if entity == "PerEmail" else person.phones)}
        for record in records:
            type_ = _key_of(record["__metadata"]["uri"])[1].get(kind, "")
            if "isPrimary" not in record:
                return "isPrimary is required."
            if type_ not in TYPES[entity]:
                return f"Invalid picklist option {type_}."
            if record.get("operation") == "DELETE":
                held.pop(type_, None)
            else:
                held[type_] = {kind: type_, value: record[value], "isPrimary": record["isPrimary"]}
        if held and sum(one["isPrimary"] is True for one in held.values()) != 1:
            return "There must be exactly one primary entry."
        if entity == "PerEmail":
            person.mails = list(held.values())
        else:
            person.phones = list(held.values())
        return ""

    def _write_user(self, user: str, record: dict[str, Any]) -> str:
        accounts = {
            one.user: one.account for person in self.people.values() for one in person.employments if one.account
        }
        if user not in accounts:
            return f"A user {user} would be created without its required fields."
        fields = {name: value for name, value in record.items() if name != "__metadata"}
        names = {one["username"].lower() for key, one in accounts.items() if key != user}
        if str(fields.get("username", "")).lower() in names:
            return "username must be unique."
        accounts[user].update(fields)
        return ""

    def _people(self, request: Request) -> Response:
        query = request.query_params
        size = min(1000, int(query.get("customPageSize", query.get("$top", "1000"))))
        day = date.fromisoformat(query["asOfDate"]) if "asOfDate" in query else self.today
        token, cookie = query.get("$skiptoken"), request.headers.get("cookie", "")
        keys = [key for key in self.people if key not in self.hidden]
        named = re.fullmatch(r"personIdExternal in (.*)", query.get("$filter", ""))
        if named and not self.ignores_filters:
            wanted = {one.replace("''", "'") for one in re.findall(r"'((?:[^']|'')*)'", named[1])}
            keys = [key for key in keys if key in wanted]
        start, headers = 0, {}
        if query.get("paging") == "snapshot":
            if token is None:
                session = f"S{next(self._numbers)}"
                self._snapshots[session] = keys
                headers = {"set-cookie": f"JSESSIONID={session}; Path=/; HttpOnly"}
            else:
                session = cookie.removeprefix("JSESSIONID=")
                if session not in self._snapshots or self.forgets_snapshots:
                    return _error(400, "COE_SNAPSHOT_BAD_REQUEST", "The snapshot does not exist.")
                keys = self._snapshots[session]
        if token is not None:
            start = int(base64.b64decode(token).decode())
        number = start // size + 1
        if number in self.before_page:
            self.before_page.pop(number)()
        expand = {one for one in query.get("$expand", "").split(",") if one}
        trouble = self.troubles.get(number, "")
        self.struck += bool(trouble)
        if trouble == "cut":
            return _error(500, "COE_GENERAL", "Something went wrong.")
        again, back = "", 1 if trouble == "doubled" else 0
        some = [self.people[key] for key in keys[start - back : start - back + size] if key in self.people]
        if trouble == "empty":  # once: the same page comes again
            del self.troubles[number]
            some, size, again = [], 0, "&again=1"
        if trouble == "circle":
            size = 0
        body: dict[str, Any] = {"results": [self._shown(person, day, expand) for person in some]}
        if start + size < len(keys):
            rest = "&".join(f"{name}={value}" for name, value in query.items() if name != "$skiptoken")
            mark = base64.b64encode(str(start + size).encode()).decode()
            body["__next"] = f"{self.url}/odata/v2/PerPerson?{rest}&$skiptoken={mark}{again}"
        return JSONResponse({"d": body}, headers=headers)

    def _shown(self, person: Person, day: date, expand: set[str]) -> dict[str, Any]:
        def node(path: str, made: Callable[[], Any]) -> Any:
            return made() if path in expand else {"__deferred": {"uri": f"{self.url}/odata/v2/{path}"}}

        def employment(one: Employment) -> dict[str, Any]:
            job = next(
                (values for start, values in sorted(one.jobs, key=lambda job: job[0], reverse=True) if start <= day),
                None,
            )
            account = one.account
            return {
                "__metadata": {
                    "type": "SFOData.EmpEmployment",
                    "uri": f"{self.url}/odata/v2/EmpEmployment('{one.user}')",
                },
                "personIdExternal": person.key,
                "userId": one.user,
                "startDate": stamp(one.start),
                "endDate": stamp(one.end),
                "lastDateWorked": stamp(one.last_day),
                "assignmentClass": one.assignment,
                "isContingentWorker": False,
                "jobInfoNav": node(
                    "employmentNav/jobInfoNav",
                    lambda: {"results": [] if job is None or self.hides_jobs else [_job(job, node)]},
                ),
                "userNav": node("employmentNav/userNav", lambda: account and _account(account, node)),
            }

        began = any(one.start <= day for one in person.employments)
        active = [one for one in person.employments if one.start <= day and (one.end is None or one.end >= day)]
        return {
            "__metadata": {"type": "SFOData.PerPerson", "uri": f"{self.url}/odata/v2/PerPerson('{person.key}')"},
            "personIdExternal": person.key,
            "personId": str(len(person.key)),
            "perPersonUuid": f"UUID-{person.key}",
            "personalInfoNav": node(
                "personalInfoNav",
                lambda: {
                    "results": [
                        {
                            "__metadata": {"type": "SFOData.PerPersonal", "uri": f"{self.url}/odata/v2/PerPersonal"},
                            "personIdExternal": person.key,
                            **person.personal,
                        }
                    ]
                    if began
                    else []
                },
            ),
            "phoneNav": node("phoneNav", lambda: {"results": person.phones}),
            "emailNav": node("emailNav", lambda: {"results": person.mails}),
            "employmentNav": node(
                "employmentNav", lambda: {"results": [employment(one) for one in person.employments]}
            ),
            "personEmpTerminationInfoNav": node(
                "personEmpTerminationInfoNav",
                lambda: {
                    "activeEmploymentsCount": len(active),
                    "latestTerminationDate": stamp(
                        max((one.end for one in person.employments if one.end), default=None)
                    ),
                },
            ),
        }

    def _employments(self, request: Request) -> Response:
        text = request.query_params.get("$filter", "")
        bounds = re.fullmatch(
            r"startDate gt datetime'([\d-]+)T[\d:]+' and startDate le datetime'([\d-]+)T[\d:]+'", text
        )
        if bounds is None:
            return _error(400, "BadRequestException", f"Invalid filter {text}")
        first, last = (date.fromisoformat(one) for one in bounds.groups())
        found = [
            {"personIdExternal": person.key, "userId": one.user, "startDate": stamp(one.start)}
            for person in self.people.values()
            for one in person.employments
            if self.ignores_filters or first < one.start <= last
        ]
        return JSONResponse({"d": {"results": found}})


def _job(job: dict[str, Any], node: Callable[[str, Callable[[], Any]], Any]) -> dict[str, Any]:
    way = "employmentNav/jobInfoNav"
    return {
        "jobTitle": job["jobTitle"],
        "position": "P1",
        "emplStatus": "64300",
        "emplStatusNav": node(f"{way}/emplStatusNav", lambda: {"externalCode": job["status"]}),
        "departmentNav": node(
            f"{way}/departmentNav", lambda: {"name_localized": job["department"], "externalCode": "D1"}
        ),
        "companyNav": node(
            f"{way}/companyNav",
            lambda: {
                "name_localized": job["company"],
                "externalCode": "C1",
                "countryOfRegistrationNav": node(
                    f"{way}/companyNav/countryOfRegistrationNav", lambda: {"twoCharCountryCode": job["country"]}
                ),
            },
        ),
        "locationNav": node(f"{way}/locationNav", lambda: {"name": "Berlin", "externalCode": "BER"}),
    }


def _account(account: dict[str, Any], node: Callable[[str, Callable[[], Any]], Any]) -> dict[str, Any]:
    way, manager = "employmentNav/userNav", account.get("manager")
    return {
        "username": account["username"],
        "timeZone": account["timeZone"],
        **{name: value for name, value in account.items() if name.startswith("custom")},
        "status": "t",
        "manager": node(
            f"{way}/manager",
            lambda: manager and {"empInfo": node(f"{way}/manager/empInfo", lambda: {"personIdExternal": manager})},
        ),
    }


TYPES = {"PerEmail": {"1", "2", "8448"}, "PerPhone": {"10605", "10606", "10607"}}
"""Options of the picklists."""


def _key_of(uri: str) -> tuple[str, dict[str, str]]:
    """Entity and keys of an address like ``PerEmail(emailType='1',personIdExternal='100')``."""
    entity, _, inside = uri.removesuffix(")").partition("(")
    keys = re.findall(r"(?:(\w+)=)?'((?:[^']|'')*)'", inside)
    return entity, {name: value.replace("''", "'") for name, value in keys}


def _error(status: int, code: str, text: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": {"lang": "en-US", "value": text}}}, status)


@contextmanager
def serving(service: SuccessFactorsService | None = None) -> Iterator[SuccessFactorsService]:
    """An instance that answers on loopback while the block runs."""
    service = service or SuccessFactorsService()
    with answering(service.answer) as address:
        service.url = address
        yield service
