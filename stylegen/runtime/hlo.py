"""Reading a compiled program's text: the kernels that run, their arithmetic, memory traffic and source functions.

XLA prints an optimized program as text (HLO). A device runs the instructions of its entry computation one after
another: fusions, cuDNN's convolutions, copies, collectives.
"""

import collections
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2,
    "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8,
}  # fmt: skip
FREE = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant", "after-all", "partition-id", "replica-id"}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
CONVOLUTION = "__cudnn$conv"  # beginning of the names of cuDNN's convolutions
ODD_WINDOW = 8  # pixels a side; no weight of our networks is larger


@dataclass(frozen=True)
class Shape:
    """An array in a program."""

    dtype: str
    sizes: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.sizes)

    @property
    def bytes(self) -> int:
        return self.elements * BYTES.get(self.dtype, 4)


@dataclass(frozen=True)
class Kernel:
    """An instruction that runs."""

    name: str
    kind: str  # ``fusion loop``, ``__cudnn$convForward``, ``copy``, ...
    bytes: int  # of its operands and its result, each once
    flop: float  # of convolutions and matrix products; 0 for all else, whose arithmetic is small beside its memory
    frame: int  # of the source line, for ``Frames``; 0 is unknown
    size: str  # pixels a side and channels of an image that results, ``256x64``; else ``-``

    @property
    def is_convolution(self) -> bool:
        return self.kind.startswith(CONVOLUTION)

    def seconds(self, bandwidth: float, rate: float) -> float:
        """The least time that memory (bytes/s) and arithmetic (FLOP/s) allow."""
        return max(self.bytes / bandwidth, self.flop / rate)


def shapes(text: str) -> list[Shape]:
    """Arrays of a type as XLA writes it, of all members of a tuple."""
    dtypes = "|".join(BYTES)
    return [
        Shape(dtype, tuple(int(size) for size in sizes.split(",") if size))
        for dtype, sizes in re.findall(rf"\b({dtypes})\[([\d,]*)\]", text)
    ]


def kernels(text: str) -> list[Kernel]:
    """The kernels of a program, in order; those of a loop as often as it runs them."""
    # XLA numbers the members of a long tuple in comments.
    text = re.sub(r"/\*index=\d+\*/", "", text)
    return _kernels(text[text.rfind("\nENTRY ") :], text)


def _kernels(computation: str, text: str) -> list[Kernel]:
    results: dict[str, list[Shape]] = {}
    instructions: list[Kernel] = []
    for line in computation.splitlines():
        match = re.match(r"\s+(?:ROOT )?%?([\w.-]+) = (\([^=]*?\)|\S+) ([\w-]+)\((.*)", line)
        if match is None:
            continue
        name, result, operation, rest = match.groups()
        results[name] = shapes(result)
        if operation in FREE or operation.endswith("-done"):
            continue
        if operation == "while":
            instructions += _kernels(_body(line, text), text) * _trips(line)
            continue
        operands = [results.get(operand, []) for operand in re.findall(r"%([\w.-]+)", rest.split("), ")[0])]
        kind = _kind(operation, rest)
        moved_bytes = sum(shape.bytes for arrays in [results[name], *operands] for shape in arrays)
        frame = re.search(r"stack_frame_id=(\d+)", rest)
        flop = _flop(kind, results[name], operands, rest)
        instructions.append(Kernel(name, kind, moved_bytes, flop, int(frame[1]) if frame else 0, _size(results[name])))
    return instructions


def _trips(line: str) -> int:
    """How often a loop runs, by what the compiler knows; 1 where it does not know."""
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
    return int(known[1]) if known else 1


def _body(line: str, text: str) -> str:
    """The computation that a loop runs."""
    name = re.search(r"body=%?([\w.-]+)", line)
    match = name and re.search(rf"^%?{re.escape(name[1])} \(.*?^\}}", text, re.MULTILINE | re.DOTALL)
    return match[0] if match else ""


def _kind(operation: str, rest: str) -> str:
    if target := re.search(r'custom_call_target="([^"]+)"', rest):
        return target[1]
    if operation == "fusion" and (fusion := re.search(r"kind=k(\w+)", rest)):
        return f"fusion {fusion[1].lower()}"
    return operation


def _flop(kind: str, result: list[Shape], operands: list[list[Shape]], rest: str) -> float:
    """Twice the multiplications of a library's convolution or matrix product, those with padding included."""
    if not result or len(operands) < 2 or not operands[0] or not operands[1]:
        return 0.0
    first, second, product = operands[0][0], operands[1][0], result[0]
    if kind.startswith("__cublas"):
        return 2.0 * product.elements * math.sqrt(first.elements * second.elements / product.elements)
    if not kind.startswith(CONVOLUTION):
        return 0.0
    image, weight = product, second
    if kind.endswith("BackwardInput"):
        image = first
    elif kind.endswith("BackwardFilter"):
        image, weight = second, product
    labels = re.search(r"dim_labels=\w+->(\w+)", rest)
    channels = image.sizes[labels[1].index("f") if labels else -1]
    return 2.0 * image.elements / channels * weight.elements


