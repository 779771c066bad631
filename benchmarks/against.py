"""Ours and another program in turn, pair by pair: ratios of their speeds, with their spread."""

import argparse
import shlex
import statistics
from typing import Any

from benchmarks import common
from benchmarks.common import BenchmarkError

WORKLOAD = (
    "resolution",
    "batch",
    "base",
    "max",
    "alpha",
    "amp",
    "network",
)  # what both must have computed, where both say it


def add_options(p: argparse.ArgumentParser) -> None:
    """``--against`` and ``--pairs``."""
    p.add_argument(
        "--against",
        metavar="COMMAND",
        help="run this program in turn with this one and print ratios; it must print a JSON object with some of the "
        "same keys (train_img_per_s, sample_img_per_s). {resolution}, {batch}, {base}, {max}, {alpha}, {steps} and "
        "{warmup} in it stand for the values of the options",
    )
    p.add_argument("--pairs", type=int, default=3, help="how often each is run")


def fill(command: str, a: argparse.Namespace) -> list[str]:
    """The other program's command line, with the options' values in place of their names."""
    for name in ("resolution", "batch", "base", "max", "alpha", "steps", "warmup", "network"):
        command = command.replace("{" + name + "}", str(getattr(a, name, "{" + name + "}")))
    return shlex.split(command)


def run_pairs(ours: list[str], theirs: list[str], pairs: int, keys: tuple[str, ...]) -> dict[str, Any]:
    """Run both ``pairs`` times, each pair in the other order than the one before, and compare.

    Returns:
        ``ours`` and ``theirs``, the results of each run, and ``ratios`` by key: ours over theirs, of each pair, their
        median, minimum and maximum.

    Raises:
        BenchmarkError: a program fails, or they have not computed the same.
    """
    if pairs < 1:
        raise BenchmarkError(f"--pairs {pairs}: must be at least 1.")
    results: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    commands = {"ours": ours, "theirs": theirs}
    for pair in range(pairs):
        # Who comes first takes turns, so that a machine that grows slower favors neither.
        for name in ("ours", "theirs") if pair % 2 == 0 else ("theirs", "ours"):
            results[name].append(common.run_json(commands[name]))
        _check_same(results["ours"][-1], results["theirs"][-1])
        print(_line(pair, results["ours"][-1], results["theirs"][-1], keys), flush=True)
    return {**results, "ratios": ratios(results["ours"], results["theirs"], keys)}


def ratios(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], keys: tuple[str, ...]) -> dict[str, Any]:
    """Ours over theirs by key, for the keys that all have.

    Raises:
        BenchmarkError: there is no such key.
    """
    results: dict[str, Any] = {}
    for key in keys:
        if all(isinstance(result.get(key), int | float) for result in (*ours, *theirs)):
            pair_ratios = [x[key] / y[key] for x, y in zip(ours, theirs, strict=True)]
            results[key] = {
                "median": statistics.median(pair_ratios),
                "min": min(pair_ratios),
                "max": max(pair_ratios),
                "pairs": pair_ratios,
            }
    if not results:
        raise BenchmarkError(f"The other program's JSON has none of {', '.join(keys)}.")
    return results


def report(compared: dict[str, Any]) -> str:
    """The comparison as text."""
    rows = []
    for key, ratio in compared["ratios"].items():
        medians = {name: statistics.median(x[key] for x in compared[name]) for name in ("ours", "theirs")}
        spread = f"{ratio['min']:.2f}-{ratio['max']:.2f}"
        rows.append({"key": key, **medians, "ratio": ratio["median"], "spread": spread})
    columns = {
        "key": ("median of", "s"),
        "ours": ("ours", ".2f"),
        "theirs": ("theirs", ".2f"),
        "ratio": ("ours/theirs", ".2f"),
        "spread": ("min-max", "s"),
    }
    return common.table(rows, columns)


def brief(compared: dict[str, Any]) -> dict[str, Any]:
    """The comparison for a benchmark's last line: theirs as medians, and the ratios."""
    theirs = compared["theirs"]
    return {
        "framework": theirs[0].get("framework"),
        "pairs": len(theirs),
        **{key: statistics.median(x[key] for x in theirs) for key in compared["ratios"]},
        "ratios": compared["ratios"],
    }


def medians(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One result for several runs of the same: the median of each number, the first of everything else."""

    def median(key: str) -> Any:
        values = [result.get(key) for result in results]
        numbers = [v for v in values if isinstance(v, float)]
        return statistics.median(numbers) if len(numbers) == len(values) else values[0]

    return {key: median(key) for key in results[0]}


def _check_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name in WORKLOAD:
        if name in ours and name in theirs and ours[name] != theirs[name]:
            raise BenchmarkError(
                f"The programs did not compute the same: {name} is {ours[name]} here and {theirs[name]} there; "
                f"write --{name} {{{name}}} in the other's command."
            )


def _line(pair: int, ours: dict[str, Any], theirs: dict[str, Any], keys: tuple[str, ...]) -> str:
    numbers = [(key, ours.get(key), theirs.get(key)) for key in keys]
    parts = [f"{key} {x:.2f} / {y:.2f} = {x / y:.2f}" for key, x, y in numbers if x and y]
    return f"pair {pair + 1}: " + ", ".join(parts)
