"""simple-salesforce, the best known client, pointed at an org on loopback, where nobody needs its https."""

from typing import Any

import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce

from tests.servers.salesforce_service import CLIENT, SECRET, SalesforceService


class _Plain(HTTPAdapter):
    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **kwargs)


def client_of(org: SalesforceService) -> Salesforce:
    """The client, signed in."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    token = requests.post(f"{org.url}/services/oauth2/token", data=form, timeout=30).json()
    session = requests.Session()
    session.mount("https://", _Plain())
    instance = token["instance_url"].replace("http://", "https://")
    return Salesforce(session_id=token["access_token"], instance_url=instance, session=session, version="67.0")
