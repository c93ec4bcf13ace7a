"""One form after the other: what is tried next, and what a service is believed to be able to do."""

from typing import Any

import pytest

from connectors.contract import Status
from connectors.scim.climbing import Climb
from connectors.scim.profile import PatchForm
from tests.connectors.scim.changes import apply_one, create, person, update
from tests.connectors.scim.conftest import Opener
from tests.servers.scim_service import ScimService


def test_the_usual_form_is_always_tried() -> None:
    """PUT is what this service was seen to understand: an attribute of which nothing is known yet is sent by PUT."""
    climb = Climb(cleared=False, plain=False, listed=False, switch=False)
    assert next(climb.forms(PatchForm.PUT)) is PatchForm.PUT


def test_everything_follows_once_one_attribute_has_found_its_form(open_target: Opener) -> None:
    """PATCH is answered with yes and ignored: names, lists and the letters of a login are all written by PUT."""
    with ScimService(quirks={"patch": "silent"}) as service:
        target = open_target(service.url)
        id = apply_one(target, create("ANN")).target_id or ""
        wanted = {"userName": "ann@example.com", "externalId": "7", "name.familyName": "Ray", "title": "Boss"}
        assert apply_one(target, update(id, wanted, person("ANN"))).status is Status.DONE
        user = service.users[id]
        assert (user["userName"], user["externalId"], user["title"]) == ("ann@example.com", "7", "Boss")
        assert user["name"]["familyName"] == "Ray"


def test_letters_that_a_service_keeps_are_no_failure(open_target: Opener) -> None:
    """A login is to be written in capitals, and the service keeps all logins in small letters: that is done."""
    with ScimService() as service:
        application = service.application
        commit = application._commit

        def in_small_letters(shelf: Any, entry: Any, before: Any, after: dict[str, Any], changes: Any) -> bool:
            return commit(shelf, entry, before, after | {"userName": after["userName"].lower()}, changes)

        application._commit = in_small_letters  # type: ignore[method-assign]
        target = open_target(service.url)
        id = apply_one(target, create("ann")).target_id or ""
        change = update(id, {"userName": "ANN@example.com"}, {"userName": "ann@example.com"})
        assert apply_one(target, change).status is Status.DONE
        assert service.users[id]["userName"] == "ann@example.com"


@pytest.mark.parametrize("count", [1, 3])
def test_an_entry_that_cannot_be_changed_costs_its_forms_once(count: int, open_target: Opener) -> None:
    """Neither PATCH nor PUT: the first entry shows that; its other attributes, and later entries, cost no request."""
    with ScimService(quirks={"patch": "not_implemented", "put": "error_500"}) as service:
        target = open_target(service.url)
        ids = [apply_one(target, create(f"p{number}")).target_id or "" for number in range(count)]
        service.reset_counts()
        wanted = {"userName": "new@example.com", "externalId": "7", "title": "Boss", "name.familyName": "Ray"}
        for id in ids:
            outcome = apply_one(target, update(id, wanted, {"userName": "old@example.com"}))
            assert outcome.status is Status.REJECTED
            assert "in every form, by PATCH and by PUT" in outcome.message
        assert service.requests["PUT /Users"] <= 2 * 10
