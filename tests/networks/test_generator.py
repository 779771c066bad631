"""The generator: sizes that are published, what growing must not change, and the original's fused layers in numpy.

Its numbers as a whole are held against the original's in test_reference.py.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen import ops
from stylegen.config import Config, DataConfig
from stylegen.networks.build import build_networks
from stylegen.networks.generator import Generator
from stylegen.networks.layers import Initializer, num_noise, width
from stylegen.networks.mapping import broadcast_styles, num_styles, truncate
from stylegen.networks.structure import split_generator
from stylegen.networks.trees import count_parameters
from stylegen.training.state import abstract_state, init_state
from tests.support.configs import tiny_config


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@functools.cache
def make_config(channels=3, classes=0, dtype="float32", resolution=16):
    return tiny_config(
        resolution,
        image_channels=channels,
        num_classes=classes,
        compute_dtype=dtype,
        data={"source": "images"},
        generator={"z_dim": 5, "w_dim": 6, "channel_base": 64, "channel_max": 8},
    )


@functools.cache
def weights(**options):
    """(params, noise_const), random everywhere: what starts at zero would hide whether it is used."""
    state = init_state(make_config(**options), seed=1)
    rng = np.random.default_rng(2)
    params = jax.tree.map(lambda x: np.asarray(x) + 0.3 * rng.standard_normal(x.shape, np.float32), state.g)
    return params, state.noise_const


def network(**options):
    return build_networks(make_config(**options)).generator(*weights(**options))


WS = random(3, 6, 6, seed=5)


@functools.cache
def rendering(resolution, noise="const", dtype="float32", static_alpha=None):
    """A compiled function of (ws, alpha, key) to images of a 16-pixel network at a stage's resolution."""
    net = network(dtype=dtype)

    def render(ws, alpha, key):
        alpha = alpha if static_alpha is None else static_alpha
        return net.synthesis(ws, resolution=resolution, alpha=alpha, noise=noise, key=key)

    return jax.jit(render)


def render(resolution, alpha=1.0, seed=0, ws=WS, **options):
    return np.asarray(rendering(resolution, **options)(ws, jnp.float32(alpha), jax.random.key(seed)))


@pytest.mark.parametrize(
    "resolution, generator, discriminator",
    [
        (64, 25_137_935, 22_498_049),
        (128, 25_843_858, 22_941_313),
        (256, 26_086_229, 23_052_353),
        (512, 26_179_768, 23_080_225),
        (1024, 26_219_627, 23_087_249),
    ],
)
def test_parameters_are_as_many_as_published(resolution, generator, discriminator):
    state = abstract_state(Config(resolution=resolution, data=DataConfig(source="images")))
    assert (count_parameters(state.g), count_parameters(state.d)) == (generator, discriminator)
    assert count_parameters(state.g["mapping"]) == 2_101_248


def test_widths_are_those_of_the_original():
    widths = [width(2**i, 16_384, 512) for i in range(2, 11)]
    assert widths == [512, 512, 512, 512, 256, 128, 64, 32, 16]


