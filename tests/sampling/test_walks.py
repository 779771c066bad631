"""Walks beyond the straight one: curves by their definition, loops of noise by their statistics, sound by its bands."""

import numpy as np
import pytest

import stylegen
from stylegen.sampling import audio, curves, walks
from stylegen.sampling.generate import SamplingError
from stylegen.sampling.interpolation import PathError

POINTS = np.random.default_rng(0).standard_normal((4, 5))


@pytest.mark.parametrize("kind", ["linear", "eased", "cubic"])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("spherical", [False, True])
def test_curves_meet_their_points(kind, closed, spherical):
    line = curves.curve(POINTS, kind, closed, spherical)
    for i, point in enumerate(POINTS):
        np.testing.assert_allclose(line(i), point, atol=1e-12)
    if closed:
        np.testing.assert_allclose(line(4), POINTS[0], atol=1e-12)


def test_linear_and_eased_take_the_same_way_at_another_speed():
    linear, eased = (curves.curve(POINTS, kind) for kind in ("linear", "eased"))
    np.testing.assert_allclose(eased(1.25), linear(1 + 3 * 0.25**2 - 2 * 0.25**3))
    slow = np.linalg.norm(eased(1.01) - eased(1.0))
    assert slow < 0.05 * np.linalg.norm(linear(1.01) - linear(1.0))


@pytest.mark.parametrize("closed", [False, True])
def test_a_cubic_curve_has_one_direction_at_each_point(closed):
    step = 1e-5
    for kind, limit in (("cubic", 1e-3), ("linear", None)):
        line = curves.curve(POINTS, kind, closed)
        for at in (1, 2, *([3] if closed else [])):
            before, after = line(at) - line(at - step), line(at + step) - line(at)
            jump = np.linalg.norm(after - before) / np.linalg.norm(after)
            assert jump < limit if limit else jump > 0.1
    # At equal distances on a line it is the line.
    straight = curves.curve(np.arange(4.0)[:, None], "cubic")
    np.testing.assert_allclose([straight(x)[0] for x in (0.3, 1.5, 2.9)], [0.3, 1.5, 2.9])


def test_spherical_curves_keep_the_length():
    unit = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    for kind in ("eased", "cubic"):
        line = curves.curve(3 * unit, kind, True, spherical=True)
        np.testing.assert_allclose([np.linalg.norm(line(x)) for x in np.linspace(0, 4, 33)], 3)


def test_positions(unchecked):
    np.testing.assert_allclose(curves.positions([2, 4], closed=False), [0, 0.5, 1, 1.25, 1.5, 1.75, 2])
    np.testing.assert_allclose(curves.positions([2, 1], closed=True), [0, 0.5, 1])
    assert (
        curves.spread(10, 3) == [3, 4, 3] and sum(curves.spread(1000, 7)) == 1000 and curves.spread(1, 3) == [1, 1, 1]
    )
    with pytest.raises(PathError, match="frames = 0: must be at least 1"):
        curves.positions([3, 0], closed=True)
    with pytest.raises(PathError, match="path = 'round'"):
        curves.curve(POINTS, "round")


def test_a_loop_of_noise_is_normal_at_every_moment_and_closed():
    line = curves.noise_loop(3, 20_000, radius=2.0)
    np.testing.assert_array_equal(line(0.0), line(1.0))
    for position in (0.0, 0.3, 0.77):
        values = line(position)
        assert abs(values.mean()) < 0.03 and abs(values.std() - 1) < 0.03
        assert abs(np.mean(values**4) - 3) < 0.2  # of a normal distribution
    # A larger radius moves faster; a small one is a great circle, opposite after half a turn.
    speeds = [np.linalg.norm((f := curves.noise_loop(3, 5000, r))(0.01) - f(0.0)) for r in (0.5, 2, 8)]
    assert speeds[0] < speeds[1] < speeds[2]
    circle = curves.noise_loop(3, 50, 0.0)
    np.testing.assert_allclose(circle(0.5), -circle(0.0), atol=1e-5)
    with pytest.raises(PathError, match="radius = 21: must be from 0 to 20"):
        curves.noise_loop(0, 4, 21)


@pytest.fixture
def G(make_generator):
    return make_generator()


def all_styles(walk):
    return walk.styles(np.arange(walk.frames))


def ws_of(G, seeds):
    return stylegen.styles(G, stylegen.latents(seeds, G.z_dim))


def test_the_plain_walk_is_that_of_stylegen_walk(G):
    for space in ("w", "z"):
        walk = walks.truncated(G, walks.seed_walk(G, [1, 2, 3], space=space, frames=3, loop=True), [0.7])
        frames = np.stack(list(walks.draw(G, walk, noise="none")))
        expected = np.stack(list(stylegen.walk(G, [1, 2, 3], space=space, frames=3, loop=True, psi=0.7, noise="none")))
        assert np.abs(frames.astype(int) - expected).max() <= 1


def test_a_cubic_walk_meets_its_seeds(G):
    found = all_styles(walks.seed_walk(G, [1, 2, 3], path="cubic", frames=4))
    np.testing.assert_allclose(found[[0, 4, 8], 0], ws_of(G, [1, 2, 3]), atol=1e-6)
    assert len(found) == 9


def test_a_grid_shares_the_seeds_in_order(G):
    walk = walks.seed_walk(G, range(12), frames=2, grid=(2, 3))
    np.testing.assert_allclose(all_styles(walk)[2], ws_of(G, [1, 3, 5, 7, 9, 11]), atol=1e-6)
    (first, *rest) = walks.draw(G, walk, noise="none")
    assert first.shape == (2 * 16, 3 * 16, 3) and len(rest) == 2
    expected = stylegen.synthesize(G, ws_of(G, [8]), noise="none")[0]
    assert np.abs(first[16:, 16:32].astype(int) - expected).max() <= 1
    with pytest.raises(PathError, match="5 seeds cannot be shared among 2 rows and 3 columns"):
        walks.seed_walk(G, range(5), grid=(2, 3))