def _size(result: list[Shape]) -> str:
    sizes = result[0].sizes if result else ()
    return f"{sizes[1]}x{sizes[3]}" if len(sizes) == 4 and sizes[1] == sizes[2] else "-"


def odd_convolutions(text: str) -> int:
    """Number of convolutions that cuDNN computes slowly, those whose window is as large as an image, or not at all.

    A weight gradient that XLA does not recognize as one becomes such a convolution.
    """
    odd = text.count(" convolution(") if CONVOLUTION in text else 0
    for window, target in re.findall(r'window=\{([^}]*)\}.*?custom_call_target="(__cudnn\$[^"]+)"', text):
        size = re.search(r"size=(\d+)", window)
        odd += bool(size and int(size[1]) > ODD_WINDOW and not target.endswith("BackwardFilter"))
    return odd


def collectives(text: str) -> dict[str, tuple[int, int]]:
    """(number, bytes of one device's results) of the collectives, by kind, of the kinds that occur.

    Those of a loop count as often as it runs them.
    """
    loops = [line for line in text.splitlines() if re.search(r" while\(", line)]
    weighted = [(text, 1), *((_body(line, text), _trips(line) - 1) for line in loops)]
    counts: dict[str, tuple[int, int]] = {}
    for part, times in weighted:
        for kind in COLLECTIVES:
            results = re.findall(rf"= (.+?) {kind}(?:-start)?\(", part)
            moved_bytes = sum(shape.bytes for result in results for shape in shapes(result))
            if results and times:
                number, before = counts.get(kind, (0, 0))
                counts[kind] = number + times * len(results), before + times * moved_bytes
    return counts


class Frames:
    """The source functions of a program's instructions, by the stack frames in its text."""

    def __init__(self, text: str):
        functions = {number: name.strip('"') for number, name in _section(text, "FunctionNames").items()}
        places = _section(text, "FileLocations")
        self._frames: dict[int, tuple[str, int]] = {}
        for number, what in _section(text, "StackFrames").items():
            place = places.get(_number("file_location_id", what), "")
            # XLA writes a parent one too high: 1 is none.
            parent = max(_number("parent_frame_id", what) - 1, 0)
            self._frames[number] = functions.get(_number("function_name_id", place), "?"), parent

    def calls(self, frame: int) -> list[str]:
        """The functions that called each other down to a frame, outermost first."""
        chain: list[str] = []
        while frame in self._frames and len(chain) < 100:
            name, frame = self._frames[frame]
            chain.append(name.split(".<locals>")[0])
        return chain[::-1]


def _section(text: str, name: str) -> dict[int, str]:
    match = re.search(rf"^{name}\n((?:\d+ .*\n)*)", text, re.MULTILINE)
    lines = (line.split(" ", 1) for line in match[1].splitlines()) if match else ()
    return {int(number): what for number, what in lines}


def _number(name: str, text: str) -> int:
    match = re.search(rf"{name}=(\d+)", text)
    return int(match[1]) if match else 0


# Functions between a network and an operation whose names do not tell what is computed.
DULL = {
    "convolve", "_keep", "EqualConv.__call__", "_convolve_backward", "_transposed_backward", "_by_weight_backward",
    "__call__", "conv", "trilinear_convolve", "_transposed", "_by_weight", "<module>", "main", "upsampling_convolve",
    "_blur_along", "_blur_at_once", "<lambda>",
}  # fmt: skip


def place(calls: list[str]) -> tuple[str, str]:
    """(part of the training step, innermost telling function) of a chain of calls."""
    names = set(calls)
    half = "G" if "update_generator" in names else "D" if "update_discriminator" in names else "rest"
    if "generate" in names:
        half += ": fakes"
    elif names & {"apply_gradients", "apply_if_finite"}:
        half += ": optimizer"
    telling = [name for name in calls if name not in DULL]
    return half, telling[-1] if telling else "?"


def totals(kernels: list[Kernel], text: str, bandwidth: float, rate: float) -> Mapping[tuple[str, str, str], float]:
    """Least seconds by (kind, part of the step, function), largest first."""
    frames = Frames(text)
    sums: collections.defaultdict[tuple[str, str, str], float] = collections.defaultdict(float)
    for kernel in kernels:
        kind = "convolution" if kernel.is_convolution else kernel.kind
        sums[(kind, *place(frames.calls(kernel.frame)))] += kernel.seconds(bandwidth, rate)
    return dict(sorted(sums.items(), key=lambda item: -item[1]))
