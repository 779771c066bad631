"""Two processes of two devices each, on loopback: the run of one process, and no process left waiting."""

import dataclasses
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from stylegen.config import Config, DataConfig, DistributedConfig
from stylegen.config_json import to_json
from stylegen.runs.checkpoint import available
from stylegen.runtime import processes
from stylegen.train import train
from tests.support.configs import tiny_config
from tests.support.paths import ROOT

PATIENCE = 1800  # seconds, for what takes ten on an idle machine


def tiny(folder: Path, total_kimg: float) -> Config:
    """Batches of 16, four for each device of two processes; 4 pixels for 8 steps, then fading to 8; lazy R1."""
    return tiny_config(
        data={"batch": 16, "mirror": True},
        loss={"r1_gamma": 1.0, "r1_interval": 3},
        # Adam divides small gradients by themselves, which makes much of rounding.
        optimizer={"epsilon": 0.01},
        schedule={"total_kimg": total_kimg, "stable_kimg": 0.128, "fade_kimg": 0.256},
        run={"dir": str(folder), "tick_kimg": 0.016, "checkpoint_kimg": 0.064},
    )


class Processes:
    """Two processes of two devices each, training one run; each writes what it says to a file of its own."""

    def __init__(
        self, folder: Path, config: Config, differently: dict[int, list[str]] | None = None, prelude: str = ""
    ):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        experiment = folder / "experiment.py"
        text = to_json(config)
        experiment.write_text(
            f"{prelude}from stylegen.config_json import from_json\ndef get_config():\n    return from_json({text!r})"
        )
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
        environment = os.environ | {
            "XLA_FLAGS": flags,
            "JAX_PLATFORMS": "cpu",
            "JAX_COORDINATOR_BIND_ADDRESS": address,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        }
        self.files = [folder / f"process{index}.txt" for index in (0, 1)]
        self.started = []
        for index, file in enumerate(self.files):
            command = [sys.executable, str(ROOT / "train.py"), "--config", str(experiment)]
            command += ["--distributed.coordinator", address, "--distributed.num-processes", "2"]
            command += ["--distributed.process-id", str(index), *(differently or {}).get(index, [])]
            with file.open("w") as output:
                self.started.append(
                    subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=folder)
                )

    def output(self, index: int) -> str:
        return self.files[index].read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{self.output(0)}\n{self.output(1)}"
            assert all(p.poll() is None for p in self.started), f"{self.output(0)}\n{self.output(1)}"
            time.sleep(0.02)

    def statuses(self, timeout: float = PATIENCE) -> list[int]:
        deadline = time.monotonic() + timeout
        return [process.wait(max(deadline - time.monotonic(), 0.001)) for process in self.started]


@contextmanager
def together(*args, **options) -> Iterator[Processes]:
    run = Processes(*args, **options)
    try:
        yield run
    finally:
        for process in run.started:
            if process.poll() is None:
                process.kill()
                process.wait()


