"""What an answer means: one sentence with both codes, and the right recovery."""

import pytest

from connectors import errors
from connectors.errors import ErrorCode
from connectors.ldap.results import Answer, Doing, Fault, error_of, sign_in_error

AD = "0000202B: RefErr: DSID-031007F9, data 0, 1 access points"


@pytest.mark.parametrize(
    ("answer", "doing", "kind", "code"),
    [
        (Answer(68), Doing.CREATE, errors.ConflictError, ErrorCode.CONFLICT),
        (Answer(19, "000021C8: AtrErr: DSID-03200EC7, #1:"), Doing.UPDATE, errors.ConflictError, ErrorCode.CONFLICT),
        (Answer(19, "some attributes not unique"), Doing.CREATE, errors.ConflictError, ErrorCode.CONFLICT),
        (Answer(68, "00000524: UpdErr: DSID-031A11E2"), Doing.CREATE, errors.ConflictError, ErrorCode.CONFLICT),
        (
            Answer(19, "00002082: AtrErr: DSID-03151E6C"),
            Doing.UPDATE,
            errors.InvalidValueError,
            ErrorCode.UNPROCESSABLE_ENTITY,
        ),
        (
            Answer(53, "0000052D: SvcErr: DSID-031A12D2"),
            Doing.CREATE,
            errors.RejectedError,
            ErrorCode.UNPROCESSABLE_ENTITY,
        ),
        (Answer(53, "00002077: SvcErr"), Doing.UPDATE, errors.RejectedError, ErrorCode.NOT_PERMITTED),
        (Answer(50, "00002098: SecErr"), Doing.UPDATE, errors.RejectedError, ErrorCode.INSUFFICIENT_RIGHTS),
        (Answer(16, "00000057: LdapErr"), Doing.UPDATE, errors.RejectedError, ErrorCode.SCHEMA_ATTRIBUTE_NOT_FOUND),
        (Answer(17), Doing.UPDATE, errors.RejectedError, ErrorCode.SCHEMA_ATTRIBUTE_NOT_FOUND),
        (Answer(65), Doing.CREATE, errors.RejectedError, ErrorCode.MISSING_VALUES),
        (Answer(66, "0000208C: UpdErr"), Doing.DELETE, errors.RejectedError, ErrorCode.NOT_PERMITTED),
        (Answer(32), Doing.UPDATE, errors.GoneError, ErrorCode.INVALID_ANCHOR),
        (Answer(32, "00002089: UpdErr"), Doing.CREATE, errors.InvalidValueError, ErrorCode.UNPROCESSABLE_ENTITY),
        (Answer(32, "00000525: NameErr"), Doing.MEMBERS, errors.RejectedError, ErrorCode.UNRESOLVED_REFERENCE),
        (Answer(122), Doing.DELETE, errors.GoneError, ErrorCode.INVALID_ANCHOR),
        (Answer(10, AD), Doing.MOVE, errors.RejectedError, ErrorCode.UNPROCESSABLE_ENTITY),
        (Answer(51), Doing.UPDATE, errors.RetryableError, ErrorCode.INTERNAL_SERVER_ERROR),
        (Answer(1, "000004DC: LdapErr"), Doing.UPDATE, errors.RetryableError, ErrorCode.INTERNAL_SERVER_ERROR),
        (Answer(8, "00002028: LdapErr"), Doing.UPDATE, errors.SettingsError, None),
        (Answer(49), Doing.UPDATE, errors.CredentialsError, ErrorCode.UNAUTHORIZED),
        (Answer(3), Doing.UPDATE, errors.UnknownOutcomeError, ErrorCode.UNKNOWN_OUTCOME),
        (Answer(0, fault=Fault.LOST), Doing.CREATE, errors.UnknownOutcomeError, ErrorCode.UNKNOWN_OUTCOME),
        (Answer(0, fault=Fault.LATE), Doing.DELETE, errors.UnknownOutcomeError, ErrorCode.UNKNOWN_OUTCOME),
        (Answer(0, fault=Fault.NOT_SENT), Doing.CREATE, errors.RetryableError, ErrorCode.INTERNAL_SERVER_ERROR),
        (Answer(0, fault=Fault.LOST), Doing.READ, errors.RetryableError, ErrorCode.INTERNAL_SERVER_ERROR),
    ],
)
def test_recoveries(answer: Answer, doing: Doing, kind: type[errors.ProvisorError], code: ErrorCode | None) -> None:
    """Each answer has one recovery, and its sentence names the entry."""
    error = error_of(answer, doing, "the user jo")
    assert type(error) is kind
    assert error.code == code
    assert "the user jo" in str(error) or kind is errors.CredentialsError


def test_both_codes_and_the_attribute_are_told_but_no_value() -> None:
    """People search for the codes; what a person is called stays out of the log."""
    text = (
        "00002082: AtrErr: DSID-03151E6C, #1:\n\t0: 00002082: DSID-03151E6C, problem 1005 (CONSTRAINT_ATT_TYPE), "
        "data 0, Att 30001 (company):len 130 Mrs Secret"
    )
    told = str(error_of(Answer(19, text), Doing.UPDATE, "the user jo"))
    assert "(company)" in told
    assert "result 19, code 0x2082" in told
    assert "Secret" not in told


@pytest.mark.parametrize(
    ("text", "attribute"),
    [
        ("Element title has empty attribute in ldb message (CN=Secret)!", "title"),
        ("0000200B: objectclass_attrs: attribute 'sn' on entry 'CN=Secret' contains at least one invalid value!", "sn"),
        ("mail: value #0 invalid per syntax", "mail"),
        ('attribute "nope" not allowed', "nope"),
        ("some attribute in an entry is wrong", ""),
    ],
)
def test_the_attribute_is_named_where_the_server_names_it(text: str, attribute: str) -> None:
    """No other word of the text is taken for one."""
    assert Answer(21, text).attribute == attribute


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("52e", "wrong name or password"),
        ("525", "no such account"),
        ("530", "hour"),
        ("531", "machine"),
        ("532", "password has expired"),
        ("533", "disabled"),
        ("701", "account has expired"),
        ("773", "must be changed"),
        ("775", "locked"),
    ],
)
def test_a_refused_sign_in_says_why(data: str, word: str) -> None:
    """Result 49 has nine causes in Active Directory, each with another thing to do."""
    text = f"80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data {data}, v4563"
    error = sign_in_error(Answer(49, text), "The directory")
    assert isinstance(error, errors.CredentialsError)
    assert word in str(error)


def test_a_sign_in_without_encryption_is_a_matter_of_settings() -> None:
    """A server that wants TLS does not say that the password is wrong."""
    error = sign_in_error(Answer(8, "00002028: LdapErr: DSID-0C090254"), "The directory")
    assert isinstance(error, errors.SettingsError)
    assert "start_tls" in str(error)
