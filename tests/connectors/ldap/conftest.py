"""A place of its own in each real directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connectors.ldap.places import Place
from tests.servers.directories import Directory


def _place(directory: Directory, folder: Path) -> Iterator[Place]:
    with directory.fresh() as unit:
        place = Place(directory, unit, folder).make()
        yield place
        place.close()


@pytest.fixture(params=["openldap", "ds389", "samba"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """In each of the three directories."""
    yield from _place(request.getfixturevalue(request.param), tmp_path)


@pytest.fixture
def in_samba(samba: Directory, tmp_path: Path) -> Iterator[Place]:
    """In Active Directory alone."""
    yield from _place(samba, tmp_path)


@pytest.fixture
def in_openldap(openldap: Directory, tmp_path: Path) -> Iterator[Place]:
    """In OpenLDAP alone."""
    yield from _place(openldap, tmp_path)
