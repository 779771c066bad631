#!/usr/bin/env python3
"""The cost of growing and of the loop: the gap where the resolution grows, and the host's time per step.

    python benchmarks/growing.py                       # the quickstart, each of its phases cut short
    python benchmarks/growing.py --steps 100 --json growing.json

The training loop of ``stylegen.train`` itself is run, in a temporary directory, with a clock around every step; each
step is waited for. What is compiled in the background is waited for as well, after the first step of a stage, and that
time left out, so that the numbers are those of a stage which is longer than its successor takes to compile; how long
that is, is said. "gap" is from the last step at the old resolution to the end of the first one at the new; "longest" is
the longest one after that, up to the end of the stage. An ordinary step is the median of the new stage.

The dispatch is the time of a call with the same arguments and results as the step's, of a program that does nothing.
The last line is one JSON object.
"""

import argparse
import contextlib
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

COLUMNS = {
    "resolution": ("to pixels", "d"),
    "step_ms": ("step ms", ".1f"),
    "gap_ms": ("gap ms", ".1f"),
    "gap_steps": ("in steps", ".2f"),
    "gap_parts": ("of which, ms", "s"),
    "longest_ms": ("longest ms", ".1f"),
    "longest_steps": ("in steps", ".2f"),
    "longest_parts": ("of which, ms", "s"),
    "compile_s": ("compiled ahead in s", ".1f"),
}


@dataclasses.dataclass
class Gap:
    """From the end of one step to the end of the next, in seconds."""

    resolution: int  # of the step at its end
    total: float
    call: float  # of the step itself
    parts: dict[str, float]  # what else the loop did, where it took time worth naming


