"""What was held before and nobody has decided about goes on waiting, whatever the limits say by now."""

import numpy as np

from tasks.checks.bench import Bench, Guard, Mark, Verdict


def judge_undecided(bench: Bench) -> None:
    """Else a decision about one of several would let the others through: they would no longer be too many."""
    marks: list[Mark] = []
    for part in bench.parts:
        cells = part.waiting & part.wanted & ~part.approved & ~part.held
        columns = [None] if cells.shape[1] == 1 else range(cells.shape[1])
        for column in columns:
            rows = np.flatnonzero(cells[:, column or 0])
            if len(rows):
                marks.append(Mark(part, rows, column))
    if not marks:
        return
    held = sum(mark.weight for mark in marks)
    since = min(one.since for some in bench.undecided.values() for one in some)
    several = f"{held:,} change{'' if held == 1 else 's'}"
    sentence = (
        f"{several} that guards have held since {since:%Y-%m-%d %H:%M} UTC still wait{'s' if held == 1 else ''} for a "
        f"decision: provisor status {bench.plan.job} shows what, provisor approve and provisor reject decide."
    )
    bench.hold(Verdict(Guard.UNDECIDED, held, sentence, counted=held), marks)
