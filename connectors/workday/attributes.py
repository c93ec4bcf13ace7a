"""What can be read of a worker: names of attributes, and the XPath of each below one ``wd:Worker``.

The names are those that HR teams know from other provisioning services, so that their mappings can be taken over. The
paths fit v34.0 and later. Every path is evaluated on one worker: it begins with ``self::wd:Worker``, never with its
parent, where the workers around it are.

Source: Workday Web Services, Human_Resources, "Get_Workers", "Worker_Data".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.errors import SettingsError
from connectors.kit import Form

NAMESPACE = "urn:com.workday/bsvc"

_REFERENCE = "wd:Worker/wd:Worker_Reference/wd:ID"
_WORKER = "wd:Worker/wd:Worker_Data"
_STATUS = f"{_WORKER}/wd:Employment_Data/wd:Worker_Status_Data"
_JOB = f"{_WORKER}/wd:Employment_Data/wd:Worker_Job_Data"
_PRIMARY = f"{_JOB}[@wd:Primary_Job='1' or @wd:Primary_Job='true']/wd:Position_Data"
_SITE = f"{_PRIMARY}/wd:Business_Site_Summary_Data"
_ADDRESS = f"{_SITE}/wd:Address_Data"
_NAME = f"{_WORKER}/wd:Personal_Data/wd:Name_Data"
_CONTACT = f"{_WORKER}/wd:Personal_Data/wd:Contact_Data"
_ORGANIZATIONS = f"{_WORKER}/wd:Organization_Data/wd:Worker_Organization_Data/wd:Organization_Data"
_AT_WORK = (
    "wd:Usage_Data/wd:Type_Data/wd:Type_Reference/wd:ID[@wd:type='Communication_Usage_Type_ID']='WORK' and "
    "(wd:Usage_Data/@wd:Public='1' or wd:Usage_Data/@wd:Public='true')"
)
_FIRST = "(wd:Usage_Data/wd:Type_Data/@wd:Primary='1' or wd:Usage_Data/wd:Type_Data/@wd:Primary='true')"
_CAPITALS = "'abcdefghijklmnopqrstuvwxyz','ABCDEFGHIJKLMNOPQRSTUVWXYZ'"


def _organization(kind: str, element: str) -> str:
    """Of the worker's organisation of a type: an element's text."""
    ids = "wd:Organization_Type_Reference/wd:ID[@wd:type='Organization_Type_ID']"
    return f"{_ORGANIZATIONS}[translate(string({ids}),{_CAPITALS})='{kind}']/wd:{element}/text()"


def _phone(device: str) -> str:
    """A public work number of a sort of device, as E.164."""
    of_device = f"wd:Phone_Device_Type_Reference/wd:ID[@wd:type='Phone_Device_Type_ID']='{device}'"
    return f"{_CONTACT}/wd:Phone_Data[{_AT_WORK} and {of_device}]/@wd:E164_Formatted_Phone"


def _id(where: str, kind: str) -> str:
    return f"{where}/wd:ID[@wd:type='{kind}']/text()"


@dataclass(frozen=True, slots=True)
class WorkerPath:
    """Where an attribute of a worker stands."""

    path: str
    """An XPath that begins with ``wd:Worker/``."""
    form: Form = Form.TEXT
    """``REFERENCE``: the path gives the WID of another worker."""
    many: bool = False
    """Whether all values are wanted, as a list; otherwise the first."""


_TEXTS = {
    "AddressLineData": f"{_ADDRESS}/wd:Address_Line_Data/text()",
    **{
        f"AddressLine{number}Data": f"{_ADDRESS}/wd:Address_Line_Data[@wd:Type='ADDRESS_LINE_{number}']/text()"
        for number in range(2, 10)
    },
    "BusinessTitle": f"{_PRIMARY}/wd:Business_Title/text()",
    "Company": _organization("COMPANY", "Organization_Name"),
    "ContingentWorkerID": f"{_REFERENCE}[@wd:type='Contingent_Worker_ID']/text()",
    "CostCenter": _organization("COST_CENTER", "Organization_Code"),
    "CountryReference": _id(f"{_ADDRESS}/wd:Country_Reference", "ISO_3166-1_Alpha-3_Code"),
    "CountryReferenceFriendly": f"{_ADDRESS}/wd:Country_Reference/@wd:Descriptor",
    "CountryReferenceNumeric": _id(f"{_ADDRESS}/wd:Country_Reference", "ISO_3166-1_Numeric-3_Code"),
    "CountryReferenceTwoLetter": _id(f"{_ADDRESS}/wd:Country_Reference", "ISO_3166-1_Alpha-2_Code"),
    "CountryRegionReference": f"{_ADDRESS}/wd:Country_Region_Descriptor/text()",
    "EmailAddress": f"{_CONTACT}/wd:Email_Address_Data[{_AT_WORK}]/wd:Email_Address/text()",
    "EmployeeID": f"{_REFERENCE}[@wd:type='Employee_ID']/text()",
    "FacilityLocation": _organization("LOCATION_HIERARCHY", "Organization_Name"),
    "Fax": _phone("Fax"),
    "FirstName": f"{_NAME}/wd:Legal_Name_Data/wd:Name_Detail_Data/wd:First_Name/text()",
    "JobClassificationID": _id(
        f"{_PRIMARY}/wd:Job_Classification_Summary_Data/wd:Job_Classification_Reference",
        "Job_Classification_Reference_ID",
    ),
    "JobFamilyID": _id(f"{_PRIMARY}/wd:Job_Profile_Summary_Data/wd:Job_Family_Reference", "Job_Family_ID"),
    "LastName": f"{_NAME}/wd:Legal_Name_Data/wd:Name_Detail_Data/wd:Last_Name/text()",
    "LeaveAbsenceType": _id(
        f"{_STATUS}/wd:Leave_Status_Data[wd:On_Leave='1' or wd:On_Leave='true']/wd:Leave_of_Absence_Type_Reference",
        "Leave_of_Absence_Type_ID",
    ),
    "LocalReference": _id(f"{_SITE}/wd:Local_Reference", "Locale_ID"),
    "LocationIdentifier": _id(f"{_SITE}/wd:Location_Reference", "Location_ID"),
    "ManagementLevelID": _id(
        f"{_PRIMARY}/wd:Job_Profile_Summary_Data/wd:Management_Level_Reference", "Management_Level_ID"
    ),
    "MiddleName": f"{_NAME}/wd:Legal_Name_Data/wd:Name_Detail_Data/wd:Middle_Name/text()",
    "Mobile": _phone("Mobile"),
    "Municipality": f"{_ADDRESS}/wd:Municipality/text()",
    "PositionID": f"{_PRIMARY}/wd:Position_ID/text()",
    "PositionTitle": f"{_PRIMARY}/wd:Position_Title/text()",
    "PostalCode": f"{_ADDRESS}/wd:Postal_Code/text()",
    "PreferredFirstName": f"{_NAME}/wd:Preferred_Name_Data/wd:Name_Detail_Data/wd:First_Name/text()",
    "PreferredLastName": f"{_NAME}/wd:Preferred_Name_Data/wd:Name_Detail_Data/wd:Last_Name/text()",
    "PreferredMiddleName": f"{_NAME}/wd:Preferred_Name_Data/wd:Name_Detail_Data/wd:Middle_Name/text()",
    "PreferredNameData": f"{_NAME}/wd:Preferred_Name_Data/wd:Name_Detail_Data/@wd:Formatted_Name",
    "PreferredPronoun": f"{_WORKER}/wd:Personal_Data/wd:Personal_Information_Data/wd:Pronoun_Reference/@wd:Descriptor",
    "PrimaryWorkTelephone": f"{_CONTACT}/wd:Phone_Data[{_AT_WORK} and {_FIRST}]/@wd:E164_Formatted_Phone",
    "ProvisioningGroup": (
        f"{_WORKER}/wd:Account_Provisioning_Data/wd:Provisioning_Group_Assignment_Data[wd:Status='Assigned']"
        "/wd:Provisioning_Group/text()"
    ),
    "SupervisoryOrganization": _organization("SUPERVISORY", "Organization_Name"),
    "Telephone": _phone("Landline"),
    "UniversalID": f"{_WORKER}/wd:Universal_ID/text()",
    "UserID": f"{_WORKER}/wd:User_ID/text()",
    "UserName": f"{_WORKER}/wd:User_Account_Data/wd:User_Name/text()",
    "WID": f"{_REFERENCE}[@wd:type='WID']/text()",
    "WorkerID": f"{_WORKER}/wd:Worker_ID/text()",
    "WorkerType": (
        f"{_PRIMARY}/wd:Worker_Type_Reference[wd:ID/@wd:type='Employee_Type_ID' or "
        "wd:ID/@wd:type='Contingent_Worker_Type_ID']/@wd:Descriptor"
    ),
    "WorkSpaceReference": f"{_PRIMARY}/wd:Work_Space__Reference/@wd:Descriptor",
}
_DATES = {
    "StatusAcademicTenureDate": "Academic_Tenure_Date",
    "StatusActiveStatusDate": "Active_Status_Date",
    "StatusBenefitsServiceDate": "Benefits_Service_Date",
    "StatusCompanyServiceDate": "Company_Service_Date",
    "StatusContinuousFirstDayOfWork": "First_Day_of_Work",
    "StatusContinuousServiceDate": "Continuous_Service_Date",
    "StatusDateEnteredWorkforce": "Date_Entered_Workforce",
    "StatusEndEmploymentDate": "End_Employment_Date",
    "StatusExpectedRetirementDate": "Expected_Retirement_Date",
    "StatusHireDate": "Hire_Date",
    "StatusOriginalHireDate": "Original_Hire_Date",
    "StatusProbationEndDate": "Probation_End_Date",
    "StatusProbationStartDate": "Probation_Start_Date",
    "StatusResignationDate": "Resignation_Date",
    "StatusRetirementDate": "Retirement_Date",
    "StatusRetirementEligibilityDate": "Retirement_Eligibility_Date",
    "StatusSeniorityDate": "Seniority_Date",
    "StatusSeveranceDate": "Severance_Date",
    "StatusTerminationDate": "Termination_Date",
    "StatusTerminationLastDayOfWork": "Termination_Last_Day_of_Work",
    "StatusTimeOffServiceDate": "Time_Off_Service_Date",
    "StatusVestingDate": "Vesting_Date",
}
_FLAGS = {
    "Active": "Active",
    "StatusHireRescinded": "Hire_Rescinded",
    "StatusNotEligibleForHire": "Not_Eligible_for_Hire",
    "StatusNotEligibleForRehire": "Not_Eligible_for_Rehire",
    "StatusRegrettableTermination": "Regrettable_Termination",
    "StatusRehire": "Rehire",
    "StatusRetired": "Retired",
    "StatusTerminated": "Terminated",
    "StatusTerminationInvoluntary": "Termination_Involuntary",
}
_NUMBERS = {
    "StatusDaysUnemployed": "Days_Unemployed",
    "StatusMonthsContinuousPriorEmployment": "Months_Continuous_Prior_Employment",
}
_MANAGER = (
    f"{_WORKER}/wd:Management_Chain_Data/wd:Worker_Supervisory_Management_Chain_Data[1]"
    "/wd:Management_Chain_Data[last()]/wd:Manager_Reference/wd:ID[@wd:type='WID']/text()"
)

CATALOGUE: Mapping[str, WorkerPath] = {
    **{name: WorkerPath(path) for name, path in _TEXTS.items()},
    **{name: WorkerPath(f"{_STATUS}/wd:{element}/text()", Form.DATE) for name, element in _DATES.items()},
    **{name: WorkerPath(f"{_STATUS}/wd:{element}/text()", Form.BOOLEAN) for name, element in _FLAGS.items()},
    **{name: WorkerPath(f"{_STATUS}/wd:{element}/text()") for name, element in _NUMBERS.items()},
    "HasInternationalAssignment": WorkerPath(
        f"{_WORKER}/wd:Employment_Data/wd:International_Assignment_Summary_Data/wd:Has_International_Assignment/text()",
        Form.BOOLEAN,
    ),
    "JobFamilyIDs": WorkerPath(_TEXTS["JobFamilyID"], many=True),
    "AddressLines": WorkerPath(_TEXTS["AddressLineData"], many=True),
    "ManagerReference": WorkerPath(_MANAGER, Form.REFERENCE),
    "OtherBusinessTitles": WorkerPath(
        f"{_JOB}[not(@wd:Primary_Job='1' or @wd:Primary_Job='true')]/wd:Position_Data/wd:Business_Title/text()",
        many=True,
    ),
    "ProvisioningGroups": WorkerPath(_TEXTS["ProvisioningGroup"], many=True),
}
"""Attributes by name."""


def written_paths(devices: Mapping[str, str]) -> dict[str, WorkerPath]:
    """Where a target looks for what it writes: the primary address, and the first number of each type of device."""
    mail = f"{_CONTACT}/wd:Email_Address_Data[{_AT_WORK} and {_FIRST}]/wd:Email_Address/text()"
    return {"EmailAddress": WorkerPath(mail), **{name: WorkerPath(_phone(device)) for name, device in devices.items()}}


ACTIVE_PATH = "Active"
HIRED, SINCE = "StatusHireDate", "StatusActiveStatusDate"
ENDS = ("StatusTerminationDate", "StatusTerminationLastDayOfWork")
"""Dates that are known ahead only to a read as of a later day."""


# Sections of the answer

_SECTION = re.compile(r"wd:Worker/wd:Worker_Data/wd:(\w+)")
_FREE = frozenset({"Worker_ID", "User_ID", "Universal_ID", "Universal_Identifier_Reference"})
"""Below Worker_Data without being asked for."""
_INCLUDES = {
    "Personal_Data": "Include_Personal_Information",
    "Employment_Data": "Include_Employment_Information",
    "Compensation_Data": "Include_Compensation",
    "Organization_Data": "Include_Organizations",
    "Role_Data": "Include_Roles",
    "Management_Chain_Data": "Include_Management_Chain_Data",
    "Related_Person_Data": "Include_Related_Persons",
    "Qualification_Data": "Include_Qualifications",
    "Skill_Data": "Include_Skills",
    "Transaction_Log_Entry_Data": "Include_Transaction_Log_Data",
    "Employee_Contracts_Data": "Include_Employee_Contract_Data",
    "User_Account_Data": "Include_User_Account",
    "Account_Provisioning_Data": "Include_Account_Provisioning",
}
_EXCLUDES = {
    "Exclude_Organization_Support_Role_Data": None,
    "Exclude_Location_Hierarchies": "LOCATION_HIERARCHY",
    "Exclude_Cost_Centers": "COST_CENTER",
    "Exclude_Cost_Center_Hierarchies": "COST_CENTER_HIERARCHY",
    "Exclude_Companies": "COMPANY",
    "Exclude_Company_Hierarchies": "COMPANY_HIERARCHY",
    "Exclude_Matrix_Organizations": "MATRIX",
    "Exclude_Pay_Groups": "PAY_GROUP",
    "Exclude_Regions": "REGION",
    "Exclude_Region_Hierarchies": "REGION_HIERARCHY",
    "Exclude_Supervisory_Organizations": "SUPERVISORY",
}
_ORDER = (
    "Include_Reference Include_Personal_Information Include_Additional_Jobs Include_Employment_Information "
    "Include_Compensation Include_Organizations Exclude_Organization_Support_Role_Data Exclude_Location_Hierarchies "
    "Exclude_Cost_Centers Exclude_Cost_Center_Hierarchies Exclude_Companies Exclude_Company_Hierarchies "
    "Exclude_Matrix_Organizations Exclude_Pay_Groups Exclude_Regions Exclude_Region_Hierarchies "
    "Exclude_Supervisory_Organizations Include_Roles Include_Management_Chain_Data Include_Related_Persons "
    "Include_Qualifications Include_Skills Include_Photo Include_Worker_Documents Include_Transaction_Log_Data "
    "Include_Employee_Contract_Data Include_User_Account Include_Account_Provisioning"
).split()
"""The schema wants its elements in this order."""

REFERENCES_ONLY: Mapping[str, bool] = {name: name == "Include_Reference" for name in _ORDER if name[0] == "I"}


def response_group(paths: Mapping[str, WorkerPath]) -> dict[str, bool]:
    """Which sections an answer is to have, in the schema's order: those that a path looks into, and no other. What is
    not said at all would be sent. Raises: SettingsError for a section that cannot be asked for.
    """
    wanted = {"Include_Reference", "Include_Employment_Information", "Include_Additional_Jobs"}
    for name, one in paths.items():
        for section in _SECTION.findall(one.path):
            if section not in _FREE and section not in _INCLUDES:
                known = ", ".join(sorted(_INCLUDES))
                raise SettingsError(
                    f"The path of {name} looks into {section}, which Provisor does not ask Workday for. Below "
                    f"wd:Worker_Data it asks for: {known}."
                )
            if section in _INCLUDES:
                wanted.add(_INCLUDES[section])
    inside = [one.path for one in paths.values() if "/wd:Organization_Data/" in one.path]
    tokens = {token for path in inside for token in re.findall(r"'([A-Z_]+)'", path)}
    # A path that names no type may mean any.
    any_type = any(not (set(re.findall(r"'([A-Z_]+)'", path)) & set(_EXCLUDES.values())) for path in inside)
    group: dict[str, bool] = {}
    for flag in _ORDER:
        if flag in _EXCLUDES:
            if "Include_Organizations" in wanted and not any_type:
                group[flag] = _EXCLUDES[flag] not in tokens
        else:
            group[flag] = flag in wanted
    return group


# Evaluation

_START = re.compile(r"(?<![\w:/@.-])wd:Worker/")


def compile_paths(paths: Mapping[str, WorkerPath]) -> "Reader":
    """A reader of these attributes. Raises: SettingsError for a path that is no XPath."""
    from lxml import etree

    found = []
    for name, one in paths.items():
        try:
            found.append(
                etree.XPath(_START.sub("self::wd:Worker/", one.path), namespaces={"wd": NAMESPACE}, smart_strings=False)
            )
        except etree.XPathSyntaxError as error:
            raise SettingsError(f"The path of {name} is not a usable XPath: {error}. It is {one.path}") from None
    return Reader(tuple(paths), tuple(found), tuple(paths.values()))


POOLED = 4096
"""Different values of an attribute that are shared between rows; more are probably all different."""


class Reader:
    """Takes the values of attributes out of one worker's element."""

    def __init__(self, names: Sequence[str], compiled: Sequence[Any], paths: Sequence[WorkerPath]) -> None:
        self.names = {name: number for number, name in enumerate(names)}
        pools: list[dict[str, str]] = [{} for _ in paths]
        self._work = list(zip(compiled, paths, pools, strict=True))

    def values(self, worker: Any) -> list[Any]:
        """One value for each name: text, a boolean, a list of texts, None for null."""
        return [_value(xpath(worker), path, pool) for xpath, path, pool in self._work]


def _value(found: Any, path: WorkerPath, pool: dict[str, str]) -> Any:
    if isinstance(found, bool):
        return found if path.form is Form.BOOLEAN else str(found).lower()
    texts: Iterable[str] = map(_text, found) if isinstance(found, list) else (_number(found),)
    if path.many:
        return [text for text in map(str.strip, texts) if text] or None
    text = next((text for text in map(str.strip, texts) if text), None)
    if text is None:
        return None
    match path.form:
        case Form.BOOLEAN:
            return {"1": True, "true": True, "0": False, "false": False}.get(text.lower())
        case Form.DATE:
            text = plain_date(text)
    held = pool.get(text)
    if held is None:
        held = text
        if len(pool) < POOLED:
            pool[text] = text
    return held


def _text(node: Any) -> str:
    return node if isinstance(node, str) else "".join(node.itertext())


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:T00:00:00(?:\.0+)?)?(?:Z|[+-]\d\d:\d\d)?")


def plain_date(text: str) -> str:
    """A date without the zone that Workday writes behind it: it is a day of the calendar. A moment stays as it is."""
    match = _DATE.fullmatch(text)
    return match[1] if match else text
