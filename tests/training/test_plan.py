"""Plans of a training step for devices that are not there: the program's text, the targets, what fits."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import jax
import pytest

from benchmarks import common
from stylegen.cli import train
from stylegen.config import Config, ConfigError
from stylegen.convolution import target_platform
from stylegen.runtime import chips, hlo, sharding
from stylegen.training import plan
from tests.support.configs import tiny_config

PROGRAM = """HloModule jit_step, is_scheduled=true

FileNames
1 "/somewhere/train_step.py"

FunctionNames
1 "train_step"
2 "update_discriminator"
3 "conv_downsample"
4 "convolve"

FileLocations
1 {file_name_id=1 function_name_id=1 line=1 end_line=1 column=1 end_column=2}
2 {file_name_id=1 function_name_id=2 line=2 end_line=2 column=1 end_column=2}
3 {file_name_id=1 function_name_id=3 line=3 end_line=3 column=1 end_column=2}
4 {file_name_id=1 function_name_id=4 line=4 end_line=4 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=3}
4 {file_location_id=4 parent_frame_id=4}


%fused (p: bf16[2,8,8,4]) -> bf16[2,8,8,4] {
  %p = bf16[2,8,8,4]{3,2,1,0} parameter(0)
  ROOT %double = bf16[2,8,8,4]{3,2,1,0} add(%p, %p)
}

ENTRY %main (x: bf16[2,8,8,4], w: bf16[5,4,4,4], b: f32[3]) -> (bf16[2,4,4,5], f32[3]) {
  %x = bf16[2,8,8,4]{3,2,1,0} parameter(0)
  %w = bf16[5,4,4,4]{3,2,1,0} parameter(1)
  %b = f32[3]{0} parameter(2)
  %loop = bf16[2,8,8,4]{3,2,1,0} fusion(%x), kind=kLoop, calls=%fused, metadata={op_name="add" stack_frame_id=1}
  %conv.1 = (bf16[2,4,4,5]{3,2,1,0}, u8[16]{0}) custom-call(%loop, %w), WINDOW, TARGET, metadata={stack_frame_id=4}
  %y = bf16[2,4,4,5]{3,2,1,0} get-tuple-element(%conv.1), index=0
  %odd = (bf16[2,8,8,4]{3,2,1,0}, u8[0]{0}) custom-call(%loop, %w), window={size=128x128 rhs_dilate=2x2}, TARGET
  %six = (f32[3]{0}, f32[3]{0}, f32[3]{0}, f32[3]{0}, f32[3]{0}, /*index=5*/f32[3]{0}) fusion(%b), kind=kInput, calls=%f
  %sum = (f32[3]{0}, f32[5]{0}) all-reduce-start(%b, %b), replica_groups={}
  %done = (f32[3]{0}, f32[5]{0}) all-reduce-done(%sum)
  %total = f32[3]{0} get-tuple-element(%done), index=0
  ROOT %out = (bf16[2,4,4,5]{3,2,1,0}, f32[3]{0}) tuple(%y, %total)
}
"""
PROGRAM = PROGRAM.replace("WINDOW", "window={size=4x4 stride=2x2 pad=1_1x1_1}")
PROGRAM = PROGRAM.replace("TARGET", 'custom_call_target="__cudnn$convForward"')
IMAGE, WEIGHT, RESULT = 2 * 8 * 8 * 4 * 2, 5 * 4 * 4 * 4 * 2, 2 * 4 * 4 * 5 * 2  # bytes


def test_kernels_of_a_program_with_what_they_move_and_compute():
    loop, conv, odd, six, total = hlo.kernels(PROGRAM)
    assert (six.kind, six.bytes) == ("fusion input", 7 * 12), "XLA numbers the members of long tuples"
    assert (loop.name, loop.kind, loop.bytes, loop.flop) == ("loop", "fusion loop", 2 * IMAGE, 0)
    assert conv.is_convolution and conv.size == "4x5" and conv.bytes == IMAGE + WEIGHT + RESULT + 16
    assert conv.flop == 2 * (2 * 4 * 4) * (5 * 4 * 4 * 4)  # a multiplication for each place and number of the weight
    assert odd.is_convolution and total.kind == "all-reduce-start"
    assert conv.seconds(bandwidth=1, rate=1e9) == conv.bytes and conv.seconds(bandwidth=1e9, rate=1) == conv.flop


def test_the_operations_of_a_convolution_do_not_depend_on_the_layout():
    """cuDNN's other layout, as for a T4: channels before pixels."""
    other = PROGRAM.replace("pad=1_1x1_1}", "pad=1_1x1_1}, dim_labels=bf01_oi01->bf01")
    other = other.replace("%conv.1 = (bf16[2,4,4,5]{3,2,1,0}", "%conv.1 = (bf16[2,5,4,4]{3,2,1,0}")
    assert hlo.kernels(other)[1].flop == hlo.kernels(PROGRAM)[1].flop


