"""One address in one spelling."""

from pathlib import Path
from typing import Any

import pytest

from connectors.address import address_of, normalised
from connectors.registry import find
from connectors.settings import Settings


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com/scim/v2",
        "HTTPS://App.Example.COM/scim/v2/",
        "https://app.example.com:443/scim/v2",
        "https://app.example.com./scim//v2",
        "https://eve:secret@app.example.com/scim/./v2",
        " https://app.example.com/%73cim/v2",
    ],
)
def test_spellings_of_one_address(url: str) -> None:
    """Scheme, host, default port, slashes and credentials make no other system."""
    assert normalised(url) == "https://app.example.com/scim/v2"


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example.com/scim/v2",
        "https://app.example.com:8443/scim/v2",
        "https://app.example.com/scim/V2",
        "https://app.example.com/scim/v2?tenant=a",
        "https://app.example.com/scim/v2?tenant=b",
        "https://[::1]/scim/v2",
    ],
)
def test_other_addresses(url: str) -> None:
    """Another port, path or tenant is another system."""
    assert normalised(url) != "https://app.example.com/scim/v2"


def test_a_query_is_told_apart_and_not_shown() -> None:
    """It may hold a key."""
    one, two = (normalised(f"https://app.example.com/?key={key}") for key in ("hush", "hushed"))
    assert one != two
    assert "hush" not in one


class _Urls(Settings):
    url: str


class _Files(Settings):
    path: str


def test_references_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that takes the address from the environment means the same system as one that spells it out."""
    monkeypatch.setenv("APP_URL", "https://APP.example.com/v2/")
    given = address_of("scim", _Urls(url="${env:APP_URL}"), folder=Path())
    assert given == address_of("scim", _Urls(url="https://app.example.com/v2"), folder=Path())


def test_a_system_without_an_address_is_known_by_its_settings() -> None:
    """The same settings, the same system."""
    one, two = (address_of("box", _Files(path=path), folder=Path()) for path in ("a", "b"))
    assert one != two
    assert one == address_of("box", _Files(path="a"), folder=Path())


SIGN_IN = {"simple": {"user": "cn=one", "password": "${env:ONE}"}}
SECRET = {"client_id": "11111111-1111-1111-1111-111111111111", "secret": "${env:ONE}"}
PEOPLE = {"path": "app/people.csv", "key": "id"}
TABLE = {"table": "people", "key": "id"}


def place(connector: str, settings: dict[str, Any], *, folder: Path) -> str:
    """The address of a target."""
    kind = find(connector).target_settings
    assert kind is not None
    return address_of(connector, kind.model_validate(settings), folder=folder)


@pytest.mark.parametrize(
    ("connector", "one", "other"),
    [
        ("csv", {"users": PEOPLE}, {"users": {**PEOPLE, "columns": ["id", "mail"]}, "changes": "out"}),
        ("csv", {"users": PEOPLE}, {"users": {**PEOPLE, "path": "./app/../app/people.csv"}}),
        ("csv", {"users": PEOPLE}, {"users": {**PEOPLE, "path": "linked/people.csv"}}),
        ("sql", {"url": "sqlite:///app.db", "users": TABLE}, {"url": "sqlite:///./app.db", "users": TABLE}),
        (
            "sql",
            {"url": "postgresql://one@db.example.com/app", "users": TABLE},
            {
                "url": "postgresql+psycopg://two@DB.example.com:5432/app?sslmode=require",
                "users": {**TABLE, "schema": "public"},
            },
        ),
        (
            "ldap",
            {"url": "ldaps://dc.example.com", "auth": SIGN_IN},
            {
                "url": ["ldap://DC.example.com:389"],
                "start_tls": True,
                "auth": {"simple": {"user": "cn=two", "password": "${env:TWO}"}},
                "users": {"base": "ou=staff,dc=example,dc=com"},
            },
        ),
        (
            "entra",
            {"tenant": "contoso.example.com", "auth": SECRET},
            {"tenant": "Contoso.example.com", "auth": {**SECRET, "secret": "${env:TWO}"}, "timeout_s": 9},
        ),
        ("scim", {"url": "http://localhost:8080/v2"}, {"url": "http://127.0.0.1:8080/v2/"}),
    ],
)
def test_whatever_else_two_jobs_say_a_place_is_a_place(
    connector: str, one: dict[str, Any], other: dict[str, Any], tmp_path: Path
) -> None:
    """Other columns, drivers, credentials, bases or names of this machine: the accounts are the same ones."""
    (tmp_path / "app").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "app")
    assert place(connector, one, folder=tmp_path) == place(connector, other, folder=tmp_path)


@pytest.mark.parametrize(
    ("connector", "one", "other"),
    [
        (
            "sql",
            {"url": "sqlite:///app.db", "users": TABLE},
            {"url": "sqlite:///app.db", "users": {**TABLE, "table": "x"}},
        ),
        ("entra", {"tenant": "one", "auth": SECRET}, {"tenant": "two", "auth": SECRET}),
    ],
)
def test_two_apps_in_one_system_are_two_places(
    connector: str, one: dict[str, Any], other: dict[str, Any], tmp_path: Path
) -> None:
    """Tables of one database, tenants of one cloud: the same id means two accounts."""
    assert place(connector, one, folder=tmp_path) != place(connector, other, folder=tmp_path)


@pytest.mark.parametrize(
    ("connector", "settings"),
    [("csv", {"users": PEOPLE}), ("sql", {"url": "sqlite:///app.db", "users": TABLE})],
)
def test_files_of_two_folders_are_two_places(connector: str, settings: dict[str, Any], tmp_path: Path) -> None:
    one, two = (place(connector, settings, folder=tmp_path / name) for name in ("one", "two"))
    assert one != two
