"""The cost of spreading a training step over devices and processes, measured on this machine.

    python benchmarks/scaling.py --out scaling.json

Times the same steps, of the same whole batch, on one device, on two virtual devices of one process, and on two
processes of one device each that talk over loopback. On the CPU of one machine the devices share the same cores:
the table shows overheads, not a speed-up. Beside the step stands the vote on stopping that several processes hold at
every step, alone and a hundred times in a row.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LAYOUTS = [(1, 1), (1, 2), (2, 1)]  # (processes, devices of each)
VOTES = 100


def measure(resolution: int, batch: int, width: int, steps: int) -> dict[str, float]:
    """Milliseconds of a training step in this process and those that it trains with; the first steps do not count."""
    import jax
    import numpy as np

    from stylegen.config import Config, DataConfig, DiscriminatorConfig, GeneratorConfig, ScheduleConfig
    from stylegen.networks.build import build_networks
    from stylegen.runtime import sharding
    from stylegen.training.state import init_state
    from stylegen.training.step import StepConfig, jit_step, train_step

    config = Config(
        resolution=resolution,
        data=DataConfig(source="images", batch=batch),
        generator=GeneratorConfig(channel_max=width),
        discriminator=DiscriminatorConfig(channel_max=width),
        schedule=ScheduleConfig(start_resolution=resolution),
    )
    mesh = sharding.make_mesh(config)
    static = StepConfig(config, build_networks(config), sharding.split_latents(mesh))
    images = np.random.default_rng(0).integers(0, 256, (batch, resolution, resolution, 3), np.uint8)
    mine = {"image": sharding.share(images), "label": sharding.share(np.zeros(batch, np.int32))}
    placed = sharding.put_batch(mesh, mine)
    state = sharding.put_replicated(mesh, init_state(config))
    arguments = placed["image"], placed["label"], np.float32(1), np.float32(0.001)
    step = jit_step(train_step, static, sharding.replicated(mesh), sharding.split_batch(mesh))
    begin = time.perf_counter()
    step = step.lower(state, *arguments).compile()
    compiled = time.perf_counter() - begin
    times = []
    for _ in range(steps + 2):
        begin = time.perf_counter()
        state, metrics = step(state, *arguments)
        jax.block_until_ready(metrics)
        times.append(1000 * (time.perf_counter() - begin))
        if len(times) == 1:
            # Of the first step: rounding, which differs by layout, grows from step to step.
            loss = float(metrics["Loss/D/loss"])
    vote = sharding.StopVote(mesh, lambda: False)
    vote()
    begin = time.perf_counter()
    for _ in range(VOTES):
        vote()
    voted = 1000 * (time.perf_counter() - begin) / VOTES
    times = sorted(times[2:])
    return {
        "compile_s": compiled,
        "step_ms": statistics.median(times),
        "fastest_ms": times[0],
        "slowest_ms": times[-1],
        "vote_ms": voted,
        "first_loss": loss,
    }


def work(options: argparse.Namespace) -> None:
    """One process of a layout; process 0 writes what it measured."""
    from stylegen.config import DistributedConfig
    from stylegen.runtime import processes

    alone = options.processes == 1
    config = DistributedConfig() if alone else DistributedConfig(options.worker, options.processes, options.index)
    with processes.running(config):
        result = measure(options.resolution, options.batch, options.width, options.steps)
        if processes.is_main():
            options.out.write_text(json.dumps(result))


def run(processes: int, devices: int, options: argparse.Namespace) -> dict[str, float]:
    """Measure one layout in processes of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "JAX_COORDINATOR_BIND_ADDRESS": address,
    }
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, __file__, "--worker", address, "--processes", str(processes), "--out", str(out)]
        for name in ("resolution", "batch", "width", "steps"):
            command += [f"--{name}", str(getattr(options, name))]
        started = [
            subprocess.Popen([*command, "--index", str(index)], env=environment, stderr=subprocess.PIPE, text=True)
            for index in range(processes)
        ]
        errors = [process.communicate()[1] for process in started]
        if any(process.returncode for process in started):
            raise SystemExit(f"{processes} processes x {devices} devices failed:\n" + "\n".join(errors))
        return {"processes": processes, "devices_each": devices, **json.loads(out.read_text())}


def cpu_name() -> str:
    """The CPU's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16, help="images of a step, all devices together")
    parser.add_argument("--width", type=int, default=64, help="greatest number of channels")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--index", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    import jax

    report = {
        "processor": cpu_name(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "jax": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
        **{name: getattr(options, name) for name in ("resolution", "batch", "width", "steps")},
        "layouts": [],
    }
    print(
        f"{report['processor']}, {report['cores']} cores, load {report['load']:.1f}; shared cores: overhead, not speed"
    )
    names = ("processes", "devices", "step ms", "fastest", "slowest", "vote ms", "compile s")
    print(" ".join(f"{name:>{max(len(name), 8)}}" for name in names), "first loss")
    for processes, devices in LAYOUTS:
        r = run(processes, devices, options)
        report["layouts"].append(r)
        print(
            f"{processes:9} {processes * devices:8} {r['step_ms']:8.1f} {r['fastest_ms']:8.1f} {r['slowest_ms']:8.1f} "
            f"{r['vote_ms']:8.3f} {r['compile_s']:9.1f}  {r['first_loss']:.6f}",
            flush=True,
        )
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
