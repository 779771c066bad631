#!/usr/bin/env python3
"""Check a GPU: does everything run there, are its numbers right, how fast is it, where does the time go, what fits.

    python benchmarks/gpu_check.py --out out/gpu                                      # everything, as far as time goes
    python benchmarks/gpu_check.py --out out/gpu --deadline 1200 --steps a,b,profile  # some of it, in 20 minutes
    python benchmarks/gpu_check.py --list

Every command of a step is a process of its own with a time limit. One that fails or hangs becomes a record, and the
next one starts. Results are in OUT/results.jsonl as soon as they are known, one JSON object a line; the ends of what
commands said are in OUT/log.txt; a table comes last. It runs from a checkout that is not installed.
"""

import argparse
import functools
import os
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import gpu_runs
from benchmarks.gpu_runner import Runner, short
from benchmarks.gpu_table import read, table

GPU = "name,memory.total,driver_version,clocks.sm,clocks.max.sm,power.draw,power.limit,temperature.gpu"

LARGEST = ("256:256", "512:128", "1024:56")  # PIXELS:BATCH to begin with: what the compiler expects an H100 to hold
TORCH_HELP = """program to compare with: a command as train_step.py --against takes it, or a .py file that takes
    train_step.py's options and prints such a JSON object; default: .gpu/torch_baseline.py, if it exists"""
DATA_HELP = """images for train64: an LSUN archive, prepared data, or a folder or zip of images; default: what lies in
    .gpu/data, else drawn rooms"""


@dataclass(frozen=True)
class Step:
    """Something to find out."""

    name: str
    group: str
    seconds: float  # that it may take
    least: float  # seconds that must be left to begin
    run: Callable[[Runner, argparse.Namespace], Any]
    says: str  # in --list


def measured(name: str, group: str, seconds: float, least: float, says: str) -> Step:
    """A step that is one measurement of ``gpu_steps.py``."""
    return Step(name, group, seconds, least, lambda check, a: check.measure(name, seconds), says)


def environment(check: Runner, a: argparse.Namespace) -> None:
    ended = check.run("nvidia-smi", ["nvidia-smi", f"--query-gpu={GPU}", "--format=csv,noheader"], 15)
    if ended.ok:
        check.record("gpu", of=GPU, values=ended.output.strip())
    check.measure("environment", 60)


def profile(check: Runner, a: argparse.Namespace) -> None:
    """The step, and for comparison the same step as it is compiled without the card."""
    card = check.measure("profile", 200).result.get("name") or ("cpu" if check.tiny else None)
    if card:
        gpu_runs.plan(check, *((8, 4) if check.tiny else (256, 32)), card)


def variants(check: Runner, a: argparse.Namespace) -> None:
    check.measure("variants", 540, *(["--only", a.only] if a.only else []))


def memory(check: Runner, a: argparse.Namespace) -> None:
    """Each resolution in a process of its own, whose peak is then that resolution's."""
    for size in ("8:8",) if check.tiny else LARGEST:
        check.measure("memory", 200, "--sizes", size)


def speed(resolution: int, *batches: int) -> Callable[[Runner, argparse.Namespace], None]:
    return lambda check, a: gpu_runs.speed(check, resolution, batches, a.torch)


