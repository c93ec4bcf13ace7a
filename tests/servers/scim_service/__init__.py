"""A SCIM 2.0 service of our own for load and fault tests: quick, in memory, and able to go wrong in every known way."""

from tests.servers.scim_service.answers import Logged
from tests.servers.scim_service.faults import Commit, Fault, FaultKind, HeaderForm, RetryAfter
from tests.servers.scim_service.process import ScimProcess
from tests.servers.scim_service.quirks import QUIRKS, Quirk
from tests.servers.scim_service.running import ScimService

__all__ = [
    "QUIRKS",
    "Commit",
    "Fault",
    "FaultKind",
    "HeaderForm",
    "Logged",
    "Quirk",
    "RetryAfter",
    "ScimProcess",
    "ScimService",
]
