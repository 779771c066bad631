#!/usr/bin/env python3
"""How two processes end when one of them is killed, fails or is asked to stop: by JAX alone, and by stylegen's watch.

    python benchmarks/ending.py

Two processes on this machine take steps of 50 ms, each with a sum over both. Then one of them is killed with -9, raises
an error, or gets SIGTERM. The table says how long the other one takes to end, with which status, and how many lines it
writes on stderr; --texts prints these. "jax" is jax.distributed with a heartbeat timeout of --timeout seconds and
multihost_utils.reached_preemption_sync_point; "stylegen" is processes.running with distributed.timeout of the same and
sharding.StopVote.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

STEPS = """
import sys, time
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

def steps(stop):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    split, copied = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    total = jax.jit(jnp.sum, in_shardings=split, out_shardings=copied)
    x = jax.make_array_from_process_local_data(split, np.ones(1, np.float32))
    spent, number = 0.0, 0
    while True:
        started = time.perf_counter()
        if stop(number):
            break
        spent += time.perf_counter() - started
        total(x).block_until_ready()
        number += 1
        if number == 20:
            print("ready", flush=True)
        if number == 60 and fails and index == 1:
            raise ValueError("the disk is full")
        time.sleep(0.05)
    print(f"stopped after {number} steps; a question costs {1e6 * spent / max(number, 1):.0f} us", flush=True)

address, index, timeout, fails = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "error"
"""
PROGRAMS = {
    "jax": STEPS
    + """
from jax.experimental.multihost_utils import reached_preemption_sync_point
jax.distributed.initialize(address, 2, index, heartbeat_timeout_seconds=int(timeout))
steps(reached_preemption_sync_point)
""",
    "stylegen": STEPS
    + """
from stylegen.config import DistributedConfig
from stylegen.io.signals import stop_requested
from stylegen.runtime import processes, sharding
with processes.running(DistributedConfig(address, 2, index, timeout=timeout)):
    with stop_requested() as asked, processes.computing():
        mesh = Mesh(np.array(jax.devices()), ("data",))
        vote = sharding.StopVote(mesh, asked.is_set)
        steps(lambda number: vote())
""",
}
EVENTS = {  # what happens to which process
    "kill -9 of process 1": (1, signal.SIGKILL),
    "kill -9 of process 0": (0, signal.SIGKILL),
    "error in process 1": (1, None),
    "SIGTERM to process 1": (1, signal.SIGTERM),
    "Ctrl-C to process 1": (1, signal.SIGINT),
}


def end(program: str, event: str, timeout: float) -> dict[str, Any]:
    """Start two processes, let the event happen, and watch the other one end."""
    victim, number = EVENTS[event]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(common.ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(index)) for index in (0, 1)]
        started = []
        for index, file in enumerate(files):
            arguments = [address, str(index), str(timeout), "error" if number is None else "no"]
            command = [sys.executable, "-c", PROGRAMS[program], *arguments]
            with file.open("w") as output:
                started.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment))
        try:
            while not all("ready" in file.read_text() for file in files):
                if any(process.poll() is not None for process in started):
                    raise common.BenchmarkError("\n".join(file.read_text() for file in files))
                time.sleep(0.05)
            if number is None:
                started[victim].wait(300)
            else:
                started[victim].send_signal(number)
            began, other = time.monotonic(), started[1 - victim]
            try:
                status: int | str = other.wait(60)
            except subprocess.TimeoutExpired:
                status = "still there"
            seconds = time.monotonic() - began
            text = files[1 - victim].read_text().replace("ready\n", "")
        finally:
            for process in started:
                process.kill()
                process.wait()
    row = {"by": program, "event": event, "seconds": seconds, "status": status, "lines": len(text.splitlines())}
    return {**row, "text": text}


def main(a: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for event in EVENTS:
        for program in PROGRAMS:
            rows.append(end(program, event, a.timeout))
            print(common.table(rows[-1:], COLUMNS), flush=True)
            if a.texts:
                print(rows[-1]["text"], flush=True)
    print("\n" + common.table(rows, COLUMNS))
    return {"machine": common.machine(), "rows": rows}


COLUMNS = {
    "event": ("event", "s"),
    "by": ("by", "s"),
    "seconds": ("s", ".1f"),
    "status": ("status", "s"),
    "lines": ("lines", "d"),
}

if __name__ == "__main__":
    p = common.parser(__doc__)
    p.add_argument("--timeout", type=float, default=8.0, help="seconds without a sign of life")
    p.add_argument("--texts", action="store_true", help="print what the other process wrote")
    options = p.parse_args()
    common.main(lambda: main(options))
