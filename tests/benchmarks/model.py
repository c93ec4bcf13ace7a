"""Lives of a job in random order, against the model of tests/model, for as long as it is told.

    python -m tests.benchmarks.model [--minutes 10 | --in-all 5000] [--steps 40] [--seed N]

Prints, about every minute, how many lives, steps, cycles, deaths and requests it has run. At the first life that ends
otherwise than the model says it prints the shortest one that Hypothesis finds, and ends with status 1; ``--seed`` with
the number it names runs the same lives again.
"""

import argparse
import sys
import time
import traceback
from secrets import randbelow

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Lifecycle, counted

LIVES = 10
"""In a row from one seed: few, so that the end comes near the time it was asked for."""


def live(number: int, steps: int) -> None:
    """Runs the lives of one seed. Raises what the first that fails raises, after it was made as short as it gets."""
    cases = settings(
        max_examples=LIVES,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(Lifecycle), settings=cases)


def show(started: float) -> None:
    """One line of figures."""
    names = ("runs", "steps", "cycles", "deaths", "requests")
    figures = "  ".join(f"{counted[name]:,} {name}" for name in names)
    print(f"{time.monotonic() - started:7.0f} s  {figures}", flush=True)


def main() -> int:
    """Lives until the time is over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=40, help="how many events a life has at most")
    parser.add_argument("--in-all", type=int, help="ends after so many events of all lives, instead of by time")
    parser.add_argument("--seed", type=int, help="run the lives of this seed only")
    arguments = parser.parse_args()
    started = time.monotonic()
    shown = started
    while True:
        number = randbelow(2**32) if arguments.seed is None else arguments.seed
        try:
            live(number, arguments.steps)
        except Exception:
            traceback.print_exc()
            print(f"seed {number}, {arguments.steps} steps")
            show(started)
            return 1
        enough = arguments.in_all is not None and counted["steps"] >= arguments.in_all
        late = arguments.in_all is None and time.monotonic() - started > arguments.minutes * 60
        over = arguments.seed is not None or enough or late
        if over or time.monotonic() - shown > 60:
            shown = time.monotonic()
            show(started)
        if over:
            return 0


if __name__ == "__main__":
    sys.exit(main())
