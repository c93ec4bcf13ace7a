"""What a token endpoint's error means, and what to do about it.

Source: RFC 6749 sections 4.1.2.1 and 5.2; RFC 8707 section 2; OpenID Connect Core section 3.1.2.6; Salesforce Help,
"OAuth 2.0 Authorization Errors".
"""

from connectors.http_settings import ClientCredentials, Grant, SecretIn

PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down", "rate_limit_exceeded", "unknown_error"})
"""Errors that end by themselves: the token endpoint is asked again."""
_CLIENT = "Check client_id and {proof}."
_CONSENT = (
    "The account has to answer a question at sign-in (consent, or a second factor): sign in once by hand, or exempt "
    "the account from that policy."
)
ADVICE = {
    "": _CLIENT,
    "invalid_client": _CLIENT + "{place}",
    "invalid_client_id": "Check client_id: there is no client of this name, or it is not known at this address.",
    "invalid_client_credentials": _CLIENT + "{place}",
    "invalid_request": "It does not understand the request: check scope, audience and parameters.",
    "unauthorized_client": "Allow this client the {grant} grant in the system's settings.",
    "unsupported_grant_type": "It does not offer the {grant} grant: turn it on there, or sign in another way.",
    "invalid_scope": "Check scope: the client may not have it.",
    "invalid_target": "Check audience and parameters: there is no such resource, or the client may not use it.",
    "access_denied": "Ask an administrator of the system to allow this client.",
    "interaction_required": _CONSENT,
    "login_required": _CONSENT,
    "consent_required": _CONSENT,
    "mfa_required": _CONSENT,
    "inactive_user": "The account of the client is not active: activate it, or use another one.",
    "inactive_org": "The organisation is locked, closed or suspended: ask the system's vendor.",
    "invalid_app_access": "Allow the account to use this app: pre-authorise its profile or a permission set.",
    "invalid_assertion_type": "It does not accept this kind of assertion: sign in another way.",
}
"""By error code; the grant that was not valid has sentences of its own."""
GRANT_ADVICE = {
    Grant.CLIENT_CREDENTIALS: _CLIENT,
    Grant.PASSWORD: "Check username and password under user: the account may be locked, or need a second factor.",
    Grant.REFRESH_TOKEN: (
        "The refresh token has ended, was revoked or replaced, or belongs to another client: give consent again, and "
        "put the new token where refresh_token refers to."
    ),
    Grant.JWT_BEARER: (
        "Check client_id, subject and private_key, and this machine's clock: an administrator has to allow the app "
        "for this user beforehand, and its audience may have to be another address."
    ),
    Grant.SAML_BEARER: "Check the key, certificate, subject, issuer and audience in saml, and this machine's clock.",
}


def advice(code: str, client: ClientCredentials) -> str:
    """The next step after an error."""
    if code == "invalid_grant":
        text = GRANT_ADVICE[client.grant]
    else:
        text = ADVICE.get(code, "Check client_id, scope, audience, parameters and {proof}.")
    other = SecretIn.BODY if client.secret_in is SecretIn.HEADER else SecretIn.HEADER
    place = f" If both are right, try secret_in: {other}." if client.secret is not None else ""
    return text.format(proof=_proof(client), grant=client.grant, place=place)


def _proof(client: ClientCredentials) -> str:
    """What says who the client is, as the object of "check"."""
    if client.secret is not None:
        return "the client's secret"
    if client.private_key is not None:
        return "private_key, and whether the token endpoint knows it"
    if client.saml is not None:
        return "the key, the user and the certificate in saml"
    if client.assertion_file is not None:
        return "the assertion in assertion_file: it may have ended, or be for another audience"
    match client.grant:
        case Grant.REFRESH_TOKEN:
            return "refresh_token, and whether the client needs a secret"
        case Grant.PASSWORD:
            return "the user, and whether the client needs a secret"
        case _:
            return "client_certificate"
