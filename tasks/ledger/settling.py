"""Who may have which account, when links to be written get in each other's way. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be written."""

    free: tuple[str, ...]
    """Anchors that get what they want, in the order given."""
    moving: tuple[str, ...]
    """Those of them that hold an account somebody else gets: their present link must go first."""
    taken: dict[str, str]
    """Anchors that do not get it, to the anchor that has it."""


def settle(wanted: Mapping[str, str], held: Mapping[str, str]) -> Verdict:
    """Judge links to be written against those that stand.

    ``wanted`` is anchor to target id; ``held`` is target id to anchor, for every wanted target id that is linked. An
    account that its holder moves away from is free. Of two that want the same free account the first one gets it.
    """
    taken: dict[str, str] = {}
    settled = False
    while not settled:
        # An entry that does not get the new account keeps the old one, and may block somebody else by that.
        settled = True
        promised: dict[str, str] = {}
        for anchor, target_id in wanted.items():
            if anchor in taken:
                continue
            holder = held.get(target_id, anchor)
            stays = holder != anchor and (holder in taken or wanted.get(holder, target_id) == target_id)
            if not stays:
                holder = promised.setdefault(target_id, anchor)
            if holder != anchor:
                taken[anchor] = holder
                settled = False
    taken = {
        anchor: taken.get(holder, holder) if wanted.get(holder) == wanted[anchor] else holder
        for anchor, holder in taken.items()
    }
    free = tuple(anchor for anchor in wanted if anchor not in taken)
    moving = tuple(
        sorted(
            anchor
            for target_id, anchor in held.items()
            if anchor not in taken and wanted.get(anchor, target_id) != target_id
        )
    )
    return Verdict(free, moving, taken)
