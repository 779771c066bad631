"""Steps of ``gpu_check.py`` that take several commands: speed against PyTorch, resuming, training, tests, growing."""

import json
import os
import random
import re
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, script
from benchmarks.gpu_runner import Runner, rounded

WIDTHS, TINY_WIDTHS = ("--base", "16384", "--max", "512"), ("--base", "64", "--max", "8")
TORCH, DATA = ROOT / ".gpu" / "torch_baseline.py", ROOT / ".gpu" / "data"
SIZE = "--resolution {resolution} --batch {batch} --base {base} --max {max} --alpha {alpha} --steps {steps}"
# How the step is tried: as it is; if it fails, without timing cuDNN's kernels, then in float32, to learn what fails.
TRIES = (
    ("", ["--amp"], {}),
    ("autotune level 0", ["--amp"], {"XLA_FLAGS": "--xla_gpu_autotune_level=0"}),
    ("float32", [], {}),
)
# Tests that need no network and that a GPU could fail; those of numbers first.
TESTS = [
    "tests/networks", "tests/test_ops.py", "tests/test_convolution.py", "tests/training/test_losses.py",
    "tests/training/test_step.py", "tests/training/test_step_losses.py", "tests/training/test_regularization.py",
    "tests/sampling/test_generate.py", "tests/runs/checkpoint", "tests/runs/test_rollback.py",
]  # fmt: skip
SPEED = (
    "resolution", "batch", "amp", "train_img_per_s", "sample_img_per_s", "train_gflop_per_img", "program_gib",
    "peak_gpu_gib", "lower_s", "compile_s",
)  # fmt: skip
TRAINING = ["--config", str(ROOT / "benchmarks" / "gpu_training.py")]
SMALL = ["--resolution", "8", "--schedule.start_resolution", "8"]
NARROW = [
    "--generator.channel_base", "1024", "--generator.channel_max", "64",
    "--discriminator.channel_base", "1024", "--discriminator.channel_max", "64",
]  # fmt: skip

TOY = [*NARROW, *SMALL, "--data.batch", "4", "--run.tick_kimg", "0.02", "--schedule.total_kimg", "0.06"]


# --- speed ----------------------------------------------------------------------------------------------------------


def other_program(command: str | None) -> str | None:
    """The command of the program to compare with, with places for the options' values; None if there is none."""
    if command is None:
        command = str(TORCH) if TORCH.is_file() else None
    if command is None or not command.endswith(".py") or not Path(command).is_file():
        return command
    return f"{sys.executable} {Path(command).resolve()} {SIZE} --warmup {{warmup}} --amp"


def speed(check: Runner, resolution: int, batches: tuple[int, ...], torch: str | None) -> None:
    """The step and sampling in bfloat16, alone and then in turn with the other program, in each of its forms."""
    if check.tiny:
        resolution, batches = 8, (4,)
    command = other_program(torch)
    if command is None:
        check.record("comparison", skipped="no program to compare with: --torch")
        check.say("no program to compare with; --torch names one")
    forms = ["", " --channels-last", " --compile"] if command and command.endswith(" --amp") else [""]
    for i, batch in enumerate(batches):
        if i and check.seconds_left() < 60 and not check.tiny:
            check.record("speed", batch=batch, skipped="no time left")
            continue
        works = ours(check, resolution, batch)
        for form in forms if i == 0 else forms[:1]:
            if works and command and check.seconds_left() > 20:
                pairs = 2 if form == "" and i == 0 and not check.tiny else 1
                against(check, resolution, batch, command + form, pairs)


def options(check: Runner, resolution: int, batch: int) -> list[str]:
    """The command line of train_step.py."""
    steps = ("2", "1") if check.tiny else ("10", "3")
    widths = TINY_WIDTHS if check.tiny else WIDTHS
    size = ["--resolution", str(resolution), "--batch", str(batch), *widths]
    return [*size, "--steps", steps[0], "--warmup", steps[1], "--only-speed", "--cache", check.cache]


def ours(check: Runner, resolution: int, batch: int) -> bool:
    """Our speed alone; if the step fails, in the ways of ``TRIES``. Whether it worked as it is."""
    for attempt, amp, environment in TRIES:
        command = script("train_step", *options(check, resolution, batch), *amp)
        ended = check.run(f"ours {resolution} {batch} {attempt}".strip(), command, 240, environment=environment)
        if ended.ok:
            check.record("speed", way=attempt or "as it is", **{key: ended.result.get(key) for key in SPEED})
        if ended.status != "failed":
            return ended.ok and attempt == ""
    return False


