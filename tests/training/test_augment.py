"""Augmentation against numpy, PIL and formulas; its derivatives and frequencies; the controller of its strength."""

import functools
import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stylegen.config import AugmentConfig
from stylegen.training import augment
from tests.support.compilations import compilations

ALL = AugmentConfig(noise=True, cutout=True)
OFF, ON = 0.99, 0.0  # uniform numbers of a transformation's chance, for p = 0.5
warp = jax.jit(augment.warp)


def random_images(n=5, r=16, channels=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, r, r, channels)).astype(np.float32)


def composed(matrices):
    """From output to input positions, of transformations in their order."""
    return functools.reduce(np.matmul, map(np.asarray, matrices))


def mapping(*rows, n=5):
    """Two rows of a map from output to input positions, for each of n images."""
    return np.broadcast_to(np.array([*rows, (0, 0, 1)], np.float32), (n, 3, 3))


GEOMETRY = ("scale", "before", "stretch", "after", "move")


def geometric(r=48, **values):
    """One image's map by the named transformations alone, given as the formulae have them: angles, and pixels."""
    normal = NormalDist().cdf
    uniform = {
        "scale": lambda s: [normal(math.log2(s) / 0.2)],
        "before": lambda angle: [(angle / math.pi + 1) / 2],
        "stretch": lambda s: [normal(math.log2(s) / 0.2)],
        "after": lambda angle: [(angle / math.pi + 1) / 2],
        "move": lambda pixels: [normal(by / (0.125 * r)) for by in pixels],
    }
    off = {name: [OFF, 0.5] for name in GEOMETRY} | {"move": [OFF, 0.5, 0.5]}
    row = [x for name in GEOMETRY for x in ([ON, *uniform[name](values[name])] if name in values else off[name])]
    return composed(augment.geometric_matrices(jnp.array([row], jnp.float32), 0.5, (r, r)))


@functools.cache
def compiled(config):
    return jax.jit(functools.partial(augment.augment, config=config))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("r", [4, 16])
def test_at_p_0_images_are_exactly_themselves_and_p_is_an_argument(r, channels):
    images, function = random_images(r=r, channels=channels), jax.jit(functools.partial(augment.augment, config=ALL))
    key = jax.random.key(1)
    with compilations() as programs:
        unchanged, changed = function(images, 0.0, key), function(images, 1.0, key)
    assert len(programs) == 1
    assert unchanged.dtype == jnp.float32
    np.testing.assert_array_equal(unchanged, images)
    assert changed.shape == images.shape and np.isfinite(changed).all()
    assert (np.abs(changed - images).mean((1, 2, 3)) > 0.05).all()


def test_images_that_nothing_happened_to_are_exact_among_others():
    images = random_images(n=64, r=8)
    config = AugmentConfig(color=False)
    chances = augment.draw(jax.random.key(0), images.shape, config).uniform
    result = np.asarray(compiled(config)(images, 0.05, jax.random.key(0)))
    geometric = [0, 2, 4, 7, 9, 11, 13, 15]  # columns of chances; those of rotations are for 1 - sqrt(1 - p), below p
    quiet = np.asarray((chances[:, geometric] > 0.05).all(1))
    assert 10 < quiet.sum() < 60
    np.testing.assert_array_equal(result[quiet], images[quiet])
    assert not np.array_equal(result, images)


@pytest.mark.parametrize("r", [4, 5, 16])
def test_pixel_blits_are_flips_quarter_turns_and_shifts(r):
    images = random_images(r=r)
    np.testing.assert_allclose(warp(images, mapping((-1, 0, 0), (0, 1, 0))), images[:, :, ::-1], atol=2e-6)
    for k in range(4):
        cosine, sine = np.round([math.cos(k * math.pi / 2), math.sin(k * math.pi / 2)])
        turned = warp(images, mapping((cosine, -sine, 0), (sine, cosine, 0)))
        np.testing.assert_allclose(turned, np.rot90(images, k, (1, 2)), atol=2e-6)
    # The reflection is at the middle of the border pixels: numpy's "reflect".
    moved = warp(images, mapping((1, 0, -2), (0, 1, 1)))
    padded = np.pad(images, ((0, 0), (0, 1), (2, 0), (0, 0)), mode="reflect")
    np.testing.assert_allclose(moved, padded[:, 1:, :r], atol=2e-6)
    far = warp(images, mapping((1, 0, -2 * (r - 1)), (0, 1, 0)))
    np.testing.assert_allclose(far, images, atol=2e-6)