def test_convolutions_that_no_library_is_made_for_are_counted():
    assert hlo.odd_convolutions(PROGRAM) == 1
    assert hlo.odd_convolutions(PROGRAM.replace("size=128x128", "size=3x3")) == 0


def test_sums_over_devices_are_counted():
    assert hlo.collectives(PROGRAM) == {"all-reduce": (1, (3 + 5) * 4)}
    assert hlo.collectives("") == {}


def test_kernels_are_attributed_to_the_functions_they_come_from():
    run = hlo.kernels(PROGRAM)
    frames = hlo.Frames(PROGRAM)
    assert frames.calls(run[1].frame) == ["train_step", "update_discriminator", "conv_downsample", "convolve"]
    assert hlo.place(frames.calls(run[1].frame)) == ("D", "conv_downsample")
    assert hlo.place(frames.calls(run[0].frame)) == ("rest", "train_step")
    sums = hlo.totals(run, PROGRAM, bandwidth=1e9, rate=1e12)
    assert list(sums.values()) == sorted(sums.values(), reverse=True)
    assert sum(sums.values()) == pytest.approx(sum(kernel.seconds(1e9, 1e12) for kernel in run))
    assert ("convolution", "D", "conv_downsample") in sums


@pytest.mark.parametrize(
    ("name", "platform", "count"),
    [("h100", "gpu", 1), ("H100x8", "gpu", 8), ("t4", "gpu", 1), ("cpu", "cpu", 1), ("cpux2", "cpu", 2)]
    + [
        ("tpu:v5e:2x4", "tpu", 8),
        ("v5e-8", "tpu", 8),
        ("v4-8", "tpu", 4),
        ("v5p-8", "tpu", 4),
        ("tpu:v4:2x2x1", "tpu", 4),
    ],
)
def test_targets_by_their_names(name, platform, count):
    target = chips.parse(name)
    assert (target.platform, target.count) == (platform, count)
    assert target.chip.memory > 1e10 and target.chip.bandwidth > 1e11 and target.chip.link > 1e9


@pytest.mark.parametrize(
    "name", ["", "gpu", "h100x", "h100x0", "h100x9", "h99", "v9-8", "tpu:v9:2x2", "tpu:v5e:", "x8"]
)
def test_what_is_no_target_is_said_with_those_that_are(name, capsys):
    with pytest.raises(chips.TargetError, match="must name devices, such as h100"):
        chips.parse(name)
    if name:
        assert train.main(["--config", "quickstart", "--dry-run", "--target", name]) == 2
        assert "must name devices" in capsys.readouterr().err


def test_a_compiler_that_is_not_installed_is_said_with_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, package in (("h100", "jax-cuda13-plugin=="), ("v5e-4", "libtpu")):
        with pytest.raises(chips.TargetError, match="not installed") as error:
            chips.parse(name).devices()
        assert "make compilers" in str(error.value) and package in str(error.value)


def tiny(**changes) -> Config:
    config = tiny_config(data={"batch": 8}, loss={"r1_interval": 2}, schedule={"start_resolution": 8})
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def small():
    return plan.make_plan(tiny(), 8, 8, chips.parse("cpu"))


def test_a_plan_counts_what_the_compiler_does(small):
    state = plan.abstract_state(tiny())
    weights = sum(leaf.size * 4 for leaf in jax.tree.leaves((state.g, state.d)))
    assert small.arguments > 3 * weights, "weights and Adam's moments, and one average"
    assert small.flop > 0 and small.kernels > 0 and small.collectives == {} and small.exchange_seconds == 0
    row = small.row()
    assert json.dumps(row) and row["memory_gib"] == pytest.approx((small.arguments + small.temporary) / 2**30)


def test_tracing_for_a_target_leaves_no_trace(small):
    assert target_platform() == jax.default_backend()


def test_a_batch_that_does_not_split_is_said():
    with pytest.raises(ConfigError, match="does not split over 2 devices"):
        plan.make_plan(tiny(), 8, 12, chips.parse("cpux2"))


def test_the_largest_batch_is_where_the_line_meets_the_memory(small):
    chip = dataclasses.replace(small.target.chip, memory=1000.0)
    target = dataclasses.replace(small.target, chip=chip)

    def of(batch):
        return dataclasses.replace(small, target=target, batch=batch, arguments=100, temporary=10 * batch)

    assert plan.largest_batch(of(8), of(16), 1) == 90
    assert plan.largest_batch(of(8), of(16), 4) == 88
    assert plan.largest_batch(of(200), of(100), 8) == 88
    assert plan.largest_batch(small, of(16), 4) is None, "no bound is known"


