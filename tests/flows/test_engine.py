"""What the log of a run that a worker starts leaves out."""

import logging

from connectors.errors import SettingsError
from flows.serve.engine import OneSentence

STOPPED = "Stopped: The file people.csv does not exist."
FINISHED = "Finished in state Stopped('The file people.csv does not exist.', type=FAILED)"
UNEXPECTED = "Engine execution exited with unexpected exception"


def kept(*lines: tuple[str, Exception | None]) -> list[str]:
    """The lines of a run's log that stay."""
    news = OneSentence()
    records = [
        logging.LogRecord("prefect.flow_runs", 20, "", 0, said, None, error and (type(error), error, None))
        for said, error in lines
    ]
    return [record.getMessage() for record in records if news.filter(record)]


def test_a_stopped_run_says_why_once() -> None:
    """One sentence and no traceback, also where the run's end is all that says it; a fault of ours keeps its own."""
    on_purpose, fault = SettingsError("The file people.csv does not exist."), KeyError("a fault")
    assert kept((STOPPED, None), (FINISHED, None), (UNEXPECTED, on_purpose)) == [STOPPED]
    assert kept((FINISHED, None), (UNEXPECTED, on_purpose)) == [FINISHED]
    assert kept(("Finished in state Failed('a fault')", None), (UNEXPECTED, fault)) == [
        "Finished in state Failed('a fault')",
        UNEXPECTED,
    ]
