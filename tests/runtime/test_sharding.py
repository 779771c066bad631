"""One and two devices compute the same, and what travels between devices are sums."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from stylegen.config import ConfigError
from stylegen.runtime import sharding
from tests.support.configs import tiny_config
from tests.support.devices import report_of

# In a process of its own: the number of CPU devices is fixed when JAX starts. Prints what the tests below look at.
PROGRAM = """
import dataclasses, json, sys
import jax, jax.numpy as jnp, numpy as np
from stylegen.runtime import sharding
from stylegen.networks.build import build_networks
from stylegen.training.step import StepConfig, jit_step, train_step
from tests.support.configs import tiny_config
from tests.support.states import greatest_difference, mid_run

config = tiny_config(
    data={"batch": 24, "mirror": True},
    generator={"z_dim": 6, "w_dim": 6, "mapping_layers": 1},
    augment={"mode": sys.argv[1], "p": 0.5, "interval": 1, "noise": True, "cutout": True},
)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (24, 4, 4, 3), np.uint8)
batch = {"image": images, "label": np.zeros(24, np.int32)}
networks = build_networks(config)

results, report = {}, {"devices": jax.device_count(), "shards": {}}
for devices in (1, 2):
    mesh = sharding.make_mesh(dataclasses.replace(config, run=dataclasses.replace(config.run, devices=devices)))
    replicated, split = sharding.replicated(mesh), sharding.split_batch(mesh)
    placed = sharding.put_batch(mesh, batch)
    report["shards"][devices] = [list(shard.data.shape) for shard in placed["image"].addressable_shards]
    state = sharding.put_replicated(mesh, mid_run(config))
    static = StepConfig(config, networks, sharding.split_latents(mesh))
    arguments = state, placed["image"], placed["label"], jnp.float32(1), jnp.float32(1e-2)
    step = jit_step(train_step, static, replicated, split).lower(*arguments).compile()
    report["step"] = step.as_text()
    state, metrics = step(*arguments)
    report["whole"] = all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state))
    state = dataclasses.replace(state, key=jax.random.key_data(state.key))
    results[devices] = jax.device_get((state, metrics))

report["difference"] = greatest_difference(results[1], results[2])
report["moved"] = float(max(np.abs(a - b).max() for a, b in zip(
    jax.tree.leaves(results[2][0].d), jax.tree.leaves(jax.device_get(mid_run(config).d)))))

score = jax.jit(
    lambda d, x: jnp.mean(networks.discriminator(d)(x)),
    in_shardings=(replicated, split), out_shardings=replicated,
)
images = jax.ShapeDtypeStruct((24, 4, 4, 3), jnp.float32)
report["score"] = score.lower(mid_run(config).d, images).compile().as_text()
print(json.dumps(report))
"""


@pytest.fixture(scope="module", params=["none", pytest.param("ada", marks=pytest.mark.slow)])
def report(request):
    """What the program found, without augmentation and with it."""
    return report_of(PROGRAM, request.param)


def test_one_and_two_devices_take_the_same_step(report):
    assert report["devices"] == 2
    largest, where = report["difference"]
    assert largest < 1e-5, (where, largest)
    assert report["moved"] > 1e-3, "the step did nothing, so that agreement says nothing"


def test_batches_are_split_and_states_are_whole(report):
    assert report["shards"] == {"1": [[24, 4, 4, 3]], "2": [[12, 4, 4, 3]] * 2}
    assert report["whole"]


def collectives(program):
    """(result, kind) of all that devices tell each other in a compiled program."""
    return re.findall(r"= (.+?) (all-[a-z-]+|collective-[a-z-]+|reduce-scatter)(?:-start)?\(", program)


def test_discriminator_sends_no_features_between_devices(report):
    """Groups of minibatch standard deviation lie on one device each: only the mean score is summed over devices."""
    operations = collectives(report["score"])
    assert [kind for _, kind in operations] == ["all-reduce"], operations
    assert operations[0][0].startswith("f32[]"), operations


def test_a_step_sends_nothing_but_sums_between_devices(report):
    assert {kind for _, kind in collectives(report["step"])} == {"all-reduce"}


def test_no_device_computes_the_whole_batch(report):
    """Of both networks and both halves of the step: the batch is 24, and no other size of these networks is."""
    products = re.findall(r"= f32\[(\d+)\S* (?:convolution|dot)\(", report["step"])
    assert "12" in products
    assert products.count("24") == 0, f"{products.count('24')} of {len(products)} products are of the whole batch"


@dataclasses.dataclass(frozen=True)
class Device:
    process_index: int
    id: int = 0
    platform: str = "cpu"


def make_config(batch=8, group=4, devices=None, batch_at=None):
    return tiny_config(
        data={"batch": batch},
        discriminator={"mbstd_group_size": group},
        schedule={"start_resolution": 4 if batch_at else 8, "batch": batch_at or {}},
        run={"devices": devices},
    )


def test_a_mesh_has_the_devices_asked_for():
    assert sharding.make_mesh(make_config(devices=1)).shape == {"data": 1}
    assert sharding.make_mesh(make_config()).shape == {"data": len(jax.devices())}


def test_more_devices_than_there_are_is_refused():
    requested = len(jax.devices()) + 1
    with pytest.raises(ConfigError, match=rf"run\.devices = {requested}: this machine has {requested - 1} \(cpu\)"):
        sharding.make_mesh(make_config(devices=requested))


@pytest.mark.parametrize(
    "batch, at, words",
    [
        (4, {}, ["batch of 4 at 8 pixels", "over 2 devices", "groups of 4", "data.batch", "multiple of 8"]),
        (3, {}, ["batch of 3", "groups of 3", "multiple of 6", "run.devices"]),
        (8, {4: 12}, ["batch of 12 at 4 pixels", "schedule.batch"]),
    ],
)
def test_a_batch_that_would_break_a_group_is_refused(monkeypatch, batch, at, words):
    monkeypatch.setattr(jax, "devices", lambda: [Device(0), Device(0)])
    with pytest.raises(ConfigError) as caught:
        sharding.make_mesh(make_config(batch, batch_at=at))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("batch, group", [(8, 4), (16, 4), (2, 1), (4, 2)])
def test_whole_groups_on_each_device_are_accepted(monkeypatch, batch, group):
    monkeypatch.setattr(jax, "devices", lambda: np.repeat(jax.local_devices(), 2)[:2].tolist())
    assert sharding.make_mesh(make_config(batch, group)).shape == {"data": 2}


def test_devices_of_a_process_are_side_by_side(monkeypatch):
    """So that a process's share of a batch is one block of it, whatever order a TPU pod has its devices in."""
    monkeypatch.setattr(jax, "devices", lambda: [Device(1, 2), Device(0, 0), Device(1, 3), Device(0, 1)])
    monkeypatch.setattr(sharding, "Mesh", lambda devices, names: devices)
    mesh = sharding.make_mesh(make_config(batch=16))
    assert [(device.process_index, device.id) for device in mesh] == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert [device.id for device in sharding.make_mesh(make_config(batch=8, devices=1))] == [0, 2]


def test_processes_with_different_numbers_of_devices_are_refused(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [Device(0, 0), Device(0, 1), Device(1, 2)])
    with pytest.raises(ConfigError, match=r"a process has 1, another 2 \(cpu\); set run\.devices to the smaller"):
        sharding.make_mesh(make_config(batch=16))


def test_shares_of_all_processes_are_the_batch(monkeypatch):
    shares = []
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    for index in range(3):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        shares.append(sharding.share(np.arange(12)).tolist())
    assert shares == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
