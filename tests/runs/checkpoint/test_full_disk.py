"""A disk that fills up while a checkpoint is written: a sentence, nothing else on the screen, and saving goes on."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

CODE = """
import gc, sys
from pathlib import Path
from stylegen.runs.checkpoint import CheckpointError, Checkpointer, available
from stylegen.training import schedule
from tests.faults.scenarios import RUN
from tests.support.disks import small_files
from tests.support.states import random_state

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
for first in range(0, 5000, 1000):
    with Checkpointer(folder, RUN, keep_last=2) as checkpointer:

        def save(nimg):
            checkpointer.save(random_state(nimg, RUN), schedule.at(RUN, nimg))
            checkpointer.wait()

        save(first + 100)
        try:
            with small_files(limit):
                save(first + 200)
        except CheckpointError as error:
            print(error)
        save(first + 300)
        assert available(folder) == [first + 100, first + 300], available(folder)
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert len(names) == 2, names
    gc.collect()
"""


@pytest.mark.parametrize("limit", [1, 400, 5000])  # bytes that a file may have
def test_a_disk_that_fills_up(limit, tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", CODE, str(tmp_path), str(limit)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    said = [f"The checkpoint at {kimg}.2 kimg could not be saved in {tmp_path}/checkpoints: " for kimg in range(5)]
    assert [line.partition("File")[0] for line in done.stdout.splitlines()] == said
