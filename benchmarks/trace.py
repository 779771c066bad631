"""A profiler's trace of training steps: kernels by part of the step and function, beside the least time of each."""

import collections
import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegen.runtime import chips, hlo

WORDS = {"memcpy": "copy", "memset": "set", "gemm": "product", "fprop": "convolution", "dgrad": "convolution",
         "wgrad": "convolution", "conv": "convolution", "nchw": "layout", "nhwc": "layout"}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """A kernel that ran; on a CPU, an operation."""

    line: str  # a stream, or a thread
    name: str
    start: float  # ns
    duration: float  # ns
    op: str = ""  # the instruction that it belongs to, as the profiler writes it


def events(folder: Path, platform: str) -> list[Event]:
    """All kernels in the trace that ``jax.profiler.trace`` left in a folder."""
    import jax

    kernel_events = []
    for path in folder.rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            if (platform == "gpu") != ("GPU" in plane.name.upper()):
                continue
            # Besides streams a GPU has lines that sum up what is on them.
            lines = [line for line in plane.lines if platform != "gpu" or "stream" in line.name.lower()]
            for line in lines:
                for event in line.events:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        op = next((str(value) for key, value in event.stats if key == "hlo_op"), "")
                    if op or platform == "gpu":
                        kernel_events.append(Event(line.name, event.name, event.start_ns, event.duration_ns, op))
    return kernel_events


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans."""
    total, last = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, last))
        last = max(last, end)
    return total


def own_chip(device: str) -> tuple[str, chips.Chip] | None:
    """The card by JAX's name of it, with the name that ``chips`` has; None if it is not known."""
    return next(((name, chip) for name, chip in chips.GPUS.items() if chip.name == device), None)


def report(events: Sequence[Event], text: str, steps: int, chip: chips.Chip | None, rate: float) -> dict[str, Any]:
    """A summary of the kernels of some steps: times of one step in ms.

    Args:
        events: the events.
        text: of the compiled program, by whose stack frames kernels are attributed.
        steps: that were traced.
        chip: for least times; None gives none.
        rate: of the chip's arithmetic, FLOP/s.

    Returns:
        ``span_ms`` of a step, ``kernels_ms`` in sum, ``idle`` where no kernel ran, the shares of the span of
        ``convolutions``, ``products`` and the ``memory_bound`` rest, the ``unknown`` share of kernels that are no
        instruction's, ``by_part`` of the step, ``places`` [kind, part, function, ms, least ms] and the ``slowest``
        instructions [name, kind, size, function, ms, least ms].
    """
    kernels = {kernel.name: kernel for kernel in hlo.kernels(text)}
    times: collections.Counter[str] = collections.Counter()
    for event in events:
        times[_instruction(event, kernels)] += event.duration / 1e6 / steps
    rows = _rows(times, kernels, hlo.Frames(text), chip, rate)
    kinds, parts = (_sums(rows, lambda row, i=i: row.place[i]) for i in (0, 1))
    places, least = _sums(rows, lambda row: row.place), _sums(rows, lambda row: row.place, lambda row: row.least)
    span = (max(e.start + e.duration for e in events) - min(e.start for e in events)) / 1e6 / steps
    total, busy = sum(times.values()), covered((e.start, e.start + e.duration) for e in events) / 1e6 / steps
    return {
        "span_ms": span,
        "kernels_ms": total,
        "kernels": len(events) / steps,
        "least_ms": sum(least.values()) if chip else None,
        "idle": 1 - busy / span,
        "convolutions": kinds["convolution"] / span,
        "products": kinds["product"] / span,
        "memory_bound": (total - kinds["convolution"] - kinds["product"]) / span,
        "unknown": sum(ms for name, ms in times.items() if name not in kernels) / total,
        "by_part": dict(parts.most_common()),
        "by_kind": dict(kinds.most_common(16)),
        "places": [[*place, ms, least[place]] for place, ms in places.most_common(40)],
        "slowest": [[r.name[:60], r.place[0], r.size, r.place[2], r.ms, r.least] for r in rows[:50]],
    }


@dataclass(frozen=True)
class Row:
    """An instruction of the program in a step."""

    name: str
    place: tuple[str, str, str]  # kind, part of the step, function
    size: str
    ms: float
    least: float  # ms; 0 is not known


def _rows(
    times: collections.Counter[str],
    kernels: dict[str, hlo.Kernel],
    frames: hlo.Frames,
    chip: chips.Chip | None,
    rate: float,
) -> list[Row]:
    rows = []
    for name, ms in times.most_common():
        if kernel := kernels.get(name):
            least = 1e3 * kernel.seconds(chip.bandwidth, rate) if chip else 0.0
            place = _kind(kernel), *hlo.place(frames.calls(kernel.frame))
            rows.append(Row(name, place, kernel.size, ms, least))
        else:
            rows.append(Row(name, (library_kind(name), "?", "?"), "-", ms, 0.0))
    return rows


def _sums(
    rows: list[Row], key: Callable[[Row], Any], value: Callable[[Row], float] = lambda row: row.ms
) -> collections.Counter[Any]:
    sums: collections.Counter[Any] = collections.Counter()
    for row in rows:
        sums[key(row)] += value(row)
    return sums


def _instruction(event: Event, kernels: dict[str, Any]) -> str:
    """Its name in the program: XLA names a kernel after it, with _ for the dot. Of others, the kernel's own name."""
    for name in (event.op, event.name):
        for spelled in (name, re.sub(r"_(\d+)$", r".\1", name)):
            if spelled in kernels:
                return spelled
    return event.op or event.name


def _kind(kernel: hlo.Kernel) -> str:
    if kernel.is_convolution or kernel.kind == "convolution":
        return "convolution"
    return "product" if kernel.kind.startswith("__cublas") or kernel.kind == "dot" else kernel.kind


def library_kind(name: str) -> str:
    """A word for a kernel without a known instruction."""
    lower = name.lower()
    kind = next((kind for word, kind in WORDS.items() if word in lower), None)
    return kind or f"library {re.sub(r'[<(].*', '', name)[:40]}"
