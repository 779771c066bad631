"""Benchmarks run and print what they promise; nothing here depends on how fast anything is."""

import argparse
import dataclasses
import json
import shlex
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import against, browser, common, flops, growing, precision, sizes, workload
from benchmarks import input as input_benchmark
from benchmarks import train_step as train_benchmark
from stylegen.config import Config, ScheduleConfig
from tests.support.configs import tiny_config

BENCHMARKS = common.ROOT / "benchmarks"
# What the PyTorch program that ours is compared with prints.
BASELINE_KEYS = {
    *("framework", "device", "resolution", "batch", "base", "max", "alpha", "amp", "compile", "channels_last"),
    *("train_step_s", "train_img_per_s", "train_img_per_s_best", "sample_img_per_s", "sample_img_per_s_best"),
    "peak_gpu_gib",
}
TINY = ["--resolution", "8", "--batch", "4", "--base", "16", "--max", "4", "--steps", "2", "--warmup", "1"]


def run(name: str, *arguments: str) -> tuple[str, dict]:
    """What a benchmark prints, and the JSON object of its last line."""
    command = common.script(name, *arguments)
    process = subprocess.run(command, capture_output=True, text=True, cwd=common.ROOT)
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout, json.loads(process.stdout.splitlines()[-1])


def printing(**result) -> str:
    """A command that prints a result as the programs compared with do."""
    code = f"print('something else'); print({json.dumps(json.dumps(result))})"
    return shlex.join([sys.executable, "-c", code])


@pytest.mark.parametrize(
    "name",
    [
        *("train_step", "sample", "growing", "input", "style_transfer", "precision", "startup", "web", "explore"),
        *("studies/projection", "studies/directions", "studies/augmentation_leaks"),
    ],
)
def test_help_says_how_to_run_it(name):
    process = subprocess.run(common.script(name, "--help"), capture_output=True, text=True)
    assert process.returncode == 0
    assert f"python {name if '/' in name else 'benchmarks/' + name}.py" in process.stdout and "--json" in process.stdout


def test_without_a_browser_a_sentence_says_how_to_get_one(monkeypatch):
    monkeypatch.setenv("STYLEGEN_BROWSER", "/nowhere")
    with pytest.raises(common.BenchmarkError, match="there is no Chromium: set STYLEGEN_BROWSER"):
        browser.find()


def test_the_step_is_timed_and_compared(tmp_path):
    other = printing(framework="other", resolution=8, batch=4, train_img_per_s=2.0, sample_img_per_s=4.0)
    path = tmp_path / "new" / "result.json"
    text, result = run("train_step", *TINY, "--against", other, "--pairs", "1", "--json", str(path))
    assert set(result) >= BASELINE_KEYS
    assert result["train_img_per_s"] > 0 and result["sample_img_per_s"] > 0 and result["peak_host_gib"] > 0
    assert result["against"]["train_img_per_s"] == 2.0 and result["against"]["framework"] == "other"
    written = json.loads(path.read_text())["sizes"][0]
    for key, theirs in (("train_img_per_s", 2.0), ("sample_img_per_s", 4.0)):
        ours = [x[key] for x in written["runs"]["ours"]]
        assert len(ours) == 1 and result[key] == ours[0]
        assert result["against"]["ratios"][key]["pairs"] == pytest.approx([x / theirs for x in ours])
    assert "ours/theirs" in text and "pair 1: " in text


def test_sampling_is_timed():
    text, result = run("sample", *TINY, "--only-speed")
    assert set(result) >= BASELINE_KEYS
    assert result["sample_img_per_s"] > 0 and result["train_img_per_s"] is None
    assert "library" in text


