"""pysnc, ServiceNow's own client, pointed at an instance on loopback."""

from collections.abc import Iterator

from pysnc import GlideRecord, ServiceNowClient

from tests.servers.plain import plain_session
from tests.servers.servicenow_service import ACCOUNT, PASSWORD, ServiceNowService


def client_of(instance: ServiceNowService) -> ServiceNowClient:
    """The client, signed in with user name and password."""
    session = plain_session()
    session.auth = (ACCOUNT, PASSWORD)
    return ServiceNowClient(instance.url.replace("http://", "https://"), session, auto_retry=False)


def rows(client: ServiceNowClient, table: str, *fields: str, query: str = "") -> list[dict[str, str]]:
    """Values of every row that the client lists."""
    found: GlideRecord = client.GlideRecord(table, batch_size=1000)
    found.fields = ["sys_id", *fields]
    if query:
        found.add_encoded_query(query)
    found.query()
    return list(_values(found, fields))


def _values(found: GlideRecord, fields: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for one in found:
        yield {name: str(one.get_value(name) or "") for name in ("sys_id", *fields)}
