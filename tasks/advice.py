"""What to do about every code of the provisioning log, in one table: the log, the report and ``provisor why`` use it.

Source: Microsoft Entra ID, "Understand how provisioning logs work", error codes and resolutions; the advice is our own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from connectors.errors import ErrorCode


class Category(StrEnum):
    """Where the cause lies, and so who can put it right."""

    DATA = "data"
    """A value of the source, or of an account in the target: the people who keep that data."""
    JOB = "job"
    """What the job asks for: the author of the job file."""
    ACCESS = "access"
    """What Provisor is allowed to do in a system: its administrator."""
    SERVICE = "service"
    """The other system or the way to it: it passes, or its operator helps."""
    NONE = "none"
    """Nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a code calls for."""

    category: Category
    action: str
    """What a person should do, as a sentence; what happens by itself where there is nothing to do."""


ADVICE: Mapping[ErrorCode, Advice] = {
    ErrorCode.CONFLICT: Advice(
        Category.DATA,
        "Find the account that has the value. If it is the same person's and this entry has no account yet, add a "
        "matching rule on that attribute; if not, change the value in the source or in its mapping.",
    ),
    ErrorCode.TOO_MANY_REQUESTS: Advice(
        Category.SERVICE,
        "It is tried again by itself. If it keeps happening, set load.rate in the job below what the target allows.",
    ),
    ErrorCode.INTERNAL_SERVER_ERROR: Advice(
        Category.SERVICE,
        "It is tried again by itself. If it stays, give the target's operator the time and the id of the change.",
    ),
    ErrorCode.UNAUTHORIZED: Advice(
        Category.ACCESS,
        "The credentials are wrong or have expired: renew them where the job refers to them, then run provisor check.",
    ),
    ErrorCode.INSUFFICIENT_RIGHTS: Advice(
        Category.ACCESS,
        "Give the account that Provisor signs in with this permission in the target, or remove the action or "
        "attribute from the job.",
    ),
    ErrorCode.METHOD_NOT_ALLOWED: Advice(
        Category.JOB,
        "The target does not support this request: check its address in the job, or turn the action off "
        "(users.actions, deprovision).",
    ),
    ErrorCode.NOT_PERMITTED: Advice(
        Category.JOB,
        "Somebody decided that this is not done: the job's protect list or its settings, or a rejection. Change that "
        "if it is no longer meant.",
    ),
    ErrorCode.UNPROCESSABLE_ENTITY: Advice(
        Category.DATA,
        "The target does not accept a value: the message says what it complained about. Correct it in the source or "
        "in its mapping.",
    ),
    ErrorCode.PROTOCOL_ERROR: Advice(
        Category.SERVICE,
        "The answer was not proper HTTP. It is tried again by itself; look for a proxy in between if it stays.",
    ),
    ErrorCode.INVALID_ANCHOR: Advice(
        Category.DATA,
        "The account is no longer in the target. The next cycle that lists the target creates it again if its owner "
        "is in scope; provisor run --cycle reconcile does so now.",
    ),
    ErrorCode.NOT_IMPLEMENTED: Advice(
        Category.JOB,
        "The target cannot do this at all: leave it out of the job, or change it in the target by hand.",
    ),
    ErrorCode.MISSING_VALUES: Advice(
        Category.DATA,
        "A value required by the target is missing: add it in the source, or give its mapping a default.",
    ),
    ErrorCode.SCHEMA_ATTRIBUTE_NOT_FOUND: Advice(
        Category.JOB,
        "The target has no such attribute: correct the path in the job (provisor check compares with the schema).",
    ),
    ErrorCode.TIMEOUT: Advice(
        Category.SERVICE,
        "The target was too slow or did not answer. It is tried again by itself; lower load.concurrency if it stays.",
    ),
    ErrorCode.DUPLICATE_TARGET_ENTRIES: Advice(
        Category.DATA,
        "Several accounts match this entry, or two entries match one account: remove the surplus account in the "
        "target, or match by an attribute that is unique there.",
    ),
    ErrorCode.DUPLICATE_SOURCE_ENTRIES: Advice(
        Category.DATA,
        "Two entries of the source claim one account: correct the value they share, or match by another attribute.",
    ),
    ErrorCode.IMPORT_SKIPPED: Advice(
        Category.DATA,
        "The source's row could not be used: correct what the message names there. Nothing is taken away meanwhile.",
    ),
    ErrorCode.SERVICE_INCOMPATIBLE: Advice(
        Category.SERVICE,
        "The target's answer is not of its protocol: check its address and the options of its connector.",
    ),
    ErrorCode.UNRESOLVED_REFERENCE: Advice(
        Category.DATA,
        "Nothing, if the entry it refers to is still to come: it is set as soon as that has an account. Else bring "
        "that entry into scope, or correct the reference in the source.",
    ),
    ErrorCode.EXPRESSION_FAILED: Advice(
        Category.JOB,
        "A mapping gives no value for this entry: provisor explain --job JOB --entry KEY shows why. Correct the "
        "expression or the source.",
    ),
    ErrorCode.UNKNOWN_OUTCOME: Advice(
        Category.SERVICE,
        "Nothing: the next cycle reads back what happened before it repeats anything.",
    ),
    ErrorCode.SCOPE_UNDECIDED: Advice(
        Category.DATA,
        "Correct the value that the message names in the source, or say in the clause how it is written (format). "
        "Nothing is given or taken away meanwhile.",
    ),
    ErrorCode.DECIDED: Advice(
        Category.NONE,
        "Nothing: somebody has rejected the change; the message says who, when and why.",
    ),
    ErrorCode.HANDED_OVER: Advice(
        Category.DATA,
        "Make sure that both entries are one person. If they are not, somebody has got another person's account: give "
        "the new one another login in the source, and look at what the account can see.",
    ),
    ErrorCode.SKIPPED: Advice(
        Category.NONE,
        "Nothing, if that is meant. Else look at assignment and scope in the job; provisor why names the clause.",
    ),
}
"""Every code there is; a test holds it complete."""


def advice_for(code: ErrorCode | str | None) -> Advice | None:
    """What to do about a code; None where nothing went wrong."""
    return None if not code else ADVICE[ErrorCode(code)]