def test_operands_are_rounded_in_derivatives_too():
    rng = np.random.default_rng(0)
    x, y, weight = (jnp.asarray(rng.standard_normal((3, 3)), jnp.float32) for _ in range(3))

    def loss(x):
        return jnp.sum(jax.jit(jnp.matmul)(x, y) * weight)

    def low(x):
        return np.asarray(x.astype(jnp.bfloat16), np.float64)

    product, gradient = precision.rounded(jnp.matmul, 7)(x, y), precision.rounded(jax.grad(loss), 7)(x)
    np.testing.assert_allclose(product, low(x) @ low(y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, low(weight) @ low(y).T, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_what_rounding_does_is_measured(make_generator, narrow_vgg):
    exact, tf32, *_, low = precision.all_numerics()
    G = make_generator()
    samples = precision.compared({x.name: precision.samples_and_lengths(x, G, 3, 3) for x in (exact, tf32)})
    gradients = precision.compared({x.name: precision.gradients(x, "demod", 8, 4) for x in (exact, low)})
    for rows, columns in ((samples, precision.SAMPLES), (gradients, precision.GRADIENTS)):
        assert [set(row) for row in rows] == [set(columns)] * 2
    assert samples[0]["levels_largest"] == 0 and samples[0]["ppl_zend"] != samples[1]["ppl_zend"]
    assert gradients[0]["d_difference"] == 0 < gradients[1]["d_difference"] < 0.1 and gradients[1]["d_cosine"] > 0.99


@pytest.mark.slow
def test_agreement_is_measured():
    exact, *rounded = [precision.agreement(x, "stylegan1_16_labels", "0.6") for x in precision.all_numerics()]
    assert max(exact.values()) < 1e-4 < min(max(differences.values()) for differences in rounded)


@pytest.mark.slow
def test_all_costs_are_measured(monkeypatch):
    monkeypatch.setattr(common, "matmul_peak", lambda dtype: 1e12)
    a = sizes.parse(None, TINY)
    result = train_benchmark.measure(a)
    columns = set(train_benchmark.COLUMNS) - {"compile_cached_s"}  # of other processes
    assert set(result) | set(sizes.work(a)) >= columns
    tflop_per_s = result["train_img_per_s"] * result["train_gflop_per_img"] / 1000
    assert result["train_peak_fraction"] == pytest.approx(tflop_per_s)
    assert result["compile_s"] > result["lower_s"] > 0 and result["program_gib"] > 0


def test_other_processes_are_done_before_this_one_takes_the_accelerators_memory(monkeypatch):
    order = []
    monkeypatch.setattr(common, "run_json", lambda command: order.append(command[-1]) or {"compile_s": 1.5})
    monkeypatch.setattr(common, "device_name", lambda: order.append("device") or "gpu")
    benchmark = dataclasses.replace(train_benchmark.BENCHMARK, measure=lambda a: order.append("measure") or {})
    monkeypatch.setattr(jax.config, "update", lambda *setting: None)
    result = sizes.main(benchmark, sizes.parse(None, ["--resolution", "8"]))
    assert order[:2] == ["--compile-only"] * 2 and {"device", "measure"} <= set(order[2:])
    assert result["compile_cached_s"] == 1.5


def test_a_ratio_is_ours_over_theirs_pair_by_pair(capsys, tmp_path):
    turns = tmp_path / "turns"
    speak = (
        "import json, sys\n"
        "with open(sys.argv[1], 'a+') as file:\n"
        "    file.write(sys.argv[2]); file.seek(0); n = len(file.read())\n"
        "print(json.dumps({'train_img_per_s': n * float(sys.argv[3]), 'resolution': 8}))"
    )
    command = [sys.executable, "-c", speak, str(turns)]
    compared = against.run_pairs([*command, "o", "10"], [*command, "t", "5"], 3, ("train_img_per_s",))
    assert turns.read_text() == "ottoot"  # in turn, and each first in turn
    ratio = compared["ratios"]["train_img_per_s"]
    assert ratio["pairs"] == pytest.approx([(10 * 1) / (5 * 2), (10 * 4) / (5 * 3), (10 * 5) / (5 * 6)])
    assert [ratio[name] for name in ("median", "min", "max")] == pytest.approx([5 / 3, 1, 8 / 3])
    assert "pair 3: " in capsys.readouterr().out


def test_other_work_and_broken_programs_are_refused():
    ours = shlex.split(printing(resolution=8, train_img_per_s=1.0))
    with pytest.raises(common.BenchmarkError, match="resolution is 8 here and 16 there"):
        against.run_pairs(ours, shlex.split(printing(resolution=16, train_img_per_s=1.0)), 1, ("train_img_per_s",))
    with pytest.raises(common.BenchmarkError, match="none of train_img_per_s"):
        against.run_pairs(ours, shlex.split(printing(resolution=8)), 1, ("train_img_per_s",))
    with pytest.raises(common.BenchmarkError, match="failed with status 3"):
        common.run_json([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(common.BenchmarkError, match="printed no JSON object"):
        common.run_json([sys.executable, "-c", "print(1)"])
    with pytest.raises(common.BenchmarkError, match="cannot be started"):
        common.run_json(["no-such-program-anywhere"])


def test_the_other_command_gets_the_options_values():
    a = sizes.parse(None, ["--resolution", "16", "--batch", "4"])
    filled = against.fill("other --size {resolution} -n {batch} '{unknown} word'", a)
    assert filled == ["other", "--size", "16", "-n", "4", "{unknown} word"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resolution", "12"], "resolution = 12: must be a power of two"),
        (["--resolution", "8", "--steps", "0"], "--steps 0: must be at least 1"),
        (["--against", "other"], "{resolution}"),
        (["--compile-only"], "needs a --resolution"),
    ],
)
def test_wrong_options_are_a_sentence(arguments, message):
    with pytest.raises(common.BenchmarkError, match="(?s).*" + message.replace("{", r"\{")):
        sizes.main(train_benchmark.BENCHMARK, sizes.parse(None, arguments))


def test_tables_line_up():
    text = common.table([{"a": 1.25, "b": "x"}, {"a": None}], {"a": ("long title", ".1f"), "b": ("b", "s")})
    assert text.splitlines() == ["long title  b", "       1.2  x", "         -  -"]


def small_config(**loss) -> Config:
    return tiny_config(
        16,
        generator={"channel_base": 64, "channel_max": 8},
        discriminator={"channel_base": 64, "channel_max": 8},
        loss=loss,
        schedule={"start_resolution": 16},
    )


def test_operations_are_those_of_the_layers():
    config = small_config()  # 8, 8 and 4 channels at 4, 8 and 16 pixels

    def layers(*shapes: tuple[int, int, int, int]) -> int:
        """Of convolutions (inputs, outputs, kernel, pixels a side); a dense layer is one of a single pixel."""
        return sum(2 * i * o * k * k * r * r for i, o, k, r in shapes)

    assert flops.mapping(config) == layers((8, 8, 1, 1), (8, 8, 1, 1))
    affines = layers(*[(8, 16, 1, 1)] * 4, *[(8, 8, 1, 1)] * 2)
    convolutions = layers((8, 8, 3, 4), (8, 8, 3, 8), (8, 8, 3, 8), (8, 4, 3, 16), (4, 4, 3, 16))
    synthesis = affines + convolutions + layers((4, 3, 1, 16))
    assert flops.synthesis(config, 16, fading=False) == synthesis
    assert flops.synthesis(config, 16, fading=True) == synthesis + layers((8, 3, 1, 8))
    assert flops.sample(config) == flops.mapping(config) + synthesis
    blocks = layers((4, 4, 3, 16), (4, 8, 3, 16), (8, 8, 3, 8), (8, 8, 3, 8))
    end = layers((9, 8, 3, 4), (8, 8, 4, 1), (8, 1, 1, 1))  # the first dense layer sees all of the 4x4 pixels
    discriminator = blocks + end + layers((3, 4, 1, 16))
    assert flops.discriminator(config, 16, fading=False) == discriminator
    assert flops.discriminator(config, 16, fading=True) == discriminator + layers((3, 8, 1, 8))


def test_operations_of_stylegan2_are_counted_by_its_definition_too():
    config = small_config()
    demod = dataclasses.replace(config.generator, block="demod")
    config = dataclasses.replace(config, generator=demod, schedule=ScheduleConfig(start_resolution=16))

    def layers(*shapes):
        return sum(2 * i * o * k * k * r * r for i, o, k, r in shapes)

    affines = layers(*[(8, 8, 1, 1)] * 6, *[(8, 4, 1, 1)] * 2)
    convolutions = layers((8, 8, 3, 4), (8, 8, 3, 4), (8, 8, 3, 8), (8, 4, 3, 8), (4, 4, 3, 16))
    torgb = layers((8, 3, 1, 4), (8, 3, 1, 8), (4, 3, 1, 16))
    assert flops.synthesis(config, 16, fading=False) == affines + convolutions + torgb
    blocks = layers((4, 4, 3, 16), (4, 8, 3, 8), (4, 8, 1, 8), (8, 8, 3, 8), (8, 8, 3, 4), (8, 8, 1, 4))
    end = layers((9, 8, 3, 4), (8, 8, 4, 1), (8, 1, 1, 1))
    assert flops.discriminator(config, 16, fading=False) == blocks + end + layers((3, 4, 1, 16))


def test_a_step_counts_its_passes():
    every, lazy, without = (small_config(r1_interval=k, r1_gamma=g) for k, g in ((1, 10.0), (16, 10.0), (1, 0.0)))
    d, g = flops.discriminator(every, 16, True), 2 * flops.mapping(every) + flops.synthesis(every, 16, True)
    assert flops.training_step(every, 16) == pytest.approx(11 * d + 4 * g)
    assert flops.training_step(without, 16) == pytest.approx(8 * d + 4 * g)
    assert flops.training_step(lazy, 16) == pytest.approx((8 + 6 / 16) * d + 4 * g)


def test_the_timed_work_is_the_originals():
    a = argparse.Namespace(resolution=8, batch=4, base=64, max=16, amp=False, block="adain")
    config = workload.make_config(a)
    assert (config.loss.r1_interval, config.loss.r1_gamma, config.loss.name) == (1, 10.0, "logistic")
    assert (config.generator.w_dim, config.generator.mapping_layers, config.generator.style_mixing_prob) == (
        512,
        8,
        0.9,
    )
    assert config.discriminator.mbstd_group_size == 4 and config.compute_dtype == "float32"


def test_gaps_are_told_apart():
    clock = growing.Clock()
    times = [(8, 0.0, 0.9), (8, 1.0, 1.9), (16, 4.0, 6.9), (16, 7.0, 8.9), (16, 9.0, 10.9), (16, 14.0, 15.9)]
    for resolution, called, ended in times:
        if called == 4.0:
            clock.part("begin_stage", 1.5)
        if called == 14.0:
            clock.part("report", 3.0)
        clock.step(resolution, called, ended)
    (row,) = growing.boundaries(clock)
    assert row["resolution"] == 16
    assert row["step_ms"] == pytest.approx(2000)  # the median of 2, 2 and 5
    assert row["gap_ms"] == pytest.approx(5000) and row["gap_steps"] == pytest.approx(2.5)
    assert row["gap_parts"] == "step 2900, begin_stage 1500"
    assert row["longest_ms"] == pytest.approx(5000) and "report 3000" in row["longest_parts"]


@pytest.mark.slow
def test_the_loop_is_measured():
    text, result = run("growing", "--steps", "5", "--resolution", "16")
    (row,) = result["growing"]
    assert row["resolution"] == 16 and row["gap_steps"] > 0 and row["compile_s"] > 0
    assert result["dispatch"]["dispatch_ms"] > 0 and result["dispatch"]["resolution"] == 8
    assert "in the loop" in text


@pytest.mark.slow
def test_every_source_is_read(tmp_path):
    path = tmp_path / "input.json"
    options = ["--resolution", "16", "--images", "10", "--batch", "4", "--seconds", "0.02", "--steps", "0"]
    text, result = run("input", *options, "--speed", "quickstart:8=5", "--json", str(path))
    sources = {(row["source"], row["encoding"]) for row in result["reading"]}
    assert sources >= {("lsun", "raw"), ("lsun", "jpeg"), ("lsun", "lossless"), ("images", "raw"), ("cifar10", "raw")}
    assert sources >= {("toy_bedrooms", "drawn"), ("toy_bedrooms", "kept"), ("tfds of 16", "raw")}
    assert {row["source"] for row in result["preparing"]} == {"lsun", "images", "cifar10"}
    quickstart = [row for row in result["stages"] if row["config"] == "quickstart"]
    assert [row["basis"] for row in quickstart] == ["given", "at most", "at most"]
    assert quickstart[0]["times"] == pytest.approx(quickstart[0]["supply"] / 5)
    assert {row["config"] for row in result["stages"]} == {
        p.stem for p in (common.ROOT / "configs").glob("*.py") if p.stem != "style_transfer"
    }
    assert json.loads(path.read_text())["stages"] == result["stages"] and "Hours are predictions" in text


def test_a_stage_is_compared_with_what_it_reads():
    from configs import lsun_bedroom_256, quickstart

    readings = [
        input_benchmark.Reading(source, encoding, r, 100.0, 100.0)
        for source in ("lsun", "toy_bedrooms")
        for encoding in ("raw", "jpeg", "drawn", "kept")
        for r in (8, 256)
    ]
    for config, resolution, expected in (
        (lsun_bedroom_256.get_config(), 8, ("lsun", "raw")),
        (lsun_bedroom_256.get_config(), 256, ("lsun", "jpeg")),
        (quickstart.get_config(), 8, ("toy_bedrooms", "drawn")),
    ):
        reading = input_benchmark.supply(config, resolution, readings)
        assert (reading.source, reading.encoding, reading.resolution) == (*expected, resolution)
    assert input_benchmark.supply(lsun_bedroom_256.get_config(), 512, readings) is None


def test_files_are_small():
    for path in [*BENCHMARKS.glob("*.py"), *(common.ROOT / "studies").glob("*.py")]:
        assert len(path.read_text().splitlines()) <= 300, path.name


def test_style_transfer_is_timed_and_compared(monkeypatch):
    other = printing(framework="torch", resolution=32, batch=2, network="small", stylize_img_per_s=2.0)
    tiny = ["--resolution", "32", "--batch", "2", "--steps", "2", "--warmup", "1"]
    text, result = run("style_transfer", *tiny, "--against", other, "--pairs", "1")
    assert result["stylize_img_per_s"] > 0 and result["peak_gflop_per_s"] > 0
    assert result["against"]["ratios"]["stylize_img_per_s"]["pairs"] == [result["stylize_img_per_s"] / 2.0]
    assert "ours/theirs" in text


def test_operations_of_a_transfer_are_counted():
    from benchmarks import style_transfer

    # relu1_1 to relu3_1 of 8 pixels: 3-16 and 16-16 at 8, 16-32 and 32-32 at 4, 32-64 at 2; as much for the decoder.
    one_way = 64 * (3 * 16 + 16 * 16) + 16 * (16 * 32 + 32 * 32) + 4 * 32 * 64
    assert style_transfer.gflop("autoencoder", 8) == pytest.approx((2 * 2 * 9 * one_way + 2 * 9 * 64) / 1e9)


def test_the_networks_that_are_timed_are_ours():
    from benchmarks import style_transfer
    from stylegen.style_transfer.config import StyleConfig
    from stylegen.style_transfer.model import load_model
    from stylegen.style_transfer.networks import VGG19

    assert {
        "small": load_model().stages,
        "autoencoder": StyleConfig().stages,
        "vgg19": VGG19,
    } == style_transfer.NETWORKS
