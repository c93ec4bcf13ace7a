"""Our Microsoft Graph, driven by the maker's own clients: what these understand is what a real tenant says."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msal
import pytest
import trustme
from azure.identity import CertificateCredential, ClientSecretCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.entra.settings import EntraSettings
from connectors.entra.system import open_source
from connectors.errors import CredentialsError
from tests.servers.graph_client import (
    ODataError,
    PasswordProfile,
    ReferenceCreate,
    User,
    javascript_drives,
    pages_of,
    sdk_of,
)
from tests.servers.graph_service import CLIENT, DOMAIN, SECRET, TENANT, GraphService, serving
from tests.servers.graph_words import Refusal


@pytest.fixture
def graph() -> Iterator[GraphService]:
    with serving() as service:
        yield service


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[GraphService, Path]]:
    """A tenant behind TLS, and the file of the authority that signed its certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with serving(authority=authority) as service:
        yield service, tmp_path / "ca.pem"


def person(name: str) -> dict[str, Any]:
    profile = {"password": "Aa1!Aa1!Aa1!", "forceChangePasswordNextSignIn": True}
    named = {"userPrincipalName": f"{name}@{DOMAIN}", "displayName": name, "mailNickname": name}
    return {"accountEnabled": True, **named, "passwordProfile": profile}


def test_the_sdk_for_python_understands_it(graph: GraphService) -> None:
    """Typed users, conflicts with details, pages, members and their references, changes, a deletion and its end."""
    graph.page = 2
    for name in ("bob", "cay", "dee"):
        graph.put_user(userPrincipalName=f"{name}@{DOMAIN}", jobTitle="Clerk")
    asyncio.run(_drive(graph))


async def _drive(graph: GraphService) -> None:
    async with sdk_of(graph) as client:
        said = person("ann")
        ann = User(
            account_enabled=True,
            display_name="Ann",
            mail_nickname="ann",
            user_principal_name=said["userPrincipalName"],
            password_profile=PasswordProfile(password=said["passwordProfile"]["password"]),
        )
        made = await client.users.post(ann)
        assert made is not None
        with pytest.raises(ODataError) as conflict:
            await client.users.post(ann)
        assert conflict.value.error is not None
        assert conflict.value.error.details is not None
        assert [(one.code, one.target) for one in conflict.value.error.details] == [
            ("ObjectConflict", "userPrincipalName")
        ]
        assert len([one async for one in pages_of(client.users, await client.users.get())]) == 4
        group = graph.put_group("Sales")
        members = client.groups.by_group_id(group).members
        await members.ref.post(ReferenceCreate(odata_id=f"{graph.url}/directoryObjects/{made.id}"))
        held = await members.get()
        assert held is not None
        assert [type(one).__name__ for one in held.value or ()] == ["User"]
        await members.by_directory_object_id(str(made.id)).ref.delete()
        assert (graph.members, made.id in graph.users) == (set(), True)
        page = await client.users.delta.get()
        seen = 0
        while page is not None and page.odata_next_link:
            seen += len(page.value or ())
            page = await client.users.delta.with_url(page.odata_next_link).get()
        assert page is not None
        assert page.odata_delta_link is not None
        assert seen + len(page.value or ()) == 4
        await client.users.by_user_id(str(made.id)).delete()
        page = await client.users.delta.with_url(page.odata_delta_link).get()
        assert page is not None
        assert [one.additional_data["@removed"] for one in page.value or ()] == [{"reason": "changed"}]
        back = await client.directory.deleted_items.by_directory_object_id(str(made.id)).restore.post(None)
        assert back is not None
        assert back.id == made.id
        graph.refusals.append((r"GET /users", Refusal(429, "TooManyRequests", "Slowly.", **{"Retry-After": "1"})))
        assert await client.users.get() is not None, "the client waits as it is told, and asks again"


def test_the_client_for_javascript_understands_it(tls: tuple[GraphService, Path]) -> None:
    graph, ca_file = tls
    group = {"displayName": "Sales", "mailEnabled": False, "mailNickname": "sales", "securityEnabled": True}
    told = javascript_drives(graph, ca_file, users=[person(name) for name in ("ann", "bob", "cay")], group=group)
    names = [f"{name}@{DOMAIN}" for name in ("ann", "bob", "cay")]
    assert told == {
        "made": names,
        "taken": [400, "Request_BadRequest", "userPrincipalName"],
        "members": 2,
        "users": names,
        "changes": 3,
        "since": ["changed", "row"],
        "restored": names[2],
        "batch": [["1", 200], ["2", 404]],
    }


# --- signing in ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the key of an app registration and its certificate."""
    folder = tmp_path_factory.mktemp("app")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    (folder / "app.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "both.pem").write_bytes(pem + made.public_bytes(Encoding.PEM))
    return folder


def test_the_makers_ways_to_sign_in_are_understood(
    tls: tuple[GraphService, Path], certified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """msal with secret and certificate, azure-identity with both: the same token for the same app."""
    graph, ca_file = tls
    graph.trust((certified / "app.pem").read_bytes())
    base, scope = graph.url.removesuffix("/v1.0"), f"{graph.url.removesuffix('/v1.0')}/.default"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
    key = {
        "private_key": (certified / "key.pem").read_text(),
        "public_certificate": (certified / "app.pem").read_text(),
    }
    for credential in (SECRET, key):
        app = msal.ConfidentialClientApplication(
            CLIENT, authority=f"{base}/{TENANT}", client_credential=credential, instance_discovery=False
        )
        assert app.acquire_token_for_client([scope])["access_token"] == graph.token
    wrong = msal.ConfidentialClientApplication(
        CLIENT, authority=f"{base}/{TENANT}", client_credential="wrong", instance_discovery=False
    )
    assert wrong.acquire_token_for_client([scope])["error_codes"] == [7000215]
    said: dict[str, Any] = {"authority": base, "disable_instance_discovery": True, "connection_verify": str(ca_file)}
    for signed_in in (
        ClientSecretCredential(TENANT, CLIENT, SECRET, **said),
        CertificateCredential(TENANT, CLIENT, str(certified / "both.pem"), **said),
    ):
        assert signed_in.get_token(scope).token == graph.token
        signed_in.close()


@pytest.mark.parametrize("way", ["certificate", "federated token", "unknown certificate"])
def test_provisor_signs_in_as_these_do(graph: GraphService, certified: Path, way: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a.federated.token", encoding="ascii")
    graph.federated = "a.federated.token"
    if way == "certificate":
        graph.trust((certified / "app.pem").read_bytes())
    key = {"key": f"${{file:{certified / 'key.pem'}}}", "algorithm": "PS256", "certificate": str(certified / "app.pem")}
    proof = {"federated_token_file": "token"} if way == "federated token" else {"private_key": key}
    settings = EntraSettings.model_validate(graph.section(**proof))
    source = open_source(settings, folder=tmp_path)
    try:
        if way == "unknown certificate":
            with pytest.raises(CredentialsError, match="AADSTS700027"):
                source.check()
        else:
            assert source.check().startswith("Microsoft Graph answers for Contoso")
    finally:
        source.close()
