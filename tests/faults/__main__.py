"""What survives what: ``python -m tests.faults [WORK ...] [--fault kill ...] [--points 40]``.

Works are those of ``scenarios``, of which a fault disturbs the n-th change of a file, and ``damage``, which changes
bytes of a finished run. Prints a table of the points tried, and of what became of them.
"""

import argparse
import collections
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults import shim

DAMAGE = "damage"
ROW = "{:15} {:8} {:>7} {:>6} {:>9} {:>5} {:>5} {:>8}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("works", nargs="*", help="by default all")
    parser.add_argument("--fault", nargs="+", choices=shim.FAULTS, default=list(shim.FAULTS))
    parser.add_argument("--points", type=int, default=40, help="of each work and fault or kind of damage, at most")
    parser.add_argument("--tries", type=int, default=3, help="of each kind of damage, in each file")
    parser.add_argument("--at", type=int, nargs="+", help="these points alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="a line for each point")
    options = parser.parse_args()
    if shim.compiler() is None:
        print("error: this needs a Linux with a C compiler (cc).", file=sys.stderr)
        return 2
    if not shim.preloaded():
        environment = {**os.environ, "LD_PRELOAD": str(shim.build()), "JAX_PLATFORMS": "cpu"}
        os.execve(sys.executable, [sys.executable, "-m", "tests.faults", *sys.argv[1:]], environment)
    try:
        return campaign(options)
    finally:
        shim.discard(Path(os.environ["LD_PRELOAD"]))


def campaign(options: argparse.Namespace) -> int:
    """Print the table; 1 if anything was lost."""
    lost: list[str] = []
    print(ROW.format("work", "fault", "changes", "tried", "recovered", "said", "lost", "seconds"), flush=True)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # where a sync takes no time
    with tempfile.TemporaryDirectory(prefix="stylegen-faults-", dir=memory) as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        began = time.monotonic()
        for work, fault, changes, outcomes in series(options, Path(os.path.realpath(folder))):
            counts: collections.Counter[str] = collections.Counter()
            for kind, text in outcomes:
                counts[kind] += 1
                if options.verbose:
                    print(f"  {kind} {text}", flush=True)
                if kind == "lost":
                    lost.append(f"{work}, {fault}: {text}")
            numbers = [counts[kind] for kind in ("recovered", "said", "lost")]
            row = ROW.format(work, fault, changes, sum(numbers), *numbers, f"{time.monotonic() - began:.0f}")
            print(row, flush=True)
            began = time.monotonic()
    for text in lost:
        print(f"LOST {text}")
    return bool(lost)


def series(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str, str, Iterator[tuple[str, str]]]]:
    """(work, fault, number of changes, outcomes), one for each row."""
    from tests.faults.campaign import Campaign
    from tests.faults.damage import Damage
    from tests.faults.scenarios import SCENARIOS

    works = options.works or [*SCENARIOS, DAMAGE]
    for name in (name for name in works if name != DAMAGE):
        disturbed = Campaign(SCENARIOS[name], folder / name)
        for fault in options.fault:
            points = options.at or disturbed.points(options.points, options.seed)
            outcomes = ((outcome.kind, outcome.text) for _, outcome in disturbed.run(shim.FAULTS[fault], points))
            yield name, fault, str(disturbed.changes), outcomes
    if DAMAGE in works:
        attempts = Damage(folder / DAMAGE).run(options.tries, options.points, options.seed)
        for kind, group in itertools.groupby(attempts, key=lambda attempt: attempt[1]):
            yield DAMAGE, kind, "", ((outcome.kind, outcome.text) for _, _, outcome in group)


if __name__ == "__main__":
    sys.exit(main())
