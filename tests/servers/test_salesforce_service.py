"""Our Salesforce, driven by simple-salesforce and jsforce: what these clients understand is what a real org says."""

from collections.abc import Iterator

import pytest
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceResourceNotFound
from simple_salesforce.format import format_soql

from tests.servers.salesforce_client import client_of, jsforce_drives
from tests.servers.salesforce_service import ADMIN, SalesforceService, serving

ANN = {
    "Username": "ann@example.com",
    "LastName": "Lee",
    "Email": "ann@example.com",
    "Alias": "ann",
    "TimeZoneSidKey": "Europe/Vienna",
    "LocaleSidKey": "en_US",
    "LanguageLocaleKey": "en_US",
    "EmailEncodingKey": "UTF-8",
}


@pytest.fixture
def org() -> Iterator[SalesforceService]:
    with serving() as service:
        yield service


@pytest.fixture
def client(org: SalesforceService) -> Salesforce:
    return client_of(org)


def test_rows_are_made_changed_and_read(org: SalesforceService, client: Salesforce) -> None:
    made = client.User.create(ANN | {"ProfileId": org.profile("Sales")})
    assert made["success"] is True
    assert client.User.update(made["id"], {"Title": "Clerk", "Department": None}) == 204
    assert client.User.get(made["id"])["Title"] == "Clerk"
    group = client.Group.create({"Name": "Sales", "Type": "Regular"})["id"]
    client.GroupMember.create({"GroupId": group, "UserOrGroupId": made["id"]})
    assert client.Group.delete(group) == 204
    assert org.edges() == set()
    with pytest.raises(SalesforceMalformedRequest, match="INSUFFICIENT_ACCESS"):
        client.User.delete(made["id"])
    with pytest.raises(SalesforceResourceNotFound):
        client.User.get("005000000000001AAA")


def test_queries_are_paged_and_escaped(org: SalesforceService, client: Salesforce) -> None:
    """Quotes and backslashes as the client writes them; parents nested, null where there is none."""
    org.page = 7
    people = {org.put_user(LastName=f"O'Brien \\ {n}") for n in range(25)}
    found = client.query_all("SELECT Id, LastName, Profile.Name, UserRole.DeveloperName FROM User")
    assert found["totalSize"] == 26
    assert {one["Id"] for one in found["records"]} == {*people, org.admin}
    assert found["records"][-1]["Profile"]["Name"] == "Standard User"
    assert found["records"][-1]["UserRole"] is None
    soql = format_soql("SELECT Id FROM User WHERE LastName IN {names}", names=["O'BRIEN \\ 3", "nobody"])
    assert client.query(soql)["totalSize"] == 1
    assert client.query("SELECT COUNT() FROM User")["totalSize"] == 26
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_FIELD"):
        client.query("SELECT Id, Nothing FROM User")


def test_collections_answer_each_row_in_order(org: SalesforceService, client: Salesforce) -> None:
    base = {"attributes": {"type": "User"}, **ANN, "ProfileId": org.profile("Sales")}
    records = [base, base | {"Username": "bob@example.com"}, base | {"Username": "no address"}, base]
    results = client.restful("composite/sobjects", method="POST", json={"allOrNone": False, "records": records})
    assert [one["success"] for one in results] == [True, True, False, False]
    assert results[2]["errors"][0]["statusCode"] == "FIELD_INTEGRITY_EXCEPTION"
    assert results[3]["errors"][0] == {
        "statusCode": "DUPLICATE_USERNAME",
        "message": "Duplicate Username.",
        "fields": ["Username"],
    }
    mixed = [base, {"attributes": {"type": "Group"}, "Name": "x"}]
    with pytest.raises(SalesforceMalformedRequest, match="MIXED_DML"):
        client.restful("composite/sobjects", method="POST", json={"allOrNone": False, "records": mixed})


def test_the_org_describes_itself_and_its_limits(org: SalesforceService, client: Salesforce) -> None:
    described = client.User.describe()
    assert described is not None
    fields = {one["name"]: one for one in described["fields"]}
    assert (fields["Username"]["length"], fields["Username"]["nillable"], fields["Id"]["updateable"]) == (
        80,
        False,
        False,
    )
    assert client.limits()["DailyApiRequests"]["Max"] == 100_000
    assert client.api_usage["api-usage"].total == 100_000


def test_jsforce_understands_it(org: SalesforceService) -> None:
    """Describe, collections with a refused row, pages, parents, counts, limits, and an account that is not deleted."""
    org.page = 7
    users = [ANN | {"Username": f"u{n}@example.com", "LastName": f"O'Brien \\ {n} 張"} for n in range(20)]
    told = jsforce_drives(org, users=users, broken=ANN | {"Username": "no address"})
    assert told["username"] == 80
    assert told["made"] == ["made"] * 20 + ["FIELD_INTEGRITY_EXCEPTION"]
    assert (told["changed"], told["members"], told["left"]) == ([True, True], [20, True], 19)
    shown = [one for one in told["users"] if one[0] != ADMIN]
    assert shown == [
        [one["Username"], one["LastName"], "Clerk" if n < 2 else None, n >= 2, "Standard User"]
        for n, one in enumerate(users)
    ]
    assert told["refusal"] == "INSUFFICIENT_ACCESS_OR_READONLY"
    assert told["usage"] == 100_000
    assert len(org.users) == 20