def test_a_style_for_each_layer():
    assert [num_styles(2**i) for i in range(2, 11)] == [2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_a_noise_input_for_each_pixel_of_each_layer():
    assert [num_noise(r) for r in (4, 8, 16)] == [32, 32 + 128, 32 + 128 + 512]


def test_a_new_network_starts_as_the_original_does():
    state = init_state(make_config(), seed=0)
    blocks = state.g["synthesis"]["blocks"]
    np.testing.assert_array_equal(blocks["b4"]["const"], np.ones((1, 4, 4, 8)))
    for block in blocks.values():
        for act in (block["act0"], block["act1"]):
            np.testing.assert_array_equal(act["noise"]["noise_strength"], 0)
            np.testing.assert_array_equal(act["bias"], 0)
            np.testing.assert_array_equal(act["adain"]["affine"]["bias"], 0)
    assert set(blocks) == {"b4", "b8", "b16"}
    assert all("torgb" in block for block in blocks.values())


def test_mapping_network():
    net = network()
    z = random(4, 5)
    expected = z / np.sqrt(np.square(z).mean(1, keepdims=True) + 1e-8)
    for name in ("dense0", "dense1"):
        layer = weights()[0]["mapping"]["dense"][name]
        y = expected @ layer["weight"] * np.sqrt(2 / expected.shape[1]) * 0.01 + layer["bias"] * 0.01
        expected = np.where(y >= 0, y, 0.2 * y)
    np.testing.assert_allclose(net.mapping(z), expected, rtol=1e-4)


def test_labels_are_embedded_and_normalized_together_with_z():
    net = network(classes=3)
    mapping = weights(classes=3)[0]["mapping"]
    z, c = random(4, 5), np.eye(3, dtype=np.float32)[[0, 2, 2, 1]]
    expected = np.concatenate([z, c @ mapping["label_embedding"]["weight"]], 1)
    expected = expected / np.sqrt(np.square(expected).mean(1, keepdims=True) + 1e-8)
    for name in ("dense0", "dense1"):
        layer = mapping["dense"][name]
        y = expected @ layer["weight"] * np.sqrt(2 / expected.shape[1]) * 0.01 + layer["bias"] * 0.01
        expected = np.where(y >= 0, y, 0.2 * y)
    np.testing.assert_allclose(net.mapping(z, c), expected, rtol=1e-4)
    with pytest.raises(ValueError, match="needs labels"):
        net.mapping(z)


def test_alpha_0_is_the_previous_resolution_upsampled():
    before = render(8).repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(render(16, alpha=0), before, atol=1e-5)
    assert np.abs(render(16, alpha=1) - before).max() > 0.1


def test_alpha_1_is_no_fade():
    np.testing.assert_allclose(render(16, alpha=1), render(16, static_alpha=1.0), atol=1e-5)


def test_alpha_is_the_weight_of_the_newest_block():
    np.testing.assert_allclose(render(16, 0.25), 0.75 * render(16, 0) + 0.25 * render(16, 1), atol=1e-5)


def test_only_the_styles_of_active_layers_count():
    target = random(3, 8, 8, 3)

    @jax.jit
    @jax.grad
    def by_styles(ws):
        return jnp.sum(network().synthesis(ws, resolution=8, alpha=0.5) * target)

    sizes = np.abs(by_styles(WS)).max((0, 2))
    assert (sizes[:4] > 1e-3).all(), sizes
    np.testing.assert_array_equal(sizes[4:], 0)


def test_each_image_has_its_own_style():
    changed = WS.copy()
    changed[1] += 1
    same = np.abs(render(8, ws=changed) - render(8)).max((1, 2, 3)) == 0
    assert same.tolist() == [True, False, True]


def test_constant_noise_is_the_same_for_all_images():
    ws = np.broadcast_to(WS[:1], WS.shape)
    images = render(8, ws=ws)
    np.testing.assert_allclose(images[1:], images[:1].repeat(2, 0), atol=1e-6)
    assert np.abs(images - render(8, ws=ws, noise="none")).max() > 0.01


def test_random_noise_is_of_the_key_and_each_image_has_its_own():
    ws = np.broadcast_to(WS[:1], WS.shape)
    images = render(8, ws=ws, noise="random", seed=1)
    np.testing.assert_array_equal(images, render(8, ws=ws, noise="random", seed=1))
    assert np.abs(images - render(8, ws=ws, noise="random", seed=2)).max() > 0.01
    assert np.abs(images[0] - images[1]).max() > 0.01


def test_noise_given_as_numbers_is_cut_into_the_layers_maps_in_order():
    net = network()

    @jax.jit
    def synthesize(noise):
        return net.synthesis(WS, resolution=8, noise=noise)

    params, noise_const = weights()
    blocks = noise_const["synthesis"]["blocks"]
    maps = [blocks[b][act]["noise"]["noise_const"].reshape(1, -1) for b in ("b4", "b8") for act in ("act0", "act1")]
    constant = np.concatenate(maps, axis=1).repeat(3, 0)
    assert constant.shape == (3, num_noise(8))
    np.testing.assert_allclose(synthesize(constant), render(8), atol=1e-5)


def test_unknown_resolutions_missing_styles_and_missing_keys_are_refused():
    synthesis = network().synthesis
    with pytest.raises(ValueError, match=r"resolution 32 is none of this network's: \(4, 8, 16\)"):
        synthesis(WS, resolution=32)
    with pytest.raises(ValueError, match=r"16 pixels need \[N, 6, w_dim\]"):
        synthesis(WS[:, :4], resolution=16)
    with pytest.raises(ValueError, match="w_dim"):
        synthesis(WS[0], resolution=16)
    with pytest.raises(ValueError, match="needs a key"):
        synthesis(WS, resolution=16, noise="random")


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_have_the_channels_asked_for(channels):
    net = network(channels=channels)
    images = jax.eval_shape(lambda: net.synthesis(WS, resolution=16, alpha=0.5))
    assert images.shape == (3, 16, 16, channels)


def test_bfloat16_computes_in_bfloat16_on_float32_parameters():
    params, _ = weights(dtype="bfloat16")
    assert {p.dtype for p in jax.tree.leaves(params)} == {np.dtype("float32")}
    exact, rounded = render(16, alpha=0.5), render(16, alpha=0.5, dtype="bfloat16")
    assert rounded.dtype == np.float32
    error = np.sqrt(np.square(rounded - exact).mean()) / exact.std()
    assert 1e-4 < error < 0.03, error


def fused_up_conv(x, weight):
    """The original's up-convolution from 128 pixels on: a transposed convolution of stride 2 with a 4x4 kernel.

    The kernel is the sum of the 3x3 one in four places, not divided by anything. Every input pixel adds its multiple of
    the kernel to the output; what falls over the border is cut off.
    """
    n, h, w, c = x.shape
    kernel = np.zeros((4, 4, *weight.shape[2:]))
    for a in (0, 1):
        for b in (0, 1):
            kernel[a : a + 3, b : b + 3] += weight
    out = np.zeros((n, 2 * h + 2, 2 * w + 2, weight.shape[3]))
    for i in range(h):
        for j in range(w):
            out[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("nc,abcd->nabd", x[:, i, j], kernel)
    return out[:, 1:-1, 1:-1]


def test_up_convolution_is_the_fused_one_of_the_original():
    x, weight = random(2, 4, 5, 3), random(3, 3, 3, 2, seed=1)
    ours = ops.conv(ops.upsample(x), weight)
    # A transposed convolution turns its kernel round, so the original's weights are ours turned round.
    np.testing.assert_allclose(ours, fused_up_conv(x, weight[::-1, ::-1]), atol=1e-4)
    assert np.abs(ours - fused_up_conv(x, weight)).max() > 0.1


def test_broadcast_styles():
    w = random(2, 3)
    np.testing.assert_array_equal(broadcast_styles(w, 4), np.stack([w] * 4, axis=1))


@pytest.mark.parametrize("cutoff", [None, 0, 2, 9])
def test_truncate(cutoff):
    ws, w_avg = random(2, 4, 3), random(3, seed=1)
    expected = ws.copy()
    expected[:, :cutoff] = w_avg + 0.7 * (ws[:, :cutoff] - w_avg)
    np.testing.assert_allclose(truncate(ws, w_avg, 0.7, cutoff), expected, atol=1e-6)


def test_truncate_to_the_ends():
    ws, w_avg = random(2, 4, 3), random(3, seed=1)
    np.testing.assert_array_equal(truncate(ws, w_avg, 1.0), ws)
    np.testing.assert_array_equal(truncate(ws, w_avg, 0.0), np.broadcast_to(w_avg, ws.shape))


def test_a_generator_says_what_it_is():
    config = make_config(classes=3)
    G = Generator(config, {}, {}, jnp.zeros(6), resolution=8, alpha=0.5, kimg=12.5)
    assert (G.z_dim, G.w_dim, G.c_dim, G.num_ws, G.image_channels) == (5, 6, 3, 4, 3)
    assert repr(G) == "Generator(8x8, alpha 0.50, z 5, 4 styles of 6, 3 classes, 12.5 kimg)"


def test_without_noise_inputs_the_noise_mode_does_not_matter():
    config = tiny_config(generator={"z_dim": 4, "w_dim": 4, "mapping_layers": 1, "use_noise": False})
    _, params, noise_const = split_generator(config, Initializer(0))
    # Strengths that would show.
    params = jax.tree.map(lambda x: x + 0.5, params)
    ws = np.random.RandomState(0).randn(2, 4, 4).astype(np.float32)

    def draw(config, **how):
        network = build_networks(config).generator(params, noise_const)
        return np.asarray(network.synthesis(ws, resolution=8, **how))

    without = draw(config, noise="none")
    np.testing.assert_array_equal(draw(config, noise="const"), without)
    np.testing.assert_array_equal(draw(config, noise="random", key=jax.random.key(0)), without)
    noisy = dataclasses.replace(config, generator=dataclasses.replace(config.generator, use_noise=True))
    assert np.abs(draw(noisy, noise="const") - without).max() > 0.01