class Clock:
    """Times between steps, by what the loop did."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self.compile_s: dict[int, float] = {}  # by resolution, of its programs
        self._last: float | None = None
        self._parts: dict[str, float] = {}

    def part(self, name: str, seconds: float) -> None:
        """Something that the loop did since the last step."""
        self._parts[name] = self._parts.get(name, 0.0) + seconds

    def step(self, resolution: int, called: float, ended: float) -> None:
        """A step, and the gap that ends with it."""
        if self._last is not None:
            self.gaps.append(Gap(resolution, ended - self._last, ended - called, self._parts))
        self._parts = {}
        self._last = ended

    def resume(self) -> None:
        """Leave out what has passed since the last step."""
        self._last = time.perf_counter()


def measured(clock: Clock) -> Any:
    """Hooks of the training loop with a clock in them."""
    import jax

    from stylegen.train import Hooks

    class MeasuredLoop(Hooks):
        @contextlib.contextmanager
        def part(self, name: str) -> Iterator[None]:
            start = time.perf_counter()
            yield
            clock.part(name, time.perf_counter() - start)

        def on_stage(self, stage: Any, steps: dict[str, Any], programs: Any) -> dict[str, Any]:
            def step(*arguments: Any) -> Any:
                # Wait for background compilation, so that the steps have the machine alone.
                if not programs.idle():
                    seconds = programs.wait()
                    clock.compile_s = {
                        resolution: sum(s for (_, r, _), s in seconds.items() if r == resolution)
                        for _, resolution, _ in seconds
                    }
                    clock.resume()
                called = time.perf_counter()
                result = jax.block_until_ready(steps["train"](*arguments))
                clock.step(stage.resolution, called, time.perf_counter())
                return result

            return steps | {"train": step}

    return MeasuredLoop()


def short_config(steps: int, folder: str, resolution: int, compile_ahead: bool | None = None) -> Any:
    """The quickstart with ``steps`` steps in each phase, and a tick in the middle of each."""
    from configs import quickstart

    config = quickstart.get_config()
    stages = [r for r in config.stage_resolutions if r <= resolution]
    length = {r: steps * config.batch_at(r) / 1000 for r in stages}
    total = sum(length.values()) + sum(length[r] for r in stages[1:])
    plan = dataclasses.replace(
        config.schedule, total_kimg=total, stable_kimg_at=length, fade_kimg_at={r: length[r] for r in stages[1:]}
    )
    run = dataclasses.replace(
        config.run,
        dir=folder,
        tick_kimg=0.7 * min(length.values()),
        checkpoint_kimg=total,
        compilation_cache="",
        compile_ahead=compile_ahead,
    )
    # Few rooms, soon drawn: where the real run grows, it has drawn all of its own.
    data = dataclasses.replace(config.data, num_images=256)
    return dataclasses.replace(config, resolution=stages[-1], schedule=plan, run=run, data=data)


def grow(config: Any) -> Clock:
    """Run the loop to the end."""
    from stylegen import train

    clock = Clock()
    train.train(config, measured(clock))
    return clock


def boundaries(clock: Clock) -> list[dict[str, Any]]:
    """A row for each resolution that the run grew to."""
    rows = []
    for resolution in sorted({gap.resolution for gap in clock.gaps})[1:]:
        gaps = [gap for gap in clock.gaps if gap.resolution == resolution]
        step = statistics.median(gap.total for gap in gaps[1:])
        longest = max(gaps[1:], key=lambda gap: gap.total)
        rows.append(
            {
                "resolution": resolution,
                "step_ms": 1000 * step,
                **_describe("gap", gaps[0], step),
                **_describe("longest", longest, step),
                "compile_s": clock.compile_s.get(resolution),
            }
        )
    return rows


def _describe(name: str, gap: Gap, step: float) -> dict[str, Any]:
    parts = {"step": gap.call, **gap.parts}
    listed = ", ".join(f"{part} {1000 * seconds:.0f}" for part, seconds in parts.items() if seconds > 0.05 * gap.total)
    return {f"{name}_ms": 1000 * gap.total, f"{name}_steps": gap.total / step, f"{name}_parts": listed}


def dispatch(config: Any, steps: int) -> dict[str, Any]:
    """The host's time per step at the smallest stage, in ms: of a call that does nothing, beside the step's."""
    import jax

    from benchmarks import workload
    from stylegen.runtime import sharding

    training = workload.Training(config, config.schedule.start_resolution)
    training.start()
    step = statistics.median(common.timed(training, steps, 3))
    names = list(training()[1])
    state, batch = sharding.replicated(training.mesh), sharding.split_batch(training.mesh)
    nothing = jax.jit(
        lambda state, images, labels, alpha, rate: (state, dict.fromkeys(names, alpha)),
        donate_argnums=0,
        in_shardings=(state, batch, batch, state, state),
        out_shardings=(state, state),
    )
    arguments = training.state, training.images, training.labels, *training.scalars
    training.program = nothing.lower(*arguments).compile()
    call = statistics.median(common.timed(training, max(steps, 50), 5))
    return {"resolution": training.resolution, "step_ms": 1000 * step, "dispatch_ms": 1000 * call}


def loop_cost(clock: Clock, dispatch_ms: float) -> dict[str, Any]:
    """The loop's own time per ordinary step at the smallest stage, the dispatch included, as a share of the step.

    Fetching the next batch is a part of it.
    """
    smallest = min(gap.resolution for gap in clock.gaps)
    gaps = [gap for gap in clock.gaps if gap.resolution == smallest]
    host = 1000 * statistics.median(gap.total - gap.call for gap in gaps) + dispatch_ms
    batch = 1000 * statistics.median(gap.parts.get("next_batch", 0.0) for gap in gaps)
    step_ms = 1000 * statistics.median(gap.total for gap in gaps)
    return {"loop_step_ms": step_ms, "loop_host_ms": host, "loop_batch_ms": batch, "loop_host_fraction": host / step_ms}


def run(a: argparse.Namespace) -> dict[str, Any]:
    if a.steps < 5:
        raise common.BenchmarkError(f"--steps {a.steps}: must be at least 5.")
    with tempfile.TemporaryDirectory() as folder:
        config = short_config(a.steps, folder, a.resolution, {"yes": True, "no": False}.get(a.compile_ahead))
        clock = grow(config)
        host = dispatch(config, a.steps)
    host |= loop_cost(clock, host["dispatch_ms"])
    rows = boundaries(clock)
    machine = common.machine()
    print("\n" + common.table(rows, COLUMNS))
    print(
        f"\n{host['resolution']} pixels: step {host['step_ms']:.2f} ms, dispatch {host['dispatch_ms']:.2f} ms "
        f"({host['dispatch_ms'] / host['step_ms']:.1%}); in the loop {host['loop_step_ms']:.2f} ms, of which the host "
        f"{host['loop_host_ms']:.2f} ms ({host['loop_host_fraction']:.1%}; for the next batch "
        f"{host['loop_batch_ms']:.2f} ms)"
    )
    print(common.describe(machine))
    gaps = [dataclasses.asdict(gap) for gap in clock.gaps]
    result = {"growing": rows, "dispatch": host, "machine": machine}
    common.write_json(a.json, {"command": sys.argv, **result, "gaps": gaps})
    return result


def main() -> dict[str, Any]:
    p = common.parser(__doc__)
    p.add_argument("--steps", type=int, default=60, help="steps in each phase: 8 stable, 16 fading, 16 stable, ...")
    p.add_argument("--resolution", type=int, default=32, choices=(16, 32), help="grow up to here")
    p.add_argument("--compile-ahead", choices=("yes", "no"), help="run.compile_ahead; default: by platform")
    return run(p.parse_args())


if __name__ == "__main__":
    common.main(main)
