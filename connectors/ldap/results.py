"""What a directory's answers mean: result codes, and Active Directory's own code inside the text.

Source: RFC 4511 appendix A, [MS-ADTS] 3.1.1.3.1.9, [MS-ERREF] 2.2.
"""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from connectors.errors import (
    ConflictError,
    CredentialsError,
    ErrorCode,
    FatalError,
    GoneError,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    SettingsError,
    UnknownOutcomeError,
    UnreachableError,
    UnsupportedError,
)


class Code(IntEnum):
    """Result codes that something depends on."""

    SUCCESS = 0
    OPERATIONS_ERROR = 1
    PROTOCOL_ERROR = 2
    TIME_LIMIT = 3
    SIZE_LIMIT = 4
    STRONGER_AUTH = 8
    REFERRAL = 10
    ADMIN_LIMIT = 11
    UNAVAILABLE_CONTROL = 12
    CONFIDENTIALITY = 13
    SASL_BIND_IN_PROGRESS = 14
    NO_ATTRIBUTE = 16
    UNDEFINED_ATTRIBUTE = 17
    CONSTRAINT = 19
    VALUE_EXISTS = 20
    SYNTAX = 21
    NO_SUCH_OBJECT = 32
    DN_SYNTAX = 34
    INAPPROPRIATE_AUTH = 48
    INVALID_CREDENTIALS = 49
    RIGHTS = 50
    BUSY = 51
    UNAVAILABLE = 52
    UNWILLING = 53
    NAMING = 64
    OBJECT_CLASS = 65
    HAS_CHILDREN = 66
    ON_RDN = 67
    ALREADY_EXISTS = 68
    OTHER_SERVER = 71
    OTHER = 80
    ASSERTION_FAILED = 122
    REFRESH_REQUIRED = 4096


class Fault(StrEnum):
    """Why there is no answer."""

    NOT_SENT = "not sent"
    LOST = "lost"
    """It was sent, or may have been; the connection ended before the response arrived."""
    LATE = "late"
    """It was sent, and no answer came in time."""


class Doing(StrEnum):
    """What a request was to do."""

    SIGN_IN = "sign in"
    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    MOVE = "move"
    DELETE = "delete"
    MEMBERS = "members"


class Win32(StrEnum):
    """Active Directory's own codes, as they begin its texts."""

    NOT_BOUND = "000004DC"
    ACCESS_DENIED = "00000005"
    PARAMETER = "00000057"
    ILL_FORMED_PASSWORD = "0000052B"
    PASSWORD_POLICY = "0000052D"
    BAD_ACCOUNT_NAME = "00000523"
    NO_SUCH_USER = "00000525"
    USER_EXISTS = "00000524"
    GROUP_EXISTS = "00000526"
    MEMBER_NOT_IN_GROUP = "00000561"
    MEMBER_IN_GROUP = "00000562"
    CHANNEL = "0000001F"
    ADMIN_LIMIT = "00002024"
    SIGNING_REQUIRED = "00002028"
    REFERRAL = "0000202B"
    NO_OBJECT = "00002030"
    ILLEGAL_MODIFY = "00002077"
    ALREADY_EXISTS = "00002071"
    SINGLE_VALUE = "00002081"
    RANGE = "00002082"
    VALUE_EXISTS = "00002083"
    ATTRIBUTE_NOT_THERE = "00002085"
    NO_PARENT = "00002089"
    CHILDREN = "0000208C"
    OBJECT_GONE = "0000208D"
    DN_SYNTAX = "0000208F"
    RIGHTS = "00002098"
    NAMING = "00002099"
    OWNED_BY_SAM = "0000209A"
    NO_SUCH_DOMAIN = "000020D6"
    RDN_BY_MODIFY = "000020B1"
    SPN_DUPLICATE = "000021C7"
    UPN_DUPLICATE = "000021C8"


_MEANINGS: dict[str, str] = {
    Win32.ACCESS_DENIED: "access is denied",
    Win32.PARAMETER: "a parameter is not accepted",
    Win32.PASSWORD_POLICY: "the password does not fit the domain's password policy, or the account has none",
    Win32.ILL_FORMED_PASSWORD: "the password does not fit the domain's password policy",
    Win32.BAD_ACCOUNT_NAME: "sAMAccountName holds a character that is not allowed, or is too long",
    Win32.NO_SUCH_USER: "no such account",
    Win32.USER_EXISTS: "an account with this sAMAccountName exists",
    Win32.GROUP_EXISTS: "a group with this sAMAccountName exists",
    Win32.CHANNEL: "passwords are accepted only over an encrypted connection",
    Win32.ADMIN_LIMIT: "the change holds more values than the server takes at once",
    Win32.SIGNING_REQUIRED: "the server requires an encrypted or signed connection",
    Win32.REFERRAL: "the entry belongs to another domain",
    Win32.ILLEGAL_MODIFY: "this attribute cannot be changed this way",
    Win32.SINGLE_VALUE: "the attribute takes one value only",
    Win32.RANGE: "a value is longer or shorter than the attribute allows",
    Win32.NO_PARENT: "the container does not exist",
    Win32.CHILDREN: "there are entries below it",
    Win32.RIGHTS: "the account that Provisor signs in with may not do this; this container does not inherit rights, "
    "or the entry is protected by AdminSDHolder",
    Win32.OWNED_BY_SAM: "the server keeps this attribute itself",
    Win32.NO_SUCH_DOMAIN: "the container does not exist in this domain",
    Win32.SPN_DUPLICATE: "a service principal name is taken in the forest",
    Win32.UPN_DUPLICATE: "the userPrincipalName is taken in the forest",
}

