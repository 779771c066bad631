"""Damaged files of a run and of its data, and what the next one to open them finds."""

import contextlib
import dataclasses
import io
import json
import random
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from stylegen import data
from stylegen.config import Config
from stylegen.config_json import to_dict
from stylegen.data.source import DataError
from stylegen.errors import StylegenError
from stylegen.evaluation import evaluate_run
from stylegen.evaluation.during_training import BEST_NAME, RunMetrics
from stylegen.runs import directory, load, rollback, settings
from stylegen.runs.checkpoint import Checkpointer
from stylegen.runs.rollback import Rollback
from stylegen.train import train
from tests.faults.campaign import Outcome, forked
from tests.faults.scenarios import digest, training
from tests.support.states import numbers


def a_run(folder: Path) -> None:
    """A short training on a folder of images, with metrics, a snapshot, and one rollback noted."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / "images" / f"{i:02d}.png")
    config = _config(folder)
    train(config)
    rollback.write(Path(config.run.dir), [Rollback(48, 32)])


def _config(folder: Path) -> Config:
    config = training(folder)
    images = dataclasses.replace(config.data, source="images", path=str(folder / "images"))
    # Nothing is left to do, so that only what is there is read.
    return dataclasses.replace(config, data=images, run=dataclasses.replace(config.run, keep_last=2))


def reopen(folder: Path) -> dict[str, object]:
    """All that a resumed training takes from its files, and what ``load`` takes from its snapshot."""
    run = folder / "run"
    config = settings.read(run, print)
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, path=str(folder / "images")),
        run=dataclasses.replace(config.run, dir=str(run)),
    )
    directory.check_run(config)
    source = data.open_source(config)
    metrics = RunMetrics(config, run, source)
    with Checkpointer(run, config, keep_last=2) as checkpointer:
        restored = checkpointer.restore(log=print)
    if restored is None:
        raise StylegenError("there is no checkpoint")
    for line in settings.changes(restored.meta.config, config):
        print(line)
    if restored.meta.extra["data"] != source.fingerprint:
        raise DataError("other data")
    directory.write_config(run, config)
    with directory.RunLog(run, restored.meta.nimg) as log:
        for line in metrics.forget_after(restored.meta.nimg):
            log.line(line)
        for line in directory.lost_lines(run, restored.meta.extra["lines"]):
            log.line(line)
        stats = log.stats()
    rollbacks = rollback.read(run)
    if not rollbacks:
        print("a rollback is missing")  # as training says by what the checkpoint knows
    with np.errstate(all="ignore"):
        pixels = [source.read(np.arange(source.num_images), r)["image"] for r in source.resolutions]
    best = run / BEST_NAME
    if not best.exists():
        print(f"{best} is missing")
    return {
        "config": {name: value for name, value in to_dict(config).items() if name not in ("data", "run")},
        "state": [restored.meta.nimg, digest(numbers(restored.state)), restored.meta.extra],
        "stats": stats,
        "metrics": [evaluate_run.read_record(path) for path in sorted(run.glob("metric-*.jsonl"))],
        "rollbacks": [dataclasses.asdict(entry) for entry in rollbacks],
        "images": digest(pixels),
        "best": digest(numbers(load.load(best))) if best.exists() else None,
    }


KINDS: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "flipped": lambda data, rng: _flipped(data, rng),
    "cut": lambda data, rng: data[: rng.randrange(len(data))],
    "zeros": lambda data, rng: _zeros(data, rng),
    "emptied": lambda data, rng: b"",
    "deleted": lambda data, rng: None,
}
ONCE = ("emptied", "deleted")  # kinds of which there is one for each file


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _zeros(data: bytes, rng: random.Random) -> bytes:
    """A block of 512 bytes that a disk lost."""
    start = rng.randrange(len(data))
    return data[:start] + bytes(len(data[start : start + 512])) + data[start + 512 :]


class Damage:
    """A finished run, to be damaged in copies."""

    def __init__(self, folder: Path):
        """``folder`` is for everything that is written."""
        self.start, self.place, self.output = folder / "before", folder / "work", folder / "output.txt"
        folder.mkdir(parents=True)
        self.start.mkdir()
        # At the place where it is damaged, since paths are noted in it.
        self.place.mkdir()
        status, _ = forked(lambda: a_run(self.place), self.output, 600)
        assert status == 0, self.output.read_text()
        self.start.rmdir()
        self.place.rename(self.start)

    def files(self) -> list[Path]:
        """All that is not empty, relative."""
        raw = self.start / "images"  # of which prepared data has its own copy; changes of them are noticed by name
        paths = [path for path in sorted(self.start.rglob("*")) if path.is_file() and path.stat().st_size]
        return [path.relative_to(self.start) for path in paths if raw not in path.parents]

    def run(self, tries: int, most: int, seed: int = 0) -> Iterator[tuple[str, str, Outcome]]:
        """(file, kind of damage, outcome) of random changes. All in this process.

        Args:
            tries: changes of a kind in each file; one of those that can be made in one way alone.
            most: of a kind; then not every file gets all of them.
            seed: of the choice.
        """
        self.expected, self.words = self._reopen()
        assert "state" in self.expected, self.words
        rng = random.Random(seed)
        for kind, change in KINDS.items():
            chosen = self.files() * (1 if kind in ONCE else tries)
            rng.shuffle(chosen)
            for path in sorted(chosen[:most]):
                changed = change((self.start / path).read_bytes(), rng)
                yield str(path), kind, self._attempt(path, kind, changed)

    def _reopen(self, path: Path | None = None, contents: bytes | None = None) -> tuple[dict[str, object], str]:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.start, self.place)
        if path is not None and contents is None:
            (self.place / path).unlink()
        elif path is not None and contents is not None:
            (self.place / path).write_bytes(contents)
        said = io.StringIO()
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            try:
                result = json.loads(json.dumps(reopen(self.place)))
            except StylegenError as error:
                result = {"refused": str(error)}
        return result, said.getvalue() + "".join(str(warning.message) for warning in warned)

    def _attempt(self, path: Path, kind: str, contents: bytes | None) -> Outcome:
        where = f"{path} {kind}"
        try:
            result, words = self._reopen(path, contents)
        except BaseException:
            return Outcome("lost", f"{where}: {traceback.format_exc()[-1500:]}")
        if "refused" in result:
            return Outcome("said", f"{where}: {result['refused']}")
        if result == self.expected:
            return Outcome("recovered", where)
        different = [name for name in result if result[name] != self.expected[name]]
        if words == self.words:
            return Outcome("lost", f"{where}: other {', '.join(different)} without a word")
        return Outcome("said", f"{where}: other {', '.join(different)}: {words[-500:]}")
