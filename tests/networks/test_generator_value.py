"""A Generator as a value: a pytree that is called, and passes through jit, grad and vmap as one argument."""

import copy
import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import stylegen
from stylegen.config import Config, DataConfig, GeneratorConfig, ScheduleConfig
from stylegen.networks.build import build_networks
from stylegen.networks.layers import Initializer
from stylegen.networks.structure import ARRAYS, GeneratorNetwork, abstract_arrays, structure
from stylegen.networks.trees import by_path
from stylegen.training.state import GENERATOR_FIELDS

FADE = {"stage": 8, "alpha": 0.25}


def draw(G, z, c=None):
    return G.synthesis(G.broadcast(G.mapping(z, c)))


def latents(G, n=2):
    return stylegen.latents(range(n), G.z_dim)


@pytest.mark.parametrize("how", [{}, FADE])
def test_a_round_trip_keeps_everything(make_generator, how):
    G = dataclasses.replace(make_generator(**how), source="here")
    leaves, tree = jax.tree.flatten(G)
    back = jax.tree.unflatten(tree, leaves)
    fields = ("config", "resolution", "alpha", "kimg", "source")
    assert [getattr(back, name) for name in fields] == [getattr(G, name) for name in fields]
    assert jax.tree.structure(back) == tree and hash(jax.tree.structure(back)) == hash(tree)
    assert all(a is b for a, b in zip(jax.tree.leaves(back), leaves, strict=True))
    assert repr(back) == repr(G)


def test_the_leaves_are_the_arrays_and_the_alpha_of_a_fade(make_generator):
    stable, fading = make_generator(), make_generator(**FADE)
    arrays = by_path({name: getattr(stable, name) for name in ARRAYS})
    assert by_path(stable).keys() == arrays.keys()
    assert set(by_path(fading)) - set(by_path(stable)) == {"alpha"}
    shapes = by_path(abstract_arrays(stable.config))
    assert {name: leaf.shape for name, leaf in arrays.items()} == {name: leaf.shape for name, leaf in shapes.items()}
    assert set(GENERATOR_FIELDS) == set(ARRAYS)


def test_a_tree_keeps_its_structure_whatever_its_leaves(make_generator):
    """Such as where axes and placements are told: a 1 in the place of alpha is no finished stage."""
    G = make_generator(**FADE)
    for leaf in (0, 1, 1.0, None, "x"):
        marked = jax.tree.unflatten(jax.tree.structure(G), [leaf] * len(jax.tree.leaves(G)))
        assert marked.fading and marked.alpha is leaf
    assert jax.tree.structure(jax.tree.map(lambda _: 1, G)) == jax.tree.structure(G)


@pytest.mark.parametrize("how", [{}, FADE, {"classes": 3}, {"block": "demod"}])
def test_jit_gives_what_sampling_gives(make_generator, how):
    G = make_generator(**how)
    c = np.eye(3, dtype=np.float32)[[1, 2]] if G.c_dim else None
    expected = stylegen.sample(G, range(2), labels=[1, 2] if G.c_dim else None, as_float=True)
    images = jax.jit(draw)(G, latents(G), c)
    assert images.shape == (2, G.resolution, G.resolution, 3) and images.dtype == jnp.float32
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_broadcast_truncates(make_generator):
    G = make_generator()
    w = G.mapping(latents(G))
    assert w.shape == (2, G.w_dim)
    for psi, cutoff in ((0.7, None), (0.3, 2), (1.0, None), (1, 3)):
        expected = stylegen.styles(G, latents(G), psi=psi, cutoff=cutoff)
        np.testing.assert_allclose(G.broadcast(w, psi=psi, cutoff=cutoff), expected, atol=1e-5)