def against(check: Runner, resolution: int, batch: int, command: str, pairs: int) -> None:
    """Our speed over the other program's, in turn."""
    form = " ".join(re.findall(r"--(?:amp|channels-last|compile)\b", command)) or command[:60]
    path = check.work / "against.json"
    path.unlink(missing_ok=True)
    arguments = [*options(check, resolution, batch), "--amp", "--pairs", str(pairs), "--json", str(path)]
    ended = check.run(
        f"against {resolution} {batch} {form}", script("train_step", *arguments, "--against", command), 240
    )
    size = {"resolution": resolution, "batch": batch, "form": form}
    if not ended.ok:
        finished_pairs = [line for line in ended.output.splitlines() if line.startswith("pair ")]
        check.record("comparison", **size, error=ended.status, pairs=finished_pairs)
        return
    comparison, runs = ended.result["against"], json.loads(path.read_text())["sizes"][0]["runs"]
    ratios = {key: [ratio[name] for name in ("median", "min", "max")] for key, ratio in comparison["ratios"].items()}
    peaks = [max(run.get("peak_gpu_gib") or 0 for run in runs[name]) for name in ("ours", "theirs")]
    check.record("comparison", **size, ratio=ratios, theirs={key: comparison[key] for key in ratios}, peak_gib=peaks)
    check.say(f"{resolution} pixels, batch {batch}, ours over {form}: {json.dumps(rounded(ratios))}")


# --- runs -----------------------------------------------------------------------------------------------------------


