"""Well-known apps: for each a folder with a job template, a setup page, and a profile where it speaks SCIM.

``job.yaml`` is a whole job, written about the attributes that ``tasks.proposing`` knows; ``setup.md`` says which rights
Provisor needs, where to click, and what the app's limits are; ``profile.yaml`` is what its maker's documents say about
its SCIM service. Each file cites the documents that it is made from.
"""

from dataclasses import dataclass
from importlib.resources import files

from connectors.errors import SettingsError

FOLDER = "connectors.gallery"
TEMPLATE, SETUP, PROFILE = "job.yaml", "setup.md", "profile.yaml"


@dataclass(frozen=True, slots=True)
class App:
    """One app of the gallery."""

    name: str
    title: str
    """The heading of its setup page."""
    template: str
    """A job as YAML."""
    setup: str
    """Markdown."""
    profiled: bool
    """Whether it has a SCIM profile of its own."""


def apps() -> list[App]:
    """Every app that has a job template, by name."""
    return [app_called(name) for name in _folders(TEMPLATE)]


def app_called(name: str) -> App:
    """The app with this name. Raises: SettingsError with the nearest name."""
    known = _folders(TEMPLATE)
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
        raise SettingsError(f"The gallery has no app {name!r}. {hint}")
    folder = files(FOLDER) / name
    setup = (folder / SETUP).read_text(encoding="utf-8")
    return App(
        name=name,
        title=setup.partition("\n")[0].removeprefix("# "),
        template=(folder / TEMPLATE).read_text(encoding="utf-8"),
        setup=setup,
        profiled=(folder / PROFILE).is_file(),
    )


def profiles() -> list[str]:
    """Names of the apps that have a SCIM profile, sorted."""
    return _folders(PROFILE)


def profile_text(name: str) -> str:
    """The profile of an app, as YAML."""
    return (files(FOLDER) / name / PROFILE).read_text(encoding="utf-8")


def _folders(holding: str) -> list[str]:
    return sorted(entry.name for entry in files(FOLDER).iterdir() if entry.is_dir() and (entry / holding).is_file())