def test_noise_is_const_random_none_or_given(make_generator):
    G = make_generator()
    ws, key = G.broadcast(G.mapping(latents(G))), jax.random.key(3)
    synthesis = jax.jit(lambda G, ws, noise, key=None: G.synthesis(ws, noise=noise, key=key), static_argnames="noise")
    const, none, random = synthesis(G, ws, "const"), synthesis(G, ws, "none"), synthesis(G, ws, "random", key)
    np.testing.assert_allclose(const, stylegen.synthesize(G, ws, as_float=True), atol=1e-5)
    np.testing.assert_allclose(none, stylegen.synthesize(G, ws, noise="none", as_float=True), atol=1e-5)
    own = jnp.broadcast_to(G.constant_noise(), (2, G.num_noise))
    np.testing.assert_allclose(G.synthesis(ws, noise=own), const, atol=1e-5)
    network = build_networks(G.config).generator(G.params, G.noise_const).synthesis
    np.testing.assert_allclose(random, network(ws, resolution=16, noise="random", key=key), atol=1e-5)
    assert not np.allclose(random, const, atol=1e-3) and not np.allclose(none, const, atol=1e-3)


@pytest.mark.parametrize("block", ["adain", "demod"])
def test_features_are_those_that_the_image_is_made_of(make_generator, block):
    G = make_generator(block=block)
    ws = G.broadcast(G.mapping(stylegen.latents([1, 2], G.z_dim)))
    for at in (4, 8, 16):
        images, features = G.features(ws, at)
        np.testing.assert_array_equal(images, G.synthesis(ws))
        assert features.shape[:3] == (2, at, at)
    changed = ws.at[:, 4].add(1.0)  # a layer of the block of 16 pixels
    np.testing.assert_array_equal(G.features(changed, 8)[1], G.features(ws, 8)[1])
    assert np.abs(G.features(changed, 16)[1] - features).max() > 1e-3
    with pytest.raises(ValueError, match="at = 32: the blocks of these images are 4, 8, 16"):
        G.features(ws, 32)


def test_gradients_in_styles_are_slopes(make_generator):
    G = make_generator()
    ws = G.broadcast(G.mapping(latents(G)))
    target = stylegen.sample(G, [7], as_float=True)

    @jax.jit
    def score(ws):
        return jnp.mean(jnp.square(G.synthesis(ws) - target))

    gradient = jax.grad(score)(ws)
    direction = gradient / jnp.linalg.norm(gradient)
    slope = (score(ws + 1e-2 * direction) - score(ws - 1e-2 * direction)) / 2e-2
    assert float(slope) == pytest.approx(float(jnp.linalg.norm(gradient)), rel=1e-2)


def test_gradients_in_the_generator_are_a_generator(make_generator):
    G = make_generator(**FADE)
    z = latents(G)
    gradient = jax.jit(jax.grad(lambda G, z: jnp.sum(draw(G, z))))(G, z)
    assert isinstance(gradient, stylegen.Generator) and jax.tree.structure(gradient) == jax.tree.structure(G)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    old, new = (jnp.sum(draw(dataclasses.replace(G, alpha=alpha), z)) for alpha in (0.0, 1.0))
    np.testing.assert_allclose(gradient.alpha, new - old, rtol=1e-4)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient.params["mapping"]))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99])
def test_alpha_is_differentiable(make_generator, alpha):
    G = make_generator(**FADE)
    ws = G.broadcast(G.mapping(latents(G)))

    def brightness(alpha):
        return jnp.mean(dataclasses.replace(G, alpha=alpha).synthesis(ws))

    slope = jax.grad(brightness)(alpha)
    np.testing.assert_allclose(slope, brightness(1.0) - brightness(0.0), rtol=1e-4)


def test_vmap_over_styles_and_over_generators(make_generator):
    G = make_generator(**FADE)
    other = dataclasses.replace(jax.tree.map(lambda x: 0.9 * x, G), source="another")
    z = latents(G, 3)
    one_by_one = jax.vmap(lambda G, z: draw(G, z[None])[0], in_axes=(None, 0))
    np.testing.assert_allclose(jax.jit(one_by_one)(G, z), jax.jit(draw)(G, z), atol=1e-5)
    several = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), G, other)
    images = jax.jit(jax.vmap(draw, in_axes=(0, None)))(several, z)
    for batch, generator in zip(images, (G, other), strict=True):
        np.testing.assert_allclose(batch, jax.jit(draw)(generator, z), atol=1e-5)
    assert "fading" in repr(several)


