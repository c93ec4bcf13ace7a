"""The whole interview of one service."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from connectors.background import BackgroundLoop
from connectors.contract import Pace
from connectors.errors import FatalError, ProvisorError, RejectedError, RetryableError, as_fatal
from connectors.scim.probing.asking import Asker, Finding, Notes
from connectors.scim.probing.reading import ask_about_filters, ask_about_lists, ask_what_it_says
from connectors.scim.probing.writing import Guest
from connectors.scim.profile import Profile
from connectors.scim.service import ScimService
from connectors.scim.settings import ScimTargetSettings
from connectors.throttle import Clock


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe has found out."""

    service: str
    """Its address."""
    profile: Profile
    findings: tuple[Finding, ...]
    left_behind: tuple[str, ...]
    """Sentences about what could not be removed."""
    requests: int


class Probe:
    """Asks one service. Use it once, and close it."""

    def __init__(
        self,
        settings: ScimTargetSettings,
        *,
        folder: Path,
        write: bool,
        tell: Callable[[Finding], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        """``write``: whether a test user and a test group may be made. ``tell`` hears of each finding at once."""
        # What an earlier probe found must not colour what this one sees.
        self._service = ScimService(
            settings.model_copy(update={"profile": None}), folder=folder, pace=Pace(concurrency=1), clock=clock
        )
        self._service.forget_profile()
        self._write = write
        self._notes = Notes(tell)
        self._asker = Asker(self._service)
        self._guest = Guest(self._asker, self._notes)
        self._loop = BackgroundLoop("probe")

    def run(self, *, when: str) -> Probed:
        """Ask everything; what was made is removed again whatever happens, also when interrupted.

        ``when``: the day, for the profile. Raises: FatalError, with what was left behind in its text.
        """
        try:
            self._loop.run(self._interview)
        except BaseException as error:
            left = self._clean_up()
            if left and isinstance(error, ProvisorError):
                raise FatalError(f"{error} {' '.join(left)}") from error
            if isinstance(error, RejectedError | RetryableError):
                raise as_fatal(error) from error
            for sentence in left:
                error.add_note(sentence)
            raise
        left = self._clean_up()
        how = "with writing" if self._write else "reading only"
        observed = {_question(one): one.answer for one in self._notes.findings}
        profile = Profile.model_validate(self._notes.settings | {"probed": f"{when}, {how}", "observed": observed})
        return Probed(
            self._service.session.address, profile, tuple(self._notes.findings), tuple(left),
            self._service.session.requests,
        )  # fmt: skip

    async def _interview(self) -> None:
        await self._service.check()
        await ask_what_it_says(self._asker, self._notes)
        users = await ask_about_lists(self._asker, self._notes)
        await ask_about_filters(self._asker, self._notes, users)
        if self._write:
            await self._interview_in_writing()

    async def _interview_in_writing(self) -> None:
        guest = self._guest
        user_id = await guest.ask_about_users()
        if user_id is None:
            return
        await guest.ask_about_changes(user_id)
        await guest.ask_about_bulk(user_id)
        await guest.ask_about_versions(user_id)
        if self._notes.settings.get("groups", True):
            await guest.ask_about_groups(user_id)
        await guest.ask_about_deletion(user_id)

    def _clean_up(self) -> list[str]:
        if not self._guest.begun:
            return []
        try:
            return self._loop.run(self._guest.leave)
        except ProvisorError as error:
            names = ", ".join(sorted({name for _, name in self._guest.begun}))
            return [f"What was made for the probe could not be deleted: {error} Look for {names}."]

    def close(self) -> None:
        """Let go of connections; safe to call twice."""
        self._loop.close(self._service.session.close)


def _question(finding: Finding) -> str:
    form = f" in the form {finding.form}" if finding.form else ""
    return f"{finding.subject}, {finding.question}{form}"
