"""A whole run that signs in by OAuth: tokens that end in its middle, and secrets that stay where they are."""

import os
from collections.abc import Iterator

import pytest

from tests.flows.test_secrets import cells, forms, written
from tests.flows.workplace import Workplace
from tests.servers.scim_service import ScimService
from tests.servers.token_endpoint import Client, TokenEndpoint

SECRET = "planted-client-secret-51c7"


@pytest.fixture
def endpoint(service: ScimService) -> Iterator[TokenEndpoint]:
    with TokenEndpoint({"provisor": Client(secret=SECRET)}, issued=service.renew_token) as running:
        yield running


def test_a_load_outlives_its_tokens(small: Workplace, service: ScimService, endpoint: TokenEndpoint) -> None:
    """The service stops accepting the token in the middle of the load: nobody fails, a second one is fetched, and
    neither of them, nor the client's secret, is in any file or output, not even in the log of requests.
    """
    service.renew_token("nobody has this one")
    oauth = {"token_url": endpoint.url, "client_id": "provisor", "secret": "${env:CLIENT_SECRET}", "scope": "scim"}
    small.document["target"]["auth"] = {"oauth": oauth}
    small.save()
    log = small.home / "wire.log"
    small.home.mkdir()
    endpoint.extra = {"note": "planted-note-in-the-answer"}
    # from the hundredth create on the first token counts as expired; the endpoint's next token ends that
    issued = endpoint._issued

    def issue(token: str) -> None:
        issued(token)
        if len(endpoint.given) == 1:
            service.set_fault("expired_token", method="POST", after=100)

    endpoint._issued = issue
    said = small.call("run", str(small.job), "--json", CLIENT_SECRET=SECRET, PROVISOR_WIRE_LOG=os.fspath(log))
    assert said.status == 0, said.err
    assert said.document["counts"]["created"] == len(service.users) + len(service.groups)
    assert len(endpoint.given) == 2
    assert service.statuses[401] > 0
    text = log.read_text()
    assert "POST token endpoint: 200 in" in text
    assert "POST /Users: not signed in any more, sent again with another token" in text
    assert "POST /Users: 201 in" in text
    found = [*written(small.home), *cells(small.home)]
    for secret in (SECRET, *endpoint.given, "planted-note"):
        for form in forms(secret):
            assert not [path for path, content in found if form in content], secret
        assert secret not in said.out + said.err
