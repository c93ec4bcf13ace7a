"""A SCIM source whose pages repeat or are missing takes nobody's account away; joiners in the intact part come."""

from collections.abc import Iterator

import orjson
import pytest

from tests.flows.workplace import Workplace
from tests.servers.scim_service import ScimService
from tests.servers.scim_service.listing import Listing

pytestmark = pytest.mark.usefixtures("plain_runs")

PEOPLE, PAGE = 60, 10


@pytest.fixture
def source() -> Iterator[ScimService]:
    """The service that says who there is."""
    with ScimService(max_page_size=PAGE, default_page_size=PAGE) as service:
        service.seed(count=PEOPLE)
        yield service


@pytest.fixture
def apart(workplace: Workplace, service: ScimService, source: ScimService, monkeypatch) -> Workplace:
    """A job from service to service, after one good cycle; somebody has joined since, on the first page."""
    monkeypatch.setenv("SOURCE_SCIM_TOKEN", str(source.token))
    workplace.document = {
        "name": "scim-to-scim",
        "source": {"connector": "scim", "url": source.url, "auth": {"bearer": "${env:SOURCE_SCIM_TOKEN}"}},
        "target": {"connector": "scim", "url": service.url, "auth": {"bearer": "${env:SCIM_TOKEN}"}},
        "users": {
            "matching": [{"source": "[userName]", "target": "userName"}],
            "attributes": {"userName": "[userName]", "active": "Not([IsSoftDeleted])", "title": "[title]"},
        },
        "groups": {
            "matching": [{"source": "[displayName]", "target": "displayName"}],
            "attributes": {"displayName": "[displayName]"},
        },
        "limits": {"removals": {"count": None, "fraction": 1.0}, "source": {"fraction": 1.0}},
    }
    workplace.save()
    assert workplace.cycle().exit_status == 0
    assert len(service.users) == PEOPLE
    return workplace


def join(source: ScimService) -> None:
    """Somebody new, at the head of the list."""

    def put_first() -> None:
        order = source.application.store.users.order
        order.insert(0, order.pop())

    source.seed(users=[{"userName": "new.joiner@example.com", "active": True}])
    source.call(put_first)


def repeat_last(source: ScimService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page begins with the last entry of the one before."""
    source.quirks["overlapping_pages"] = "repeat_last"


def repeat_page(source: ScimService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second page comes a second time instead of the third."""
    original = Listing._page

    def page(self: Listing, entries: list) -> tuple[list, bytes]:
        if self.parameters.get("startindex") == "21" and self.application is source.application:
            self.parameters["startindex"] = "11"
        return original(self, entries)

    monkeypatch.setattr(Listing, "_page", page)


def drop_page(source: ScimService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third page is empty."""
    original = Listing._page

    def page(self: Listing, entries: list) -> tuple[list, bytes]:
        some, extra = original(self, entries)
        dropped = self.parameters.get("startindex") == "21" and self.application is source.application
        return [] if dropped else some, extra

    monkeypatch.setattr(Listing, "_page", page)


@pytest.mark.parametrize("fault", [repeat_last, repeat_page, drop_page])
def test_pages_that_are_wrong(
    apart: Workplace, service: ScimService, source: ScimService, fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every limit open: absence from a list that is not whole proves nothing, and what is there goes on."""
    join(source)
    fault(source, monkeypatch)
    service.reset_counts()
    report = apart.cycle()
    assert report.exit_status != 0
    assert all(user["active"] for user in service.users.values())
    assert "new.joiner@example.com" in {user["userName"] for user in service.users.values()}
    assert len(service.users) == PEOPLE + 1
    sent = [entry.body for entry in service.log if entry.method == "PATCH"]
    assert not [body for body in sent if orjson.loads(body).get("active") is False]
    assert not [request for request in service.requests if request.startswith("DELETE")]
