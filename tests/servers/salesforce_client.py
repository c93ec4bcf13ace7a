"""simple-salesforce, the best known client, pointed at an org on loopback, where nobody needs its https."""

import requests
from simple_salesforce import Salesforce

from tests.servers.plain import plain_session
from tests.servers.salesforce_service import CLIENT, SECRET, SalesforceService


def client_of(org: SalesforceService) -> Salesforce:
    """The client, signed in."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    token = requests.post(f"{org.url}/services/oauth2/token", data=form, timeout=30).json()
    instance = token["instance_url"].replace("http://", "https://")
    return Salesforce(session_id=token["access_token"], instance_url=instance, session=plain_session(), version="67.0")
