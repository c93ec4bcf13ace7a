"""Loading of modules, which is most of what a short command costs."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Nobody looks for garbage meanwhile, nor ever again among what was made.

    Two thousand modules make a million objects that stay, and next to no garbage: looking through them again and again
    is a fifth to a third of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