@pytest.mark.parametrize(
    "uniform, oracle",
    [
        ([ON, 0.2, OFF, 0, OFF, 0, 0], lambda x: x),
        ([ON, 0.7, OFF, 0, OFF, 0, 0], lambda x: x[:, :, ::-1]),
        ([OFF, 0.7, ON, 0.3, OFF, 0, 0], lambda x: np.rot90(x, 1, (1, 2))),
        ([OFF, 0.7, ON, 0.8, OFF, 0, 0], lambda x: np.rot90(x, 3, (1, 2))),
        # 0.8 * 0.125 * 16 = 1.6 pixels to the right, -1.6 down: whole ones.
        ([OFF, 0, OFF, 0, ON, 0.9, 0.1], lambda x: np.pad(x, ((0, 0), (0, 2), (2, 0), (0, 0)), "reflect")[:, 2:, :16]),
        # First the flip, then the turn.
        ([ON, 0.7, ON, 0.3, OFF, 0, 0], lambda x: np.rot90(x[:, :, ::-1], 1, (1, 2))),
    ],
)
def test_blits_from_their_random_numbers(uniform, oracle):
    images = random_images()
    matrices = augment.blit_matrices(jnp.array([uniform] * 5, jnp.float32), 0.5, (16, 16))
    np.testing.assert_allclose(warp(images, composed(matrices)), oracle(images), atol=2e-6)


def blob(x, y, r=48, width=2.0):
    """A round spot at (x, y) pixels from the center, y down: [1, r, r, 1]."""
    at = np.arange(r) - (r - 1) / 2
    return np.exp(-((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * width**2))[None, :, :, None].astype("f")


def center_of_mass(image):
    """Center of mass of [1, r, r, 1], in pixels from the center, y down."""
    at = np.arange(image.shape[1]) - (image.shape[1] - 1) / 2
    mass = np.asarray(image)[0, :, :, 0]
    return np.array([(mass.sum(0) * at).sum(), (mass.sum(1) * at).sum()]) / mass.sum()


def test_a_point_goes_where_the_transformations_take_it():
    angle = math.radians(30)
    x, y = 6.0, -2.0
    # Counterclockwise on the screen, where y points down.
    expected = [x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)]
    np.testing.assert_allclose(center_of_mass(warp(blob(x, y), geometric(before=angle))), expected, atol=0.01)
    np.testing.assert_allclose(center_of_mass(warp(blob(x, y), geometric(after=angle))), expected, atol=0.01)
    np.testing.assert_allclose(center_of_mass(warp(blob(x, y), geometric(scale=1.25))), [x * 1.25, y * 1.25], atol=0.01)
    np.testing.assert_allclose(
        center_of_mass(warp(blob(x, y), geometric(stretch=1.25))), [x * 1.25, y * 0.8], atol=0.01
    )
    move = (1.3, -2.6)
    np.testing.assert_allclose(center_of_mass(warp(blob(x, y), geometric(move=move))), [x + 1.3, y - 2.6], atol=0.01)
    # In the order of the list: stretched, turned, moved.
    both = [expected[0] + 1.3, expected[1] - 2.6]
    np.testing.assert_allclose(center_of_mass(warp(blob(x, y), geometric(before=angle, move=move))), both, atol=0.01)
    x, y = x * 1.25, y * 0.8
    last = [x * math.cos(angle) + y * math.sin(angle) + 1.3, -x * math.sin(angle) + y * math.cos(angle) - 2.6]
    found = center_of_mass(warp(blob(6.0, -2.0), geometric(stretch=1.25, after=angle, move=move)))
    np.testing.assert_allclose(found, last, atol=0.01)