STEPS = (
    Step("environment", "a", 75, 15, environment, "the card, versions, imports, peaks of products and memory"),
    measured("smoke", "a", 90, 15, "every kind of convolution in bfloat16 and float32, to the second order"),
    measured("reference", "a", 90, 25, "differences from the original's numbers: highest precision, TF32, bfloat16"),
    Step("speed256", "b", 480, 45, speed(256, 32, 64, 16), "256 pixels in bfloat16, also against PyTorch in its forms"),
    Step("speed64", "c", 150, 40, speed(64, 32), "64 pixels likewise"),
    Step("speed128", "c", 170, 45, speed(128, 32), "128 pixels likewise"),
    measured("micro", "d", 150, 30, "single operations in the product's forms and in others"),
    Step("profile", "d", 300, 45, profile, "the step's kernels by part and function, beside the least time"),
    Step("variants", "d", 540, 60, variants, "the step in other forms, dtypes and with other options (--only)"),
    measured("sampling", "d", 90, 30, "stylegen.sample at 256 pixels: by default and in larger batches"),
    Step(
        "memory", "e", 480, 60, memory, "the largest batch at 256, 512 and 1024 pixels, beside the compiler's account"
    ),
    Step(
        "resume", "f", 330, 80, lambda check, a: gpu_runs.resume(check), "is a killed and resumed run equal to the bit"
    ),
    Step(
        "train64", "f", 230, 90, lambda check, a: gpu_runs.train64(check, a.data), "three minutes of training (--data)"
    ),
    measured("export", "g", 90, 25, "the exported sampling program against the library"),
    Step("tests", "h", 240, 40, lambda check, a: gpu_runs.tests(check), "tests that a GPU could fail"),
    Step("growing", "i", 300, 60, lambda check, a: gpu_runs.growing(check), "gaps where the resolution grows"),
)


def select(text: str) -> tuple[list[Step], list[str]]:
    """(steps by name or by the letter of their group, in the order of the list; words that are neither)."""
    words = {word.strip() for word in text.split(",") if word.strip()}
    unknown = sorted(words - {word for step in STEPS for word in (step.name, step.group)})
    return [step for step in STEPS if {step.name, step.group} & words], unknown


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path("out/gpu"), help="folder for results")
    p.add_argument("--deadline", type=float, default=4000, help="seconds after which all has ended")
    p.add_argument("--steps", default="", help="names, or letters of groups, by commas; default: all")
    p.add_argument("--skip", default="", help="likewise, those to leave out")
    p.add_argument("--only", default="", help="variants: those whose names have one of these parts, by commas")
    p.add_argument("--torch", metavar="COMMAND", help=TORCH_HELP)
    p.add_argument("--data", metavar="PATH", help=DATA_HELP)
    p.add_argument("--tiny", action="store_true", help="toy sizes on a CPU, to try this program")
    p.add_argument("--list", action="store_true", help="list the steps and stop")
    return p.parse_args(argv)


def run_step(check: Runner, step: Step, a: argparse.Namespace) -> None:
    """One step, whatever happens in it."""
    check.begin(step.name, step.seconds)
    if check.seconds_left() < step.least and not check.tiny:
        check.record("step", skipped=f"{max(check.seconds_left(), 0):.0f} s left")
        return
    try:
        step.run(check, a)
    except Exception as error:  # of this program itself: the next step is worth more than a traceback
        check.record("step", error=short(error))
        check.say(f"{step.name}: {short(error)}")
    finally:
        check.kill()


def main(argv: list[str] | None = None) -> int:
    a = parse(argv)
    if a.list:
        for step in STEPS:
            print(f"{step.group}  {step.name:12} {step.seconds:4.0f} s at most  {step.says}")
        return 0
    (steps, unknown), (skipped, more) = select(a.steps), select(a.skip)
    for name in unknown + more:
        print(f"no such step: {name}; --list shows all", flush=True)
    steps = [step for step in (steps if a.steps.strip(", ") else STEPS) if step not in skipped]
    check = Runner(a.out.resolve(), a.deadline, a.tiny)
    before = len(read(check.results))

    def stop(check: Runner, number: int, frame: Any) -> None:
        check.kill()
        print(f"\nstopped by signal {number}\n{table(read(check.results)[before:])}", flush=True)
        os._exit(1)

    signal.signal(signal.SIGTERM, functools.partial(stop, check))
    signal.signal(signal.SIGINT, functools.partial(stop, check))
    check.record("check", command=shlex.join(sys.argv[1:] if argv is None else argv), unknown=unknown + more)
    for step in steps:
        run_step(check, step, a)
    print(f"\n== results; all of them are in {check.results}\n{table(read(check.results)[before:])}", flush=True)
    return 2 if not steps else 0


if __name__ == "__main__":
    sys.exit(main())
