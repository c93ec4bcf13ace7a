"""simple-salesforce and jsforce, the best known clients, pointed at an org on loopback."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import requests
from simple_salesforce import Salesforce

from tests.servers.plain import plain_session
from tests.servers.salesforce_service import CLIENT, SECRET, SalesforceService
from tests.servers.starting import StartError

JSFORCE = Path(__file__).with_name("jsforce_client")


def client_of(org: SalesforceService) -> Salesforce:
    """simple-salesforce, signed in; nobody needs its https here."""
    token = _token(org)
    instance = token["instance_url"].replace("http://", "https://")
    return Salesforce(session_id=token["access_token"], instance_url=instance, session=plain_session(), version="67.0")


def jsforce_drives(org: SalesforceService, **asked: Any) -> dict[str, Any]:
    """What jsforce tells of some days of the org: see ``jsforce_client/drive.mjs``. Raises: StartError."""
    node = shutil.which("node")
    if node is None or not (JSFORCE / "node_modules").is_dir():
        raise StartError(f"jsforce is not there: npm install --prefix {JSFORCE}")
    token = _token(org)
    document = json.dumps({"url": token["instance_url"], "token": token["access_token"], **asked})
    run = subprocess.run(
        [node, JSFORCE / "drive.mjs"], input=document, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def _token(org: SalesforceService) -> dict[str, Any]:
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    token: dict[str, Any] = requests.post(f"{org.url}/services/oauth2/token", data=form, timeout=30).json()
    return token
