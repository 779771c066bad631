"""``run.micro_batch``: a batch computed in parts gives the numbers of the whole batch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.config import ConfigError
from stylegen.networks.build import build_networks
from stylegen.runtime import hlo, sharding
from stylegen.train import Hooks, TrainingError, train
from stylegen.training.micro_batches import Part, out_of_memory, smaller
from stylegen.training.regularization import regularization_steps
from stylegen.training.state import init_state
from stylegen.training.step import StepConfig, train_step
from tests.support.configs import tiny_config
from tests.support.devices import report_of
from tests.support.marks import slow_but
from tests.support.states import shaken

N, R = 8, 8  # images a step and their pixels; minibatch-std groups of 2, so at most 4 parts
IMAGES = np.random.default_rng(5).integers(0, 256, (N, R, R, 3), np.uint8)
LABELS = np.arange(N, dtype=np.int32) % 3
VARIANTS = {
    "every step's R1, labels, mirroring": {"loss": {"r1_gamma": 8.0}, "num_classes": 3},
    "lazy R1 and R2, labels": {"loss": {"name": "relativistic", "r1_gamma": 8.0, "r1_interval": 4}, "num_classes": 3},
    "lazy R1 with ADA": {
        "loss": {"r1_gamma": 8.0, "r1_interval": 4},
        "augment": {"mode": "ada", "p": 0.5, "noise": True, "cutout": True, "paired": False, "interval": 1},
    },
    "wgan_gp": {"loss": {"name": "wgan_gp"}},
    "path lengths": {
        "generator": {"block": "demod"},
        "loss": {"r1_gamma": 8.0, "pl_weight": 3.0, "pl_decay": 0.25, "pl_interval": 4},
    },
    "wide, with path lengths": {
        "const_shape": (2, 4),
        "generator": {"block": "demod"},
        "loss": {"r1_gamma": 8.0, "r1_interval": 4, "pl_weight": 3.0, "pl_interval": 4},
    },
}


def make_config(variant, micro_batch=None):
    options = {name: dict(value) if isinstance(value, dict) else value for name, value in VARIANTS[variant].items()}
    options["generator"] = {"w_avg_beta": 0.9, **options.get("generator", {})}
    return tiny_config(
        R,
        data={"batch": N, "mirror": True},
        discriminator={"mbstd_group_size": 2, "channel_max": 4},
        optimizer={"beta1": 0.5, "epsilon": 1e-3, "ema_kimg": 0.01},
        run={"micro_batch": micro_batch},
        **options,
    )


@functools.cache
def start(variant):
    """A state in mid-run, so that Adam does not divide gradients by themselves."""
    state = init_state(make_config(variant), seed=1)
    used = {
        name: opt._replace(count=np.int32(3), nu=jax.tree.map(np.square, shaken(opt.nu, np.random.default_rng(2))))
        for name, opt in (("g_opt", state.g_opt), ("d_opt", state.d_opt))
    }
    pl_mean = None if state.pl_mean is None else np.float32(0.5)
    g, d = (shaken(params, np.random.default_rng(2)) for params in (state.g, state.d))
    return dataclasses.replace(state, nimg=np.int32(40), g=g, d=d, pl_mean=pl_mean, **used)


@functools.cache
def after(variant, micro_batch):
    """By step, the state and the metrics after it; each from ``start``."""
    config, results = make_config(variant, micro_batch), {}
    static = StepConfig(config, build_networks(config))
    steps = {"train": train_step} | {name: step for name, (step, _) in regularization_steps(config).items()}
    for name, step in steps.items():
        compute = jax.jit(functools.partial(step, static=static))
        rows, columns = config.shape_at(R)
        images = IMAGES[:, :rows, :columns]
        state, metrics = compute(start(variant), images, LABELS, jnp.float32(0.7), jnp.float32(0.01))
        state = dataclasses.replace(state, key=jax.random.key_data(state.key))
        results[name] = jax.device_get((state, metrics))
    return results


def largest_difference(a, b):
    """(largest difference of any array, relative to its largest number; the array's place).

    Of small gradients, relative to a tenth of the largest of the optimizer's or the network's: that of the bias before
    the first instance norm, say, is a difference of large numbers.
    """
    fields, differences = {}, []
    leaves = jax.tree.leaves_with_path(a)
    for path, x in leaves:
        field = jax.tree_util.keystr(path[:3])
        fields[field] = max(fields.get(field, 1e-3), float(np.abs(x).max()))
    for (path, x), y in zip(leaves, jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        scale = max(np.abs(x).max(), fields[jax.tree_util.keystr(path[:3])] / 10)
        differences.append((float(np.abs(x - y).max() / scale), jax.tree_util.keystr(path)))
    return max(differences)


@pytest.mark.parametrize(
    ("variant", "micro_batch"),
    slow_but([(variant, n) for variant in VARIANTS for n in (2, 4)], [("wgan_gp", 2), ("path lengths", 4)]),
)
def test_parts_compute_what_the_whole_batch_does(variant, micro_batch):
    whole, parts = after(variant, None), after(variant, micro_batch)
    difference, where = largest_difference(whole, parts)
    assert difference < 1e-5, where
    moved, _ = largest_difference(start(variant).d, whole["train"][0].d)
    assert moved > 1e-4


def test_a_micro_batch_is_another_program():
    """Else the test above would compare a thing with itself: rounding differs."""
    whole, parts = (after("wgan_gp", micro_batch)["train"] for micro_batch in (None, 2))
    assert largest_difference(whole, parts)[0] > 0


def test_a_part_is_of_neighbors_on_each_device():
    x = np.arange(24).reshape(12, 2)
    part = Part(1, count=2, devices=3)
    assert part.of(x)[:, 0].tolist() == [4, 6, 12, 14, 20, 22]  # images 2 and 3 of 0-3, 6 and 7 of 4-7, ...
    assert part.of(x.T, axis=1).tolist() == part.of(x).T.tolist()
    assert part.whole((6, 2)) == (12, 2)
    assert part.of(None) is None


@pytest.mark.parametrize(
    ("batch", "devices", "micro_batch", "expected"),
    [
        (32, 1, None, 1),
        (32, 1, 32, 1),
        (32, 1, 31, 2),
        (32, 1, 8, 4),
        (32, 1, 4, 8),
        (32, 4, 4, 2),
        (24, 1, 16, 2),  # 3 parts of 8 would do; 2 of 12 are fewer
        (24, 1, 11, 3),
        (2, 1, 4, 1),
    ],
)
def test_as_few_parts_as_fit_each_of_whole_groups(batch, devices, micro_batch, expected):
    config = tiny_config(data={"batch": batch}, run={"micro_batch": micro_batch})
    assert sharding.parts(config, 8, batch, devices) == expected


def test_lower_resolutions_take_more_at_once():
    config = tiny_config(data={"batch": 64}, run={"micro_batch": 4})
    assert [sharding.parts(config, r, 64, 1) for r in (8, 4)] == [16, 8]


def test_path_lengths_take_a_fraction_at_once():
    config = tiny_config(generator={"block": "demod"}, data={"batch": 32}, loss={"pl_weight": 2.0})
    micro = dataclasses.replace(config, run=dataclasses.replace(config.run, micro_batch=8))
    assert [sharding.path_parts(c, 8, 32, 1) for c in (config, micro)] == [1, 4]


def test_a_micro_batch_holds_a_group():
    with pytest.raises(ConfigError, match=r"run.micro_batch = 3: must hold a group .* at least 4"):
        tiny_config(8, data={"batch": 8}, schedule={"start_resolution": 8}, run={"micro_batch": 3})
    tiny_config(8, data={"batch": 2}, run={"micro_batch": 2})  # smaller batches are one group


@pytest.mark.parametrize(
    ("batch", "devices", "micro_batch", "expected"),
    [(32, 1, None, 16), (32, 1, 16, 8), (32, 1, 4, None), (32, 8, None, None), (12, 1, None, 4), (64, 2, None, 16)],
)
def test_the_next_smaller_micro_batch(batch, devices, micro_batch, expected):
    config = tiny_config(data={"batch": batch}, run={"micro_batch": micro_batch})
    assert smaller(config, 8, devices) == expected


def test_smaller_resolutions_propose_what_they_need():
    config = tiny_config(data={"batch": 64})
    assert smaller(config, 4, 1) == 16, "32 images at 4 pixels, of 8"


def test_out_of_memory_says_what_to_type():
    text = out_of_memory(tiny_config(data={"batch": 32}), 8, 2)
    assert "at 8x8 pixels with 16 images at once on each device" in text and "--run.micro-batch 8 " in text
    text = out_of_memory(tiny_config(data={"batch": 8}, run={"micro_batch": 4}), 8, 1)
    assert "--run.micro-batch" not in text and "--compute-dtype bfloat16" in text


class RunsOut(Hooks):
    def on_step(self, state, metrics, nimg):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes")


def test_a_run_that_is_out_of_memory_ends_with_a_proposal(tmp_path):
    run = {"dir": str(tmp_path / "run"), "compile_ahead": False}
    config = tiny_config(data={"batch": 8}, schedule={"start_resolution": 8}, run=run)
    with pytest.raises(TrainingError, match=r"8x8 pixels with 8 images .* --run.micro-batch 4 "):
        train(config, hooks=RunsOut())


LOOP = """HloModule m

%body.1 (p: (f32[4], s32[])) -> (f32[4], s32[]) {
  %p = (f32[4], s32[]) parameter(0)
  %x = f32[4]{0} get-tuple-element((f32[4], s32[]) %p), index=0
  %all-reduce.3 = f32[4]{0} all-reduce(f32[4]{0} %x), to_apply=%add
  ROOT %fusion.2 = f32[4]{0} fusion(f32[4]{0} %all-reduce.3), kind=kLoop, calls=%f
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %fusion.9 = f32[4]{0} fusion(f32[4]{0} %a), kind=kLoop, calls=%g
  %while.5 = (f32[4], s32[]) while(%t), condition=%c, body=%body.1, backend_config={"known_trip_count":{"n":"8"}}
  ROOT %all-reduce.7 = f32[4]{0} all-reduce(f32[4]{0} %fusion.9), to_apply=%add
}
"""


def test_what_a_loop_does_counts_as_often_as_it_runs():
    names = [kernel.name for kernel in hlo.kernels(LOOP)]
    assert names == ["fusion.9", *["all-reduce.3", "fusion.2"] * 8, "all-reduce.7"]
    assert hlo.collectives(LOOP) == {"all-reduce": (9, 9 * 16)}


# In a process of its own: the number of CPU devices is fixed when JAX starts.
PROGRAM = """
import dataclasses, json
import jax, jax.numpy as jnp
from stylegen.networks.build import build_networks
from stylegen.runtime import hlo, sharding
from stylegen.training.step import StepConfig, jit_step, train_step
from tests.training.test_micro_batches import IMAGES, LABELS, largest_difference, make_config, start

results, report = {}, {}
for devices, micro_batch in ((1, None), (2, 2)):
    config = make_config("lazy R1 with ADA", micro_batch)
    mesh = sharding.make_mesh(dataclasses.replace(config, run=dataclasses.replace(config.run, devices=devices)))
    placed = sharding.put_batch(mesh, {"image": IMAGES, "label": LABELS})
    static = StepConfig(config, build_networks(config), sharding.split_latents(mesh))
    report[f"parts of {devices}"] = static.parts(*IMAGES.shape[:2])
    state = sharding.put_replicated(mesh, start("lazy R1 with ADA"))
    arguments = state, placed["image"], placed["label"], jnp.float32(0.7), jnp.float32(0.01)
    step = jit_step(train_step, static, sharding.replicated(mesh), sharding.split_batch(mesh))
    compiled = step.lower(*arguments).compile()
    report["collectives"] = sorted(hlo.collectives(compiled.as_text()))
    state, metrics = compiled(*arguments)
    results[devices] = jax.device_get((dataclasses.replace(state, key=jax.random.key_data(state.key)), metrics))
report["difference"] = largest_difference(results[1], results[2])
print(json.dumps(report))
"""


@pytest.mark.slow
def test_parts_stay_on_their_devices():
    """Two devices with parts compute what one does with the whole batch, and exchange nothing but sums."""
    report = report_of(PROGRAM)
    assert report["parts of 2"] == 2
    assert report["collectives"] == ["all-reduce"]
    assert report["difference"][0] < 1e-5, report["difference"]
