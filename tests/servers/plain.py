"""Clients that insist on https, pointed at services of ours on loopback, where nobody needs it."""

from typing import Any

import requests
from requests.adapters import HTTPAdapter


class _Plain(HTTPAdapter):
    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **kwargs)


def plain_session() -> requests.Session:
    """A session that speaks http where it is told https."""
    session = requests.Session()
    session.mount("https://", _Plain())
    return session
