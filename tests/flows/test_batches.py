"""Which batches may still be sent when one was stopped, or the run was interrupted."""

import threading

import pytest

from connectors.errors import CredentialsError, HaltedError
from flows.cycle.batches import Batches


def test_a_batch_that_was_stopped_is_the_last() -> None:
    """A target that does not let us in any more is not asked once for every batch; what one entry has done changes
    nothing.
    """
    batches = Batches()
    with pytest.raises(ValueError, match="anything else"), batches.sending():
        raise ValueError("anything else")
    with pytest.raises(CredentialsError), batches.sending():
        raise CredentialsError("not let in")
    with pytest.raises(HaltedError), batches.sending():
        pytest.fail("it was sent")
    with pytest.raises(HaltedError):
        batches.refuse_when_halted()


def test_an_interruption_waits_for_what_is_under_way() -> None:
    """Until it has been written down what came of it, and not for ever."""
    batches, begun, end = Batches(), threading.Event(), threading.Event()

    def send() -> None:
        with batches.sending():
            begun.set()
            end.wait(30)

    thread = threading.Thread(target=send)
    thread.start()
    begun.wait(30)
    assert batches.halt()
    batches.wait(0.001)
    assert thread.is_alive()
    end.set()
    batches.wait(30)
    thread.join(30)
    assert not batches.halt()
