"""Which Prefect API a run talks to, decided before Prefect is imported.

People who run a server have set ``PREFECT_API_URL`` or a profile, and nothing is touched. Everybody else gets a local
API that starts for the run and ends with it, with its history in the state folder. What such an API does not need for
one run is switched off, because its start is what a person waits for.
"""

import os
from pathlib import Path

_NEEDLESS = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)
"""Services of a server that serve schedules, workers and automations."""

_LOCAL = {
    **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _NEEDLESS},
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "[]",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
}

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "provisor",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FLOW_RUNS_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_TASK_RUNS_LEVEL": "CRITICAL",
}


def is_configured() -> bool:
    """True when the person's own settings name an API: the environment, or a profile other than the built-in ones."""
    if os.environ.get("PREFECT_API_URL") or os.environ.get("PREFECT_PROFILE"):
        return True
    prefect_home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    profiles = prefect_home / "profiles.toml"
    return profiles.is_file() and "PREFECT_API_URL" in profiles.read_text(encoding="utf-8")


def prepare(home: Path) -> None:
    """Sets the environment that Prefect reads when it is imported; what the person has set stays.

    The orchestrator's own lines stay out of the terminal, which shows the cycle's story; its history keeps them.
    """
    settings = dict(_QUIET)
    if not is_configured():
        settings |= _LOCAL | {"PREFECT_HOME": str(home / "prefect")}
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "prefect").mkdir(mode=0o700, exist_ok=True)
    for name, value in settings.items():
        os.environ.setdefault(name, value)