def test_a_rotated_wave_is_that_of_the_formula_and_of_pil():
    """Waves of 12 pixels to 1 % of their height; PIL's bicubic interpolation, which is coarser, says which way."""
    at, angle = np.arange(32) - 15.5, math.radians(20)
    cosine, sine = math.cos(angle), math.sin(angle)

    def wave(x, y):
        return np.sin(2 * np.pi * (0.6 * x + 0.8 * y) / 12 + 0.3)

    x, y = np.meshgrid(at, at)
    image, inside = wave(x, y).astype("f"), np.s_[8:24, 8:24]
    rotated = np.asarray(warp(image[None, :, :, None], geometric(before=angle)))
    rotated = rotated[0, :, :, 0][inside]
    np.testing.assert_allclose(rotated, wave(cosine * x - sine * y, sine * x + cosine * y)[inside], atol=0.01)
    theirs = np.asarray(Image.fromarray(image).rotate(20, Image.Resampling.BICUBIC))[inside]
    np.testing.assert_allclose(rotated, theirs, atol=0.08)
    assert np.abs(rotated - image[inside]).max() > 0.5


def test_shrinking_does_not_alias_and_waves_keep_their_height():
    at = np.arange(32)
    board = np.where((at[:, None] + at) % 2, 1, -1).astype("f")[None, :, :, None]
    assert np.abs(warp(board, geometric(scale=0.62))).max() < 0.15
    # A wave of 8 pixels, moved by a fraction of one: the formula, but for the borders, which are reflected.
    wave = np.broadcast_to(np.sin(2 * np.pi * at / 8), (32, 32)).astype("f")[None, :, :, None]
    moved = warp(wave, geometric(r=32, move=(0.37, 0.0)))
    expected = np.broadcast_to(np.sin(2 * np.pi * (at - 0.37) / 8), (32, 32))
    np.testing.assert_allclose(moved[0, :, 4:-4, 0], expected[:, 4:-4], atol=0.03)


def test_nothing_from_outside_leaks_in():
    """A constant stays the same constant under any geometry."""
    constant = np.full((200, 8, 8, 3), 0.7, np.float32)
    result = compiled(AugmentConfig(color=False))(constant, 1.0, jax.random.key(3))
    np.testing.assert_allclose(result, constant, atol=1e-5)


N = 6000


@functools.cache
def matrices_at(p):
    """Matrices of N images at strength p and 16 pixels, by name of the transformation."""
    images = jax.ShapeDtypeStruct((N, 16, 16, 3), jnp.float32)
    uniform = augment.draw(jax.random.key(4), images.shape, ALL).uniform
    assert uniform.shape == (N, 33) and uniform.min() > 0 and uniform.max() < 1
    names = "flip", "quarter", "whole", "scale", "before", "stretch", "after", "fraction"
    matrices = augment.blit_matrices(uniform[:, :7], p, (16, 16)) + augment.geometric_matrices(
        uniform[:, 7:18], p, (16, 16)
    )
    return dict(zip(names, map(np.asarray, matrices), strict=True))


def share(matrices):
    return (matrices != np.eye(3)).any((1, 2)).mean()


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_transformations_are_as_frequent_as_p(p):
    matrices = matrices_at(p)
    # A flip that is drawn is one in half of the cases, a quarter turn in three of four; no shift at all is rare.
    still = (1 / 4) ** 2  # of [-2, 2] pixels, rounded to 0
    expected = {"flip": p / 2, "quarter": p * 3 / 4, "whole": p * (1 - still)}
    expected |= dict.fromkeys(("scale", "stretch", "fraction"), p) | dict.fromkeys(
        ("before", "after"), 1 - (1 - p) ** 0.5
    )
    for name, chance in expected.items():
        assert abs(share(matrices[name]) - chance) < 4 * math.sqrt(chance * (1 - chance) / N), name
    turned = (matrices["before"] != np.eye(3)).any((1, 2)) | (matrices["after"] != np.eye(3)).any((1, 2))
    assert abs(turned.mean() - p) < 4 * math.sqrt(p * (1 - p) / N)
    both = ((matrices["scale"] != np.eye(3)).any((1, 2)) & (matrices["stretch"] != np.eye(3)).any((1, 2))).mean()
    assert abs(both - p * p) < 4 * math.sqrt(p * p / N), "transformations happen apart from each other"


