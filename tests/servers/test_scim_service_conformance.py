"""The test service is a correct SCIM service as long as no fault or quirk is set."""

from typing import Any

import httpx
import pytest
from scim2_client import BaseSyncSCIMClient
from scim2_tester import Status, check_server

from tests.servers.scim_service import ScimService


class HttpClient(BaseSyncSCIMClient):
    """The SCIM client that scim2-tester drives, over the network."""

    def __init__(self, client: httpx.Client) -> None:
        super().__init__()
        self.client = client

    def request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        return self.client.request(method, url, **kwargs)


@pytest.fixture(scope="module")
def results():
    with ScimService(token="t") as service:
        headers = {"Authorization": "Bearer t"}
        with httpx.Client(base_url=service.url, headers=headers, trust_env=False) as client:
            yield check_server(HttpClient(client))


def test_the_conformance_checker_finds_no_error(results):
    """An independent checker of SCIM servers finds nothing wrong."""
    wrong = [
        f"{result.title} {result.resource_type}: {result.reason}"
        for result in results
        if result.status in {Status.ERROR, Status.CRITICAL}
    ]
    assert not wrong


def test_the_conformance_checker_did_check(results):
    """No error is worth something only if creating, reading, changing and deleting were really tried."""
    passed = {(result.resource_type, result.title) for result in results if result.status is Status.SUCCESS}
    assert len(passed) > 20
    for kind in ("User", "Group"):
        assert {title for name, title in passed if name == kind} >= {"object_creation", "object_deletion"}
