"""What answers say about how many more requests are welcome."""

import pytest

from connectors.rate_limits import Allowance, allowance

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"Content-Type": "text/plain", "Retry-After": "3"}, None),
        # the structured fields of the draft
        ({"RateLimit": '"default";r=50;t=30'}, Allowance(50, 30)),
        ({"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=60'}, Allowance(50, 30, 100)),
        ({"ratelimit": "default;r=0;t=5"}, Allowance(0, 5)),
        ({"RateLimit": '"a, b;c";r=7;t=1'}, Allowance(7, 1)),
        ({"RateLimit": '"default";r=9'}, Allowance(9, 0)),
        (
            {
                "RateLimit": '"hour";r=900;t=1800, "second";r=3;t=1',
                "RateLimit-Policy": '"hour";q=1000;w=3600, "second";q=10;w=1',
            },
            Allowance(3, 1, 10),
        ),
        # version 07
        ({"RateLimit": "limit=100, remaining=20, reset=10"}, Allowance(20, 10, 100)),
        # the three older fields
        ({"RateLimit-Limit": "10", "RateLimit-Remaining": "4", "RateLimit-Reset": "2"}, Allowance(4, 2, 10)),
        ({"RateLimit-Limit": "10, 10;w=1", "RateLimit-Remaining": "4", "RateLimit-Reset": "2"}, Allowance(4, 2, 10)),
        ({"RateLimit-Remaining": "4"}, None),
        # older still: with another prefix, and a moment instead of seconds
        ({"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "6"}, Allowance(0, 6, 10)),
        ({"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": str(int(NOW) + 40)}, Allowance(0, 41)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) - 40)}, Allowance(0, 0)),
        # nonsense is no information
        ({"RateLimit": "soon"}, None),
        ({"RateLimit": '"default";r=many;t=30'}, None),
        ({"RateLimit-Remaining": "few", "RateLimit-Reset": "2"}, None),
    ],
)
def test_fields(fields: dict[str, str], expected: Allowance | None) -> None:
    """Both forms of the draft and what came before it are understood; what cannot be understood is passed over."""
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    assert allowance(raw, now=NOW) == expected
