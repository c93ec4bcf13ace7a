"""The service as a program: ``python -m tests.servers.scim_service --port 0 --token T``.

Prints one line of JSON with its address once it listens, and serves until it is terminated.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import sys

import uvloop

from tests.servers.scim_service.running import ScimService


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="tests.servers.scim_service", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--token", default=None, help="accept this bearer token only")
    parser.add_argument("--prefix", default="/v2")
    parser.add_argument("--default-page-size", type=int, default=100)
    parser.add_argument("--max-page-size", type=int, default=1000)
    parser.add_argument("--seed-users", type=int, default=0, help="make up so many users first")
    parser.add_argument("--seed", type=int, default=0, help="decides ids and chances")
    parser.add_argument("--log", choices=["off", "digest", "full"], default="off")
    parser.add_argument("--quirks", type=json.loads, default={}, help='JSON: {"filter": "ignored"}')
    parser.add_argument("--faults", type=json.loads, default={}, help='JSON: {"latency": {"seconds": 0.1}}')
    given = parser.parse_args()
    service = ScimService(
        token=given.token,
        port=given.port,
        prefix=given.prefix,
        default_page_size=given.default_page_size,
        max_page_size=given.max_page_size,
        quirks=given.quirks,
        faults=given.faults,
        log=given.log,
        seed=given.seed,
    )

    def listening() -> None:
        service.seed(count=given.seed_users)
        # what is held lives long: looking through a million entries again and again would cost more than it finds
        gc.freeze()
        gc.set_threshold(100_000, 50, 1000)
        print(json.dumps({"url": service.url, "pid": os.getpid()}), flush=True)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        await service.serve(listening)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    for failure in service.engine.failures:
        print(failure, file=sys.stderr)


if __name__ == "__main__":
    main()
