"""Every operation against a few lines of numpy; borders, small contrasts and dtypes included."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from stylegen import convolution, ops


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def conv_numpy(x, weight):
    """Cross-correlation of NHWC with HWIO, zero-padded to the same size: one pixel and one tap at a time."""
    n, h, w, _ = x.shape
    k = weight.shape[0]
    padded = np.pad(x.astype(np.float64), ((0, 0), (k // 2,) * 2, (k // 2,) * 2, (0, 0)))
    out = np.zeros((n, h, w, weight.shape[3]))
    for i in range(h):
        for j in range(w):
            for a in range(k):
                for b in range(k):
                    out[:, i, j] += padded[:, i + a, j + b] @ weight[a, b]
    return out


def blur_numpy(x):
    n, h, w, c = x.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return sum(taps[a, b] * padded[:, a : a + h, b : b + w] for a in range(3) for b in range(3))


def box_numpy(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4), dtype=np.float64)


def nearest_numpy(x):
    return x.repeat(2, 1).repeat(2, 2)


def instance_norm_numpy(x, epsilon=1e-8):
    x = np.asarray(x, np.float64)
    return (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + epsilon)


@pytest.mark.parametrize("t", [0.0, 1.0, jnp.float32(0), jnp.float32(1)])
def test_lerp_is_exact_at_both_ends(t):
    a, b = random(64) * np.float32(1e6), random(64, seed=1)
    np.testing.assert_array_equal(ops.lerp(a, b, t), b if t else a)


@pytest.mark.parametrize("t", [0.0, 0.5 ** (32 / 10_000), 0.5 ** (32 / 500_000), 0.995, 0.01, jnp.float32(0.9978)])
def test_an_average_of_a_constant_is_that_constant_bit_for_bit(t):
    x = random(512)
    average = jax.jit(lambda average: jax.lax.fori_loop(0, 100, lambda _, e: ops.step_toward(x, e, t), average))
    np.testing.assert_array_equal(average(x), x)


def test_a_step_toward_is_a_share_of_the_way():
    a, b = random(64), random(64, seed=1)
    np.testing.assert_array_equal(ops.step_toward(a, b, 0.0), a)
    np.testing.assert_allclose(ops.step_toward(a, b, 0.75), 0.25 * a + 0.75 * b, rtol=1e-5, atol=1e-6)


def test_lerp_goes_from_a_to_b():
    np.testing.assert_allclose(ops.lerp(jnp.float32(2), jnp.float32(10), 0.25), 4)
    np.testing.assert_allclose(ops.lerp(random(2, 3), random(3), random(2, 1)).shape, (2, 3))


def test_leaky_relu():
    x = jnp.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_allclose(ops.leaky_relu(x), [-0.4, -0.1, 0, 0.5, 2], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda x: ops.leaky_relu(x).sum())(x), [0.2, 0.2, 1, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("kernel", [1, 3])
def test_conv(kernel):
    x, weight = random(2, 5, 4, 3), random(kernel, kernel, 3, 2, seed=1)
    np.testing.assert_allclose(ops.conv(x, weight), conv_numpy(x, weight), atol=1e-5)


@functools.cache
def conv_gradients():
    x, weight, y = random(2, 4, 4, 3), random(3, 3, 3, 2, seed=1), random(2, 4, 4, 2, seed=2)
    return x, weight, y, jax.jit(lambda y: jax.vjp(ops.conv, x, weight)[1](y))(y)


def test_gradient_of_conv_by_its_input():
    _, weight, y, (by_input, _) = conv_gradients()
    flipped = weight[::-1, ::-1].transpose(0, 1, 3, 2)
    np.testing.assert_allclose(by_input, conv_numpy(y, flipped), atol=1e-5)


def test_gradient_of_conv_by_its_weight():
    x, _, y, (_, by_weight) = conv_gradients()
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = [[np.einsum("nhwc,nhwd->cd", padded[:, a : a + 4, b : b + 4], y) for b in range(3)] for a in range(3)]
    np.testing.assert_allclose(by_weight, expected, atol=1e-5)


def test_upsample():
    x = random(2, 3, 4, 2)
    np.testing.assert_array_equal(ops.upsample(x), nearest_numpy(x))


def test_downsample():
    x = random(2, 6, 4, 3)
    np.testing.assert_allclose(ops.downsample(x), box_numpy(x), atol=1e-6)
    np.testing.assert_allclose(ops.downsample(ops.upsample(x)), x, rtol=1e-6)


def plain_upsample_conv(x, weight):
    return ops.conv(ops.upsample(x), weight)


def plain_conv_downsample(x, weight):
    return ops.downsample(ops.conv(x, weight))


def reflected(x, weight):
    return ops.reflected_conv(ops.upsample(x), weight)


FORMS = [
    (ops.phased_upsample_conv, plain_upsample_conv, (2, 3, 5, 4)),
    (ops.whole_upsample_conv, plain_upsample_conv, (2, 3, 5, 4)),
    (functools.partial(ops.phased_upsample_conv, reflect=True), reflected, (2, 3, 5, 4)),
    (functools.partial(ops.whole_upsample_conv, reflect=True), reflected, (2, 3, 5, 4)),
    (ops.conv_downsample, plain_conv_downsample, (2, 6, 4, 4)),
]


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize(("form", "plain", "shape"), FORMS)
def test_forms_are_the_plain_ones_with_gradients_of_both_orders(form, plain, shape, platform):
    x, v, weight = random(*shape), random(*shape, seed=1), random(3, 3, 4, 3, seed=2)
    numpy_form = {plain_upsample_conv: nearest_numpy(x), plain_conv_downsample: x}.get(plain)
    if numpy_form is not None:  # the plain forms themselves, but for mirrored borders, against numpy
        expected = conv_numpy(numpy_form, weight)
        expected = box_numpy(expected) if plain is plain_conv_downsample else expected
        np.testing.assert_allclose(plain(x, weight), expected, rtol=1e-4, atol=1e-4)

    def penalty(form):
        """Values and gradients by x and weight, of the form and of a scalar with a squared input gradient, as in R1."""

        def value(x, weight):
            gradient = jax.grad(lambda x: jnp.sum(jnp.sin(form(x, weight))))(x)
            return jnp.sum(jnp.square(gradient)) + jnp.vdot(gradient, v)

        return [form(x, weight), *jax.jit(jax.grad(value, argnums=(0, 1)))(x, weight)]

    with convolution.tracing_for(platform):
        mine = penalty(form)
    for a, b in zip(mine, penalty(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_each_platform_takes_its_form(monkeypatch, platform):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    x, weight = random(1, 4, 4, 2), random(3, 3, 2, 3)
    count = {
        # A function of its own for each platform: JAX keeps what it has traced.
        op: str(jax.make_jaxpr(lambda x, weight, op=op: op(x, weight))(x, weight)).count("conv_general_dilated")
        for op in (ops.upsample_conv, ops.conv_downsample)
    }
    assert count == {ops.upsample_conv: 4 if platform == "cpu" else 1, ops.conv_downsample: 1}


def test_blur_is_the_same_on_all_platforms_with_gradients_of_both_orders():
    x, y = random(2, 5, 4, 3), random(2, 5, 4, 3, seed=1)

    def both_orders(x, y):
        def slope(x):
            return jax.grad(lambda x: jnp.sum(jnp.sin(ops.blur(x)) * y))(x)

        return ops.blur(x), slope(x), jax.grad(lambda x: jnp.sum(jnp.square(slope(x))))(x)

    def by_convolution(x, y):
        kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32)[:, :, None, None] / 16
        blur = functools.partial(
            jax.lax.conv_general_dilated,
            rhs=np.tile(kernel, (1, 1, 1, 3)),
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=3,
        )

        def slope(x):
            return jax.grad(lambda x: jnp.sum(jnp.sin(blur(x)) * y))(x)

        return blur(x), slope(x), jax.grad(lambda x: jnp.sum(jnp.square(slope(x))))(x)

    expected = by_convolution(x, y)
    for platform in ("cpu", "gpu", "tpu"):
        with convolution.tracing_for(platform):
            for a, b in zip(both_orders(x, y), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_blur():
    x = random(2, 5, 4, 3)
    np.testing.assert_allclose(ops.blur(x), blur_numpy(x), atol=1e-6)


def test_blur_loses_brightness_at_the_borders_only():
    blurred = np.asarray(ops.blur(np.ones((1, 4, 4, 1), np.float32)))[0, :, :, 0]
    side = np.array([0.75, 1, 1, 0.75])
    np.testing.assert_allclose(blurred, np.outer(side, side), rtol=1e-6)


def test_blur_is_its_own_adjoint_and_so_is_its_gradient():
    x, y, v = (random(1, 5, 4, 2, seed=i) for i in range(3))

    @jax.jit
    def gradient(y):
        return jax.vjp(ops.blur, x)[1](y)[0]

    np.testing.assert_allclose(gradient(y), blur_numpy(y), atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda v: jax.vjp(gradient, y)[1](v)[0])(v), blur_numpy(v), atol=1e-6)
    np.testing.assert_allclose(np.vdot(ops.blur(x), y), np.vdot(x, ops.blur(y)), rtol=1e-5)


def test_pixel_norm():
    x = random(4, 7)
    x[1] *= 1e-4  # of the order of the root of epsilon
    x[2] = 0
    expected = x / np.sqrt(np.square(x.astype(np.float64)).mean(-1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(ops.pixel_norm(x), expected, rtol=1e-5)
    assert np.abs(ops.pixel_norm(x)[1]).max() < 1.5 * np.abs(expected[0]).max()


@pytest.mark.parametrize("contrast", [1, 1e-4])
def test_instance_norm_has_biased_variance_and_a_tiny_epsilon(contrast):
    x = random(2, 2, 3, 4) * np.float32(contrast)
    np.testing.assert_allclose(ops.instance_norm(x), instance_norm_numpy(x), atol=1e-5)
    np.testing.assert_array_equal(ops.instance_norm(np.full((1, 2, 2, 1), 3, np.float32)), 0)


def test_adain():
    x, mean, std = random(2, 4, 4, 3), random(2, 3, seed=1), random(2, 3, seed=2)
    expected = std[:, None, None] * instance_norm_numpy(x) + mean[:, None, None]
    np.testing.assert_allclose(ops.adain(x, mean, std), expected, atol=1e-5)


def test_adain_with_the_epsilon_of_style_transfer():
    x, mean, std = random(1, 4, 4, 3) * np.float32(0.003), np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    np.testing.assert_allclose(ops.adain(x, mean, std, epsilon=1e-5), instance_norm_numpy(x, 1e-5), atol=1e-5)


def test_adain_gives_the_content_the_statistics_of_the_style():
    x, mean, std = random(2, 8, 8, 3), random(2, 3, seed=1), np.abs(random(2, 3, seed=2)) + 0.5
    styled = np.asarray(ops.adain(x, mean, std))
    np.testing.assert_allclose(styled.mean((1, 2)), mean, atol=1e-5)
    np.testing.assert_allclose(styled.std((1, 2)), std, rtol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", [(2, 4), (1, 3), (3,), (2, 1, 1, 3)])
def test_adain_refuses_styles_of_another_shape(wrong):
    x, right, wrong = np.zeros((2, 4, 4, 3)), np.zeros((2, 3)), np.zeros(wrong)
    with pytest.raises(ValueError, match=r"style_mean has shape .* needs \(2, 3\)"):
        ops.adain(x, wrong, right)
    with pytest.raises(ValueError, match=r"style_std has shape .* needs \(2, 3\)"):
        ops.adain(x, right, wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ops.blur(random(4, 4, 3)),
        lambda: ops.adain(random(2, 4, 4, 3), random(2, 4), random(2, 4)),
        lambda: ops.noisy_leaky_relu(random(2, 4, 4, 3), random(2, 4, 5, 1), random(3), random(3)),
        lambda: jax.jit(ops.conv)(random(2, 4, 4, 3), random(3, 3, 4, 3)),
        lambda: ops.to_float(random(2, 4, 4, 3)),
    ],
    ids=["an axis short", "other channels", "other noise", "inside a jitted function", "another dtype"],
)
def test_annotations_are_checked(call):
    """Of all calls in tests, those with tracers included."""
    with pytest.raises(jaxtyping.TypeCheckError):
        call()


minibatch_std = jax.jit(ops.minibatch_std, static_argnums=1)


@pytest.mark.parametrize("n, group_size", [(8, 4), (3, 4), (2, 1)])
def test_minibatch_std_groups_neighbors(n, group_size):
    x = random(n, 2, 3, 2)
    result = np.asarray(minibatch_std(x, group_size))
    assert result.shape == (n, 2, 3, 1) and result.dtype == np.float32
    group = min(group_size, n)
    for first in range(0, n, group):
        expected = np.sqrt(x[first : first + group].astype(np.float64).var(0) + 1e-8).mean()
        np.testing.assert_allclose(result[first : first + group], expected, rtol=1e-5)


def test_minibatch_std_refuses_a_broken_group():
    with pytest.raises(ValueError, match="6 images .* group of 4"):
        ops.minibatch_std(np.zeros((6, 4, 4, 1), np.float32), 4)


def test_minibatch_std_has_a_gradient_where_images_are_equal():
    x = np.ones((4, 2, 2, 1), np.float32)
    assert np.isfinite(jax.jit(jax.grad(lambda x: ops.minibatch_std(x, 4).sum()))(x)).all()


@pytest.mark.parametrize("n, group_size", [(8, 4), (12, 4), (2, 4), (6, 3)])
def test_minibatch_std_order_makes_the_groups_of_the_original(n, group_size):
    x = random(n, 2, 2, 3)
    group = min(group_size, n)
    # The original reshapes [N] to [group, N/group], so that members of a group are N/group apart.
    strided = x.reshape(group, n // group, 2, 2, 3).astype(np.float64)
    std = np.sqrt(strided.var(0) + 1e-8).mean((1, 2, 3))
    original = np.tile(std, group)
    order = ops.minibatch_std_order(n, group_size)
    assert sorted(order) == list(range(n))
    ours = np.asarray(minibatch_std(x[order], group_size))
    np.testing.assert_allclose(ours[:, 0, 0, 0], original[order], rtol=1e-5)


def test_minibatch_std_order_of_eight():
    assert ops.minibatch_std_order(8, 4) == [0, 2, 4, 6, 1, 3, 5, 7]


def test_to_float():
    levels = np.arange(256, dtype=np.uint8)
    result = np.asarray(ops.to_float(levels))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, levels / 127.5 - 1, atol=1e-6)


def test_to_uint8_truncates():
    # Multiples of 1/512 make x * 127.5 + 128 exact in float32, so that integers tell what is truncated and clipped.
    steps = np.arange(-700, 701)
    expected = np.clip((steps * 255 + 128 * 1024) // 1024, 0, 255)
    result = np.asarray(ops.to_uint8((steps / 512).astype(np.float32)))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)
    assert result[steps == 0] == 128 and result[steps == -512] == 0 and result[steps == 512] == 255


def test_to_uint8_undoes_to_float():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(ops.to_uint8(ops.to_float(levels)), levels)


def test_fade():
    x = random(2, 4, 4, 3)
    expected = 0.3 * x + 0.7 * nearest_numpy(box_numpy(x))
    np.testing.assert_allclose(ops.fade(x, 0.3), expected, atol=1e-6)
    np.testing.assert_array_equal(ops.fade(x, 1.0), x)
    np.testing.assert_allclose(ops.fade(x, 0.0), nearest_numpy(box_numpy(x)), atol=1e-6)


def composed(x, noise, strength, bias, scale, shift):
    """What ``styled_activation`` is, from its parts and with JAX's own derivatives."""
    if noise is not None:
        x = x + noise * strength[None, None, None]
    y = x + bias[None, None, None]
    y = jnp.where(y >= 0, y, 0.2 * y)
    y = y - jnp.mean(y, axis=(1, 2), keepdims=True)
    y = y / jnp.sqrt(jnp.mean(jnp.square(y), axis=(1, 2), keepdims=True) + ops.NORM_EPSILON)
    return y * scale[:, None, None] + shift[:, None, None]


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("noises", [2, 1, 0])
def test_styled_activation_is_its_parts_with_gradients_of_both_orders(noises, platform):
    noise, strength = (random(noises, 4, 6, 1, seed=1), random(3, seed=2)) if noises else (None, None)
    arguments = random(2, 4, 6, 3), noise, strength, random(3, seed=3), random(2, 3, seed=4), random(2, 3, seed=5)
    v = random(2, 4, 6, 3, seed=6)

    def results(function):
        def first(*arguments):
            return jnp.sum(jnp.sin(function(*arguments)) * v)

        def second(*arguments):
            return sum(
                jnp.sum(jnp.square(g)) for g in jax.tree.leaves(jax.grad(first, argnums=tuple(range(6)))(*arguments))
            )

        return [
            function(*arguments),
            *(jax.jit(jax.grad(f, argnums=tuple(range(6))))(*arguments) for f in (first, second)),
        ]

    with convolution.tracing_for(platform):
        mine = results(ops.styled_activation)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(results(composed)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * np.abs(b).max())