def test_circles(G):
    walk = walks.seed_walk(G, [4, 5], path="circle", frames=8, grid=(1, 2))
    found = all_styles(walk)
    z = np.stack([curves.noise_loop(seed, G.z_dim)(2 / 8) for seed in (4, 5)])
    np.testing.assert_allclose(found[2], stylegen.styles(G, z), atol=1e-5)
    with pytest.raises(PathError, match="a circle begins with one seed; 2 seeds for each image are too many"):
        walks.seed_walk(G, [4, 5], path="circle")


def test_a_sweep_of_psi(G):
    walk = walks.truncated(G, walks.seed_walk(G, [3], frames=5), [-1, 0, 1], cutoff=2)
    found = all_styles(walk)
    for frame, psi in enumerate((-1, -0.5, 0, 0.5, 1)[:4]):
        expected = stylegen.styles(G, stylegen.latents([3], G.z_dim), psi=psi, cutoff=2)
        np.testing.assert_allclose(found[frame], expected, atol=1e-5)
    with pytest.raises(PathError, match="must be finite"):
        walks.truncated(G, walk, [float("nan")])


def test_classes(make_generator):
    G = make_generator(classes=3)
    found = all_styles(walks.seed_walk(G, [1, 2], frames=2, labels=[0, 2]))
    np.testing.assert_allclose(found[2], stylegen.styles(G, stylegen.latents([2], G.z_dim), labels=2), atol=1e-6)
    with pytest.raises(SamplingError, match="a walk in z stays in one class"):
        walks.seed_walk(G, [1, 2], space="z", labels=[0, 2])
    all_styles(walks.seed_walk(G, [1, 2, 3, 4], space="z", frames=2, labels=[0, 0, 2, 2], grid=(2, 1)))


def test_the_moving_row_of_a_mixing_table(G):
    columns = ws_of(G, [11, 12])
    walk = walks.mixed(walks.seed_walk(G, [1, 2], frames=2), columns, [0, 1])
    found = all_styles(walk)
    assert walk.cells == (1, 3) and found.shape[:2] == (3, 3)
    row = ws_of(G, [2])[0]
    np.testing.assert_allclose(found[2, 0], row, atol=1e-6)
    np.testing.assert_allclose(found[2, 2], np.concatenate([columns[1, :2], row[2:]]), atol=1e-6)
    with pytest.raises(PathError, match="one walk, and no grid"):
        walks.mixed(walks.seed_walk(G, range(4), frames=2, grid=(1, 2)), columns, [0])


RATE = 22_050


def tone(hz, seconds, start=0.0, total=2.0):
    t = np.arange(round(total * RATE)) / RATE
    return np.where((t >= start) & (t < start + seconds), np.sin(2 * np.pi * hz * t), 0).astype(np.float32)


def test_bands_hear_their_frequencies_when_they_sound():
    sound = tone(80, 0.5, 0.25) + tone(800, 0.5, 0.75) + tone(5000, 0.5, 1.25)
    found = audio.bands(sound, RATE, fps=20, frames=40)
    for name, begins in {"low": 0.25, "mid": 0.75, "high": 1.25}.items():
        middle = round((begins + 0.25) * 20)
        assert found[name].energy[middle] > 0.9
        assert found[name].energy[2] < 0.05
        # It begins once, and is loudest in its beginning where it begins.
        peak = int(np.argmax(found[name].onset))
        assert abs(peak / 20 - begins) <= 0.1, name
        assert all(values.min() >= 0 and values.max() <= 1 for values in (found[name].energy, found[name].onset))
    # A band that hardly sounds is not as loud as another, if it is never louder.
    alone = audio.bands(tone(80, 1.5) + 1e-4 * tone(5000, 1.5), RATE, 20, 40)
    assert alone["high"].energy[10:25].max() < 0.1 < 0.9 < alone["low"].energy[10]
    silent = audio.bands(np.zeros(RATE, np.float32), RATE, 20, 10)
    assert not any(band.energy.any() or band.onset.any() for band in silent.values())


def test_sound_moves_the_layers_of_its_band_alone(G):
    walk = walks.seed_walk(G, [1], frames=40)
    sound = audio.bands(tone(80, 0.5, 0.5), RATE, 20, 40)
    still, moved = all_styles(walk), all_styles(audio.driven(G, walk, sound, layers={"low": [0, 1]}))
    np.testing.assert_array_equal(moved[:, :, 2:], still[:, :, 2:])
    np.testing.assert_allclose(moved[3], still[3], atol=1e-2)  # before the sound
    target = ws_of(G, [audio.FIRST_SEED])[0, 0]
    strength = 0.5 * (sound["low"].energy[15] + sound["low"].onset[15]) / 2
    np.testing.assert_allclose(moved[15, 0, 1], still[15, 0, 1] + strength * (target - still[15, 0, 1]), atol=1e-5)
    with pytest.raises(SamplingError, match="layer 9 does not exist"):
        audio.driven(G, walk, sound, layers={"low": [9]})
    with pytest.raises(SamplingError, match="band 'bass': there is none of this name; there are low, mid, high"):
        audio.driven(G, walk, sound, layers={"bass": [0]})
    assert audio.default_layers(14) == {"low": [0, 1, 2, 3, 4], "mid": [5, 6, 7, 8, 9], "high": [10, 11, 12, 13]}
