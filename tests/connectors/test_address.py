"""One address in one spelling."""

from pathlib import Path

import pytest

from connectors.address import address_of, normalised
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
