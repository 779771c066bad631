"""The discriminator: what growing, labels and neighbors may change in a score, and the original's fused layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen import ops
from stylegen.networks.build import build_networks
from stylegen.training.state import init_state
from tests.support.configs import tiny_config


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@functools.cache
def make_config(channels=3, classes=0, dtype="float32", group=4):
    return tiny_config(
        16,
        image_channels=channels,
        num_classes=classes,
        compute_dtype=dtype,
        data={"source": "images"},
        discriminator={"channel_base": 64, "channel_max": 8, "mbstd_group_size": group},
    )


def network(classes=0, **options):
    config = make_config(classes=classes, **options)
    # One set of weights for all variants: none of them but the number of classes changes their shapes.
    return build_networks(config).discriminator(weights(classes))


@functools.cache
def weights(classes=0):
    rng = np.random.default_rng(2)
    d = init_state(make_config(classes=classes), seed=1).d
    return jax.tree.map(lambda x: np.asarray(x) + 0.3 * rng.standard_normal(x.shape, np.float32), d)


@functools.cache
def scoring(static_alpha=None, **options):
    """A compiled function of (images, alpha, labels) to scores; one program for each size of images."""
    d = network(**options)

    def score(images, alpha, c):
        return d(images, c, alpha=alpha if static_alpha is None else static_alpha)

    return jax.jit(score)


def scores(images, alpha=1.0, c=None, **options):
    return np.asarray(scoring(**options)(images, jnp.float32(alpha), c))


IMAGES = random(8, 16, 16, 3, seed=5)
HALF = IMAGES.reshape(8, 8, 2, 8, 2, 3).mean((2, 4))


def test_alpha_0_is_the_score_of_the_2x2_means():
    np.testing.assert_allclose(scores(IMAGES, alpha=0), scores(HALF), rtol=1e-3, atol=1e-4)
    assert np.abs(scores(IMAGES, alpha=1) - scores(HALF)).max() > 0.1


def test_alpha_1_is_no_fade():
    np.testing.assert_allclose(scores(IMAGES, alpha=1), scores(IMAGES, static_alpha=1.0), rtol=1e-3, atol=1e-4)
    assert np.abs(scores(IMAGES, alpha=0.5) - scores(IMAGES, alpha=1)).max() > 0.01


def test_scores_are_one_float32_number_an_image():
    result = scores(IMAGES)
    assert result.shape == (8,) and result.dtype == np.float32


def test_a_label_picks_its_class_from_the_scores():
    everything = np.stack([scores(IMAGES, c=np.eye(3, dtype=np.float32)[[i] * 8], classes=3) for i in range(3)])
    labels = [0, 2, 1, 1, 0, 2, 2, 1]
    picked = scores(IMAGES, c=np.eye(3, dtype=np.float32)[labels], classes=3)
    np.testing.assert_allclose(picked, everything[labels, range(8)], rtol=1e-5)
    assert np.abs(everything[0] - everything[1]).min() > 1e-4


def test_wrong_images_and_missing_labels_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 32, 32, 3\); this network takes images of 4, 8, 16 pixels"):
        network()(np.zeros((1, 32, 32, 3)))
    with pytest.raises(ValueError, match="takes images of"):
        network()(np.zeros((1, 16, 8, 3)))
    with pytest.raises(ValueError, match="needs labels"):
        network(classes=3)(np.zeros((1, 16, 16, 3)))


def changed(images, index):
    images = images.copy()
    images[index] = random(*images.shape[1:], seed=6)
    return images


def test_an_image_moves_the_scores_of_its_minibatch_std_group_alone():
    before, after = scores(HALF), scores(changed(HALF, 5))
    assert (before != after).tolist() == [False] * 4 + [True] * 4


def test_without_groups_a_score_is_of_its_image_alone():
    before, after = scores(HALF, group=1), scores(changed(HALF, 5), group=1)
    assert (before != after).tolist() == [False] * 5 + [True] + [False] * 2
    order = np.random.default_rng(0).permutation(8)
    np.testing.assert_allclose(scores(HALF[order], group=1), before[order], rtol=1e-5)


def test_like_images_have_no_std():
    # As for a generator that always draws one image: this gives it away.
    copies = np.broadcast_to(HALF[:1], HALF.shape)
    np.testing.assert_allclose(scores(copies), scores(copies, group=1), rtol=1e-4)
    assert np.abs(scores(HALF) - scores(HALF, group=1)).max() > 1e-3


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_may_have_other_channels(channels):
    config = make_config(channels=channels)
    d, params = build_networks(config), jax.eval_shape(lambda: init_state(config, seed=0).d)
    images = jax.ShapeDtypeStruct((4, 16, 16, channels), jnp.float32)
    assert jax.eval_shape(lambda p, x: d.discriminator(p)(x, alpha=0.5), params, images).shape == (4,)


def test_bfloat16_computes_in_bfloat16_and_scores_in_float32():
    exact, rounded = scores(IMAGES, alpha=0.5), scores(IMAGES, alpha=0.5, dtype="bfloat16")
    assert rounded.dtype == np.float32
    error = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.03, error


def fused_down_conv(x, weight):
    """The original's down-convolution from 128 pixels on: stride 2, the 3x3 kernel in four places, times 1/4."""
    n, h, w, _ = x.shape
    kernel = np.zeros((4, 4, *weight.shape[2:]))
    for a in (0, 1):
        for b in (0, 1):
            kernel[a : a + 3, b : b + 3] += weight / 4
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((n, h // 2, w // 2, weight.shape[3]))
    for i in range(h // 2):
        for j in range(w // 2):
            out[:, i, j] = np.einsum("nabc,abcd->nd", padded[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4], kernel)
    return out


def test_down_convolution_is_the_fused_one_of_the_original():
    x, weight = random(2, 6, 8, 3), random(3, 3, 3, 2, seed=1)
    np.testing.assert_allclose(ops.downsample(ops.conv(x, weight)), fused_down_conv(x, weight), atol=1e-5)
