"""The account with which Provisor signs in, as the service itself says it: RFC 7644, section 3.11."""

from typing import Any

import pytest

from connectors.contract import KnowsItself
from tests.connectors.scim.conftest import Opener
from tests.servers.scim_service import ScimService


def test_the_service_says_who_signs_in(service: ScimService, open_target: Opener) -> None:
    """By its id, whatever it is called; it is asked for nothing else about it."""
    service.seed(users=[{"id": "i1", "userName": "ann"}, {"id": "i2", "userName": "provisor"}], groups=[])
    service.application.me = "i2"
    target = open_target(service.url)
    assert isinstance(target, KnowsItself)
    assert target.signed_in_as() == "i2"
    assert service.requests["GET /Me"] == 1


def test_a_service_without_me_knows_nobody(target: Any) -> None:
    """501 is what the standard lets it answer: then the job's list protects that account."""
    assert target.signed_in_as() is None


@pytest.mark.parametrize("kind", ["html", "not_json", "error"])
def test_an_answer_that_says_nothing_stops_nothing(service: ScimService, open_target: Opener, kind: str) -> None:
    """A proxy's page in the place of an answer is no reason to let nobody leave."""
    service.seed(users=[{"id": "i2", "userName": "provisor"}], groups=[])
    service.application.me = "i2"
    service.set_fault(kind, path="^/Me")
    assert open_target(service.url).signed_in_as() is None
