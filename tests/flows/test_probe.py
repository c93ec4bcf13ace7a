"""`provisor probe` as people run it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from connectors.errors import SettingsError
from connectors.scim.profile import file_name, read_profile
from flows.show.probe import probe_job
from tests.flows.workplace import Workplace
from tests.servers.scim_service import ScimService

PEOPLE = [{"userName": f"u{number}@example.com"} for number in range(3)]


@pytest.fixture
def service() -> ScimService:
    with ScimService(quirks={"remove_members_filter": "not_implemented"}) as running:
        running.seed(users=PEOPLE)
        yield running


def test_a_probe_writes_the_profile_that_cycles_go_by(service: ScimService, tmp_path: Path) -> None:
    """One JSON document, one file beside the job; a second probe does not write over it."""
    place = Workplace.make(tmp_path, url=service.url)
    said = place.call("probe", str(place.job), "--write", "--json")
    assert said.status == 0, said.err
    path = tmp_path / file_name(service.url)
    assert said.document["file"] == str(path)
    assert said.document["profile"]["remove_members"] == "values"
    assert said.document["left_behind"] == []
    assert read_profile(path).remove_members == "values"
    assert len(service.users) == len(PEOPLE)
    again = place.call("probe", str(place.job))
    assert again.status == 2
    assert "--out" in again.err


def test_a_table_for_people(service: ScimService, tmp_path: Path) -> None:
    """Questions, answers, what works in which form, and where the profile is; without leave nothing is written."""
    place = Workplace.make(tmp_path, url=service.url)
    service.reset_counts()
    said = place.call("probe", str(place.job), "--out", str(tmp_path / "mine.yaml"))
    assert said.status == 0, said.err
    assert "startIndex and count" in said.out
    assert "mine.yaml" in said.err
    assert not [name for name in service.requests if not name.startswith("GET")]


def test_what_cannot_be_probed_is_said() -> None:
    """A job without a SCIM service has nothing to probe; one that reads from it is not written to."""
    file, scim = SimpleNamespace(connector="csv"), SimpleNamespace(connector="scim")
    with pytest.raises(SettingsError, match="nothing to probe"):
        probe_job(SimpleNamespace(name="j", people=(file,), enrich=(), target=file), write=False, tell=print)
    with pytest.raises(SettingsError, match="leave out --write"):
        probe_job(SimpleNamespace(name="j", people=(scim,), enrich=(), target=file), write=True, tell=print)
