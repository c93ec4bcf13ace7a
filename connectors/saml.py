"""SAML 2.0 assertions that sign a user in at a token endpoint, made and signed here.

Source: OASIS SAML 2.0 core, section 2.3.3; RFC 7522 section 3; XML Signature with exclusive canonicalization.
"""

import base64
import uuid
from datetime import datetime, timedelta
from pathlib import Path

from connectors.errors import SettingsError
from connectors.http_settings import SamlAssertion
from connectors.settings import reveal

LASTS = timedelta(minutes=10)
SKEW = timedelta(minutes=5)
"""By how much the token endpoint's clock may be behind ours."""

_SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
_DS = "http://www.w3.org/2000/09/xmldsig#"
_NAME_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
_BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_CLASS = "urn:oasis:names:tc:SAML:2.0:ac:classes:X509"


def signed_assertion(settings: SamlAssertion, *, recipient: str, folder: Path, now: datetime) -> str:
    """The assertion in base64, another one each time. Raises: SettingsError."""
    try:
        from lxml import etree
        from signxml.signer import XMLSigner
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"Signing in with saml needs the package {error.name}: pip install 'provisor[hr]'."
        ) from error
    mark = f"_{uuid.uuid4().hex}"
    moment, until, since = (_moment(one) for one in (now, now + LASTS, now - SKEW))

    def part(parent: "etree._Element", name: str, text: str | None = None, **attributes: str) -> "etree._Element":
        made = etree.SubElement(parent, f"{{{_SAML}}}{name}", attributes)
        made.text = text
        return made

    root = etree.Element(
        f"{{{_SAML}}}Assertion",
        {"ID": mark, "Version": "2.0", "IssueInstant": moment},
        nsmap={"saml": _SAML, "ds": _DS},
    )
    part(root, "Issuer", reveal(settings.issuer, folder=folder))
    etree.SubElement(root, f"{{{_DS}}}Signature", Id="placeholder")
    subject = part(root, "Subject")
    part(subject, "NameID", reveal(settings.subject, folder=folder), Format=_NAME_FORMAT)
    confirmation = part(subject, "SubjectConfirmation", Method=_BEARER)
    part(confirmation, "SubjectConfirmationData", NotOnOrAfter=until, Recipient=recipient)
    conditions = part(root, "Conditions", NotBefore=since, NotOnOrAfter=until)
    part(part(conditions, "AudienceRestriction"), "Audience", settings.audience)
    statement = part(root, "AuthnStatement", AuthnInstant=moment, SessionIndex=mark)
    part(part(statement, "AuthnContext"), "AuthnContextClassRef", _CLASS)
    if settings.attributes:
        attributes = part(root, "AttributeStatement")
        for name, value in settings.attributes.items():
            part(part(attributes, "Attribute", Name=name), "AttributeValue", reveal(value, folder=folder))
    try:
        certificate = (folder / settings.certificate.expanduser()).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise SettingsError(f"The certificate {settings.certificate} of saml cannot be read.") from error
    signer = XMLSigner(c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#")
    try:
        signed = signer.sign(root, key=reveal(settings.key, folder=folder), cert=certificate, reference_uri=mark)
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(
            "The key or the certificate of saml cannot be used: both are to be in PEM form, the key not encrypted."
        ) from error
    return base64.b64encode(etree.tostring(signed)).decode("ascii")


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
