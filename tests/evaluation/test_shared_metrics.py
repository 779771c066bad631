"""Metrics by two processes: the work is shared, and the numbers are those of one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.test_processes import PATIENCE
from tests.support.paths import ROOT

# Images that are their positions; one program shares them, then one in which process 1 cannot read some.
PROGRAM = """
import json, sys
import numpy as np
from stylegen.config import DistributedConfig
from stylegen.evaluation import EvaluationError
from stylegen.evaluation.collect import Collector, collect
from stylegen.evaluation.image_sets import ImageSet
from stylegen.runtime import processes

class Numbers(ImageSet):
    resolution, channels, count, batch, provenance = (1, 1), 1, 20, 3, {}
    def __init__(self, broken=()):
        self.seen, self.broken = [], broken
    def read(self, positions):
        self.seen += positions.tolist()
        if set(self.broken) & set(self.seen):
            raise EvaluationError("image 10 is damaged.")
        return positions.astype(np.uint8)[:, None]

class Rows(Collector):
    output, key = None, ("rows",)
    def __init__(self, positions):
        self.count, self.wanted, self.values = max(positions) + 1, np.array(positions), []
    def positions(self):
        return self.wanted
    def add(self, positions, values):
        assert positions.tolist() == values[:, 0].tolist()
        self.values += positions.tolist()

address, index = sys.argv[1], int(sys.argv[2])
with processes.running(DistributedConfig(address, 2, index)):
    collectors, images = [Rows(range(20)), Rows([1, 2, 16])], Numbers()
    collect(images, collectors, None)
    report = {"values": [collector.values for collector in collectors], "read": images.seen}
    try:
        collect(Numbers([10] if index else []), [Rows(range(20))], None)
    except EvaluationError as error:
        report["error"] = str(error)
    print(json.dumps(report), flush=True)
"""


def start_two(command, tmp_path: Path) -> list[subprocess.Popen]:
    """Two processes of a command, which is given the coordinator's address and the process's number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_BIND_ADDRESS": address, "PYTHONPATH": path}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen([sys.executable, *command(address, str(index))], env=environment, cwd=tmp_path, **pipes)
        for index in (0, 1)
    ]


def finish(started: list[subprocess.Popen]) -> list[str]:
    """What each wrote on its standard output; all must have ended well."""
    try:
        results = [process.communicate(timeout=PATIENCE) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], results
    return [output for output, _ in results]


@pytest.mark.slow
def test_batches_go_round_and_a_failure_is_heard_by_all(tmp_path):
    outputs = finish(start_two(lambda *place: ["-c", PROGRAM, *place], tmp_path))
    first, second = (json.loads(output.splitlines()[-1]) for output in outputs)
    assert first["values"] == [list(range(20)), [1, 2, 16]] and second["values"] == [[], []]
    assert first["read"] == [0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19]
    assert second["read"] == [3, 4, 5, 9, 10, 11, 15, 16, 17, 18, 19], "the last batch is computed by both"
    assert "process 1 could not take part" in first["error"] and second["error"] == "image 10 is damaged."


@pytest.mark.slow
def test_evaluate_by_two_processes_gives_the_numbers_of_one(tmp_path):
    metrics = ["--run", "toy_bedrooms", "--metrics", "fid70,kid70,pr1k3,swd70", "--extractor", "random_vgg"]
    command = [str(ROOT / "evaluate.py"), *metrics, "--cache", ""]
    alone = subprocess.run(
        [sys.executable, *command, "--json", "one.json"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    outputs = finish(
        start_two(
            lambda address, index: [
                *command,
                *("--json", "two.json", "--coordinator", address, "--num-processes", "2", "--process-id", index),
            ],
            tmp_path,
        )
    )
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert {name: entry["value"] for name, entry in two.items()} == {
        name: entry["value"] for name, entry in one.items()
    }, "to the bit"
    assert "fid70" in outputs[0] and "fid70" in alone.stdout and "fid70" not in outputs[1]
