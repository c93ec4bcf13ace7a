"""One tenant for the tests of a module, as new for each of them."""

from collections.abc import Iterator

import pytest

from tests.servers.workday_service import PASSWORD, WorkdayService, serving


@pytest.fixture(scope="module")
def tenant() -> Iterator[WorkdayService]:
    with serving() as service:
        yield service


@pytest.fixture
def workday(tenant: WorkdayService, monkeypatch: pytest.MonkeyPatch) -> WorkdayService:
    monkeypatch.setenv("WORKDAY_PASSWORD", PASSWORD)
    tenant.__dict__.update(WorkdayService(url=tenant.url).__dict__)
    return tenant