def test_transformations_are_as_large_as_the_paper_says():
    matrices, error = matrices_at(1.0), 4 / math.sqrt(2 * N)  # relative, of a standard deviation
    for name, sigma in (("scale", 0.2), ("stretch", 0.2)):
        octaves = -np.log2(matrices[name][:, 0, 0])
        assert octaves.std() == pytest.approx(sigma, rel=error) and abs(octaves.mean()) < 4 * sigma / math.sqrt(N)
    np.testing.assert_allclose(matrices["scale"][:, 0, 0], matrices["scale"][:, 1, 1])
    np.testing.assert_allclose(matrices["stretch"][:, 0, 0] * matrices["stretch"][:, 1, 1], 1, rtol=1e-5)
    for axis in (0, 1):
        assert matrices["fraction"][:, axis, 2].std() == pytest.approx(0.125 * 16, rel=error)
        moves, counts = np.unique(matrices["whole"][:, axis, 2], return_counts=True)
        np.testing.assert_array_equal(moves, [-2, -1, 0, 1, 2])
        np.testing.assert_allclose(counts / N, [1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8], atol=4 * 0.43 / math.sqrt(N))
    for name in ("before", "after"):
        angles = np.arctan2(matrices[name][:, 1, 0], matrices[name][:, 0, 0])
        np.testing.assert_allclose(np.histogram(angles, 8, (-np.pi, np.pi))[0] / N, 1 / 8, atol=4 * 0.33 / math.sqrt(N))


COLORS = ("brightness", "contrast", "luma flip", "hue", "saturation")


def colored(images, **values):
    """Images [n, r, r, C] after the named color transformations alone, given as the formulas have them."""
    normal = NormalDist().cdf
    uniform = {
        "brightness": lambda b: normal(b / 0.2),
        "contrast": lambda c: normal(math.log2(c) / 0.5),
        "luma flip": lambda sign: 0.2 if sign > 0 else 0.8,
        "hue": lambda angle: (angle / math.pi + 1) / 2,
        "saturation": lambda s: normal(math.log2(s)),
    }
    row = [x for name in COLORS for x in ((ON, uniform[name](values[name])) if name in values else (OFF, 0.5))]
    matrix = augment.color_matrix(jnp.array([row] * len(images), jnp.float32), 0.5)
    return np.asarray(augment.recolor(images, matrix))


def test_colors_follow_their_formulas():
    images = random_images(r=4)
    luma = images.mean(-1, keepdims=True)
    np.testing.assert_allclose(colored(images), images)
    np.testing.assert_allclose(colored(images, brightness=0.3), images + 0.3, atol=1e-5)
    np.testing.assert_allclose(colored(images, contrast=1.5), images * 1.5, atol=1e-5)
    np.testing.assert_allclose(colored(images, **{"luma flip": -1}), images - 2 * luma, atol=1e-5)
    np.testing.assert_allclose(colored(images, **{"luma flip": 1}), images, atol=1e-5)
    np.testing.assert_allclose(colored(images, saturation=2.5), luma + 2.5 * (images - luma), atol=1e-5)
    # A third of a turn takes red to green, green to blue, blue to red.
    np.testing.assert_allclose(colored(images, hue=2 * math.pi / 3), np.roll(images, 1, -1), atol=1e-5)
    turned = colored(images, hue=1.0)
    np.testing.assert_allclose(turned.mean(-1, keepdims=True), luma, atol=1e-5)
    cosine = ((turned - luma) * (images - luma)).sum(-1) / np.square(images - luma).sum(-1)
    np.testing.assert_allclose(cosine, math.cos(1.0), atol=1e-4)
    # In this order: brightness is scaled by the contrast after it, and flipped.
    both = colored(images, brightness=0.3, contrast=0.5, **{"luma flip": -1})
    np.testing.assert_allclose(both, (images + 0.3) * 0.5 - (luma + 0.3), atol=1e-5)


def test_gray_is_colored_like_gray_rgb_and_alpha_stays():
    values = {"brightness": -0.2, "contrast": 1.3, "luma flip": -1, "hue": 2.0, "saturation": 3.0}
    images = random_images(r=4, channels=4)
    np.testing.assert_array_equal(colored(images, **values)[..., 3], images[..., 3])
    np.testing.assert_allclose(colored(images, **values)[..., :3], colored(images[..., :3], **values))
    gray = images[..., :1]
    expected = colored(gray.repeat(3, -1), **values).mean(-1, keepdims=True)
    np.testing.assert_allclose(colored(gray, **values), expected, atol=1e-5)
    np.testing.assert_allclose(expected, -(gray - 0.2) * 1.3, atol=1e-5)
    np.testing.assert_allclose(colored(images[..., [0, 3]], **values)[..., :1], expected, atol=1e-5)
    np.testing.assert_array_equal(colored(images[..., [0, 3]], **values)[..., 1], images[..., 3])


