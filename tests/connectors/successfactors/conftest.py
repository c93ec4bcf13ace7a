"""One instance for the tests of a module, and its client's key."""

from collections.abc import Iterator

import pytest

from tests.servers.successfactors_service import SuccessFactorsService, key_pair, serving


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    """Key and certificate of the client, in PEM form."""
    return key_pair()


@pytest.fixture(scope="module")
def instance() -> Iterator[SuccessFactorsService]:
    with serving() as service:
        yield service
