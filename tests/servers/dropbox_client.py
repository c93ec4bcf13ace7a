"""Dropbox' own SDK, pointed at a team on loopback, where nobody needs its https."""

from typing import Any
from urllib.parse import urlsplit

import requests
from dropbox import DropboxTeam
from requests.adapters import HTTPAdapter

from tests.servers.dropbox_service import KEY, REFRESH, SECRET, DropboxService


class _Here(HTTPAdapter):
    """Sends everything to one address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        request.url = self._url + urlsplit(request.url).path
        return super().send(request, *args, **kwargs)


def client_of(team: DropboxService) -> DropboxTeam:
    """The client, which fetches its own tokens."""
    session = requests.Session()
    session.mount("https://", _Here(team.url))
    return DropboxTeam(
        oauth2_refresh_token=REFRESH,
        app_key=KEY,
        app_secret=SECRET,
        session=session,
        max_retries_on_error=0,
        max_retries_on_rate_limit=0,
    )


def members_of(client: DropboxTeam) -> list[Any]:
    """Profiles of everybody in the team, with those who were removed."""
    page = client.team_members_list_v2(limit=100, include_removed=True)
    found = list(page.members)
    while page.has_more:
        page = client.team_members_list_continue_v2(page.cursor)
        found += page.members
    return found
