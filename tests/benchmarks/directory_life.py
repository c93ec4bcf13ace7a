"""The whole life of a company on real directories: joiners, movers, renames, leavers, returners.

    python -m tests.benchmarks.directory_life [--people 1000] [--servers samba,openldap,389] [--windows]

Prints for each step what the cycle did, how long it took, what it could not do, where the directory, read by
ldapsearch, is not what the exports mean, and how many changes a second look at everything would make. ``--windows``
puts the proxy with Windows' habits before Samba. Ends with status 1 where anything is not as it must be.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.flows.directory_life import live
from tests.servers.directories import ds389, openldap, samba

SERVERS = {"openldap": openldap, "389": ds389, "samba": samba}
SHOWN = 20
"""Sentences of a kind that are printed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, help="so many of the 1,000; all of them where it is left out")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--windows", action="store_true")
    options = parser.parse_args()
    fine = True
    for kind in options.servers.split(","):
        with TemporaryDirectory() as folder, SERVERS[kind]() as directory:
            through = options.windows and kind == "samba"
            print(f"{kind}{', with the habits of Windows' if through else ''}", flush=True)
            for told in live(Path(folder), directory, people=options.people, through_windows=through):
                counts = ", ".join(f"{name} {count:,}" for name, count in told.counts.items() if count)
                print(f"  {told.step}: {told.seconds:.1f} s; {counts}; {dict(told.left) or 'nothing'} left", flush=True)
                for what, sentences in (("wrong", told.wrong), ("could not", told.refused)):
                    print(*(f"    {what}: {one}" for one in sentences[:SHOWN]), sep="\n", end="\n" if sentences else "")
                fine &= told.fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