def test_a_dry_run_says_what_a_target_takes(small, monkeypatch):
    chip = dataclasses.replace(chips.GPUS["h100"], name="a card")
    target = dataclasses.replace(chips.parse("h100x2"), chip=chip)
    compiled = []

    def make_plan(config, resolution, batch, target, name="train"):
        compiled.append((name, batch))
        facts = {"arguments": 2**30, "temporary": batch * 2**30, "seconds": 0.1 if name == "train" else 0.2}
        facts["collectives"] = {"all-reduce": (2, 9_000_000)}
        return dataclasses.replace(small, name=name, target=target, batch=batch, **facts)

    monkeypatch.setattr(plan, "make_plan", make_plan)
    lines = []
    text = plan.describe(tiny(), target, log=lines.append)
    assert compiled == [("train", 8), ("regularize", 8), ("train", 16)] and "Compiling train at 8 pixels" in lines[0]
    assert "2 x a card, 8x8 pixels, batch 8 (4 a device), float32 at highest precision" in text
    assert "9.00 GiB of 59.3 (75% of the card, which JAX takes): fits" in text
    assert "largest batch       56, predicted from the memory of 8 and 16" in text
    # A step is 0.1 s, and every second one 0.2 s more: 0.2 s for 8 images, so 25 s for 1,000.
    assert "200.0 ms a step, so a kimg takes at least 25.00 s, and the 25,000 kimg at 8 pixels at least 173.6 h" in text
    # Two devices: each sends and receives half of the 9 MB twice, at 450 GB/s.
    assert "2 all-reduce: 9 MB a step, about 0.02 ms" in text
    assert "micro-batch" not in text


def test_a_dry_run_says_width_and_height(small, monkeypatch):
    def make_plan(config, resolution, batch, target, name="train"):
        return dataclasses.replace(small, name=name, batch=batch)

    monkeypatch.setattr(plan, "make_plan", make_plan)
    config = dataclasses.replace(tiny(), const_shape=(4, 6), data=dataclasses.replace(tiny().data, source="images"))
    lines = []
    text = plan.describe(config, chips.parse("cpu"), log=lines.append)
    assert "1 x cpu, 12x8 pixels, batch 8" in text and all("at 12x8 pixels" in line for line in lines[::2])
    with pytest.raises(ConfigError, match="batch of 12 at 12x8 pixels does not split"):
        sharding.check_splits(plan.with_batch(config, 8, 12), 2, [8])


def test_a_dry_run_proposes_a_micro_batch(small, monkeypatch):
    """A card of 16 GiB, of which 12 are JAX's; a step takes 2 and 1 for each image: 10 fit, and 8 are whole groups."""
    chip = dataclasses.replace(chips.GPUS["h100"], name="a card", memory=16 * 2.0**30)
    target = dataclasses.replace(chips.parse("h100"), chip=chip)

    def make_plan(config, resolution, batch, target, name="train"):
        at_once = batch // sharding.parts(config, resolution, batch, 1)
        facts = {"arguments": 2 * 2**30, "temporary": at_once * 2**30}
        return dataclasses.replace(small, name=name, target=target, batch=batch, **facts)

    monkeypatch.setattr(plan, "make_plan", make_plan)
    config = plan.with_batch(tiny(), 8, 32)
    text = plan.describe(config, target, log=lambda line: None)
    assert "DOES NOT FIT" in text and "--run.micro-batch 8 computes the batch in parts that fit" in text
    run = dataclasses.replace(config.run, micro_batch=8)
    text = plan.describe(dataclasses.replace(config, run=run), target, log=lambda line: None)
    assert "10.00 GiB of 12.0" in text and ": fits" in text and "4 parts of 8 images a device" in text


def test_a_step_that_the_compiler_refuses_is_said(small, monkeypatch):
    def make_plan(config, resolution, batch, target, name="train"):
        if batch > fits:
            raise jax.errors.JaxRuntimeError(f"{why}: Ran out of memory in memory space hbm.\nmuch more")
        return dataclasses.replace(small, name=name, target=target, batch=batch)

    monkeypatch.setattr(plan, "make_plan", make_plan)
    fits, why, lines, target = 4, "RESOURCE_EXHAUSTED", [], chips.parse("v5e-8")
    text = plan.describe(tiny(), target, log=lines.append)
    assert "batch 8 at 8 pixels DOES NOT FIT" in text and "much more" not in text
    fits = 8
    text = plan.describe(tiny(), target, log=lines.append)
    assert "largest batch" not in text and "16 images do not fit. XLA: RESOURCE_EXHAUSTED" in lines[-1]
    fits, why = 4, "INTERNAL"
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        plan.describe(tiny(), target, log=lines.append)