def test_checkpoints_of_one_architecture_share_programs(make_generator):
    traces = []

    @jax.jit
    def program(G, z):
        traces.append(repr(G))
        return draw(G, z)

    G = make_generator(**FADE)
    z = latents(G)
    first = program(G, z)
    run = dataclasses.replace(G.config.run, dir="elsewhere", seed=7)
    loss = dataclasses.replace(G.config.loss, r1_gamma=1.0)
    later = dataclasses.replace(
        G, kimg=9.0, source="elsewhere", config=dataclasses.replace(G.config, run=run, loss=loss)
    )
    np.testing.assert_array_equal(program(later, z), first)
    for copied in (copy.deepcopy(G), pickle.loads(pickle.dumps(G))):
        np.testing.assert_array_equal(program(copied, z), first)
    for other in (
        dataclasses.replace(later, params=jax.tree.map(lambda x: 2 * x, G.params)),
        dataclasses.replace(later, alpha=0.75),
    ):
        assert not np.allclose(program(other, z), first, atol=1e-3)
    assert len(traces) == 1
    for i, different in enumerate(
        (
            dataclasses.replace(G, alpha=1.0),
            dataclasses.replace(G, resolution=4),
            dataclasses.replace(G, config=dataclasses.replace(G.config, precision="default")),
            dataclasses.replace(G, config=dataclasses.replace(G.config, compute_dtype="bfloat16")),
        ),
        start=2,
    ):
        program(different, z)
        assert len(traces) == i


def test_a_stable_generator_has_no_old_image_in_its_program(make_generator):
    """Nor its gradient: the block before has no layer of colors to learn."""
    G = make_generator(**FADE)
    ws = G.broadcast(G.mapping(latents(G)))
    colors = {}
    for alpha in (0.5, 1.0, np.float32(1), 1):
        gradient = jax.grad(lambda G: jnp.sum(jnp.square(G.synthesis(ws))))(dataclasses.replace(G, alpha=alpha))
        colors[type(alpha), float(alpha)] = bool(
            np.any(gradient.params["synthesis"]["blocks"]["b4"]["torgb"]["weight"])
        )
    assert colors == {(float, 0.5): True, (float, 1.0): False, (np.float32, 1.0): False, (int, 1.0): False}
    sizes = [len(jax.make_jaxpr(lambda G: G.synthesis(ws))(dataclasses.replace(G, alpha=a)).eqns) for a in (0.5, 1.0)]
    assert sizes[1] < sizes[0]


def test_generators_can_be_averaged(make_generator):
    """As trees: what flax keeps beside the arrays is equal for equal architectures."""
    a, b = make_generator(), jax.tree.map(lambda x: x + 2, make_generator())
    mean = jax.tree.map(lambda x, y: (x + y) / 2, a, b)
    np.testing.assert_allclose(mean.w_avg, a.w_avg + 1, rtol=1e-6)
    assert mean.config is a.config and stylegen.sample(mean, [1]).shape == (1, 16, 16, 3)


CHANGES = {
    "resolution": 16,
    "image_channels": 1,
    "num_classes": 2,
    "const_shape": (2, 3),
    "class_names": ("cat",),
    "channel_stats": ((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)),
    "compute_dtype": "bfloat16",
    "precision": "default",
    "generator.z_dim": 5,
    "generator.w_dim": 5,
    "generator.mapping_layers": 3,
    "generator.mapping_width": 9,
    "generator.normalize_z": False,
    "generator.mapping_lr_multiplier": 0.1,
    "generator.channel_base": 64,
    "generator.channel_max": 2,
    "generator.channel_decay": 2.0,
    "generator.use_noise": False,
    "generator.w_avg_beta": 0.5,
    "generator.style_mixing_prob": 0.5,
    "generator.block": "demod",
    "discriminator.channel_max": 2,
    "loss.r1_gamma": 3.0,
    "data.batch": 8,
    "run.seed": 5,
}


NEEDED = {"class_names": {"num_classes": 1}, "channel_stats": {"data": DataConfig(source="arrays")}}  # by some of them


