#!/usr/bin/env python3
"""How long stylegen takes to start: the import, each verb's --help, the first image.

    python benchmarks/startup.py
    python benchmarks/startup.py --heaviest 10      # and the modules that took longest to import

Each is a process of its own; the fastest of --repeat counts. "Cold" starts with an empty cache of compiled programs,
"warm" with the cache that the cold run has left. Files are in the system's cache: a first start after booting takes
longer. The last line is one JSON object.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

COLUMNS = {"what": ("what", "s"), "seconds": ("seconds", ".2f"), "cpu_seconds": ("CPU seconds", ".2f")}
IMPORT_COLUMNS = {"what": ("module", "s"), "seconds": ("seconds", ".2f")}
VERB = "import sys; from stylegen.cli import main; sys.exit(main(sys.argv[1:]))"
FIRST_IMAGE = ("sample", "--run", "toy_bedrooms", "--seeds", "1", "--overwrite", "--out")


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that imports this checkout."""
    path = [str(common.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **more}


def start(what: str, *words: str, repeat: int = 1, **more: str) -> dict[str, Any]:
    """The least elapsed and CPU time of a few runs of ``python -c ...``. Other work on the machine changes the first.

    Raises:
        BenchmarkError: it fails.
    """
    elapsed, cpu = [], []
    for _ in range(repeat):
        begin, before = time.perf_counter(), children_cpu()
        done = subprocess.run([sys.executable, "-c", *words], env=environment(**more), capture_output=True, text=True)
        elapsed.append(time.perf_counter() - begin)
        cpu.append(children_cpu() - before)
        if done.returncode:
            raise common.BenchmarkError(f"{' '.join(words)} failed: {done.stderr[-500:]}")
    return {"what": what, "seconds": min(elapsed), "cpu_seconds": min(cpu)}


def children_cpu() -> float:
    """CPU seconds of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def heaviest(code: str, count: int) -> list[dict[str, Any]]:
    """The modules that take longest to import, without what they import in turn."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    found = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)", done.stderr)
    slowest = sorted(((int(microseconds) / 1e6, name) for microseconds, name in found), reverse=True)
    return [{"what": f"  {name}", "seconds": own} for own, name in slowest[:count]]


def measure(repeat: int) -> list[dict[str, Any]]:
    """A row for each thing that is started."""
    from stylegen.cli import VERBS

    rows = [start("python alone", "pass", repeat=repeat)]
    rows.append(start("import stylegen", "import stylegen", repeat=repeat))
    rows += [start(f"stylegen {verb} --help", VERB, verb, "--help", repeat=repeat) for verb in VERBS]
    with tempfile.TemporaryDirectory() as folder:
        for state, times in (("cold", 1), ("warm", repeat)):
            words = (VERB, *FIRST_IMAGE, f"{folder}/{state}")
            cache = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/programs"}
            rows.append(start(f"first image, {state}", *words, repeat=times, **cache))
    return rows


def run(a: argparse.Namespace) -> dict[str, Any]:
    """Measure, print, and return all."""
    rows = measure(a.repeat)
    m = common.machine()
    print(common.table(rows, COLUMNS), common.describe(m), sep="\n")
    result: dict[str, Any] = {"rows": rows, "machine": m}
    if a.heaviest:
        from stylegen.cli import VERBS

        result["heaviest"] = {verb: heaviest(f"import stylegen.cli.{verb}", a.heaviest) for verb in VERBS}
        for verb, modules in result["heaviest"].items():
            print(f"\nimport stylegen.cli.{verb}:", common.table(modules, IMPORT_COLUMNS), sep="\n")
    common.write_json(a.json, result)
    return result


def parse() -> argparse.Namespace:
    """The command line."""
    p = common.parser(__doc__)
    p.add_argument("--repeat", type=int, default=3, help="runs of each, of which the fastest counts")
    p.add_argument("--heaviest", type=int, default=0, metavar="N", help="also list the N slowest imports of each verb")
    return p.parse_args()


if __name__ == "__main__":
    common.main(lambda: run(parse()))