def test_colors_are_as_frequent_and_as_large_as_the_paper_says():
    uniform = augment.draw(jax.random.key(5), (N, 4, 4, 3), ALL).uniform[:, 18:28]
    for i, name in enumerate(COLORS):
        alone = jnp.full((N, 10), OFF).at[:, 2 * i : 2 * i + 2].set(uniform[:, 2 * i : 2 * i + 2])
        matrix = np.asarray(augment.color_matrix(alone, 0.3))
        chance = 0.15 if name == "luma flip" else 0.3
        changed = (np.abs(matrix - np.eye(4)) > 1e-6).any((1, 2))
        assert abs(changed.mean() - chance) < 4 * math.sqrt(chance * (1 - chance) / N), name
        red, gray = matrix[changed][:, :3, :3] @ [1, -1, 0], matrix[changed][:, :3, :3].sum((1, 2)) / 3
        if name == "brightness":
            assert matrix[changed][:, 0, 3].std() == pytest.approx(0.2, rel=0.1)
        if name == "contrast":
            assert np.log2(gray).std() == pytest.approx(0.5, rel=0.1)
        if name == "saturation":
            assert np.log2(red[:, 0]).std() == pytest.approx(1.0, rel=0.1)


def test_noise_and_cutout():
    config = AugmentConfig(blit=False, geometric=False, color=False, noise=True)
    noise = np.asarray(compiled(config)(np.zeros((2000, 16, 16, 3), "f"), 0.4, jax.random.key(0)))
    sigma = noise.std((1, 2, 3))
    assert abs((sigma > 0).mean() - 0.4) < 4 * math.sqrt(0.24 / 2000)
    assert np.sqrt(np.square(sigma[sigma > 0]).mean()) == pytest.approx(0.1, rel=0.1)
    images = np.ones((3, 16, 16, 2), "f")
    holes = np.asarray(augment.cut_out(images, jnp.array([[ON, 0.5, 0.5], [ON, 0.125, 0.5], [OFF, 0.5, 0.5]]), 0.5))
    expected = np.ones((3, 16, 16), "f")
    expected[0, 4:12, 4:12] = 0
    expected[1, 4:12, :6] = 0
    np.testing.assert_array_equal(holes, expected[..., None].repeat(2, -1))


def test_groups_are_switched_on_by_name_and_do_not_disturb_each_other():
    images, key = random_images(n=8), jax.random.key(6)
    off = {"blit": False, "geometric": False, "color": False}
    results = {
        group: np.asarray(compiled(AugmentConfig(**(off | {group: True})))(images, 1.0, key))
        for group in ("blit", "geometric", "color", "cutout")
    }
    assert len({result.tobytes() for result in results.values()} | {images.tobytes()}) == 5
    both = AugmentConfig(**off | {"color": True, "cutout": True})
    np.testing.assert_allclose(compiled(both)(images, 1.0, key), np.where(results["cutout"], results["color"], 0))
    np.testing.assert_array_equal(compiled(AugmentConfig(**off))(images, 1.0, key), images)


def test_derivatives_of_first_and_second_order():
    """In float64, against differences, of something that is curved in the augmented images, as a discriminator is."""
    with jax.enable_x64(True):
        images = jnp.asarray(random_images(n=3, r=8), jnp.float64)
        rng = np.random.default_rng(1)
        weights, step = (jnp.asarray(rng.standard_normal(images.shape)) for _ in range(2))

        @jax.jit
        def score(x):
            return jnp.sum(jnp.tanh(augment.augment(x, 1.0, jax.random.key(2), ALL)) * weights)

        gradient = jax.jit(jax.grad(score))
        penalty = jax.jit(lambda x: jnp.sum(jnp.square(jax.grad(score)(x))))
        assert score(images).dtype == jnp.float64
        for function, slope in ((score, gradient), (penalty, jax.jit(jax.grad(penalty)))):
            difference = (function(images + 1e-5 * step) - function(images - 1e-5 * step)) / 2e-5
            along = jnp.sum(slope(images) * step)
            assert abs(along) > 0.1
            np.testing.assert_allclose(difference, along, rtol=1e-6)


