"""What was last written, or found equal, attribute by attribute. Pure.

An attribute that differs in the target was changed outside Provisor when what it should be is what was last written,
under the same rule; otherwise the difference is a change of ours that has to be carried out. One fingerprint of the
whole entry answers that for nearly everybody. For the others the ledger keeps a digest of 32 bits of every attribute,
in a few bytes that are read only where they are needed. A digest is of the attribute's path, its rule and its value: a
rule that changes lets it lapse, and which attributes there are, and in which order, does not matter.

Values that must not be shown have no digest: a short one of a password would confirm a guess.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from connectors.contract import Kind
from tasks.job import EntryRules
from tasks.plan.compare import Mask, distinct_texts

Digests = npt.NDArray[np.uint32]
Rules = Mapping[str, str]
"""Attribute path to what its rule says, as a text that changes when the rule does."""
Recall = Callable[[Kind, Sequence[str]], Mapping[str, bytes]]
"""Gives what was last written to accounts, by target id; those of which nothing is known are left out."""

WIDTH = 4
"""Bytes of one digest."""


def rules_of(rules: EntryRules) -> dict[str, str]:
    """What the rules of one kind say, by attribute path."""
    return {path: mapping.model_dump_json() for path, mapping in rules.attributes.items()}


def digests_of(column: pd.Series, path: str, rules: Rules) -> Digests:
    """A digest of each value of one attribute."""
    name = f"{path}\x1f{rules.get(path, '')}"
    key = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    values = distinct_texts(column).to_numpy(zero_copy_only=False)
    return pd.util.hash_array(values, hash_key=key, categorize=False).astype(np.uint32)


def packed(frame: pd.DataFrame, rules: Rules, *, without: Collection[str] = ()) -> list[bytes]:
    """What the ledger remembers of each row: the digests of its attributes, apart from those ``without``."""
    paths = sorted(path for path in map(str, frame.columns) if path not in without)
    if not len(frame) or not paths:
        return [b""] * len(frame)
    matrix = np.column_stack([digests_of(frame[path], path, rules) for path in paths]).astype("<u4")
    rows = matrix.tobytes()
    width = WIDTH * len(paths)
    return [rows[start : start + width] for start in range(0, len(rows), width)]


def among(digests: Digests, remembered: Sequence[bytes]) -> Mask:
    """Which of the digests (one a row) is among those that are remembered of its row."""
    found = np.zeros(len(digests), dtype=bool)
    sizes = np.fromiter(map(len, remembered), dtype=np.int64, count=len(remembered))
    for size in np.unique(sizes[sizes > 0]).tolist():
        rows = np.flatnonzero(sizes == size)
        known = np.frombuffer(b"".join([remembered[row] for row in rows.tolist()]), dtype="<u4")
        found[rows] = (known.reshape(len(rows), size // WIDTH) == digests[rows, None]).any(axis=1)
    return found