_SIGN_IN: dict[str, str] = {
    "525": "no such account",
    "52e": "wrong name or password",
    "530": "sign-in is not allowed at this hour",
    "531": "sign-in is not allowed from this machine",
    "532": "the password has expired",
    "533": "the account is disabled",
    "701": "the account has expired",
    "773": "the password must be changed first",
    "775": "the account is locked",
}

_PLAIN: dict[int, str] = {
    Code.OPERATIONS_ERROR: "the server could not perform the operation",
    Code.TIME_LIMIT: "the server's time limit was reached",
    Code.SIZE_LIMIT: "the server's size limit was reached",
    Code.REFERRAL: "the entry is kept by another server",
    Code.ADMIN_LIMIT: "the server's limit for one request was reached",
    Code.UNAVAILABLE_CONTROL: "the server does not know an extension that is needed",
    Code.NO_ATTRIBUTE: "a value that was to be removed is not there",
    Code.UNDEFINED_ATTRIBUTE: "the schema has no such attribute",
    Code.CONSTRAINT: "a value breaks a rule of the directory",
    Code.VALUE_EXISTS: "a value is there already, or the attribute takes one value only",
    Code.SYNTAX: "a value does not have the attribute's syntax, or is too long",
    Code.NO_SUCH_OBJECT: "the entry does not exist",
    Code.DN_SYNTAX: "the distinguished name is not well formed",
    Code.RIGHTS: "the account that Provisor signs in with may not do this",
    Code.BUSY: "the server is busy",
    Code.UNAVAILABLE: "the server is not available",
    Code.UNWILLING: "the server refuses it",
    Code.NAMING: "the entry cannot have this name",
    Code.OBJECT_CLASS: "the entry would lack a mandatory attribute, or hold one that its classes do not have",
    Code.HAS_CHILDREN: "there are entries below it",
    Code.ON_RDN: "the attribute names the entry: it is changed by renaming",
    Code.ALREADY_EXISTS: "an entry with this name exists",
    Code.OTHER_SERVER: "the move would cross servers",
    Code.ASSERTION_FAILED: "the entry is no longer the one that was meant",
}

