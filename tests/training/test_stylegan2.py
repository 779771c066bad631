"""StyleGAN2's blocks in training and after it: path-length steps, devices, resuming, and all that takes a generator."""

import dataclasses
import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stylegen
from stylegen import ops
from stylegen.cli.train import main as train_command
from stylegen.config import (
    Config,
    ConfigError,
    DataConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
)
from stylegen.evaluation.measure_ppl import measure_ppl
from stylegen.evaluation.metric_names import parse
from stylegen.metrics.extractors import Distance
from stylegen.networks.build import build_networks
from stylegen.networks.layers import num_noise
from stylegen.pretrained.lpips import Network
from stylegen.runs.load import save_generator
from stylegen.runtime import sharding
from stylegen.train import train
from stylegen.training import draws, regularization
from stylegen.training.state import abstract_state, g_optimizer, init_state, path_correction
from stylegen.training.step import StepConfig
from stylegen.training.summary import parameter_table
from tests.runtime.test_sharding import Device
from tests.support.configs import tiny_config
from tests.support.devices import report_of
from tests.support.hooks import Interrupt, Killed
from tests.support.states import shaken
from tests.support.stepping import adam, assert_trees_close, assert_trees_equal
from tests.test_train import assert_same_run, final_state, stats

N = 8  # images a step; half as many in a path-length step


def make_config(block="demod", **options):
    return tiny_config(
        data={"batch": N},
        generator={"block": block},
        loss={"r1_gamma": 8.0, "r1_interval": 4, "pl_weight": 3.0, "pl_interval": 4, "pl_decay": 0.25},
        optimizer={"beta2": 0.9, "epsilon": 1e-3},
        schedule={"start_resolution": 8},
        **options,
    )


@functools.cache
def mid_run_state():
    """A state in mid-run."""
    rng, state = np.random.default_rng(2), init_state(make_config(), seed=1)
    g = shaken(state.g, rng, 0.1)
    nu = jax.tree.map(lambda x: np.square(rng.standard_normal(x.shape, np.float32)), state.g_opt.nu)
    g_opt = state.g_opt._replace(count=np.int32(3), nu=nu)
    return dataclasses.replace(state, nimg=np.int32(40), g=g, g_opt=g_opt, pl_mean=np.float32(0.5))


IMAGES = np.random.default_rng(1).integers(0, 256, (N, 8, 8, 3), np.uint8)
LABELS = np.zeros(N, np.int32)


@functools.cache
def compiled():
    static = StepConfig(make_config(), build_networks(make_config()))
    return jax.jit(functools.partial(regularization.path_length_step, static=static))


def run_step(state, learning_rate):
    return compiled()(state, IMAGES, LABELS, jnp.float32(1), jnp.float32(learning_rate))


@functools.cache
def after_one_step():
    """The state after a path-length step, and its metrics."""
    state, metrics = run_step(mid_run_state(), 0.01)
    return jax.device_get((dataclasses.replace(state, key=jax.random.key_data(state.key)), metrics))


