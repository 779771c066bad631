"""Loggers: each service gets what a run reports, a resumed run goes on in it, and one that fails ends nothing.

Services are tried in their offline modes; none of their servers was ever asked.
"""

import dataclasses
import importlib.util
import json
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from stylegen.config import Config, ConfigError, RunConfig
from stylegen.runs import directory, loggers
from tests.support.configs import tiny_config
from tests.support.paths import ROOT

GRID = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), np.uint8)


def needs(name):
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"needs the extra {name}")


def config(log):
    tiny = tiny_config(16)
    return dataclasses.replace(tiny, run=dataclasses.replace(tiny.run, log=log))


def report(folder, log, nimg=4):
    """Everything that a run reports, in one session."""
    with directory.RunLog(folder, nimg, config(log)) as run:
        run.scalars(nimg, {"Loss/G/loss": 1.5, "Progress/kimg": nimg / 1000})
        run.board_text(nimg, "Doctor", "all is <well>")
        run.grid(f"fakes{nimg:06d}", GRID, 2, nimg)


def test_names_are_checked_before_anything():
    for log in ("tensorbored", "wandb,", "wandb,wandb", "all"):
        with pytest.raises(ConfigError, match="run.log = .*: must be tensorboard, wandb, mlflow, trackio, several"):
            Config(run=RunConfig(log=log))
    for log in ("", "tensorboard", "tensorboard,wandb,mlflow,trackio"):
        assert Config(run=RunConfig(log=log)).run.log == log
    assert tuple(loggers.LOGGERS) == loggers.NAMES


def test_a_missing_package_is_said_before_the_run(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(loggers.LoggerError, match=r"run.log names wandb, .* pip install 'stylegen\[wandb\]'"):
        loggers.check(["tensorboard", "wandb"])
    loggers.check(["tensorboard"])


class Fake:
    """A logger that remembers, and fails when it is told to."""

    def __init__(self, folder, nimg, settings):
        self.calls, self.fails = [("open", nimg)], False
        self.settings = settings
        Fake.last = self

    def _take(self, *call):
        if self.fails:
            raise RuntimeError("quota of the service exceeded")
        self.calls.append(call)

    def scalars(self, values, nimg):
        self._take("scalars", dict(values), nimg)

    def images(self, images, nimg):
        self._take("images", {name: image.shape for name, image in images.items()}, nimg)

    def text(self, name, text, nimg):
        self._take("text", name, text, nimg)

    def close(self):
        self._take("close")


def test_several_loggers_get_the_same_and_one_that_fails_is_said_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(loggers.LOGGERS, "wandb", Fake)
    with directory.RunLog(tmp_path, 4, config("tensorboard,wandb")) as run:
        run.scalars(8, {"a": 1.0})
        run.grid("fakes000000", GRID, 2, 8)
        run.rewind(4)  # closes, and goes on
        assert Fake.last.calls == [("open", 4)] and Fake.last.settings["run.seed"] == 1000
        run.board_text(6, "Doctor", "well")
        Fake.last.fails = True
        for nimg in (12, 16):
            run.scalars(nimg, {"a": 1.0})
    assert Fake.last.calls == [("open", 4), ("text", "Doctor", "well", 6)]
    said = [line for line in capsys.readouterr().out.splitlines() if "failed" in line]
    assert said == ["The logger wandb failed (quota of the service exceeded); training goes on without it."]
    # Those beside it have everything.
    assert [json.loads(line)["nimg"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()] == [12, 16]
    assert any((tmp_path / "tensorboard").iterdir())


def test_a_logger_that_cannot_begin(tmp_path, monkeypatch, capsys):
    def broken(folder, nimg, settings):
        raise ConnectionError("no network")

    monkeypatch.setitem(loggers.LOGGERS, "mlflow", broken)
    report(tmp_path, "mlflow")
    assert capsys.readouterr().out.count("The logger mlflow failed (no network)") == 1


def test_without_loggers_the_run_directory_has_all(tmp_path):
    report(tmp_path, "")
    assert {path.name for path in tmp_path.iterdir()} == {"stats.jsonl", "fakes000004.png"} | {
        path.name for path in tmp_path.glob("log.txt")
    }


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    report(tmp_path, "wandb")
    report(tmp_path, "wandb", nimg=2)  # resumed, after it went back
    runs = sorted((tmp_path / "wandb").glob("offline-run-*"))
    name = json.loads((tmp_path / "loggers.json").read_text())["wandb"]
    assert len({path.name.rpartition("-")[2] for path in runs}) == 1 and runs[0].name.endswith(name)
    assert list((tmp_path / "wandb").glob("offline-run-*/files/media/images/fakes_*.png"))
    content = b"".join(path.read_bytes() for path in (tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert b"Loss/G/loss" in content and b"1.5" in content


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_a_file(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    report(tmp_path, "mlflow")
    report(tmp_path, "mlflow", nimg=8)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        rows = database.execute("select key, value, step, run_uuid from metrics where key = 'Loss/G/loss'").fetchall()
        assert [row[:3] for row in sorted(rows, key=lambda row: row[2])] == [
            ("Loss/G/loss", 1.5, 4),
            ("Loss/G/loss", 1.5, 8),
        ]
        assert len({row[3] for row in rows}) == 1
        assert database.execute("select value from params where key = 'run.seed'").fetchall() == [("1000",)]
    database.close()
    names = sorted(path.name for path in (tmp_path / "mlartifacts").rglob("*.*"))
    assert names == ["000000004.png", "000000004.txt", "000000008.png", "000000008.txt"]


@needs("trackio")
def test_trackio_on_this_machine(tmp_path):
    """In a process of its own: the package reads its folder's name as it is imported."""
    run = tmp_path / "run"
    run.mkdir()
    code = (
        "import sys, pathlib\nfrom tests.runs.test_loggers import report\nreport(pathlib.Path(sys.argv[1]), 'trackio')"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(run)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "tracked")},
    )
    assert json.loads((run / "loggers.json").read_text())["trackio"].startswith("run-")
    assert list((tmp_path / "tracked" / "media").rglob("*.png"))
    assert list((tmp_path / "tracked").glob("stylegen*.db"))
