"""Recorded metrics of runs side by side: the snapshots of one run, or several runs, as a table and as a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stylegen.errors import StylegenError
from stylegen.evaluation import evaluate_run, plot
from stylegen.evaluation.measure import Result
from stylegen.evaluation.metric_names import LOWER_IS_BETTER
from stylegen.io.tables import table

PREFIX = "metric-"  # of the files of a run's record

Lines = list[dict[str, Any]]


class RecordError(StylegenError):
    """There is nothing to compare; the message says where and how to measure it."""


def snapshots_table(of_snapshots: Sequence[tuple[float, Sequence[Result]]]) -> str:
    """A row for each snapshot, a column for each metric; ``*`` is behind the best value of a column.

    Args:
        of_snapshots: kimg and the results of each snapshot, all of the same metrics.
    """
    names = [result.name for result in of_snapshots[0][1]]
    rows: list[dict[str, Any]] = [{"kimg": kimg} for kimg, _ in of_snapshots]
    for column, name in enumerate(names):
        values = [results[column].value for _, results in of_snapshots]
        best = _best(values, name)
        for row, value in zip(rows, values, strict=True):
            row[name] = f"{value:.6g}" + ("*" if value == best else " ")
    return table(rows, {"kimg": ("kimg", "g"), **{name: (f"{name} ", "") for name in names}}, rule=True)


def plot_run(run: Path, results: Sequence[Result], path: Path) -> None:
    """Draw what is recorded of a run and can be compared with these results, over kimg."""
    series = {}
    for result in results:
        lines = comparable(record(run, result.name), evaluate_run.protocol(result.provenance))
        title = f"{result.name} ({evaluate_run.measured_by(result.provenance)})"
        series[title] = {"": [(line["kimg"], line["value"]) for line in lines]}
    plot.save_plot(series, path)


def record(run: Path, name: str) -> Lines:
    """The lines of a metric's record in a run, by nimg."""
    return evaluate_run.read_record(evaluate_run.record_path(run, name))


def comparable(lines: Lines, protocol: str) -> Lines:
    """Those measured by a protocol."""
    return [line for line in lines if evaluate_run.protocol(line["provenance"]) == protocol]


def compare(runs: Sequence[Path]) -> tuple[str, dict[str, dict[str, plot.Series]]]:
    """What is recorded of several runs.

    Only values of one protocol are side by side: the same metric, network, drawing, and real images.

    Returns:
        A table with a row for each metric, protocol and run, and the series of each metric by run, for ``save_plot``.

    Raises:
        RecordError: a run has no record.
    """
    groups: dict[tuple[str, str], dict[str, Lines]] = {}
    for run in runs:
        paths = sorted(run.glob(f"{PREFIX}*.jsonl"))
        entries = [(path.stem.removeprefix(PREFIX), line) for path in paths for line in evaluate_run.read_record(path)]
        if not entries:
            raise RecordError(
                f"{run}: no metric is recorded there; measure it first: evaluate --run {run} --all --metrics fid10k."
            )
        for name, line in entries:
            key = name, evaluate_run.protocol(line["provenance"])
            groups.setdefault(key, {}).setdefault(str(run), []).append(line)
    rows: list[dict[str, Any]] = []
    series: dict[str, dict[str, plot.Series]] = {}
    for number, ((name, _), by_run) in enumerate(sorted(groups.items(), key=lambda group: group[0])):
        provenance = next(iter(by_run.values()))[0]["provenance"]
        title = f"{name} ({evaluate_run.measured_by(provenance)})"
        if title in series:  # the same network, and other images or another drawing
            title += f" [{number}]"
        series[title] = {label: [(line["kimg"], line["value"]) for line in lines] for label, lines in by_run.items()}
        for label, lines in by_run.items():
            best = _best([line["value"] for line in lines], name)
            at = next(line["kimg"] for line in lines if line["value"] == best)
            last = lines[-1]
            rows.append(
                {"title": title, "run": label, "n": len(lines), "best": best, "at": at}
                | {"last": last["value"], "end": last["kimg"]}
            )
    columns = {"title": ("metric", "<"), "run": ("run", "<"), "n": ("measured", "d"), "best": ("best", ".6g")}
    columns |= {"at": ("at kimg", "g"), "last": ("last", ".6g"), "end": ("at kimg", "g")}
    return table(rows, columns, rule=True), series


def _best(values: Sequence[float], name: str) -> float:
    return min(values) if name.startswith(LOWER_IS_BETTER) else max(values)