def test_styled_activation_in_bfloat16_sums_in_float32():
    """Gradients by styles are sums over more pixels than bfloat16 can count."""
    x, v = jnp.asarray(random(2, 64, 64, 2), jnp.bfloat16), np.abs(random(2, 64, 64, 2, seed=1))
    styles = random(2, 2, seed=5), random(2, 2, seed=6)

    def loss(scale, shift):
        y = ops.styled_activation(x, None, None, np.ones(2, np.float32), scale, shift)
        return jnp.sum(y.astype(jnp.float32) * v)

    by_scale, by_shift = jax.grad(loss, argnums=(0, 1))(*styles)
    np.testing.assert_allclose(by_shift, v.sum((1, 2)), rtol=1e-3)
    normalized = composed(x.astype(jnp.float32), None, None, np.ones(2), np.ones((2, 2)), np.zeros((2, 2)))
    np.testing.assert_allclose(by_scale, (v * normalized).sum((1, 2)), atol=1e-3 * v.sum() / 4)


@pytest.mark.parametrize("channels", [(3, 7), (7, 3), (1, 5), (4, 4)])
def test_a_mixture_of_few_channels_is_the_convolution_with_gradients_of_both_orders(channels):
    x, weight = random(2, 4, 5, channels[0]), random(1, 1, *channels, seed=1)

    def results(function):
        def first(x, weight):
            return jnp.sum(jnp.sin(function(x, weight)))

        def second(x, weight):
            return jnp.sum(jnp.square(jax.grad(first)(x, weight)))

        return function(x, weight), *(jax.grad(f, argnums=(0, 1))(x, weight) for f in (first, second))

    with convolution.tracing_for("gpu"):
        assert "conv_general_dilated" not in str(jax.make_jaxpr(lambda x, w: ops.conv(x, w))(x, weight))
        mine = results(ops.conv)
    expected = results(functools.partial(convolution.convolve, stride=1, padding="SAME"))
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [(3, 2), (2, 3), (3, 40), (40, 3)])
def test_gradients_of_a_mixture_in_bfloat16_are_sums_in_float32(channels):
    """bfloat16 can count to 256."""
    x, weight = jnp.ones((4, 64, 64, channels[0]), jnp.bfloat16), np.ones((1, 1, *channels), np.float32)

    def loss(x, weight):
        return jnp.sum(ops.conv(x, weight).astype(jnp.float32))

    with convolution.tracing_for("gpu"):
        by_x, by_weight = jax.grad(loss, argnums=(0, 1))(x, weight)
        # What R1 needs: the gradient by the weight of the gradient by the image.
        twice = jax.grad(lambda w: jnp.sum(jax.grad(loss)(x, w).astype(jnp.float32)))(weight)
    assert by_x.dtype == jnp.bfloat16
    np.testing.assert_array_equal(by_weight, 4 * 64 * 64)
    np.testing.assert_array_equal(twice, 4 * 64 * 64)


