"""What can go wrong while talking to a system, arranged by what to do about it.

    ProvisorError
    ├── RetryableError          the call may be repeated, after `retry_after_s` where given
    ├── RejectedError           this entry cannot be carried out: put it in escrow, go on with the others
    │   ├── ConflictError           a unique value is taken
    │   ├── InvalidValueError       the system does not accept a value
    │   ├── GoneError               the entry no longer exists
    │   └── UnsupportedError        the system cannot do this at all
    ├── FatalError              stop the cycle; quarantine the job, at once or when it goes on
    │   ├── CredentialsError        not signed in, or not allowed
    │   ├── SettingsError           the job's settings for this system are wrong
    │   ├── UnreachableError        nobody answers, or the connection cannot be trusted
    │   └── SchemaMismatchError     the system is not what it claims to be
    ├── UnknownOutcomeError     sent, but unanswered: read back, never repeat
    └── HaltedError             not sent: somebody wants the run to end

Anything outside this tree is a bug and propagates. A message names system, entry, attribute and next step, and never
holds a secret or a redacted value.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class ErrorCode(StrEnum):
    """What the provisioning log says went wrong.

    Source: Microsoft Entra provisioning logs, error codes; the names are kept so that people find their runbooks again.
    """

    CONFLICT = "Conflict"
    TOO_MANY_REQUESTS = "TooManyRequests"
    INTERNAL_SERVER_ERROR = "InternalServerError"
    UNAUTHORIZED = "Unauthorized"
    INSUFFICIENT_RIGHTS = "InsufficientRights"
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    NOT_PERMITTED = "NotPermitted"
    UNPROCESSABLE_ENTITY = "UnprocessableEntity"
    PROTOCOL_ERROR = "WebExceptionProtocolError"
    INVALID_ANCHOR = "InvalidAnchor"
    NOT_IMPLEMENTED = "NotImplemented"
    MISSING_VALUES = "MissingValues"
    SCHEMA_ATTRIBUTE_NOT_FOUND = "SchemaAttributeNotFound"
    TIMEOUT = "Timeout"
    DUPLICATE_TARGET_ENTRIES = "DuplicateTargetEntries"
    DUPLICATE_SOURCE_ENTRIES = "DuplicateSourceEntries"
    IMPORT_SKIPPED = "ImportSkipped"
    SERVICE_INCOMPATIBLE = "SystemForCrossDomainIdentityManagementServiceIncompatible"
    UNRESOLVED_REFERENCE = "UnableToResolveReferenceAttributeValue"
    EXPRESSION_FAILED = "ExpressionFailed"
    UNKNOWN_OUTCOME = "UnknownOutcome"
    SKIPPED = "EntrySynchronizationSkipped"
    SCOPE_UNDECIDED = "ScopeUndecided"
    """Not of Entra, where a filter that cannot be judged is false."""
    DECIDED = "LeftAloneAsDecided"
    """Not of Entra: somebody has rejected the change."""
    HANDED_OVER = "AccountHandedOver"
    """Not of Entra: an account goes from an entry that has ended to a new one that matches it."""


class ProvisorError(Exception):
    """Root of every error that Provisor raises on purpose; its text is a sentence for the person who runs the job."""

    code: ErrorCode | None = None

    def __init__(self, message: str, *, code: ErrorCode | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class RetryableError(ProvisorError):
    """The call had no effect and may be repeated.

    `retry_after_s`: seconds the system asked us to wait, None where it did not say.
    """

    code = ErrorCode.INTERNAL_SERVER_ERROR

    def __init__(self, message: str, *, retry_after_s: float | None = None, code: ErrorCode | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class RejectedError(ProvisorError):
    """The system refused this one entry; others are not affected."""

    code = ErrorCode.UNPROCESSABLE_ENTITY


class ConflictError(RejectedError):
    """A value that must be unique is taken.

    ``about``: path of the attribute that it is; empty where the system does not say.
    """

    code = ErrorCode.CONFLICT

    def __init__(self, message: str, *, about: str = "", code: ErrorCode | None = None) -> None:
        super().__init__(message, code=code)
        self.about = about


class InvalidValueError(RejectedError):
    """The system does not accept a value."""

    code = ErrorCode.UNPROCESSABLE_ENTITY


class GoneError(RejectedError):
    """The entry no longer exists in the system."""

    code = ErrorCode.INVALID_ANCHOR


class UnsupportedError(RejectedError):
    """The system cannot do this at all."""

    code = ErrorCode.NOT_IMPLEMENTED


class FatalError(ProvisorError):
    """The cycle must stop; the job is quarantined when this goes on, until somebody acts or the cause goes away."""


class CredentialsError(FatalError):
    """The system does not know us, or does not let us do this. The job is quarantined at once."""

    code = ErrorCode.UNAUTHORIZED


class SettingsError(FatalError):
    """The job's settings for this system are wrong: a file, a table, an address that is not there."""


class UnreachableError(FatalError):
    """Nobody answers at the address, or the connection cannot be trusted (TLS)."""

    code = ErrorCode.TIMEOUT


class SchemaMismatchError(FatalError):
    """The system answers, but is not what it claims to be. The job is quarantined at once."""

    code = ErrorCode.SERVICE_INCOMPATIBLE


class UnknownOutcomeError(ProvisorError):
    """The request was sent and its answer was lost; whether it took effect must be read back before anything else."""

    code = ErrorCode.UNKNOWN_OUTCOME


class HaltedError(ProvisorError):
    """Nothing was sent, because the run is to end; the next one does it."""

    code = ErrorCode.SKIPPED


def as_fatal(error: RejectedError | RetryableError) -> FatalError:
    """The FatalError for a failure that leaves a whole read or check without a result."""
    if isinstance(error, RetryableError):
        return UnreachableError(str(error), code=error.code)
    if error.code is ErrorCode.INSUFFICIENT_RIGHTS:
        return CredentialsError(str(error), code=error.code)
    return SchemaMismatchError(str(error), code=error.code)


@contextmanager
def fatal_failures() -> Iterator[None]:
    """What leaves the work inside without a result is fatal. Raises: FatalError."""
    try:
        yield
    except (RejectedError, RetryableError) as error:
        raise as_fatal(error) from error
