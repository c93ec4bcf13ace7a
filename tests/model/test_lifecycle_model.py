"""The life of a job in random order, dying included, against a model in plain dictionaries.

The short form runs the same cases every time; the long form, with ``PROVISOR_LONG=1``, new and longer ones.
``python -m tests.benchmarks.model --minutes N`` looks for as long as it is told, and prints what it has run.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Lifecycle

LONG = bool(os.environ.get("PROVISOR_LONG"))
CASES = settings(
    max_examples=200 if LONG else 20,
    stateful_step_count=40 if LONG else 16,
    derandomize=not LONG,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def test_every_life_ends_as_the_model_says() -> None:
    """Promises 1 to 5, 10, 11 and 12 in one: whatever happens to the source, the target and the job, and wherever runs
    die, nobody is doubled, lost or touched without right, and one cycle that is let finish puts everything right.
    """
    run_state_machine_as_test(Lifecycle, settings=CASES)
