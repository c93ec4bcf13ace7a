"""A Workday tenant of our own for tests: Get_Workers and Get_Server_Timestamp over SOAP, changes of work contact data
and user names, and reports.

Strict where Workday is strict: requests are held against the schema in ``workday.wsdl``, a window may not end after
now, a page without a fixed moment of entry is as of now. What a worker is depends on the day that is asked about and on
what had been entered by then. Nothing of the product is in here. No schema of Workday's can be had in a package; the
one beside this file is a small one of our own, and answers are read by zeep with it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from lxml import etree
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.servers import workday_contact
from tests.servers.starting import answering

TENANT, USER, PASSWORD, TOKEN = "contoso", "ISU_Provisor", "a workday password", "a-workday-token"
CLIENT, SECRET, REFRESH = "a-client", "a-client-secret", "a-refresh-token"
VERSIONS = {"v34.0", "v44.0"}
WD = "{urn:com.workday/bsvc}"
NS = {"wd": "urn:com.workday/bsvc"}
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
WSDL = Path(__file__).with_name("workday.wsdl")
START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
LONG_AGO = datetime(2015, 1, 1, tzinfo=UTC)


@dataclass
class Entry:
    """What was entered when, and from which day on it holds."""

    entered: datetime
    effective: date
    values: dict[str, Any]
    logged: bool = True


@dataclass
class Worker:
    """One profile."""

    wid: str
    number: str
    contingent: bool
    entries: list[Entry] = field(default_factory=list)

    def state(self, entry: datetime, day: date) -> dict[str, Any] | None:
        """Values as known at a moment, and as they are on a day; None where nothing was known."""
        known = [one for one in self.entries if one.entered <= entry]
        if not known:
            return None
        found: dict[str, Any] = {}
        for one in sorted(known, key=lambda one: (one.effective, one.entered)):
            if one.effective <= day:
                found |= one.values
        rescinded = any(one.values.get("rescinded") for one in known)
        hired = next((one.effective for one in known if "hired" in one.values), day)
        ends = found.get("ends")
        found["hire_date"] = hired
        found["rescinded"] = rescinded
        found["active"] = not rescinded and hired <= day and (ends is None or day <= ends)
        return found


class Fault(Exception):  # noqa: N818
    """A SOAP fault as Workday words it."""

    def __init__(self, code: str, text: str, detail: str = "") -> None:
        self.code, self.text, self.detail = code, text, detail


FAULTS = {
    "authentication": Fault("SOAP-ENV:Client.authenticationError", "invalid username or password"),
    "not authorized": Fault("SOAP-ENV:Client", "Processing error occurred. The task submitted is not authorized."),
    "processing": Fault(
        "SOAP-ENV:Server",
        "Processing error occurred.",
        "<wd:Processing_Fault><wd:Detail_Message>The tenant is busy.</wd:Detail_Message></wd:Processing_Fault>",
    ),
}


def invalid(message: str, place: str = "") -> Fault:
    """A request that the tenant does not accept."""
    where = f"<wd:Xpath>{escape(place)}</wd:Xpath>" if place else ""
    error = f"<wd:Validation_Error><wd:Message>{escape(message)}</wd:Message>{where}</wd:Validation_Error>"
    return Fault(
        "SOAP-ENV:Client.validationError",
        "Validation error occurred.",
        f"<wd:Validation_Fault>{error}</wd:Validation_Fault>",
    )


@dataclass
class WorkdayService:
    """One tenant."""

    now: datetime = START
    shows_future: bool = True
    """Whether people before their first day are listed, as inactive."""
    workers: dict[str, Worker] = field(default_factory=dict)
    managers: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    """WIDs that the integration user may not see: left out, and not counted."""
    hidden_sections: set[str] = field(default_factory=set)
    """Sections that it may not see."""
    troubles: list[str] = field(default_factory=list)
    """What goes wrong with the next requests for workers, one each; "" is nothing."""
    before_page: dict[int, Callable[[], None]] = field(default_factory=dict)
    """What happens in the tenant before a page is answered, once."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Requests for workers."""
    write_troubles: list[str] = field(default_factory=list)
    """What goes wrong with the next changes, one each; "" is nothing."""
    written: list[Any] = field(default_factory=list)
    """Changes that were not refused at once."""
    pending: set[str] = field(default_factory=set)
    """WIDs of workers with a process that has to end first."""
    needs_approval: bool = False
    """Whether somebody in Workday has to approve changes of contact data."""
    tokens: int = 0
    reports: dict[str, tuple[int, bytes, str]] = field(default_factory=dict)
    url: str = ""
    _lock: Any = field(default_factory=threading.RLock)
    _schema: Any = None

    # -- put in by tests -----------------------------------------------------------------------------------------------

    def put(
        self,
        number: str,
        *,
        hired: date = date(2020, 1, 1),
        contingent: bool = False,
        entered: datetime | None = None,
        **values: Any,
    ) -> str:
        """A worker of whom everything was entered at once; gives the WID."""
        wid = f"{len(self.workers) + 1:032x}"
        worker = Worker(wid, number, contingent)
        worker.entries.append(Entry(entered or LONG_AGO, hired, {"hired": True, **values}))
        self.workers[wid] = worker
        return wid

    def change(self, wid: str, *, effective: date | None = None, logged: bool = True, **values: Any) -> None:
        """Something entered now."""
        self.workers[wid].entries.append(Entry(self.now, effective or self.now.date(), values, logged))

    def end(self, wid: str, day: date, *, last_day: date | None = None) -> None:
        """A termination entered now: the day is the last on which the worker is active."""
        self.change(wid, effective=day, ends=day, last_day=last_day or day)

    # -- requests ------------------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        path = request.url.path
        with self._lock:
            if path == f"/ccx/oauth2/{TENANT}/token":
                return self._token(parse_qs(body.decode()))
            if path.startswith(f"/ccx/service/customreport2/{TENANT}/"):
                return self._report(request, path)
            if not path.startswith(f"/ccx/service/{TENANT}/Human_Resources/"):
                return Response("not found", 404)
            try:
                return self._soap(request, path.rpartition("/")[2], body)
            except Fault as fault:
                return _fault(fault)

    def _token(self, form: dict[str, list[str]]) -> Response:
        if form.get("grant_type") != ["refresh_token"] or form.get("refresh_token") != [REFRESH]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self.tokens += 1
        return JSONResponse({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})

    def _report(self, request: Request, path: str) -> Response:
        import base64

        given = request.headers.get("authorization", "")
        if given != "Basic " + base64.b64encode(f"{USER}@{TENANT}:{PASSWORD}".encode()).decode():
            return Response("<html>sign in</html>", 401, media_type="text/html")
        kind = request.query_params.get("format", "simplexml")
        found = self.reports.get(f"{path.rpartition('customreport2/' + TENANT + '/')[2]}?{kind}")
        if found is None:
            return Response("<html>invalid</html>", 404, media_type="text/html")
        status, content, media = found
        return Response(content, status, media_type=media)

    def _soap(self, request: Request, version: str, body: bytes) -> Response:
        envelope = etree.fromstring(body)
        content = envelope.find(f"{{{SOAP}}}Body")[0]
        self._sign_in(request, envelope)
        if version not in VERSIONS:
            raise Fault("SOAP-ENV:Client", "The web service or version is invalid for the requested operation.")
        if not self.schema.validate(content):
            error = self.schema.error_log.last_error
            raise invalid(f"Validation error occurred. {error.message}", content.tag)
        if content.tag == f"{WD}Server_Timestamp_Get":
            zone = self.now.astimezone(UTC).isoformat()
            return _soap(
                f"<wd:Server_Timestamp><wd:Server_Timestamp_Data>{zone}</wd:Server_Timestamp_Data></wd:Server_Timestamp>".encode()
            )
        if content.tag in (f"{WD}Change_Work_Contact_Information_Request", f"{WD}Workday_Account_for_Worker_Update"):
            return self._written(content)
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble in FAULTS:
            raise FAULTS[trouble]
        if trouble == "html":
            return Response("<html><body>Workday is being maintained</body></html>", 500, media_type="text/html")
        if trouble == "throttled":
            return Response("", 429, headers={"retry-after": "7"})
        return self._workers(content, version, trouble)

    def _sign_in(self, request: Request, envelope: Any) -> None:
        if request.headers.get("authorization") == f"Bearer {TOKEN}":
            return
        texts = {etree.QName(one).localname: one.text for one in envelope.find(f"{{{SOAP}}}Header").iter() if one.text}
        if texts.get("Username") != f"{USER}@{TENANT}" or texts.get("Password") != PASSWORD:
            raise FAULTS["authentication"]

    @property
    def schema(self) -> Any:
        """The schema in the service description."""
        if self._schema is None:
            root = etree.parse(WSDL).getroot()
            self._schema = etree.XMLSchema(root.find(".//{http://www.w3.org/2001/XMLSchema}schema"))
        return self._schema

    # -- what is written back ------------------------------------------------------------------------------------------

    def _wids(self, kind: str | None, number: str) -> list[str]:
        """WIDs of the workers whom an id names; ids that nobody has are left out."""
        if kind not in ("WID", "Employee_ID", "Contingent_Worker_ID"):
            raise invalid(f"Invalid ID type: {kind}", "Worker_Reference")
        return [
            wid
            for wid, one in self.workers.items()
            if (wid if kind == "WID" else one.number) == number
            and (kind == "WID" or one.contingent is (kind == "Contingent_Worker_ID"))
        ]

    def _written(self, content: Any) -> Response:
        """Refuses, waits for an approval, or does it; what goes wrong with writes is in ``write_troubles``."""
        trouble = self.write_troubles.pop(0) if self.write_troubles else ""
        if trouble in FAULTS and not trouble.startswith("processing"):
            raise FAULTS[trouble]
        if trouble == "throttled":
            return Response("", 429, headers={"retry-after": "7"})
        if trouble == "processing before":
            raise FAULTS["processing"]
        answer = self._account(content) if content.tag.endswith("_Update") else self._contact(content)
        self.written.append(content)
        if trouble == "processing after":
            raise FAULTS["processing"]
        if trouble == "cut":
            return Response(answer.body[: len(answer.body) // 2], 200, media_type="text/xml")
        return answer

    def _contact(self, content: Any) -> Response:
        data = content.find("wd:Change_Work_Contact_Information_Data", NS)
        person = data.find("wd:Person_Reference/wd:ID", NS)
        worker = self._person(self._wids(person.get(f"{WD}type"), person.text or ""), person.text or "")
        day = date.fromisoformat(data.findtext("wd:Event_Effective_Date", namespaces=NS)[:10])
        if worker.wid in self.pending:
            raise invalid(
                "You cannot initiate this action because there are other pending or completed actions for the worker "
                "that conflict with this one."
            )
        state = worker.state(self.now, day) or {}
        if state.get("hire_date", day) > day:
            raise invalid("The effective date must not be before the hire date.", "Event_Effective_Date")
        given = data.find("wd:Person_Contact_Information_Data", NS)
        ways = workday_contact.changed(workday_contact.ways_of(state, worker.number), given, invalid)
        runs = [
            content.findtext(f"wd:Business_Process_Parameters/wd:{one}", default="0", namespaces=NS)
            for one in ("Auto_Complete", "Run_Now")
        ]
        if all(one in ("1", "true") for one in runs) and not self.needs_approval:
            worker.entries.append(Entry(self.now, day, {"ways": ways}))
        return _soap(
            b"<wd:Change_Work_Contact_Information_Response><wd:Change_Work_Contact_Information_Event_Reference>"
            b'<wd:ID wd:type="WID">0a</wd:ID></wd:Change_Work_Contact_Information_Event_Reference>'
            b"</wd:Change_Work_Contact_Information_Response>"
        )

    def _account(self, content: Any) -> Response:
        reference = content.find("wd:Worker_Reference", NS)[0]
        id_ = reference.find("wd:Integration_ID_Reference/wd:ID", NS)
        if id_.get(f"{WD}System_ID") != "WD-EMPLID":
            raise invalid("Invalid System ID.")
        kind = "Employee_ID" if reference.tag == f"{WD}Employee_Reference" else "Contingent_Worker_ID"
        worker = self._person(self._wids(kind, id_.text or ""), id_.text or "")
        name = content.findtext("wd:Workday_Account_for_Worker_Data/wd:User_Name", default="", namespaces=NS)
        day = self.now.date()
        if not name or set(name) & set(";:"):
            raise invalid("The user name must not be empty or contain ; or :.")
        if "user" not in (worker.state(self.now, day) or {}):
            raise invalid("There is no Workday Account for the worker.")
        names = {(one.state(self.now, day) or {}).get("user", "").lower() for one in self.workers.values()}
        if name.lower() in names:
            raise invalid("The user name is already in use.")
        worker.entries.append(Entry(self.now, day, {"user": name}, logged=False))
        return _soap(b"<wd:Workday_Account_for_Worker_Response></wd:Workday_Account_for_Worker_Response>")

    def _person(self, wids: list[str], number: str) -> Worker:
        if len(wids) != 1:
            raise invalid(f"Invalid ID value. '{number}' is not a valid ID value.", "Person_Reference")
        return self.workers[wids[0]]

    # -- workers -------------------------------------------------------------------------------------------------------

    def _workers(self, content: Any, version: str, trouble: str) -> Response:
        def text(path: str, default: str) -> str:
            return content.findtext(path, default=default, namespaces=NS) or default

        pacific = (self.now - timedelta(hours=8)).date().isoformat()
        day = date.fromisoformat(text("wd:Response_Filter/wd:As_Of_Effective_Date", pacific)[:10])
        entry_text = text("wd:Response_Filter/wd:As_Of_Entry_DateTime", "")
        page, count = (int(text(f"wd:Response_Filter/wd:{one}", two)) for one, two in (("Page", "1"), ("Count", "100")))
        if page in self.before_page:
            self.before_page.pop(page)()
        entry = _moment(entry_text) if entry_text else self.now
        flags = {
            etree.QName(one).localname: one.text in ("1", "true")
            for one in (
                content.find("wd:Response_Group", NS) if content.find("wd:Response_Group", NS) is not None else ()
            )
        }
        wids = [
            wid
            for one in content.iterfind("wd:Request_References/wd:Worker_Reference/wd:ID", NS)
            for wid in self._wids(one.get(f"{WD}type"), one.text or "")
        ]
        named = content.find("wd:Request_References", NS) is not None
        window = {
            etree.QName(one).localname: _moment(one.text)
            for one in content.iterfind(".//wd:Transaction_Date_Range_Data/*", NS)
        }
        if window.get("Updated_Through", entry) > self.now:
            raise invalid("Updated Through must not be after now.", "Updated_Through")
        asked = {"page": page, "count": count, "day": day, "entry": entry_text, "flags": flags}
        self.asked.append({**asked, "wids": wids, "window": window})
        found = self._chosen(content, entry, day, wids if named else None, window)
        back = 1 if trouble == "doubled" else 0
        some = found[(page - 1) * count - back : page * count - back]
        rendered = [self._render(worker, state, flags) for worker, state in some]
        total, said = len(found), len(rendered)
        if trouble == "short page":
            rendered = rendered[:-1]
        elif trouble == "missing row":
            rendered, said = rendered[:-1], said - 1
        elif trouble == "other total":
            total += 1
        elif trouble == "strangers":
            rendered += [
                self._render(worker, worker.state(entry, day) or {}, flags) for worker in self.workers.values()
            ]
        results = (
            f"<wd:Response_Results><wd:Total_Results>{total}</wd:Total_Results><wd:Total_Pages>{-(-total // count)}"
            f"</wd:Total_Pages><wd:Page_Results>{said}</wd:Page_Results><wd:Page>{page}</wd:Page></wd:Response_Results>"
        )
        if trouble == "no results":
            results = ""
        made = b"".join(
            (
                f'<wd:Get_Workers_Response wd:version="{version}">{results}<wd:Response_Data>'.encode(),
                *rendered,
                b"</wd:Response_Data></wd:Get_Workers_Response>",
            )
        )
        answer = _soap(made)
        return (
            Response(answer.body[: len(answer.body) // 2], 200, media_type="text/xml") if trouble == "cut" else answer
        )

    def _chosen(
        self, content: Any, entry: datetime, day: date, wids: list[str] | None, window: dict[str, datetime]
    ) -> list[tuple[Worker, dict[str, Any]]]:
        excluded = {
            name: content.findtext(f"wd:Request_Criteria/wd:Exclude_{name}", default="0", namespaces=NS)
            in ("1", "true")
            for name in ("Inactive_Workers", "Employees", "Contingent_Workers")
        }
        found = []
        for worker in self.workers.values() if wids is None else [self.workers[wid] for wid in wids]:
            state = worker.state(entry, day)
            if state is None or worker.wid in self.hidden:
                continue
            if state["hire_date"] > day and not self.shows_future:
                continue
            if excluded["Contingent_Workers" if worker.contingent else "Employees"]:
                continue
            if excluded["Inactive_Workers"] and not state["active"]:
                continue
            if window and not any(
                _inside(one, window) for one in worker.entries if one.logged and one.entered <= entry
            ):
                continue
            found.append((worker, state))
        return found

    def _render(self, worker: Worker, state: dict[str, Any], flags: dict[str, bool]) -> bytes:
        kind = "Contingent_Worker_ID" if worker.contingent else "Employee_ID"
        ids = f'<wd:ID wd:type="WID">{worker.wid}</wd:ID><wd:ID wd:type="{kind}">{escape(worker.number)}</wd:ID>'
        name = escape(f"{state.get('first', '')} {state.get('last', '')}".strip())
        sections = []
        if flags.get("Include_Personal_Information") and "personal" not in self.hidden_sections:
            sections.append(_personal(state, name, worker.number))
        if flags.get("Include_Employment_Information"):
            sections.append(_employment(state, worker, with_status="status" not in self.hidden_sections))
        if flags.get("Include_Organizations"):
            sections.append(_organizations(state, flags))
        manager = self.managers.get(worker.wid)
        if flags.get("Include_Management_Chain_Data") and manager is not None:
            chain = f'<wd:Manager_Reference><wd:ID wd:type="WID">{manager}</wd:ID></wd:Manager_Reference>'
            top = (
                f'<wd:Manager_Reference><wd:ID wd:type="WID">{next(iter(self.workers))}</wd:ID></wd:Manager_Reference>'
            )
            sections.append(
                "<wd:Management_Chain_Data><wd:Worker_Supervisory_Management_Chain_Data>"
                f"<wd:Management_Chain_Data>{top}</wd:Management_Chain_Data>"
                f"<wd:Management_Chain_Data>{chain}</wd:Management_Chain_Data>"
                "</wd:Worker_Supervisory_Management_Chain_Data></wd:Management_Chain_Data>"
            )
        data = ""
        if any(flags.get(one) for one in flags if one.startswith("Include_") and one != "Include_Reference"):
            universal = f"<wd:Universal_ID>{state['universal']}</wd:Universal_ID>" if "universal" in state else ""
            user = f"<wd:User_ID>{escape(state['user'])}</wd:User_ID>" if "user" in state else ""
            data = (
                f"<wd:Worker_Data><wd:Worker_ID>{escape(worker.number)}</wd:Worker_ID>{user}{universal}"
                f"{''.join(sections)}</wd:Worker_Data>"
            )
        reference = f'<wd:Worker_Reference wd:Descriptor="{name}">{ids}</wd:Worker_Reference>'
        return f"<wd:Worker>{reference}{data}</wd:Worker>".encode()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _inside(entry: Entry, window: dict[str, datetime]) -> bool:
    if "Updated_From" in window:
        return window["Updated_From"] <= entry.entered <= window["Updated_Through"]
    start = datetime(entry.effective.year, entry.effective.month, entry.effective.day, tzinfo=UTC)
    return window["Effective_From"] <= start <= window["Effective_Through"]


def _day(day: date) -> str:
    """A date with the zone that Workday writes behind it."""
    return f"{day.isoformat()}-08:00"


def _personal(state: dict[str, Any], name: str, number: str) -> str:
    def names(first: str, last: str) -> str:
        return (
            f'<wd:Name_Detail_Data wd:Formatted_Name="{name}"><wd:First_Name>{escape(first)}</wd:First_Name>'
            f"<wd:Last_Name>{escape(last)}</wd:Last_Name></wd:Name_Detail_Data>"
        )

    first, last = state.get("first", ""), state.get("last", "")
    contact = workday_contact.rendered(workday_contact.ways_of(state, number))
    return (
        f"<wd:Personal_Data><wd:Name_Data><wd:Legal_Name_Data>{names(first, last)}</wd:Legal_Name_Data>"
        f"<wd:Preferred_Name_Data>{names(state.get('preferred', first), last)}</wd:Preferred_Name_Data></wd:Name_Data>"
        f"<wd:Contact_Data>{contact}</wd:Contact_Data></wd:Personal_Data>"
    )


def _employment(state: dict[str, Any], worker: Worker, *, with_status: bool) -> str:
    def job(title: str, primary: int) -> str:
        kind = "Contingent_Worker_Type_ID" if worker.contingent else "Employee_Type_ID"
        sort = "Contingent" if worker.contingent else "Regular"
        place = (
            f'<wd:Business_Site_Summary_Data><wd:Location_Reference><wd:ID wd:type="Location_ID">'
            f"{escape(state.get('location', 'HQ'))}</wd:ID></wd:Location_Reference><wd:Address_Data>"
            f'<wd:Country_Reference wd:Descriptor="Country"><wd:ID wd:type="ISO_3166-1_Alpha-2_Code">'
            f"{state.get('country', 'DE')}</wd:ID></wd:Country_Reference>"
            f'<wd:Address_Line_Data wd:Type="ADDRESS_LINE_1">1 Main Street</wd:Address_Line_Data>'
            f'<wd:Address_Line_Data wd:Type="ADDRESS_LINE_2">Floor 2</wd:Address_Line_Data>'
            f"<wd:Municipality>{escape(state.get('city', 'Berlin'))}</wd:Municipality>"
            "<wd:Postal_Code>01234</wd:Postal_Code></wd:Address_Data></wd:Business_Site_Summary_Data>"
        )
        return (
            f'<wd:Worker_Job_Data wd:Primary_Job="{primary}"><wd:Position_Data><wd:Position_ID>P-{worker.number}'
            f"</wd:Position_ID><wd:Business_Title>{escape(title)}</wd:Business_Title><wd:Worker_Type_Reference "
            f'wd:Descriptor="{sort}"><wd:ID wd:type="{kind}">{sort.upper()}</wd:ID></wd:Worker_Type_Reference>{place}'
            "</wd:Position_Data></wd:Worker_Job_Data>"
        )

    jobs = "".join(job(title, 0) for title in state.get("other_titles", ())) + job(state.get("title", "Clerk"), 1)
    if not with_status:
        return f"<wd:Employment_Data>{jobs}</wd:Employment_Data>"
    active, ends = state["active"], state.get("ends")
    since = state["hire_date"] if active or ends is None else ends + timedelta(days=1)
    status = (
        f"<wd:Active>{int(active)}</wd:Active><wd:Active_Status_Date>{_day(since)}</wd:Active_Status_Date>"
        f"<wd:Hire_Date>{_day(state['hire_date'])}</wd:Hire_Date><wd:Hire_Rescinded>{int(state['rescinded'])}"
        f"</wd:Hire_Rescinded><wd:Terminated>{int(ends is not None)}</wd:Terminated>"
    )
    if ends is not None:
        status += (
            f"<wd:Termination_Date>{_day(ends)}</wd:Termination_Date><wd:Termination_Last_Day_of_Work>"
            f"{_day(state['last_day'])}</wd:Termination_Last_Day_of_Work>"
        )
    return f"<wd:Employment_Data>{jobs}<wd:Worker_Status_Data>{status}</wd:Worker_Status_Data></wd:Employment_Data>"


def _organizations(state: dict[str, Any], flags: dict[str, bool]) -> str:
    made = ""
    for kind, flag, name in (
        ("COMPANY", "Exclude_Companies", state.get("company", "Contoso")),
        ("SUPERVISORY", "Exclude_Supervisory_Organizations", state.get("department", "Sales")),
        ("Cost_Center", "Exclude_Cost_Centers", "CC 100"),
    ):
        if not flags.get(flag):
            made += (
                f"<wd:Worker_Organization_Data><wd:Organization_Data><wd:Organization_Code>{kind[:2]}1"
                f"</wd:Organization_Code><wd:Organization_Name>{escape(name)}</wd:Organization_Name>"
                f'<wd:Organization_Type_Reference><wd:ID wd:type="Organization_Type_ID">{kind}</wd:ID>'
                "</wd:Organization_Type_Reference></wd:Organization_Data></wd:Worker_Organization_Data>"
            )
    return f"<wd:Organization_Data>{made}</wd:Organization_Data>"


def _soap(body: bytes, status: int = 200) -> Response:
    head = f'<?xml version="1.0" encoding="UTF-8"?><env:Envelope xmlns:env="{SOAP}"><env:Body>'.encode()
    body = body.replace(b">", b' xmlns:wd="urn:com.workday/bsvc">', 1)
    return Response(head + body + b"</env:Body></env:Envelope>", status, media_type="text/xml")


def _fault(fault: Fault) -> Response:
    detail = (
        f"<detail>{fault.detail}</detail>".replace(">", ' xmlns:wd="urn:com.workday/bsvc">', 1) if fault.detail else ""
    )
    text = (
        f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP}"><SOAP-ENV:Body><SOAP-ENV:Fault><faultcode>{fault.code}</faultcode>'
        f"<faultstring>{escape(fault.text)}</faultstring>{detail}</SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )
    return Response(text, 500, media_type="text/xml")


@contextmanager
def serving(service: WorkdayService | None = None) -> Iterator[WorkdayService]:
    """A tenant that answers on loopback while the block runs."""
    service = service or WorkdayService()
    with answering(service.answer) as address:
        service.url = f"{address}/ccx/service/{TENANT}"
        yield service
