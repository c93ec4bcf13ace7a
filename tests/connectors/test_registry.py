"""Connectors are found by name, and only the one that is asked for is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from connectors import registry
from connectors.contract import Pace
from connectors.errors import SettingsError
from tests.connectors import third_party


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(third_party.install(tmp_path))
    monkeypatch.delitem(sys.modules, third_party.NAME, raising=False)
    return tmp_path


def test_connectors_of_others_are_listed_beside_ours(installed: Path) -> None:
    """Anybody's connector joins by its entry point."""
    names = registry.names()
    assert {"active-directory", "csv", "ldap", "scim", "sql", "directory", "feed"} <= set(names)
    assert names == sorted(names)


def test_a_connector_is_found_by_its_name(installed: Path) -> None:
    """A connector of somebody else is found like one of ours."""
    assert registry.find("feed").title == "A feed"


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN))
def test_built_in_connectors_are_there(name: str) -> None:
    """Every connector that the registry lists can be imported, carries its name, and can be at least one side."""
    connector = registry.find(name)
    assert connector.name == name
    assert connector.open_source or connector.open_target
    assert (connector.open_source is None) == (connector.source_settings is None)
    assert (connector.open_target is None) == (connector.target_settings is None)


@pytest.mark.parametrize(("name", "near"), [("direktory", "directory"), ("SCIM", "scim"), ("cvs", "csv")])
def test_a_wrong_name_is_answered_with_the_nearest(installed: Path, name: str, near: str) -> None:
    """A misspelled connector is answered with what was probably meant."""
    with pytest.raises(SettingsError, match=f"no connector named '{name}'. Did you mean {near}?"):
        registry.find(name)


def test_a_strange_name_is_answered_with_all(installed: Path) -> None:
    """Where nothing is near, all names are given."""
    names = (
        "active-directory, bamboohr, csv, directory, dropbox, entra, feed, hibob, ldap, lonely, nonsense, personio, "
        "salesforce, scim, servicenow, sql, successfactors, workday, workday-report"
    )
    with pytest.raises(SettingsError, match=f"There are: {names}"):
        registry.find("mainframe")


def test_a_connector_that_cannot_be_imported_says_what_is_missing(installed: Path) -> None:
    """A connector whose package is not whole stops with a sentence, not with a traceback of an import."""
    with pytest.raises(SettingsError, match="connector lonely cannot be loaded: No module named"):
        registry.find("lonely")


def test_only_connectors_are_connectors(installed: Path) -> None:
    """An entry point that points to something else is refused by name."""
    with pytest.raises(SettingsError, match="'nonsense' is not a "):
        registry.find("nonsense")


def test_opening_passes_settings_folder_and_pace(installed: Path) -> None:
    """A connector gets the job file's folder, and a target its pace, the default one where none is given."""
    settings = registry.find("directory").target_settings(url="https://a.example.com", auth={"bearer": "${env:T}"})
    source = registry.open_source("directory", settings, folder=installed)
    target = registry.open_target("directory", settings, folder=installed)
    slow = registry.open_target("directory", settings, folder=installed, pace=Pace(concurrency=1))
    assert (source.settings, source.folder, source.pace) == (settings, installed, None)
    assert target.pace == Pace()
    assert slow.pace == Pace(concurrency=1)


def test_a_source_is_no_target(installed: Path) -> None:
    """A connector that can only be read is refused as a target."""
    settings = registry.find("feed").source_settings(users={"path": "people.csv", "key": "id"})
    with pytest.raises(SettingsError, match="feed cannot be a target"):
        registry.open_target("feed", settings, folder=installed)


def test_asking_for_names_imports_no_connector() -> None:
    """`provisor --help` and completions stay quick: the registry alone brings neither pandas nor a connector."""
    script = "import sys, connectors.registry as r; r.names(); print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "connectors.registry" in modules
    assert not {"pandas", "prefect", "httpx", *registry.BUILT_IN.values()} & set(modules)
