"""What Graph knows of users and groups, how it words errors, and which filters it takes: for ``graph_service``."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

COLLECTIONS = {"businessPhones", "otherMails", "proxyAddresses", "groupTypes"}
USER_DEFAULT = (
    "id businessPhones displayName givenName jobTitle mail mobilePhone officeLocation preferredLanguage surname "
    "userPrincipalName"
).split()
USER_KNOWN = {
    *USER_DEFAULT,
    *"accountEnabled mailNickname department companyName streetAddress city state country postalCode faxNumber".split(),
    *"employeeId employeeType usageLocation passwordPolicies otherMails proxyAddresses employeeHireDate".split(),
    *"employeeLeaveDateTime employeeOrgData onPremisesExtensionAttributes onPremisesImmutableId".split(),
    *"onPremisesSyncEnabled createdDateTime userType externalUserState creationType securityIdentifier".split(),
    *"onPremisesSamAccountName onPremisesUserPrincipalName onPremisesDistinguishedName onPremisesDomainName".split(),
    *("onPremisesSecurityIdentifier", "isManagementRestricted"),
}
GROUP_KNOWN = set(
    "id displayName description mailNickname uniqueName visibility mail mailEnabled securityEnabled groupTypes "
    "membershipRule onPremisesSyncEnabled isAssignableToRole isManagementRestricted".split()
)
LONGEST = {"givenName": 64, "surname": 64, "jobTitle": 128, "department": 64, "displayName": 256, "employeeId": 16}
READ_ONLY = {"id", "proxyAddresses", "createdDateTime", "onPremisesSyncEnabled", "userType"}
READING_POSTS = {"/$batch", "/directoryObjects/getByIds"}
ZEROS = "00000000-0000-0000-0000-000000000000"
_IN = re.compile(r"([\w/]+) in \((.*)\)")
_EQ = re.compile(r"([\w/]+) eq '((?:[^']|'')*)'")
_QUOTED = re.compile(r"'((?:[^']|'')*)'")


TAKEN = "Another object with the same value for property userPrincipalName already exists."
NO_SUCH_OBJECT = "The source resource object or one of the objects being referenced don't exist."
ALREADY = "One or more added object references already exist for the following modified properties: 'members'."
SYNCED = "Unable to update the specified properties for on-premises mastered Directory Sync objects."
NEEDED = "A value is required for property '{}' of resource '{}'."
INVALID = "Invalid value specified for property '{}' of resource 'User'."


def access_token(granted: Iterable[str]) -> str:
    """A JWT of three parts; nobody here checks its signature."""
    parts = ({"alg": "RS256", "typ": "JWT"}, {"aud": "graph", "roles": sorted(granted)})
    texts = (base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts)
    return ".".join((*texts, "c2lnbmVk"))


def is_signed(assertion: str, certificates: Sequence[bytes], client_id: str) -> bool:
    """Whether one of the certificates, named by its thumbprint, has signed for the app.

    Source: Microsoft identity platform, "Application authentication certificate credentials".
    """
    head = jwt.get_unverified_header(assertion)
    for pem in certificates:
        certificate = load_pem_x509_certificate(pem)
        der = certificate.public_bytes(Encoding.DER)
        prints = {"x5t": hashlib.sha1(der).digest(), "x5t#S256": hashlib.sha256(der).digest()}
        texts = {name: base64.urlsafe_b64encode(one).rstrip(b"=").decode() for name, one in prints.items()}
        if not any(head.get(name, "").rstrip("=") == text for name, text in texts.items()):
            continue
        try:
            claims = jwt.decode(
                assertion,
                certificate.public_key(),  # type: ignore[arg-type]
                algorithms=["PS256", "RS256"],
                options={"verify_aud": False, "require": ["exp", "jti", "aud"]},
            )
        except jwt.PyJWTError:
            return False
        return bool(claims["iss"] == claims["sub"] == client_id and claims["aud"].endswith("/oauth2/v2.0/token"))
    return False


def openid_configuration(address: str) -> dict[str, str]:
    """What clients ask for before they sign in."""
    return {
        "issuer": f"{address}/t/v2.0",
        "token_endpoint": f"{address}/t/oauth2/v2.0/token",
        "authorization_endpoint": f"{address}/t/oauth2/v2.0/authorize",
        "tenant_region_scope": "EU",
    }


class Refusal(Exception):  # noqa: N818
    """An error as Graph words it."""

    def __init__(self, status: int, code: str, message: str, *details: dict[str, str], **headers: str) -> None:
        self.status, self.code, self.message, self.details, self.headers = status, code, message, details, headers


def json_in(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)
    return found


def dumped(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def error_answer(refusal: Refusal) -> Response:
    error = {"code": refusal.code, "message": refusal.message, "innerError": {"request-id": "r"}}
    if refusal.details:
        error["details"] = list(refusal.details)  # type: ignore[assignment]
    return JSONResponse({"error": error}, refusal.status, headers=refusal.headers)


def filter_of(text: str, request: Request, query: Any) -> Callable[[dict[str, Any]], bool]:
    found = _IN.fullmatch(text)
    path, values = (found[1], _QUOTED.findall(found[2])) if found else (None, [])
    if found is None:
        found = _EQ.fullmatch(text)
        if found is None:
            raise Refusal(400, "Request_UnsupportedQuery", "Unsupported Query.")
        path, values = found[1], [found[2]]
    if len(values) > 15:
        raise Refusal(400, "Request_UnsupportedQuery", "Too many child clauses specified in search filter expression.")
    if "/" in str(path) and (request.headers.get("consistencylevel") != "eventual" or query.get("$count") != "true"):
        raise Refusal(400, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause.")
    wanted = {value.replace("''", "'").lower() for value in values}

    def test(entry: dict[str, Any]) -> bool:
        value: Any = entry
        for part in str(path).split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        return value is not None and str(value).lower() in wanted

    return test
