"""``python -m flows.serve.engine``: one flow run, as a worker starts it: where everything is loaded already, else here.

A worker looks at this process, signals it and kills it; see ``flows.serve.warm`` for what becomes of the run then.
"""

import runpy
import sys

from flows.serve.warm import run_warm


def run_engine() -> None:
    """Runs the flow run that the environment names, and ends as Prefect's engine does."""
    sys.argv[1:] = []
    sys.modules.pop("prefect.engine", None)  # it is run anew, as the main program
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run_warm(["engine"])
    run_engine()