@pytest.mark.parametrize("name", CHANGES)
def test_a_structure_is_one_object_for_equal_networks_alone(name):
    """Whatever a network reads of its configuration must be among the settings that structures are found by."""
    config = Config(
        resolution=8,
        data=DataConfig(source="images"),
        generator=GeneratorConfig(z_dim=4, w_dim=4, mapping_layers=2, channel_base=32, channel_max=4),
        schedule=ScheduleConfig(start_resolution=8),
    )
    config = dataclasses.replace(config, **NEEDED.get(name, {}))
    part, _, field = name.rpartition(".")
    inner = dataclasses.replace(getattr(config, part) if part else config, **{field: CHANGES[name]})
    changed = dataclasses.replace(config, **{part: inner}) if part else inner

    def fresh(config):
        return nnx.graphdef(nnx.eval_shape(lambda: GeneratorNetwork(config, init=Initializer(None))))

    assert (structure(config) is structure(changed)) == (fresh(config) == fresh(changed))


def test_every_setting_of_the_generator_is_tried():
    names = {f"generator.{field.name}" for field in dataclasses.fields(GeneratorConfig)}
    names |= {field.name for field in dataclasses.fields(Config) if not dataclasses.is_dataclass(field.default)}
    assert names <= set(CHANGES)


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda G: G.mapping(np.zeros((2, 15)), np.eye(3)[[0, 1]]),
            r"z has shape \(2, 15\); this generator needs \[N, 16",
        ),
        (lambda G: G.mapping(np.zeros(16), np.eye(3)[0]), r"z has shape \(16,\)"),
        (lambda G: G.mapping(np.zeros((2, 16))), r"c is missing: this generator needs one-hot labels \[2, 3\]"),
        (
            lambda G: G.mapping(np.zeros((2, 16)), np.array([0, 1])),
            r"c has shape \(2,\); .* needs \[2, 3\]",
        ),
        (lambda G: G.broadcast(np.zeros((2, 6, 16))), r"w has shape \(2, 6, 16\); this generator needs \[N, 16\]"),
        (lambda G: G.synthesis(np.zeros((2, 16))), r"ws has shape \(2, 16\); this generator needs \[N, 6, 16\]"),
        (lambda G: G.synthesis(np.zeros((2, 5, 16))), r"ws has shape \(2, 5, 16\)"),
        (lambda G: G.synthesis(np.zeros((2, 6, 16)), noise="some"), "noise = 'some': must be random, const, none or"),
        (lambda G: G.synthesis(np.zeros((2, 6, 16)), noise=np.zeros((1, 672))), r"needs \[2, 672\]"),
        (lambda G: G.synthesis(np.zeros((2, 6, 16)), noise="random"), "key is missing"),
        (lambda G: G.synthesis(np.zeros((2, 6, 16)), key=jax.random.key(0)), "key was given"),
        (lambda G: dataclasses.replace(G, resolution=32), "resolution = 32: this network has 4, 8, 16"),
        (lambda G: dataclasses.replace(G, alpha=1.5), r"alpha = 1.5: must be in \[0, 1\]"),
    ],
)
def test_errors_name_the_field_the_value_and_the_fix(make_generator, call, words):
    with pytest.raises(ValueError, match=words):
        call(make_generator(classes=3))


def test_labels_without_classes_are_refused(make_generator):
    with pytest.raises(ValueError, match="this generator has no classes: leave it out"):
        make_generator().mapping(np.zeros((1, 16)), np.ones((1, 1)))


@pytest.mark.parametrize("precision, name", [("default", "DEFAULT"), ("highest", "HIGHEST")])
def test_it_computes_at_its_own_precision(make_generator, precision, name):
    G = make_generator()
    G = dataclasses.replace(G, config=dataclasses.replace(G.config, precision=precision))
    text = jax.jit(draw).lower(G, latents(G)).as_text()
    assert f"precision = [{name}, {name}]" in text
    assert f"precision = [{'HIGHEST' if name == 'DEFAULT' else 'DEFAULT'}" not in text
