"""Our ServiceNow, driven by pysnc: what its maker's client understands is what a real instance says."""

from collections.abc import Iterator

import pytest
import requests
from pysnc import ServiceNowClient
from pysnc.exceptions import InsertException, NotFoundException, RequestException, RoleException

from tests.servers.servicenow_client import client_of, rows
from tests.servers.servicenow_service import ACCOUNT, CLIENT, PASSWORD, SECRET, ServiceNowService, serving


@pytest.fixture
def instance() -> Iterator[ServiceNowService]:
    with serving() as service:
        yield service


@pytest.fixture
def client(instance: ServiceNowService) -> ServiceNowClient:
    return client_of(instance)


def get(instance: ServiceNowService, table: str, **params: str) -> requests.Response:
    """As pysnow asks, which sends empty parameters too and booleans with a capital."""
    said = {"sysparm_display_value": "False", "sysparm_view": "", "sysparm_fields": "", "sysparm_limit": ""}
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    url = f"{instance.url}/api/now/table/{table}"
    return requests.get(url, params=said | params, headers=headers, auth=(ACCOUNT, PASSWORD), timeout=30)


def test_rows_are_made_changed_read_and_deleted(instance: ServiceNowService, client: ServiceNowClient) -> None:
    place = instance.put("cmn_department", name="Sales")
    ann = client.GlideRecord("sys_user")
    ann.initialize()
    ann.user_name, ann.last_name, ann.department, ann.nothing = "ann", "O'Brien", place, "x"
    assert ann.insert()
    assert (ann.get_value("department"), ann.get_display_value("department")) == (place, "Sales")
    held = instance.users[str(ann.sys_id)]
    assert (held["last_name"], held["active"], "nothing" in held) == ("O'Brien", "true", False)
    ann.active = False
    assert ann.update()
    assert (held["active"], held["locked_out"]) == ("false", "true")
    again = client.GlideRecord("sys_user")
    again.initialize()
    again.user_name = "ANN"
    with pytest.raises((InsertException, RoleException), match="Error during insert"):
        again.insert()
    assert ann.delete()
    with pytest.raises(NotFoundException):
        client.table_api.get(client.GlideRecord("sys_user"), str(ann.sys_id))


def test_queries_are_paged_in_order(instance: ServiceNowService, client: ServiceNowClient) -> None:
    people = {instance.put_user(last_name=f"P{n % 3}") for n in range(250)}
    assert {one["sys_id"] for one in rows(client, "sys_user")} == {*people, instance.account}
    found = client.GlideRecord("sys_user", batch_size=40)
    found.add_query("last_name", "p1").add_or_condition("last_name", "STARTSWITH", "p2")
    found.query()
    assert found.get_row_count() == 166 == sum(1 for _ in found)


def test_long_queries_and_many_deletes_go_in_batches(instance: ServiceNowService, client: ServiceNowClient) -> None:
    people = [instance.put_user(last_name="Gone") for _ in range(400)]
    found = client.GlideRecord("sys_user", batch_size=500)
    found.add_encoded_query(f"sys_idIN{','.join(people)}")
    found.query()
    assert found.get_row_count() == 400
    assert instance.requests[-1].startswith("POST /api/now/v1/batch")
    few = client.GlideRecord("sys_user")
    few.add_encoded_query(f"sys_idIN{','.join(people[:3])}")
    assert few.delete_multiple()
    assert len(instance.users) == 397


def test_what_is_hidden_is_missing_and_nothing_tells(instance: ServiceNowService) -> None:
    """Rows, fields, parts of a query; a refused value in a write that answers 200."""
    people = [instance.put_user(last_name="Lee", title="Clerk") for _ in range(5)]
    instance.hidden_rows.add(people[2])
    instance.hidden_fields.add("sys_user.title")
    found = get(instance, "sys_user", sysparm_query="last_name=lee^ORDERBYsys_id")
    assert (len(found.json()["result"]), found.headers["X-Total-Count"]) == (4, "5")
    assert "title" not in found.json()["result"][0]
    assert get(instance, "sys_user", sysparm_query="title=Boss").headers["X-Total-Count"] == "6"
    instance.strict_queries = True
    assert get(instance, "sys_user", sysparm_query="title=Boss").json()["result"] == []
    instance.kept.add("sys_user.phone")
    url = f"{instance.url}/api/now/table/sys_user/{people[0]}"
    answer = requests.patch(url, json={"phone": "1", "city": "Wien"}, auth=(ACCOUNT, PASSWORD), timeout=30)
    assert (answer.status_code, answer.json()["result"]["phone"], answer.json()["result"]["city"]) == (200, "", "Wien")


def test_roles_that_come_from_groups_and_references(instance: ServiceNowService) -> None:
    boss = instance.put_user(last_name="Boss")
    group = instance.put_group("Sales", boss)
    [edge] = get(instance, "sys_user_grmember", sysparm_query="user.last_name=boss").json()["result"]
    assert (edge["user"]["value"], edge["group"]["value"]) == (boss, group)
    assert edge["group"]["link"].endswith(f"/sys_user_group/{group}")
    exact = get(instance, "sys_user_grmember", sysparm_query=f"user={boss}", sysparm_fields="user.last_name,nothing")
    assert exact.json()["result"] == [{"user.last_name": "Boss"}]


@pytest.mark.parametrize("grant", ["password", "client_credentials", "refresh_token"])
def test_tokens_are_given_and_stay_the_same_until_they_end(instance: ServiceNowService, grant: str) -> None:
    instance.refresh_tokens.add("a-refresh-token")
    form = {"grant_type": grant, "client_id": CLIENT, "client_secret": SECRET, "refresh_token": "a-refresh-token"}
    form |= {"username": ACCOUNT, "password": PASSWORD}
    url = f"{instance.url}/oauth_token.do"
    first, second = (requests.post(url, data=form, timeout=30).json() for _ in range(2))
    assert first["access_token"] == second["access_token"]
    headers = {"Authorization": f"Bearer {first['access_token']}", "Accept": "application/json"}
    assert requests.get(f"{instance.url}/api/now/table/sys_user", headers=headers, timeout=30).status_code == 200
    wrong = requests.post(url, data=form | {"client_secret": "x"}, timeout=30)
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


def test_a_closed_gate_refuses_right_passwords(instance: ServiceNowService, client: ServiceNowClient) -> None:
    instance.no_basic = True
    assert get(instance, "sys_user").json()["error"]["message"] == "User Not Authenticated"
    instance.no_basic = False
    instance.missing.add("cmn_location")
    with pytest.raises(RequestException, match="Invalid table cmn_location"):
        rows(client, "cmn_location")
