"""Who loads a target now."""

from collections.abc import Callable
from datetime import datetime, timedelta

from tasks.ledger import Ledger

MINUTE = timedelta(minutes=1)


def test_those_who_load_a_target_are_counted(ledger: Ledger, open_ledger: Callable[[], Ledger], now: datetime) -> None:
    """Each once, however often it says so; another target has others; whoever leaves, or is silent, is gone."""
    other = open_ledger()
    assert ledger.share_pace("scim a", "hr", now=now, duration=MINUTE) == 1
    assert other.share_pace("scim a", "crm", now=now + MINUTE / 4, duration=MINUTE) == 2
    assert other.share_pace("scim b", "crm", now=now, duration=MINUTE) == 1
    assert ledger.share_pace("scim a", "hr", now=now + MINUTE / 2, duration=MINUTE) == 2
    assert ledger.share_pace("scim a", "hr", now=now + 5 * MINUTE / 4, duration=MINUTE) == 1
    assert other.share_pace("scim a", "crm", now=now + 5 * MINUTE / 4, duration=MINUTE) == 2
    ledger.leave_pace("scim a", "hr")
    ledger.leave_pace("scim a", "hr")
    assert other.share_pace("scim a", "crm", now=now + 5 * MINUTE / 4, duration=MINUTE) == 1