@functools.cache
def expected():
    """(lengths, gradients of the weighted penalty), with the products of the Jacobian taken image by image."""
    config, state = make_config(), mid_run_state()
    z_key, mix_key, noise_key, path_key = jax.random.split(
        jax.random.fold_in(jax.random.fold_in(state.key, 40), regularization.KEY), 4
    )
    y = jax.random.normal(path_key, (N // 2, 8, 8, 3)) / np.sqrt(8 * 8)
    noise = ops.noise(noise_key, (N // 2, num_noise(8)))

    def penalty(g):
        network = build_networks(config).generator(g, state.noise_const)
        ws, _ = draws.draw_styles(network, config, z_key, mix_key, N // 2, None, 8)

        def length(ws, noise, y):
            def draw(ws):
                return network.synthesis(ws[None], resolution=8, noise=noise[None])[0]

            (product,) = jax.vjp(draw, ws)[1](y)
            return jnp.sqrt(jnp.sum(jnp.square(product)) / len(product))

        lengths = jax.vmap(length)(ws, noise, y)
        return 3 * 4 * jnp.mean(jnp.square(lengths - (0.75 * 0.5 + 0.25 * jnp.mean(lengths)))), lengths

    gradients, lengths = jax.jit(jax.grad(penalty, has_aux=True))(state.g)
    return jax.device_get((lengths, gradients))


def test_a_path_length_step_is_adam_on_the_penalty_as_strong_as_the_steps_it_stands_for():
    before, (after, metrics), (lengths, gradients) = mid_run_state(), after_one_step(), expected()
    mean = 0.75 * 0.5 + 0.25 * lengths.mean()
    np.testing.assert_allclose(after.pl_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(metrics["Loss/path_length"], lengths.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["Loss/pl_penalty"], np.square(lengths - mean).mean(), rtol=1e-3)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients))
    assert_trees_close(after.g_opt.mu, gradients, rtol=1e-3, atol=1e-4 * largest)
    old, new = before.g_opt, after.g_opt
    g, _, nu = adam(before.g, new.mu, old.mu, old.nu, 4, 0.01 * 4 / 5, 0, 0.9 ** (4 / 5), 1e-3)
    assert_trees_close(after.g, g)
    assert_trees_close(new.nu, nu)


@pytest.mark.parametrize("block", ["demod", "adain"])
def test_either_block_takes_path_length_steps(block):
    static = StepConfig(make_config(block), build_networks(make_config(block)))
    before, scalar = abstract_state(static.config), jax.ShapeDtypeStruct((), jnp.float32)
    step = functools.partial(regularization.path_length_step, static=static)
    after, _ = jax.eval_shape(step, before, IMAGES, LABELS, scalar, scalar)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(after)] == [(x.shape, x.dtype) for x in jax.tree.leaves(before)]


def test_a_path_length_step_changes_the_generator_and_its_mean_alone():
    before, (after, metrics) = mid_run_state(), after_one_step()
    assert set(metrics) == {"Loss/pl_penalty", "Loss/path_length", "Progress/skipped_path_length"}
    for name in ("d", "d_opt", "g_ema", "w_avg", "noise_const", "nimg"):
        assert_trees_equal(getattr(after, name), getattr(before, name))


def test_path_lengths_are_drawn_together():
    """What the regularization is for: after some steps of it alone, lengths differ less from their mean."""
    state, penalties = mid_run_state(), []
    for i in range(60):
        state, metrics = run_step(state, 0.003)
        state = dataclasses.replace(state, nimg=np.int32(40 + N * i))
        penalties.append(float(metrics["Loss/pl_penalty"]) / float(metrics["Loss/path_length"]) ** 2)
    assert np.mean(penalties[-15:]) < 0.6 * np.mean(penalties[:15]), penalties


def test_lazy_path_lengths_correct_rate_and_betas():
    """StyleGAN2, appendix B: with k steps become k + 1, rate and betas go to the power (factor) k / (k + 1)."""
    assert path_correction(make_config()) == pytest.approx(4 / 5)
    assert path_correction(Config()) == 1
    config = dataclasses.replace(make_config(), optimizer=OptimizerConfig(beta1=0.5, beta2=0.99))
    gradient = {"a": np.float32(2)}
    opt_state = g_optimizer(config).update(gradient, g_optimizer(config).init(gradient))[1]
    np.testing.assert_allclose(opt_state.mu["a"], 2 * (1 - 0.5 ** (4 / 5)), rtol=1e-5)
    np.testing.assert_allclose(opt_state.nu["a"], 4 * (1 - 0.99 ** (4 / 5)), rtol=1e-4)


def test_the_mean_of_lengths_is_in_the_state_only_where_it_is_needed():
    """Checkpoints of runs without it stay as they were."""
    assert abstract_state(Config()).pl_mean is None
    assert abstract_state(make_config()).pl_mean.shape == ()
    assert set(regularization.regularization_steps(make_config())) == {"regularize", "path_length"}
    assert regularization.regularization_steps(Config()) == {}


def test_a_part_of_the_batch_that_does_not_split_over_devices_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [Device(0), Device(0)])
    group = dataclasses.replace(make_config().discriminator, mbstd_group_size=1)
    config = dataclasses.replace(make_config(), discriminator=group, data=DataConfig(source="images", batch=2))
    with pytest.raises(ConfigError, match="pl_batch_shrink = 2: it leaves 1 images of the batch of 2 at 8 pixels"):
        sharding.make_mesh(config)


# In a process of its own: the number of CPU devices is fixed when JAX starts.
PROGRAM = """
import dataclasses, json, sys
import jax, jax.numpy as jnp, numpy as np
from stylegen.runtime import sharding
from stylegen.networks.build import build_networks
from stylegen.training.regularization import regularization_steps
from stylegen.training.step import StepConfig, jit_step, train_step
from tests.support.states import greatest_difference, mid_run
from tests.training.test_stylegan2 import IMAGES, LABELS, make_config

config, results, report = make_config(), {}, {}
images, labels = np.tile(IMAGES, (3, 1, 1, 1)), np.tile(LABELS, 3)

for devices in (1, 2):
    mesh = sharding.make_mesh(dataclasses.replace(config, run=dataclasses.replace(config.run, devices=devices)))
    placement = sharding.replicated(mesh), sharding.split_batch(mesh)
    static = StepConfig(config, build_networks(config), sharding.split_latents(mesh))
    placed = sharding.put_batch(mesh, {"image": images, "label": labels})
    arguments = placed["image"], placed["label"], jnp.float32(1), jnp.float32(1e-2)
    state, metrics = sharding.put_replicated(mesh, mid_run(config)), {}
    steps = {"train": train_step, **{name: step for name, (step, _) in regularization_steps(config).items()}}
    for step in map(steps.get, sys.argv[1:]):
        program = jit_step(step, static, *placement).lower(state, *arguments).compile()
        state, found = program(state, *arguments)
        metrics |= found
    report["path_length"] = program.as_text()
    state = dataclasses.replace(state, key=jax.random.key_data(state.key))
    results[devices] = jax.device_get((state, metrics))

report["difference"] = greatest_difference(results[1], results[2])
report["moved"] = float(abs(results[2][0].pl_mean))
print(json.dumps(report))
"""


@pytest.mark.parametrize(
    "steps", [["path_length"], pytest.param(["train", "regularize", "path_length"], marks=pytest.mark.slow)]
)
def test_one_and_two_devices_take_the_same_steps(steps):
    report = report_of(PROGRAM, *steps)
    largest, where = report["difference"]
    assert largest < 1e-5, (where, largest)
    assert report["moved"] > 1e-3, "the step did nothing, so that agreement says nothing"
    # No device draws all 12 fakes: the batch of the path-length step is half of 24.
    products = re.findall(r"= f32\[(\d+)\S* (?:convolution|dot)\(", report["path_length"])
    assert "6" in products
    assert products.count("12") == 0, f"{products.count('12')} of {len(products)} products are of the whole batch"


def test_bfloat16_computes_nearly_the_same():
    state, results = mid_run_state(), []
    ws = np.random.default_rng(0).standard_normal((2, 4, 8), np.float32)
    for dtype in ("float32", "bfloat16"):
        networks = build_networks(make_config(compute_dtype=dtype))

        @jax.jit
        def both(ws, networks=networks):
            images = networks.generator(state.g, state.noise_const).synthesis(ws, resolution=8)
            return images, networks.discriminator(state.d)(images)

        results.append(jax.device_get(both(ws)))
    for full, half in zip(*results, strict=True):
        assert full.dtype == half.dtype == np.float32
        assert 0 < np.abs(full - half).max() < 0.05 * np.abs(full).max()


def tiny(folder: Path) -> Config:
    """12 steps of 4 images of 8 pixels."""
    return dataclasses.replace(
        make_config(),
        data=DataConfig(batch=4, num_images=50, workers=1),
        loss=LossConfig(r1_gamma=1.0, r1_interval=3, pl_weight=2.0, pl_interval=2),
        schedule=ScheduleConfig(start_resolution=8, total_kimg=0.048),
        run=RunConfig(dir=str(folder), tick_kimg=0.02, checkpoint_kimg=0.02, grid=(3, 2)),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return train(tiny(folder / "whole"))


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(finished):
    config = tiny(finished.parent / "killed")
    with pytest.raises(Killed):
        train(config, Interrupt(32))
    train(config)
    assert_same_run(finished, finished.parent / "killed")
    assert {"Loss/path_length", "Loss/pl_penalty", "Loss/r1_penalty"} <= set().union(*stats(finished))
    assert float(final_state(finished).state.pl_mean) > 0


def test_a_run_is_loaded_sampled_mixed_and_saved_like_any_other(finished, tmp_path):
    G = stylegen.load(finished)
    assert G.config.generator.block == "demod" and G.num_ws == 4 and np.asarray(G.w_avg).any()
    images = stylegen.sample(G, range(3), psi=0.7, noise="random")
    assert images.shape == (3, 8, 8, 3) and images.dtype == np.uint8
    ws = stylegen.styles(G, stylegen.latents(range(3), 8))
    assert stylegen.synthesize(G, stylegen.mix(ws[:1], ws[1:], [0, 1])).shape == (1, 2, 8, 8, 3)
    assert len(list(stylegen.walk(G, [1, 2], frames=3))) == 4
    save_generator(G, tmp_path / "one.safetensors")
    again = stylegen.sample(stylegen.load(tmp_path / "one.safetensors"), range(3), psi=0.7, noise="random")
    np.testing.assert_array_equal(again, images)


def test_noise_modes_and_truncation_do_something(make_generator):
    G = make_generator(block="demod")
    const, random, none = (stylegen.sample(G, [1], noise=noise) for noise in ("const", "random", "none"))
    assert not np.array_equal(const, none) and not np.array_equal(const, random) and not np.array_equal(none, random)
    low = stylegen.sample(G, range(4), psi=0.0)
    np.testing.assert_array_equal(low, low[:1].repeat(4, 0))


def test_perceptual_path_length_takes_it(make_generator):
    class Squares(Distance):
        def __call__(self, a, b):
            return jnp.mean(jnp.square(a - b), axis=(1, 2, 3))

    metric = parse("ppl16_wend")
    result = measure_ppl(metric, make_generator(block="demod"), Squares({}, Network([])))
    assert np.isfinite(result.value) and result.value > 0


def test_the_parameter_table_names_the_layers():
    table = parameter_table(make_config())
    for layer in (
        "generator/synthesis/blocks/b8/conv0/affine/weight",
        "generator/synthesis/blocks/b4/torgb/affine/weight",
        "discriminator/blocks/b8/skip/weight",
    ):
        assert layer in table


def test_the_command_line_chooses_the_block(capsys):
    argv = ["--config", "configs/quickstart.py", "--dry-run", "--generator.block", "demod"]
    assert not train_command([*argv, "--schedule.start-resolution", "32"])
    assert '"block": "demod"' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train_command(argv)
    assert "does not grow; set it to resolution = 32" in " ".join(capsys.readouterr().err.split())
