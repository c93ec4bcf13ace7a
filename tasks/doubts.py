"""Keys that look like somebody's after a spreadsheet has been at them: absence is not proved by such a file. Pure."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.keys import find, texts
from tasks.membership import is_among

Mask = npt.NDArray[np.bool_]


def spoilt_members(edges: pd.DataFrame, known: pd.Index) -> tuple[str, ...]:
    """Why the memberships prove nobody's absence from a group, where some lead to a key that is almost somebody's.

    ``known``: keys of everybody who is, or was, in the source.
    """
    members = pc.unique(texts(edges["member"]))
    astray = members.filter(pa.array(find(members, texts(known)) < 0))
    count, example, almost = _twins(astray, texts(known))
    if not count:
        return ()
    return (
        f"{count:,} members in the memberships match nobody, but apart from {_DAMAGE} they would match (like "
        f"{example!r} "
        f"for {almost!r}): a spreadsheet has probably changed them. Export the memberships again, with keys as text.",
    )


def spoilt_keys(gone: pd.Index, new: pd.Index, noun: str) -> tuple[str, ...]:
    """Why the entries prove nobody's absence, where somebody new has almost the key of somebody who is gone."""
    count, example, almost = _twins(texts(new), texts(gone)) if len(gone) else (0, "", "")
    if not count:
        return ()
    return (
        f"{count:,} keys of {noun}s are new, and but for {_DAMAGE} they are those of {noun}s who are gone (like "
        f"{example!r} for {almost!r}): a spreadsheet has probably changed them. Export them again, with keys as text.",
    )


_DAMAGE = "leading zeros, a trailing .0, or upper and lower case"


def _twins(spoilt: pa.Array, known: pa.Array) -> tuple[int, str, str]:
    """How many keys are almost a known one; the first of them, and that one."""
    if not len(spoilt) or not len(known):
        return 0, "", ""
    found = find(_bare(spoilt), _bare(known))
    at = np.flatnonzero(found >= 0)
    if not len(at):
        return 0, "", ""
    return len(at), str(spoilt[int(at[0])].as_py()), str(known[int(found[at[0]])].as_py())


def _bare(keys: pa.Array) -> pa.Array:
    """Keys without what spreadsheets take away or add."""
    bare = pc.utf8_ltrim(pc.utf8_lower(pc.replace_substring_regex(keys, r"^([0-9]+)\.0+$", r"\1")), characters="0")
    return pc.if_else(pc.equal(bare, ""), pa.scalar("0", bare.type), bare)


def not_among(values: pd.Index, others: pd.Index) -> pd.Index:
    """The values that the others do not have."""
    return values[~is_among(values, texts(others))]
