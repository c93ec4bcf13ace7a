"""What loading a batch tells about it, and what becomes of attempts whose answer nobody read."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.errors import ErrorCode
from tasks.ledger import Cycle, CycleKind, Ledger
from tasks.load import BATCH_S, LARGEST_BATCH, SMALLEST_BATCH, BatchSizes, Loaded, is_reference, load_batch, waves
from tasks.plan import Plan
from tasks.quarantine import Tally
from tests.tasks.plan.worlds import MANAGER, NOW, World, make_job


class PickyTarget:
    """Answers every change as ``answer`` says: an id, or None to refuse it."""

    def __init__(self, answer: Callable[[Change], str | None]) -> None:
        self.answer = answer

    def apply(self, changes: Sequence[Change], done: Callable[[Outcome], None]) -> None:
        for change in changes:
            given = self.answer(change)
            if given is None:
                done(Outcome(change.id, Status.REJECTED, code=ErrorCode.CONFLICT, message="taken"))
            else:
                done(Outcome(change.id, Status.DONE, target_id=given))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(None, tmp_path) as ledger:
        yield ledger


@pytest.fixture
def cycle(ledger: Ledger) -> Cycle:
    return ledger.begin_cycle("test", CycleKind.INITIAL, fingerprint="f", now=NOW)


def world() -> World:
    """Ann, Bob and Cid are new; the staff are Ann and Bob."""
    made = World(make_job(users={MANAGER: {"reference": "[manager]"}}, groups={}))
    made.users = {name: {"mail": f"{name}@x", "manager": None} for name in ("ann", "bob", "cid")}
    made.groups["staff"] = {"name": "Staff"}
    made.members = {("staff", "ann"), ("staff", "bob")}
    return made


def load(plan: Plan, ledger: Ledger, cycle: Cycle, answer: Callable[[Change], str | None]) -> list[Loaded]:
    target = PickyTarget(answer)
    batches = [batch for wave in waves(plan.blocks, BatchSizes(10)) for batch in wave]
    return [load_batch(batch, target, ledger, cycle, clock=lambda: NOW) for batch in batches]  # type: ignore[arg-type]


def test_a_batch_says_who_failed_and_counts_references_apart(ledger: Ledger, cycle: Cycle) -> None:
    """Quarantine judges by the numbers, escrow by the entries."""

    def answer(change: Change) -> str | None:
        refused = change.anchor == "bob" or change.action is Action.ADD_MEMBERS
        return None if refused else f"t{change.anchor}"

    loaded = load(world().plan(), ledger, cycle, answer)
    failures = [failed for one in loaded for failed in one.failures]
    assert [(failed.kind, failed.anchor, failed.action) for failed in failures] == [
        (Kind.USER, "bob", Action.CREATE),
        (Kind.GROUP, "staff", Action.ADD_MEMBERS),
    ]
    assert {(failed.label, failed.code, failed.message) for failed in failures} == {
        ("bob@x", ErrorCode.CONFLICT, "taken"),
        ("Staff", ErrorCode.CONFLICT, "taken"),
    }
    assert sum((one.tally for one in loaded), Tally()) == Tally(done=3, failed=1, references_failed=1)


def test_an_account_that_is_somebody_else_s_is_a_failure(ledger: Ledger, cycle: Cycle) -> None:
    """The target says done, with the id of another entry's account: nothing was provisioned."""
    loaded = load(world().plan(), ledger, cycle, lambda change: "same" if change.kind is Kind.USER else "tstaff")
    failures = [failed for one in loaded for failed in one.failures if failed.kind is Kind.USER]
    assert len(failures) == 2
    assert {failed.code for failed in failures} == {ErrorCode.DUPLICATE_TARGET_ENTRIES}
    assert loaded[0].done == {Action.CREATE: 1}
    assert loaded[0].tally == Tally(done=1, failed=2)


@pytest.mark.parametrize(
    ("action", "attributes", "expected"),
    [
        (Action.UPDATE, [MANAGER], True),
        (Action.UPDATE, [MANAGER, "title"], False),
        (Action.UPDATE, ["title"], False),
        (Action.CREATE, [MANAGER], False),
        (Action.ADD_MEMBERS, [], True),
        (Action.REMOVE_MEMBERS, [], True),
        (Action.DISABLE, ["active"], False),
        (Action.DELETE, [], False),
    ],
)
def test_what_is_a_reference(action: Action, attributes: list[str], expected: bool) -> None:
    """Managers and memberships, and nothing that sets anything else as well."""
    change = Change("c", Kind.USER, action, "a", "t", attributes=dict.fromkeys(attributes, "x"))
    assert is_reference(change, {MANAGER}) is expected


class HaltedTarget:
    """Does the first change; was halted before the others."""

    def apply(self, changes: Sequence[Change], done: Callable[[Outcome], None]) -> None:
        first, *others = changes
        done(Outcome(first.id, Status.DONE, target_id="id-1"))
        for change in others:
            done(Outcome(change.id, Status.NOT_SENT))


def test_what_was_not_sent_after_all_was_never_about_to_be(ledger: Ledger, cycle: Cycle) -> None:
    """Nothing stays open, nothing has failed, nobody waits in escrow, and the log knows nothing of it; but the entries
    are not as the plan has them.
    """
    wave = next(waves(world().plan().blocks, BatchSizes(10)))
    progress: list[int] = []
    loaded = load_batch(
        next(wave),
        HaltedTarget(),  # type: ignore[arg-type]
        ledger,
        cycle,
        clock=lambda: NOW,
        progress=progress.append,
    )
    assert loaded.done == {Action.CREATE: 1}
    assert (loaded.failures, loaded.tally) == ([], Tally(done=1))
    assert loaded.undone[Kind.USER] == {"bob", "cid"}
    assert progress == [1]
    assert ledger.open_attempts(cycle.job) == []
    assert set(ledger.log(cycle.job, limit=None)["anchor"]) == {"ann"}


def test_batches_are_cut_by_the_time_that_they_take() -> None:
    """A quick target gets large batches, so that tasks cost little; a slow one small ones, so that little is open."""
    sizes = BatchSizes()
    for _ in range(20):
        sizes.learn(Loaded(1, sent=sizes.next, seconds=sizes.next / 300))
    assert sizes.next == 300 * BATCH_S
    for _ in range(20):
        sizes.learn(Loaded(1, sent=sizes.next, seconds=sizes.next / 0.2))
    assert sizes.next == SMALLEST_BATCH
    for _ in range(20):
        sizes.learn(Loaded(1, sent=sizes.next, seconds=sizes.next / 1e6))
    assert sizes.next == LARGEST_BATCH


def test_batches_keep_their_size_where_the_job_says_so() -> None:
    """Every change is in one batch, under a number of its own, however the sizes change on the way."""
    sizes = BatchSizes(2)
    sizes.learn(Loaded(1, sent=2, seconds=0.001))
    assert sizes.next == 2
    sizes, blocks, numbers = BatchSizes(), world().plan().blocks, []
    for wave in waves(blocks, sizes):
        for batch in wave:
            numbers += range(batch.first, batch.first + len(batch.block))
            sizes.next = 1
    assert numbers == list(range(sum(map(len, blocks))))
