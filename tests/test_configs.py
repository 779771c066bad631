"""Every experiment in configs/ loads, says what it is, fits together, and takes a training step."""

import ast
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.cli.experiments import load_config
from stylegen.config import DataConfig, RunConfig, ScheduleConfig
from stylegen.config_json import from_json, to_json
from stylegen.networks.build import build_networks
from stylegen.networks.trees import count_parameters
from stylegen.training import schedule
from stylegen.training import step as train_step
from stylegen.training.regularization import regularization_steps
from stylegen.training.state import abstract_state, init_state
from stylegen.training.step import StepConfig
from tests.support.marks import slow_but
from tests.support.paths import ROOT

# Of generators; style_transfer.py is another kind, and has its own tests.
FILES = sorted(p for p in (ROOT / "configs").glob("*.py") if p.stem != "style_transfer")
every_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


@functools.cache
def load(path):
    return load_config(str(path))


def test_there_are_configurations():
    assert {"quickstart", "lsun_bedroom_256"} <= {path.stem for path in FILES}


@every_file
def test_docstring_gives_the_command_that_runs_it(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert f"python train.py --config configs/{path.name} --run.dir " in text
    assert load(path).data.source == "toy_bedrooms" or "--data.path " in text


@every_file
def test_round_trip_through_json(path):
    assert from_json(to_json(load(path))) == load(path)


@every_file
def test_both_networks_can_be_built(path):
    config = load(path)
    build_networks(config)
    state = abstract_state(config)
    assert count_parameters(state.g) > 0 and count_parameters(state.d) > 0
    assert jax.tree.structure(state.g) == jax.tree.structure(state.g_ema)


@every_file
def test_the_run_reaches_full_resolution(path):
    config = load(path)
    last = schedule.at(config, schedule.total_nimg(config) - 1)
    assert (last.resolution, last.alpha) == (config.resolution, 1.0)


def test_bedrooms_are_trained_as_in_the_original():
    config = load_config(str(FILES[0].parent / "lsun_bedroom_256.py"))
    rows = [(p.resolution, p.end / 1000, p.batch_size, p.learning_rate) for p in schedule.phases(config)]
    assert rows == [
        (8, 600, 256, 0.001),
        (16, 1200, 128, 0.001),
        (16, 1800, 128, 0.001),
        (32, 2400, 64, 0.001),
        (32, 3000, 64, 0.001),
        (64, 3600, 32, 0.001),
        (64, 4200, 32, 0.001),
        (128, 4800, 32, 0.0015),
        (128, 5400, 32, 0.0015),
        (256, 6000, 32, 0.002),
        (256, 70_000, 32, 0.002),
    ]
    g, d, adam = config.generator, config.discriminator, config.optimizer
    assert (g.z_dim, g.w_dim, g.mapping_layers, g.mapping_lr_multiplier) == (512, 512, 8, 0.01)
    assert (g.channel_base, g.channel_max, d.channel_base, d.channel_max) == (16_384, 512, 16_384, 512)
    assert (g.w_avg_beta, g.style_mixing_prob, d.mbstd_group_size) == (0.995, 0.9, 4)
    assert (adam.beta1, adam.beta2, adam.epsilon, adam.ema_kimg) == (0, 0.99, 1e-8, 10)
    assert (config.loss.name, config.loss.r1_gamma, config.loss.r1_interval) == ("logistic", 10, 1)
    assert not config.data.mirror and config.data.category == "bedroom" and config.compute_dtype == "bfloat16"


@pytest.mark.parametrize(("name", "gamma"), [("ffhq_1024_sg2", 10), ("lsun_bedroom_256_sg2", 100)])
def test_stylegan2_is_trained_as_configuration_f(name, gamma):
    config = load_config(str(FILES[0].parent / f"{name}.py"))
    g, d, adam, loss = config.generator, config.discriminator, config.optimizer, config.loss
    assert [(p.resolution, p.batch_size, p.learning_rate) for p in schedule.phases(config)] == [
        (config.resolution, 32, 0.002)
    ]
    assert (g.block, g.channel_base, g.channel_max, d.channel_base, d.channel_max) == ("demod", 2**15, 512, 2**15, 512)
    assert (g.z_dim, g.w_dim, g.mapping_layers, g.mapping_lr_multiplier) == (512, 512, 8, 0.01)
    assert (g.w_avg_beta, g.style_mixing_prob, d.mbstd_group_size) == (0.995, 0.9, 4)
    assert (adam.beta1, adam.beta2, adam.epsilon, adam.ema_kimg) == (0, 0.99, 1e-8, 10)
    assert (loss.name, loss.r1_gamma, loss.r1_interval) == ("logistic", gamma, 16)
    assert (loss.pl_weight, loss.pl_interval, loss.pl_decay, loss.pl_batch_shrink) == (2, 4, 0.01, 2)


def narrow(config):
    """The experiment with tiny networks, of 8 pixels at most: loss, classes, optimizer and dtype are as they were."""
    batch = min(config.data.batch, 2 * config.discriminator.mbstd_group_size)
    return dataclasses.replace(
        config,
        resolution=8,
        data=DataConfig(source="images", mirror=True, batch=batch),
        generator=dataclasses.replace(config.generator, z_dim=8, w_dim=8, mapping_layers=1, channel_max=4),
        discriminator=dataclasses.replace(config.discriminator, channel_max=4),
        schedule=ScheduleConfig(start_resolution=4 if config.generator.block == "adain" else 8),
        run=RunConfig(),
    )


@functools.cache
def step(text):
    """A step of each kind at the first resolution, of a configuration as JSON: those that differ in data share it."""
    config = from_json(text)
    static = StepConfig(config, build_networks(config))
    rng = np.random.default_rng(0)
    n, size = config.data.batch, config.schedule.start_resolution
    images = rng.integers(0, 256, (n, *config.shape_at(size), config.image_channels), np.uint8)
    labels = rng.integers(0, max(config.num_classes, 1), n).astype(np.int32)
    arguments = images, labels, jnp.float32(1), jnp.float32(0.001)
    before = init_state(config)
    after, metrics = jax.jit(functools.partial(train_step.train_step, static=static))(before, *arguments)
    for follows, _ in regularization_steps(config).values():
        after, penalty = jax.jit(functools.partial(follows, static=static))(after, *arguments)
        metrics |= penalty
    return jax.device_get((before.g, before.d, after.g, after.d, after.nimg, metrics))


@pytest.mark.parametrize("name", slow_but([path.stem for path in FILES], ["quickstart", "lsun_bedroom_256_sg2"]))
def test_a_training_step(name):
    config = narrow(load(ROOT / "configs" / f"{name}.py"))
    old_g, old_d, g, d, nimg, metrics = step(to_json(config))
    assert nimg == config.data.batch
    assert {"Loss/G/loss", "Loss/D/loss"} < set(metrics)
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    for old, new in ((old_g, g), (old_d, d)):
        for (name, a), b in zip(jax.tree.leaves_with_path(old), jax.tree.leaves(new), strict=True):
            assert np.isfinite(b).all(), name
            where = jax.tree_util.keystr(name)
            inactive = "'b8'" in where and config.schedule.start_resolution == 4
            unused = inactive or ("noise_strength" in where and not config.generator.use_noise)
            assert np.array_equal(a, b) == unused, name
