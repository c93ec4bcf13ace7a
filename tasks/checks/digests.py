"""Digests of the values that a held change would write: what was approved is these values and no others. Pure."""

import hashlib
import hmac
from collections.abc import Iterable

import numpy as np

from connectors.contract import Value
from tasks.plan import Block
from tasks.plan.compare import canonical

NOTHING_PROVEN = ""
"""Stands for a value whose digest cannot be kept: it equals nothing."""


def digests_of(block: Block, row: int, paths: Iterable[str], secret: bytes) -> dict[str, str]:
    """A digest for each of some attributes of a row; of redacted values under the secret, since a plain digest of a
    telephone number is found out by trying all of them."""
    if block.after is None:
        return {}
    return {path: _digest(path, block.after[path].iloc[row], path in block.redacted, secret) for path in paths}


def same(known: str | None, found: str) -> bool:
    """True when both stand for one value."""
    return known not in (None, NOTHING_PROVEN) and known == found


def _digest(path: str, value: Value, hidden: bool, secret: bytes) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    text = f"{path}\x1f{canonical(value)!r}".encode()
    if not hidden:
        return hashlib.sha256(text).hexdigest()[:32]
    return hmac.new(secret, text, hashlib.sha256).hexdigest()[:32] if secret else NOTHING_PROVEN
