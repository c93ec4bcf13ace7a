"""What Prefect still has to send when a process is interrupted."""

DRAIN_S = 3.0
"""How long an interrupted run waits until its logs and events have been sent."""


def send_what_is_queued() -> None:
    """Logs and events of an interrupted run; once a local API has ended they would be tried for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=DRAIN_S, at_exit=False)
