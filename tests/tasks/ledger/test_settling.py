"""Who may have which account, as a property of any links at all."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.ledger.settling import settle

ANCHORS = st.sampled_from("abcdef")
TARGETS = st.sampled_from("123456")


@given(
    wanted=st.dictionaries(ANCHORS, TARGETS),
    linked=st.lists(st.tuples(ANCHORS, TARGETS), unique_by=(lambda pair: pair[0], lambda pair: pair[1])).map(dict),
)
def test_the_verdict_keeps_one_owner_for_each_account(wanted: dict[str, str], linked: dict[str, str]) -> None:
    """Carrying the verdict out in its order (drop who moves, then write who is free) never gives an account two owners,
    gives everybody who is free what they want, and refuses nobody whose account nobody else has in the end.
    """
    held = {target: anchor for anchor, target in linked.items() if target in wanted.values()}
    verdict = settle(wanted, held)
    assert {*verdict.free, *verdict.taken} == set(wanted)
    assert set(verdict.moving) <= set(verdict.free)

    after = {anchor: target for anchor, target in linked.items() if anchor not in verdict.moving}
    for anchor in verdict.free:
        owner = next((other for other, target in after.items() if target == wanted[anchor]), anchor)
        assert owner in (anchor, *verdict.free)
    after |= {anchor: wanted[anchor] for anchor in verdict.free}
    assert len(set(after.values())) == len(after)
    for anchor, owner in verdict.taken.items():
        assert after[owner] == wanted[anchor]
        assert owner != anchor
