"""``python -m flows.serve.engine``: one flow run, as a worker starts it: where everything is loaded already, else here.

A worker looks at this process, signals it and kills it; see ``flows.serve.warm`` for what becomes of the run then.
"""

import logging
import runpy
import sys

from connectors.errors import ProvisorError
from flows.serve.warm import run_warm


class OneSentence(logging.Filter):
    """A run that was stopped on purpose says why in one sentence: Prefect adds where in itself the error passed, and
    the sentence again."""

    def __init__(self) -> None:
        super().__init__()
        self._told = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line of the run's log stays."""
        said = str(record.msg)
        if said.endswith("exited with unexpected exception") and record.exc_info:
            return not isinstance(record.exc_info[1], ProvisorError)
        if said.startswith("Finished in state"):
            return not self._told
        self._told = self._told or record.getMessage().startswith("Stopped: ")
        return True


def run_engine() -> None:
    """Runs the flow run that the environment names, and ends as Prefect's engine does."""
    for name in ("prefect.flow_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(OneSentence())
    sys.argv[1:] = []
    sys.modules.pop("prefect.engine", None)  # it is run anew, as the main program
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run_warm(["engine"])
    run_engine()