def stats(folder: Path) -> list[dict]:
    path = folder / "stats.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def assert_same_losses(one: list[dict], other: list[dict]) -> None:
    """To rounding: devices sum gradients of four images each, in another order than one device sums those of 16.

    The first steps agree to 1e-7; each later one works with what rounding made of the one before, so that differences
    grow by some tenths a step: by 3e-4 after twelve in one measurement, 2e-5 after 24 in another. Groups of minibatch
    standard deviation that are others than one process has are off by 3e-2 in the first step. So twelve steps say it
    all; what comes later, 4e-3 after sixteen in a third measurement, says how rounding grows.
    """
    assert [line["nimg"] for line in one] == [line["nimg"] for line in other]
    for step, (a, b) in enumerate(list(zip(one, other, strict=True))[:12]):
        tolerance = 1e-5 * 1.4**step
        for name in a:
            if name.startswith(("Loss/", "Progress/")):
                assert b[name] == pytest.approx(a[name], rel=tolerance, abs=tolerance), (a["nimg"], name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> list[dict]:
    """What one process and one device make of the run."""
    return stats(train(tiny(tmp_path_factory.mktemp("runs") / "alone", 0.32)))


@pytest.mark.slow
def test_two_processes_are_the_run_of_one_and_stop_together(alone, tmp_path):
    folder = tmp_path / "run"
    with together(tmp_path, tiny(folder, total_kimg=100)) as run:
        run.wait_until(lambda: len(stats(folder)) >= 10)
        run.started[1].send_signal(signal.SIGTERM)
        assert run.statuses() == [0, 0], run.output(0) + run.output(1)
        assert "Process 1 of 2" in run.output(1) and "Stopping" in run.output(1)
        assert "the same command goes on" in run.output(0)
        assert "kimg" not in run.output(1), "only process 0 reports"
    stopped = max(available(folder))
    assert stopped == stats(folder)[-1]["nimg"], "the checkpoint is of the last step"
    assert (folder / "fakes.png").exists() and not list(folder.glob(".shared-*"))
    common = min(len(alone), len(stats(folder)))
    assert common >= 10, "both resolutions are compared"
    assert_same_losses(alone[:common], stats(folder)[:common])

    # The state of two processes and four devices, restored here on one.
    train(tiny(folder, total_kimg=stopped / 1000 + 0.032))
    assert [line["nimg"] for line in stats(folder)[-2:]] == [stopped + 16, stopped + 32]


@pytest.mark.slow
def test_a_killed_process_ends_the_other_with_a_sentence(tmp_path):
    folder = tmp_path / "run"
    with together(tmp_path, tiny(folder, total_kimg=100)) as run:
        run.wait_until(lambda: len(stats(folder)) >= 3)
        run.started[1].kill()
        killed = time.monotonic()
        assert run.statuses() == [processes.ENDED_BY_OTHERS, -signal.SIGKILL]
        assert time.monotonic() - killed < 15
        assert "error: Process 1 of 2 has given no sign of life" in run.output(0)
        assert "Start all again" in run.output(0)


def test_a_wrong_path_ends_both(tmp_path):
    config = dataclasses.replace(tiny(tmp_path / "run", 1), data=DataConfig(source="images", batch=16, path="nowhere"))
    with together(tmp_path, config) as run:
        assert sorted(run.statuses()) == [processes.ENDED_BY_OTHERS, processes.USER_ERROR]
        for index in (0, 1):
            assert "data.path = 'nowhere': there is no such file or folder." in run.output(index)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_killing_the_first_ends_the_other(tmp_path):
    folder = tmp_path / "run"
    with together(tmp_path, tiny(folder, total_kimg=100)) as run:
        run.wait_until(lambda: len(stats(folder)) >= 3)
        run.started[0].kill()
        killed = time.monotonic()
        assert 0 not in run.statuses()
        assert time.monotonic() - killed < 15
        # Process 0 keeps what the others say to each other; without it, JAX itself ends them, in its own words.
        assert "another task died" in run.output(1) or "Process 0 is gone" in run.output(1)


@pytest.mark.slow
def test_two_processes_go_back_together(tmp_path):
    """Weights are spoilt in the sixth step, of 96 images, in both; the last checkpoint is of 64."""
    spoil = """from stylegen import train as training
from tests.runs.test_rollback import Poison
train = training.train
training.train = lambda config: train(config, Poison(bad_weight={5: float("nan")}))
"""
    folder = tmp_path / "run"
    with together(tmp_path, tiny(folder, 0.32), prelude=spoil) as run:
        assert run.statuses() == [0, 0], run.output(0) + run.output(1)
    (went_back,) = json.loads((folder / "rollbacks.json").read_text())
    assert (went_back["at"], went_back["to"]) == (144, 64)
    assert [line["nimg"] for line in stats(folder)] == list(range(16, 321, 16))
    assert max(available(folder)) == 320


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_with_two(alone, tmp_path):
    folder = tmp_path / "run"
    train(tiny(folder, 0.064))
    with together(tmp_path, tiny(folder, 0.32)) as run:
        assert run.statuses() == [0, 0], run.output(0) + run.output(1)
    assert_same_losses(alone, stats(folder))


@pytest.mark.slow
def test_what_is_wrong_in_one_process_ends_both(tmp_path):
    (tmp_path / "photos").mkdir()
    for index in range(20):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "photos" / f"{index}.png")
    data = DataConfig(source="images", batch=16, path=str(tmp_path / "photos"))
    config = dataclasses.replace(tiny(tmp_path / "run", 100), data=data)
    for number, (differently, words) in enumerate(
        [
            (["--data.path", "nowhere"], "data.path = 'nowhere': there is no such file"),
            (["--loss.r1-gamma", "2"], "loss.r1_gamma: 1.0 -> 2.0"),
            (["--run.devices", "3"], "run.devices: None -> 3"),
            (["--run.dir", str(tmp_path / "elsewhere")], "does not see what process 0 writes there"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with together(folder, config, differently={1: differently}) as run:
            assert run.statuses() == [processes.ENDED_BY_OTHERS, processes.USER_ERROR], run.output(0) + run.output(1)
            assert words in run.output(1)
            assert words in run.output(0) and "process 1 (" in run.output(0)


@pytest.mark.slow
def test_who_waits_in_vain_says_so(tmp_path):
    config = tiny(tmp_path / "run", 1)
    config = dataclasses.replace(config, distributed=DistributedConfig(start_timeout=5))
    with together(tmp_path, config) as run:
        run.started[0].kill()
        assert run.statuses() == [-signal.SIGKILL, processes.USER_ERROR]
        assert "not all of 2 processes came within 5 s" in run.output(1)


STEP = {
    "SLURM_JOB_ID": "5000",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}


@pytest.mark.parametrize(
    "changes, count, local",
    [
        ({}, 2, None),  # a process a node: it uses all devices
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}, 4, [1]),  # a process a device
        ({"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None, None),  # an interactive shell
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None, None),  # the shell of a batch script
        ({"SLURM_PROCID": None}, None, None),  # salloc: a shell outside any step
    ],
)
def test_slurm_is_recognized_where_it_has_several_tasks(monkeypatch, changes, count, local):
    for name, value in (STEP | changes).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    place = processes.find_place(DistributedConfig())
    if count is None:
        assert place is None
    else:
        assert place is not None and place.coordinator.startswith("node07:")
        assert (place.count, place.index, place.local_devices, place.source) == (count, 1, local, "SLURM")
    assert processes.find_place(DistributedConfig(detect=False)) is None


def test_a_process_that_is_alone_joins_nobody():
    assert processes.find_place(DistributedConfig()) is None
    assert processes.find_place(DistributedConfig("host:80", 1, 0)) is None
    place = processes.find_place(DistributedConfig("host:80", 2, 1))
    assert place == processes.Place("host:80", 2, 1, None, "--distributed.coordinator")


def test_a_cluster_that_cannot_be_asked_is_no_reason_to_stop(monkeypatch, capsys):
    def unreachable(timeout):
        raise ConnectionError("no metadata server")

    monkeypatch.setattr(processes, "_detect", unreachable)
    assert processes.find_place(DistributedConfig()) is None
    assert "no metadata server" in capsys.readouterr().err


def test_a_port_that_is_taken_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with (
            pytest.raises(processes.ProcessError, match="cannot listen there"),
            processes.running(DistributedConfig(address, 2, 0)),
        ):
            pass


@pytest.mark.parametrize("value", [True, False, None, "", "True", 7, [{"at": 3000, "to": 2000}]])
def test_a_broadcast_is_what_process_0_gives(monkeypatch, value):
    store: dict[str, str] = {}

    class Store:
        key_value_set = staticmethod(store.__setitem__)
        blocking_key_value_get = staticmethod(lambda key, timeout: store[key])

    monkeypatch.setattr(processes, "_client", Store)
    monkeypatch.setattr(processes.jax, "process_count", lambda: 2)
    for index, own in ((0, value), (1, object())):  # what the other process gives need not even be JSON
        monkeypatch.setattr(processes.jax, "process_index", lambda index=index: index)
        monkeypatch.setattr(processes, "_message_numbers", itertools.count())
        assert processes.broadcast(own) == value


def test_a_single_process_broadcasts_to_itself():
    assert processes.broadcast({"a": [1, None]}) == {"a": [1, None]}