def controller(p=0.5, signs=0.0, images=0.0):
    return augment.Controller(*map(jnp.float32, (p, signs, images)))


def test_controller_moves_toward_the_target_every_few_steps():
    config = AugmentConfig("ada", p=0.5, target=0.6, interval=4, speed_kimg=2.0)
    state, strengths = augment.init_controller(config), []
    # Means 0.9, then 0.3, over four steps of 32 images; single steps may lie anywhere.
    for sign in (1.0, 0.8, 1.0, 0.8, -0.2, 0.8, 0.3, 0.3):
        state = augment.adjust(state, jnp.float32(sign), 32, config)
        strengths.append(float(state.p))
    move = 4 * 32 / 2000
    np.testing.assert_allclose(strengths, [0.5] * 3 + [0.5 + move] * 4 + [0.5], rtol=1e-6)
    assert state.signs == 0 and state.images == 0
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype("float32")}


def test_controller_stops_at_its_bounds_and_at_its_target():
    config = AugmentConfig("ada", target=0.5, interval=1, speed_kimg=0.2, max_p=0.7)
    up = augment.adjust(controller(p=0.65), jnp.float32(1), 32, config)
    down = augment.adjust(controller(p=0.1), jnp.float32(-1), 32, config)
    still = augment.adjust(controller(p=0.1), jnp.float32(0.5), 32, config)
    assert (up.p, down.p, still.p) == (np.float32(0.7), 0, np.float32(0.1))


def test_controller_brings_p_from_0_to_1_in_the_time_given():
    config = AugmentConfig("ada", max_p=1.0, speed_kimg=1.0, interval=4)
    state, steps = augment.init_controller(config), 0
    while state.p < 0.999:
        state, steps = augment.adjust(state, jnp.float32(1), 10, config), steps + 1
    assert steps == 100


def test_controller_weighs_images_where_the_batch_changes():
    config = AugmentConfig("ada", target=0.5, interval=2, speed_kimg=1.0)
    state = augment.adjust(controller(), jnp.float32(1), 30, config)
    # 30 images at 1 and 10 at -0.6 have the mean 0.6; the two steps' means, 1 and -0.6, have 0.2.
    state = augment.adjust(state, jnp.float32(-0.6), 10, config)
    np.testing.assert_allclose(state.p, 0.5 + 40 / 1000, rtol=1e-6)


def test_strength_by_mode():
    nimg = jnp.int32(0)
    assert augment.strength(None, nimg, AugmentConfig()) is None
    assert augment.init_controller(AugmentConfig()) is None
    ada = AugmentConfig("ada", p=0.2)
    assert augment.strength(augment.init_controller(ada), nimg, ada) == np.float32(0.2)
    assert augment.strength(controller(p=0.4), nimg, ada) == np.float32(0.4)


def test_a_fixed_strength_rises_first():
    fixed = AugmentConfig("fixed", p=0.3, speed_kimg=10.0)
    assert augment.init_controller(fixed) is None
    strengths = [augment.strength(None, jnp.int32(nimg), fixed) for nimg in (0, 1000, 2999, 3000, 2_000_000_000)]
    np.testing.assert_allclose(strengths, [0, 0.1, 0.2999, 0.3, 0.3], rtol=1e-6)
    assert {p.dtype for p in strengths} == {jnp.dtype("float32")}


def test_the_sheet_shows_the_greatest_strength():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    strongest = augment.sheet(images, AugmentConfig("ada", max_p=1.0))
    assert strongest.dtype == np.uint8 and strongest.shape == images.shape
    np.testing.assert_array_equal(strongest, augment.sheet(images, AugmentConfig("fixed", p=1.0)))
    assert (strongest != images).any((1, 2, 3)).all()
    weakest = augment.sheet(images, AugmentConfig("ada", max_p=0.0))
    assert np.abs(weakest.astype(int) - images).max() <= 1
