"""What is true of people at the moment of a plan, and how it is said. Pure.

Who has an account, gets one, should have none, is held: every sentence about somebody else's account is made here, from
the facts of the plan that says it. A manager who has an account and leaves is not a manager without an account.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import pandas as pd

_NAMES_SHOWN = 5


class Footing(StrEnum):
    """How somebody stands in the target, when the plan has been carried out or for as long as it waits."""

    ACCOUNT = "account"
    """Has an account, or gets one in this cycle."""
    ENDING = "ending"
    """Has an account and should have none: gone from the source, out of scope, not assigned."""
    HELD = "held"
    """Has an account about which this cycle decides nothing."""
    NONE = "none"
    """Has no account and gets none in this cycle."""


@dataclass(frozen=True, slots=True)
class People:
    """Who is who among the entries of one kind, by anchor."""

    accounts: pd.Index = field(default_factory=lambda: pd.Index([], dtype="str"))
    """Everybody in scope who has an account, or gets one in this cycle."""
    linked: pd.Index = field(default_factory=lambda: pd.Index([], dtype="str"))
    """Everybody else whose account is in the target: they leave, or they are held."""
    ending: "pd.Series[str]" = field(default_factory=lambda: pd.Series(dtype="str"))
    """Why those of ``linked`` who should have no account should have none."""

    def footing(self, anchor: str) -> Footing:
        """How somebody stands; nobody whom the plan does not know has an account."""
        if anchor in self.accounts:
            return Footing.ACCOUNT
        if anchor not in self.linked:
            return Footing.NONE
        return Footing.ENDING if anchor in self.ending.index else Footing.HELD

    def reference_left_out(self, path: str, anchors: Sequence[str]) -> str:
        """Why an attribute is written without references to these entries."""
        by_clause: dict[str, list[str]] = {}
        for anchor in anchors:
            by_clause.setdefault(self._clause(anchor), []).append(anchor)
        said = [f"{_listed(names)}, {_agree(clause, len(names))}" for clause, names in by_clause.items()]
        until = "until then" if by_clause.keys() == {_NO_ACCOUNT} else "for now"
        return f"{path} refers to {', and to '.join(said)}; left out {until}."

    def _clause(self, anchor: str) -> str:
        match self.footing(anchor):
            case Footing.ENDING:
                return f"who has an account and should have none ({self.ending[anchor]})"
            case Footing.HELD:
                return "who has an account and is held in this cycle"
            case _:
                return _NO_ACCOUNT


_NO_ACCOUNT = "who has no account in the target"


def nobody_known() -> People:
    """Nobody has an account."""
    return People()


def members_left_out(footings: Iterable[Footing]) -> str:
    """Why a group is filled without some of its members, by how each of them stands."""
    counts = dict.fromkeys(Footing, 0)
    for one in footings:
        counts[one] += 1
    said = []
    for footing, (singular, plural) in _MEMBERS.items():
        if count := counts[footing]:
            said.append(f"{count:,} of its members {singular if count == 1 else plural}.")
    return " ".join(said)


_MEMBERS: Mapping[Footing, tuple[str, str]] = {
    Footing.NONE: (
        "has no account in the target; it is left out until it has one",
        "have no account in the target; they are left out until they have one",
    ),
    Footing.ENDING: (
        "has an account and should have none; it is left out",
        "have an account and should have none; they are left out",
    ),
    Footing.HELD: (
        "has an account and is held in this cycle; it is left out for now",
        "have an account and are held in this cycle; they are left out for now",
    ),
}


def reference_without_account(path: str, anchors: Sequence[str]) -> str:
    """Why a reference is not written while a plan is narrowed: these entries have no account and get none by it."""
    return nobody_known().reference_left_out(path, anchors)


# --- while a plan is carried out: what the ledger knows by then ------------------------------------------------------


def reference_unknown(path: str, anchors: Sequence[str]) -> str:
    """Why a reference was not written: the plan gave these entries an account, and the ledger knows of none by now."""
    return f"{path} refers to {_listed(anchors)}, {_agree(_UNKNOWN, len(anchors))}"


def members_unknown(anchors: Sequence[str]) -> str:
    """Why members were not added: the plan gave them an account, and the ledger knows of none by now."""
    return f"members {_listed(anchors)} could not be added, because Provisor knows no accounts for them yet"


_UNKNOWN = "without a known account yet"
ACCOUNT_UNKNOWN = "Provisor knows no account of it yet"
"""Why nothing was sent for an entry whose create has not succeeded, or was not answered."""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (" and others" if len(names) > _NAMES_SHOWN else "")


def _agree(clause: str, count: int) -> str:
    """The clause for one person, or for several."""
    if count == 1:
        return clause
    return clause.replace("who has ", "who have ").replace(" and is held", " and are held")