@pytest.mark.parametrize(
    ("name", "dtype", "precision", "rate"),
    [
        ("h100", "bfloat16", "highest", 790e12),
        ("h100", "float32", "default", 395e12),
        ("h100", "float32", "highest", 67e12),
        ("v5e-8", "float32", "highest", 197e12 / 6),
    ],
)
def test_the_rate_is_that_of_the_precision(name, dtype, precision, rate):
    assert chips.parse(name).rate(dtype, precision) == pytest.approx(rate)


def test_targets_need_a_dry_run(capsys):
    assert train.main(["--config", "quickstart", "--target", "h100"]) == 2
    assert "--target goes with --dry-run" in capsys.readouterr().err
    assert train.main(["--config", "quickstart", "--dry-run", "--target", "h100", "--stage", "33"]) == 2
    assert "--stage 33: the stages are 8, 16, 32" in capsys.readouterr().err


SIZE = ["--resolutions", "16", "--batches", "8", "--base", "128", "--max", "8"]


def run(*arguments):
    command = common.script("plan", *arguments)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, capture_output=True, text=True, cwd=common.ROOT, env=environment)


def test_plans_for_devices_of_the_machine_itself(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2")
    process = run("--target", "cpu", "cpux2", "--resolutions", "8", "--batches", "8", "--base", "32", "--max", "4")
    assert process.returncode == 0, process.stderr[-2000:]
    one, two = json.loads(process.stdout.splitlines()[-1])["rows"]
    assert one["step"] == "train" and one["tflop"] > two["tflop"] > 0.4 * one["tflop"], "a device does its half"
    assert one["collectives"] == 0 < two["collectives"] and two["exchanged_mb"] > 0
    assert "least ms" in process.stdout


def has(module):
    """Whether a compiler is there, installed or in the folder of ``make compilers``."""
    return importlib.util.find_spec(module) is not None or (chips.COMPILERS / module).is_dir()


@pytest.mark.slow
@pytest.mark.skipif(not has("jax_plugins"), reason="XLA's compiler for GPUs is not here: make compilers")
@pytest.mark.parametrize("block", ["adain", "demod"])
def test_the_step_compiled_for_a_gpu(block, tmp_path):
    steps = ["--steps", "all"]
    process = run("--target", "h100", "t4", "h100x2", *SIZE, "--block", block, *steps, "--hlo", str(tmp_path))
    assert process.returncode == 0, process.stderr[-2000:]
    rows = json.loads(process.stdout.splitlines()[-1])["rows"]
    assert [row["target"] for row in rows] == ["h100", "t4", "h100x2"]
    for row in rows:
        assert row["odd_convolutions"] == 0 and row["convolutions"] > 20 and row["least_ms"] > 0
    assert rows[0]["collectives"] == 0 < rows[2]["collectives"]
    import gzip

    (program,) = [gzip.decompress(path.read_bytes()).decode() for path in tmp_path.glob("h100-train*")]
    assert "__cudnn$convForward" in program and "convBiasActivation" not in program
    functions = {function for _, _, function, _ in rows[0]["places"]}
    assert functions & {"conv_downsample", "_styled_forward", "styled_activation"} or block == "demod"


@pytest.mark.slow
@pytest.mark.skipif(not has("libtpu"), reason="XLA's compiler for TPUs is not here: make compilers")
def test_a_slice_has_as_many_devices_as_its_chips():
    """In a process of its own, because loading the compiler for TPUs changes the environment."""
    code = (
        "from stylegen.runtime import chips\n"
        "chips.prepare_environment()\n"
        "for name in ('v4-8', 'v5p-8', 'v5e-8'):\n"
        "    target = chips.parse(name)\n"
        "    assert len(target.devices()) == target.count, name\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=common.ROOT, check=True, timeout=300)


@pytest.mark.slow
@pytest.mark.skipif(not has("libtpu"), reason="XLA's compiler for TPUs is not here: make compilers")
def test_the_step_compiled_for_a_tpu():
    process = run("--target", "tpu:v5e:2x2", *SIZE[:2], "--batches", "16", *SIZE[4:])
    assert process.returncode == 0, process.stderr[-2000:]
    (row,) = json.loads(process.stdout.splitlines()[-1])["rows"]
    assert row["tflop"] > 0 and row["least_ms"] > 0 and row["memory_gib"] > 0 and row["collectives"] > 0