_WIN32 = re.compile(r"^([0-9A-Fa-f]{8}):")
_SUB_CODE = re.compile(r"\bdata ([0-9a-fA-F]+)")
_ATTRIBUTE = re.compile(
    r"\bAtt [0-9a-fA-F]+ \(([A-Za-z][\w-]*)\)|attribute[: ]+['\"]([A-Za-z][\w;-]*)['\"]|attribute: ([A-Za-z][\w;-]*)"
    r"|^Element ([A-Za-z][\w-]*) has|^([A-Za-z][\w-]*): "
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    code: int
    text: str = ""
    """The server's diagnostic message; it may hold values, so it is never shown whole."""
    fault: Fault | None = None
    """Set where nothing came back; then ``code`` means nothing."""

    @property
    def fine(self) -> bool:
        """Whether it was carried out."""
        return self.fault is None and self.code == Code.SUCCESS

    @property
    def win32(self) -> str:
        """Active Directory's own code: eight hexadecimal digits in upper case, or nothing."""
        match = _WIN32.match(self.text)
        return match[1].upper() if match else ""

    @property
    def attribute(self) -> str:
        """The attribute that the server complains about, where it says so."""
        match = _ATTRIBUTE.search(self.text)
        return next((group for group in match.groups() if group), "") if match else ""


def sign_in_error(answer: Answer, system: str) -> FatalError:
    """Why signing in did not work."""
    if answer.fault is not None:
        return UnreachableError(f"{system} does not answer.")
    match answer.code:
        case Code.INVALID_CREDENTIALS:
            found = _SUB_CODE.search(answer.text)
            word = _SIGN_IN.get(found[1].lower() if found else "", "wrong name or password")
            return CredentialsError(f"{system} refuses the sign-in: {word} (result 49). Check auth in the job file.")
        case Code.STRONGER_AUTH | Code.CONFIDENTIALITY:
            return SettingsError(
                f"{system} accepts sign-ins only over an encrypted connection (result {answer.code}). "
                "Use ldaps://, or start_tls: true."
            )
        case Code.UNWILLING | Code.RIGHTS | Code.INAPPROPRIATE_AUTH:
            return CredentialsError(
                f"{system} refuses the sign-in: the account is disabled, locked, or has no password "
                f"(result {answer.code}). Check auth in the job file."
            )
        case _:
            return CredentialsError(f"{system} refuses the sign-in: {meaning(answer)}. Check auth in the job file.")


def meaning(answer: Answer) -> str:
    """What an answer means, in words, with its codes; no value from its text."""
    own = answer.win32
    words = _MEANINGS.get(own) or _PLAIN.get(answer.code, "the server refuses it")
    about = f" ({answer.attribute})" if answer.attribute else ""
    return f"{words}{about}; result {answer.code}{f', code 0x{int(own, 16):X}' if own else ''}"


_CONFLICTS = {Win32.UPN_DUPLICATE, Win32.SPN_DUPLICATE, Win32.USER_EXISTS, Win32.GROUP_EXISTS}
_INVALID = {
    Code.CONSTRAINT,
    Code.VALUE_EXISTS,
    Code.SYNTAX,
    Code.DN_SYNTAX,
    Code.NAMING,
}


def error_of(answer: Answer, doing: Doing, label: str) -> ProvisorError:
    """What to do about an answer that is not success; ``label`` is what people call the entry.

    A FatalError stops the cycle, a RejectedError refuses this entry, a RetryableError had no effect, an
    UnknownOutcomeError must be read back.
    """
    if answer.fault is not None:
        return _unanswered(answer.fault, doing, label)
    what = f"{label}: {meaning(answer)}."
    own = answer.win32
    code = answer.code
    if code == Code.INVALID_CREDENTIALS:
        return CredentialsError(
            f"The directory no longer accepts the sign-in (result 49) while it was asked for {label}."
        )
    if own == Win32.NOT_BOUND or code in (Code.BUSY, Code.UNAVAILABLE):
        return RetryableError(what)
    if code in (Code.STRONGER_AUTH, Code.CONFIDENTIALITY, Code.UNAVAILABLE_CONTROL):
        return SettingsError(what)
    if own in _CONFLICTS or (code == Code.ALREADY_EXISTS and doing is not Doing.MEMBERS):
        return ConflictError(
            f"{what} Another entry holds it; a matching rule adopts that one, or another value is needed."
        )
    if code == Code.CONSTRAINT and "unique" in answer.text.casefold():
        return ConflictError(f"{what} Another entry holds the value.")
    if code == Code.TIME_LIMIT and doing is not Doing.READ:
        return UnknownOutcomeError(what)
    return _refused(answer, doing, what)


def _unanswered(fault: Fault, doing: Doing, label: str) -> ProvisorError:
    if fault is Fault.NOT_SENT:
        return RetryableError(f"{label}: the connection ended before the request was sent.")
    if doing is Doing.READ:
        return RetryableError(f"{label}: the connection ended before the response arrived.")
    if fault is Fault.LATE:
        return UnknownOutcomeError(f"{label}: the response timed out, so the outcome is unknown.")
    return UnknownOutcomeError(f"{label}: the connection ended before the response arrived, so the outcome is unknown.")


def _refused(answer: Answer, doing: Doing, what: str) -> RejectedError:
    match answer.code:
        case Code.NO_SUCH_OBJECT if doing is Doing.CREATE:
            return InvalidValueError(
                f"{what} The container that it was to be made in does not exist: make it, or map another."
            )
        case Code.NO_SUCH_OBJECT if doing is Doing.MOVE:
            return InvalidValueError(f"{what} The destination container does not exist, or the entry is gone.")
        case Code.NO_SUCH_OBJECT if doing is Doing.MEMBERS:
            return RejectedError(f"{what} The group or a member is gone.", code=ErrorCode.UNRESOLVED_REFERENCE)
        case Code.NO_SUCH_OBJECT | Code.ASSERTION_FAILED:
            return GoneError(what)
        case Code.NO_ATTRIBUTE if answer.win32 == Win32.PARAMETER:
            return RejectedError(f"{what} The schema has no such attribute.", code=ErrorCode.SCHEMA_ATTRIBUTE_NOT_FOUND)
        case Code.UNDEFINED_ATTRIBUTE:
            return RejectedError(what, code=ErrorCode.SCHEMA_ATTRIBUTE_NOT_FOUND)
        case Code.OBJECT_CLASS:
            return RejectedError(f"{what} Map the attribute that its classes demand.", code=ErrorCode.MISSING_VALUES)
        case Code.RIGHTS:
            return RejectedError(f"{what} Grant the permission in this container.", code=ErrorCode.INSUFFICIENT_RIGHTS)
        case Code.HAS_CHILDREN:
            return RejectedError(f"{what} Provisor never deletes a subtree.", code=ErrorCode.NOT_PERMITTED)
        case Code.REFERRAL | Code.OTHER_SERVER:
            return RejectedError(f"{what} Provisor never follows referrals: use a job of its own for that domain.")
        case Code.UNWILLING if answer.win32 not in (Win32.PASSWORD_POLICY, Win32.CHANNEL):
            return RejectedError(what, code=ErrorCode.NOT_PERMITTED)
        case Code.PROTOCOL_ERROR:
            return UnsupportedError(what)
        case code if code in _INVALID:
            return InvalidValueError(what)
        case _:
            return RejectedError(what)
