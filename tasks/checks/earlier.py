"""An entry of which one removal waits, or was rejected, is not taken away by another removal within the limits.

Else a person whose disabling is held, or was rejected, would be deleted without a question as soon as the source says
something else about them, and the deletions happen to be within the limit.
"""

from collections.abc import Sequence

import numpy as np

from connectors.contract import Action
from tasks.checks.bench import LEAVING, Bench, Guard, Mark, Verdict
from tasks.checks.decided import in_force
from tasks.checks.removals import waiting_sentence, weight_of
from tasks.ledger import Staged, StagedState
from tasks.mapping import Mask

_TAKES = {Action.REMOVE_MEMBERS: 1, Action.DISABLE: 2, Action.DELETE: 3}
"""How much access an action takes away, from little to much."""


def judge_earlier(bench: Bench) -> None:
    """Holds what nobody was asked about yet, of entries of which another removal is known.

    One that waits holds every other removal of the account. One that was rejected holds what takes as much away or
    more, and one that was approved what takes more: the decision was about less. Of members of a group, whose removal
    somebody has rejected, another cause is a new question as well; those who leave altogether follow their accounts.
    """
    staged, moment = bench.history.staged, bench.plan.made_at
    undecided = [one for some in bench.undecided.values() for one in some if one.action in _TAKES]
    rejected = [one for one in in_force(staged, StagedState.REJECTED, moment) if one.action in _TAKES]
    approved = [one for one in in_force(staged, StagedState.APPROVED, moment) if one.action in _TAKES]
    for action in LEAVING:
        takes = _TAKES[action]
        waits = [one for one in undecided if one.action in LEAVING or _TAKES[one.action] <= takes]
        _hold(bench, action, waits, "another removal of the same entry is still waiting for a decision")
        refused = [one for one in rejected if _TAKES[one.action] <= takes]
        _hold(bench, action, refused, "somebody has rejected another removal of the same entry")
        allowed = [one for one in approved if _TAKES[one.action] < takes]
        _hold(bench, action, allowed, "the approved change removes less from the same entry")
    marks = []
    for part in bench.removals(Action.REMOVE_MEMBERS):
        rows = np.flatnonzero(part.refused & ~part.led & ~(part.approved | part.waiting)[:, 0])
        marks += [Mark(part, rows)] if len(rows) else []
    _hold_marks(
        bench, Action.REMOVE_MEMBERS, marks, "somebody has rejected the removal of these members for another cause"
    )


def _hold(bench: Bench, action: Action, known: Sequence[Staged], why: str) -> None:
    entries = {(one.kind, one.anchor) for one in known}
    accounts = {(one.kind, one.target_id) for one in known if one.target_id}
    if not entries:
        return
    marks: list[Mark] = []
    for part in bench.removals(action):
        kind, table = part.block.kind, part.block.table
        named = table["anchor"].isin([name for of, name in entries if of is kind])
        named |= table["target_id"].isin([id_ for of, id_ in accounts if of is kind])
        mine: Mask = named.to_numpy(dtype=bool)
        rows = np.flatnonzero(mine & ~(part.approved | part.waiting)[:, 0])
        marks += [Mark(part, rows)] if len(rows) else []
    _hold_marks(bench, action, marks, why)


def _hold_marks(bench: Bench, action: Action, marks: Sequence[Mark], why: str) -> None:
    if held := weight_of(marks):
        sentence = f"{waiting_sentence(held, 'removal')} for approval: {why}, and this is a new question."
        bench.hold(Verdict(Guard.EARLIER, held, sentence, str(action), counted=held), marks)