def resume(check: Runner) -> None:
    """A run, and the same run killed with -9 and resumed, with deterministic kernels: equal to the bit or not."""
    folders = {name: check.work / "resume" / name for name in ("whole", "killed", "again")}
    shutil.rmtree(check.work / "resume", ignore_errors=True)
    flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()}
    if not check.tiny:  # each process is to come to the same program by itself
        flags["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    commands = {name: short_run(check.tiny, folder) for name, folder in folders.items()}
    pause = 0.0 if check.tiny else random.uniform(0, 0.5)

    def two_saved() -> bool:
        if len(saved(folders["killed"])) < 2:
            return False
        time.sleep(pause)
        return True

    if not check.run("whole run", commands["whole"], 90, environment=flags).ok:
        return
    ended = check.run("run to be killed", commands["killed"], 90, environment=flags, kill_when=two_saved)
    check.record("killed", status=ended.status, checkpoints=saved(folders["killed"]))
    if ended.status != "killed":
        check.say("the run ended before it was killed, so that what follows says nothing of resuming")
    if check.run("killed run resumed", commands["killed"], 90, environment=flags).ok:
        ended = check.measure("compare", 60, str(folders["whole"]), str(folders["killed"]))
        check.say(f"killed and resumed, equal to the bit: {ended.result.get('equal')}")
        if ended.result.get("equal"):
            return
    # Is it resuming that differs, or do two whole runs too?
    if check.run("whole run again", commands["again"], 90, environment=flags).ok:
        ended = check.measure("compare", 60, str(folders["whole"]), str(folders["again"]))
        check.say(f"two whole runs, equal to the bit: {ended.result.get('equal')}")


def short_run(tiny: bool, folder: Path) -> list[str]:
    """The command of a run of some seconds, with a checkpoint after every sixth of it."""
    total = 0.192 if tiny else 4.8
    often = str(total / 6)
    size = SMALL if tiny else ["--resolution", "16", "--schedule.start_resolution", "16"]
    size = [
        *size,
        "--data.batch",
        "8",
        "--data.num_images",
        "500",
        "--compute_dtype",
        "float32",
        "--augment.mode",
        "none",
    ]
    size += ["--generator.z_dim", "64", "--generator.w_dim", "64", "--generator.mapping_layers", "4"]
    size += ["--schedule.total_kimg", str(total), "--run.tick_kimg", often, "--run.checkpoint_kimg", often]
    return [sys.executable, "train.py", *TRAINING, *size, *NARROW, "--run.grid", "4", "2", "--run.dir", str(folder)]


def saved(run: Path) -> list[str]:
    """Checkpoints of a run that are complete."""
    return sorted(folder.name for folder in (run / "checkpoints").glob("*") if folder.name.isdigit())


def train64(check: Runner, data: str | None) -> None:
    """Training at 64 pixels with ADA in bfloat16 for up to three minutes, then SIGTERM, which saves it."""
    run = check.work / "train64"
    shutil.rmtree(run, ignore_errors=True)
    seconds = 200 if check.tiny else min(180, check.seconds_left() - 45)
    if seconds < 20:
        check.record("training", skipped="no time left")
        return
    size = TOY if check.tiny else []
    command = [sys.executable, "train.py", *TRAINING, *data_options(check, data), *size, "--run.dir", str(run)]
    ended = check.run("training", command, seconds + 42, stop_after=seconds)
    for name in ("fakes.png", "reals.png"):
        if (run / name).is_file():
            shutil.copyfile(run / name, check.out / f"train64_{name}")
    stats = run / "stats.jsonl"
    ticks = [json.loads(line) for line in stats.read_text().splitlines()] if stats.is_file() else []
    speeds = [tick["Timing/img_per_sec"] for tick in ticks]
    last = {key: value for key, value in (ticks or [{}])[-1].items() if key.startswith(("Loss/", "Progress/"))}
    fields: dict[str, Any] = {"ticks": len(ticks), "img_per_s": statistics.median(speeds) if speeds else None}
    fields["saved"] = any(text in ended.output for text in ("Stopped; the same command goes on", "Finished"))
    check.record("training", **fields, last=last)
    check.record("tick", img_per_s=speeds)
    check.say(f"training: {fields}")


def data_options(check: Runner, option: str | None) -> list[str]:
    """Where training finds images: an LSUN archive, prepared data, a folder or archive of images; else drawn rooms."""
    source_path = Path(option) if option else None
    if source_path is None and DATA.is_dir():
        paths = sorted(DATA.iterdir(), key=lambda path: (not path.is_dir(), path.name))  # prepared data first
        source_path = next((path for path in paths if path.is_dir() or path.suffix == ".zip"), None)
    if source_path is None or not source_path.exists():
        check.say(f"training on drawn rooms{f', because {option} is not there' if option else ''}")
        return ["--data.source", "toy_bedrooms"]
    manifest = source_path / "prepared.json"
    is_lsun = '"origin": "lsun"' in manifest.read_text() if manifest.is_file() else "lmdb" in source_path.name
    source = "lsun" if is_lsun else "images"
    return [
        "--data.source",
        source,
        "--data.path",
        str(source_path.resolve()),
        "--data.prepared",
        str(check.work / f"data-{source_path.stem}"),
    ]


# --- other commands -------------------------------------------------------------------------------------------------


def tests(check: Runner) -> None:
    """Tests that a GPU could fail, with float32 products at highest precision."""
    names = [name for name in (["tests/training/test_schedule.py"] if check.tiny else TESTS) if (ROOT / name).exists()]
    command = [sys.executable, "-m", "pytest", "-v", "--no-header", "-rfE", "--tb=line", "-p", "no:cacheprovider"]
    command += ["-p", "no:benchmark"]  # it warns of xdist, and warnings are errors
    if not check.tiny and (jobs := min(8, (os.cpu_count() or 1) // 2)) > 1:
        command += ["-n", str(jobs), "--dist", "worksteal"]
    environment = {"JAX_DEFAULT_MATMUL_PRECISION": "highest", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    ended = check.run("pytest", [*command, *names], 240, environment=environment)
    failed = [f"{name}{why[:120]}" for name, why in re.findall(r"^(?:FAILED|ERROR) (\S+)(.*)$", ended.output, re.M)]
    closing = [line for line in ended.output.splitlines() if re.search(r"\d+ (passed|failed|error)", line)]
    # So many had an outcome, however it ended: time may run out first.
    outcomes = {word: len(re.findall(rf"\b{word}\b", ended.output)) for word in ("PASSED", "FAILED", "ERROR")}
    check.record("tests", status=ended.status, closing=closing[-1:], failed=failed, outcomes=outcomes)


def growing(check: Runner) -> None:
    """Gaps where the resolution grows: compiled at the boundary, as GPUs do by default, and compiled ahead."""
    size = ["--steps", "5", "--resolution", "16"] if check.tiny else ["--steps", "60", "--resolution", "32"]
    for ahead in ("no", "yes"):
        ended = check.run(f"growing {ahead}", script("growing", *size, "--compile-ahead", ahead), 150)
        if ended.ok:
            keep = ("resolution", "step_ms", "gap_ms", "longest_ms", "gap_parts")
            rows: list[dict[str, Any]] = [{key: row[key] for key in keep} for row in ended.result["growing"]]
            check.record("growing", compile_ahead=ahead, boundaries=rows, dispatch=ended.result["dispatch"])


def plan(check: Runner, resolution: int, batch: int, target: str) -> None:
    """The same step compiled as for a machine without the card: do kernels, bytes and memory agree."""
    if check.seconds_left() < 90 and not check.tiny:
        check.record("plan", skipped="no time left")
        return
    widths = TINY_WIDTHS if check.tiny else WIDTHS
    size = ["--resolutions", str(resolution), "--batches", str(batch), *widths]
    ended = check.run("plan", script("plan", "--target", target, *size), 150)
    if ended.ok:
        row = ended.result["rows"][0]
        keep = ("target", "kernels", "convolutions", "odd_convolutions", "tflop", "gb", "least_ms", "memory_gib")
        check.record("plan", **{key: row[key] for key in keep})
