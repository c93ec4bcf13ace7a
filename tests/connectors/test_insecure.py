"""Credentials go to another machine over TLS only, unless the job says otherwise in so many words."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.errors import SettingsError
from connectors.http_settings import HttpSettings
from connectors.wire import Wire

TOKEN = {"bearer": "${env:TOKEN}"}
OAUTH = {"oauth": {"token_url": "http://idp.example.com/token", "client_id": "us", "secret": "${env:TOKEN}"}}


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"url": "http://scim.example.com/v2", "auth": TOKEN}, "scim.example.com"),
        ({"url": "http://10.0.0.5/v2", "auth": {"basic": {"username": "a", "password": "${env:TOKEN}"}}}, "10.0.0.5"),
        ({"url": "http://scim.example.com", "auth": {"header": {"name": "X-Key", "value": "${env:TOKEN}"}}}, "scim."),
        ({"url": "https://scim.example.com", "auth": OAUTH}, "idp.example.com"),
    ],
)
def test_a_job_cannot_send_credentials_in_the_clear(settings: dict[str, Any], host: str) -> None:
    """The job file is refused, with the host and what to write."""
    with pytest.raises(ValidationError, match=f"http://{host}.*use https://, or say insecure: true"):
        HttpSettings(**settings)
    assert HttpSettings(**settings, insecure=True).insecure


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://127.0.0.1:8080/v2", "auth": TOKEN},
        {"url": "http://[::1]/v2", "auth": TOKEN},
        {"url": "http://localhost/v2", "auth": TOKEN},
        {"url": "https://scim.example.com/v2", "auth": TOKEN},
        {"url": "http://scim.example.com/v2"},
    ],
)
def test_what_nobody_can_read_passes(settings: dict[str, Any]) -> None:
    """This machine, TLS, and systems that want no credentials."""
    assert HttpSettings(**settings).url == settings["url"]


def wire(url: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Wire:
    monkeypatch.setenv("TOKEN", "a-token")
    return Wire(HttpSettings(url="${env:URL}", auth=TOKEN, **settings), url=url, folder=Path(), connections=1)


def test_an_address_that_is_a_reference_is_looked_at_when_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent, and no connection is made."""
    with pytest.raises(SettingsError, match=r"Nothing was sent: credentials for http://scim\.example\.com"):
        wire("http://scim.example.com", monkeypatch)


def test_a_proxy_elsewhere_reads_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to this machine through another one is read there; so is the proxy's own password."""
    with pytest.raises(SettingsError, match=r"credentials for http://127\.0\.0\.1"):
        wire("http://127.0.0.1", monkeypatch, proxy="http://proxy.example.com:3128")
    with pytest.raises(SettingsError, match=r"the proxy.s credentials for http://proxy\.example\.com"):
        wire("https://scim.example.com", monkeypatch, proxy="http://us:secret@proxy.example.com:3128")
