"""What came of one change in one form after the other: which form is worth trying next, and what it all means; pure.

A change climbs a ladder of forms. Each form that was sent left one of four traces (:class:`Trace`), and everything else
follows from the traces: which forms are left, whether it was the form or the value that was refused, and whether
anything at all can be said about the service.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from connectors.errors import ErrorCode, InvalidValueError, ProvisorError, UnsupportedError
from connectors.scim.forms import PUTS, rungs
from connectors.scim.profile import PatchForm
from connectors.scim.sending import StumblingError, cannot


class Trace(StrEnum):
    """What came of a change in one form."""

    TAKEN = "taken"
    """It has taken effect."""
    SILENT = "silent"
    """The service answered yes, and nothing has changed."""
    REFUSED = "refused"
    """Refused; it may be the value."""
    UNABLE = "unable"
    """Refused as something that the service does not do, whatever is sent."""


class Verdict(StrEnum):
    """What a ladder says once every form has been tried."""

    NOT_KEPT = "not kept"
    """Answered with yes in every form, and never done."""
    UNABLE = "unable"
    """Refused in every form as something that the service does not do."""
    REFUSED = "refused"
    """Refused, and the value may be the reason."""


@dataclass(slots=True)
class Climb:
    """One whole attribute on its way up the ladder."""

    cleared: bool
    """Something is to be cleared."""
    plain: bool
    """Neither an element of a list nor a sub-attribute."""
    listed: bool
    """An element of a list."""
    switch: bool
    """It is about ``active``."""
    refused: ProvisorError | None = None
    """The first refusal, be it of this attribute together with others."""
    traces: dict[PatchForm, Trace] = field(default_factory=dict)
    _closed: set[bool] = field(default_factory=set)
    """Methods that need not be tried in another form: True stands for PUT, False for PATCH."""

    def hear(self, form: PatchForm, error: ProvisorError) -> None:
        """It was refused together with others: whose fault that was is not known, but the method may be closed."""
        self.refused = error
        if error.code is ErrorCode.METHOD_NOT_ALLOWED or (form in PUTS and cannot(error, whole=True)):
            self._closed.add(form in PUTS)

    def note(self, form: PatchForm, error: ProvisorError | None = None, *, taken: bool = False) -> None:
        """What came of one form: an error, or a yes that has taken effect or not."""
        if error is None:
            self.traces[form] = Trace.TAKEN if taken else Trace.SILENT
            return
        self.traces[form] = Trace.UNABLE if cannot(error, whole=form in PUTS) else Trace.REFUSED
        first = self.refused or error
        self.hear(form, error)
        self.refused = first

    def forms(self, usual: PatchForm, *, insists_on_put: bool = False) -> Iterator[PatchForm]:
        """Forms that are worth trying, each judged by what came of those before it."""
        for form in rungs(usual):
            if form in self.traces or (form in PUTS) in self._closed:
                continue
            insisted = insists_on_put and form is PatchForm.PUT
            if form is usual or insisted or self._says_something_new(form):  # the usual one is known to work there
                yield form

    def _says_something_new(self, form: PatchForm) -> bool:
        """False for a form that says the same as another, or that a refused value is no reason for."""
        silent = Trace.SILENT in self.traces.values()
        wanted: dict[PatchForm, Callable[[], bool]] = {
            PatchForm.CAPITALS: lambda: not silent,
            PatchForm.ENTRA: lambda: not silent or not self.plain or self.switch,
            PatchForm.ATTRIBUTES: lambda: not self.plain or self.cleared,
            PatchForm.BLANK: lambda: self.cleared and not self.listed,
            PatchForm.PUT_NULLS: lambda: self.cleared and not self.listed,
            PatchForm.DOTTED: lambda: not self.plain and not self.listed,
            PatchForm.PUT: lambda: silent or isinstance(self.refused, UnsupportedError | StumblingError),
        }
        return wanted.get(form, lambda: True)()

    @property
    def verdict(self) -> Verdict:
        """What it means that no form has taken effect."""
        if self.refused is None:
            return Verdict.NOT_KEPT
        return Verdict.UNABLE if set(self.traces.values()) <= {Trace.UNABLE} else Verdict.REFUSED

    @property
    def may_be_spelled_otherwise(self) -> bool:
        """True where ``active`` was refused as the kind of value it is."""
        return self.switch and isinstance(self.refused, InvalidValueError)