def test_leaky_relu_has_derivatives_of_every_order_in_both_modes():
    x, t = random(5, 4), random(5, 4, seed=1)
    slope = np.where(x >= 0, 1, 0.2)
    np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(ops.leaky_relu(x) * t))(x), slope * t, rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(ops.leaky_relu, (x,), (t,))[1], slope * t, rtol=1e-6)
    squares = jax.grad(lambda x: jnp.sum(jnp.square(jax.grad(lambda x: jnp.sum(ops.leaky_relu(x) ** 2))(x))))(x)
    np.testing.assert_allclose(squares, 8 * x * slope**4, rtol=1e-5)


def test_noise_is_standard_normal():
    numbers = np.asarray(ops.noise(jax.random.key(0), (100, 100)))
    assert numbers.dtype == np.float32
    assert abs(numbers.mean()) < 0.03 and abs(numbers.std() - 1) < 0.03


@pytest.mark.parametrize(
    "op",
    [
        lambda x: ops.lerp(x, x, 0.3),
        ops.leaky_relu,
        lambda x: ops.conv(x, jnp.ones((3, 3, 3, 2), x.dtype)),
        lambda x: ops.phased_upsample_conv(x, jnp.ones((3, 3, 3, 2), x.dtype)),
        lambda x: ops.whole_upsample_conv(x, jnp.ones((3, 3, 3, 2), x.dtype)),
        lambda x: ops.conv_downsample(x, jnp.ones((3, 3, 3, 2), x.dtype)),
        ops.upsample,
        ops.downsample,
        ops.blur,
        ops.instance_norm,
        lambda x: ops.adain(x, jnp.ones((2, 3)), jnp.ones((2, 3))),
    ],
)
def test_bfloat16_stays_bfloat16(op):
    assert jax.eval_shape(op, jax.ShapeDtypeStruct((2, 4, 4, 3), jnp.bfloat16)).dtype == jnp.bfloat16


def test_statistics_of_bfloat16_are_float32():
    # A mean far from zero, and more pixels than bfloat16 can count: both lose the contrast if summed in bfloat16.
    x = jnp.asarray(random(2, 32, 32, 2) + 20, jnp.bfloat16)
    exact = instance_norm_numpy(np.asarray(x, np.float32))
    np.testing.assert_allclose(np.asarray(ops.instance_norm(x), np.float32), exact, rtol=2**-8, atol=1e-3)
    group = minibatch_std(x, 2)
    assert group.dtype == jnp.float32
    expected = np.sqrt(np.asarray(x, np.float64).var(0) + 1e-8).mean()
    np.testing.assert_allclose(group, np.full((2, 32, 32, 1), expected), rtol=1e-5)
