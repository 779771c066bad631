"""The explorer's engine: its images are those of the library, and no slider compiles anything."""

import dataclasses
import io

import numpy as np
import pytest

import stylegen
from stylegen import sampling
from stylegen.editing import directions as editing
from stylegen.explorer import path as paths
from stylegen.explorer.engine import Engine, find_directions
from stylegen.explorer.state import State, decode, encode
from stylegen.export import ExportError
from stylegen.projection import result
from stylegen.sampling import curves
from tests.support.compilations import compilations


@pytest.fixture(scope="module")
def engine(make_generator):
    return Engine(make_generator())


def test_a_seeds_image_is_that_of_sample_to_the_byte(engine):
    for state, options in (
        (State(seed=5), {"psi": 0.7}),
        (State(seed=5, psi=-0.3, cutoff=2), {"psi": -0.3, "cutoff": 2}),
        (State(seed=6, psi=1.0, noise="random"), {"psi": 1.0, "noise": "random"}),
        (State(seed=6, noise="none"), {"psi": 0.7, "noise": "none"}),
    ):
        expected = stylegen.sample(engine.G, [state.seed], **options)[0]
        np.testing.assert_array_equal(engine.image(state), expected)


def test_images_that_the_page_cannot_show(make_generator):
    with pytest.raises(ExportError, match="have 24x16 pixels; a page shows square images in color or gray alone"):
        Engine(make_generator(const_shape=(4, 6)))


def test_a_class_is_that_of_sample(make_generator):
    engine = Engine(make_generator(classes=3))
    expected = stylegen.sample(engine.G, [4], labels=2, psi=0.7)[0]
    np.testing.assert_array_equal(engine.image(State(seed=4, label=2)), expected)


def test_mixing_truncation_and_directions_in_this_order(engine):
    G = engine.G
    direction = engine.directions["pca0"]
    given = np.random.default_rng(0).standard_normal(G.w_dim).astype(np.float16)
    state = State(seed=1, psi=0.5, cutoff=4, mix={2: 9, 5: encode(given)}, directions={"pca0": 2.0})
    z = stylegen.latents([1, 9], G.z_dim)
    a, b = stylegen.styles(G, z[:1])[0], stylegen.styles(G, z[1:])[0]
    a[2], a[5] = b[2], given
    expected = np.array(a)
    expected[:4] = np.asarray(G.w_avg) + 0.5 * (a[:4] - np.asarray(G.w_avg))
    expected = editing.move(expected, direction, 2.0)
    np.testing.assert_allclose(engine.styles(state), expected, atol=1e-5)


def test_given_styles_are_drawn_and_truncated_as_those_of_seeds(engine):
    ws = engine.styles(State(seed=3, psi=1.0))
    given = State(ws=encode(ws), psi=0.5)
    np.testing.assert_allclose(engine.styles(given), engine.styles(State(seed=3, psi=0.5)), atol=5e-3)
    np.testing.assert_array_equal(engine.styles(dataclasses.replace(given, psi=1.0)), decode(given.ws, "", ws.shape))


def test_noise_has_a_strength(engine):
    const, none = engine.image(State(noise="const")), engine.image(State(noise="none"))
    np.testing.assert_array_equal(engine.image(State(noise_strength=0.0)), none)
    nearly = engine.image(State(noise_strength=0.999999)).astype(int)
    assert np.abs(nearly - const).max() <= 1
    half = engine.image(State(noise_strength=0.5)).astype(int)
    assert np.abs(half - const).max() > 1 and np.abs(half - none).max() > 1
    two = [engine.image(State(seed=seed, noise="random", noise_strength=0.5)) for seed in (1, 1)]
    np.testing.assert_array_equal(*two)


def test_sliders_compile_nothing_once_it_is_warm(engine):
    engine.warm()
    with compilations() as names:
        for psi in (0.1, 0.2):
            for cutoff in range(7):
                engine.image(State(psi=psi, cutoff=cutoff, directions={"pca1": psi}))
        engine.image(State(seed=9, mix={1: 3}))
        engine.image(State(noise="random", noise_strength=0.3))
        engine.image(State(noise_strength=2.0))
    assert names == []


def test_children_are_made_of_their_parents(engine):
    a, b = State(seed=1), State(seed=2, psi=0.3)
    children = engine.children(a, b, 8, seed=0)
    parents = np.stack([engine.styles(a), engine.styles(b)])
    from_b = 0
    for child in children:
        ws = engine.styles(child)
        distances = np.linalg.norm(parents - ws, axis=2).T  # [num_ws, 2]
        np.testing.assert_array_equal(distances.argmin(axis=1)[::2], distances.argmin(axis=1)[1::2])
        assert distances.min(axis=1).max() < distances.max(axis=1).min()
        from_b += distances.argmin(axis=1).mean()
    assert 1 < from_b < 7
    assert engine.children(a, b, 8, seed=0) == children != engine.children(a, b, 8, seed=1)


def test_the_file_is_one_that_sample_reads(engine, tmp_path):
    for state in (State(seed=3, directions={"pca0": 1.0}), State(seed=3, noise_strength=0.5), State(noise="none")):
        path = tmp_path / "explored.npz"
        path.write_bytes(engine.projection_file(state))
        projection = result.load(path)
        result.check(projection, engine.G, "explored.npz")
        difference = result.draw(engine.G, projection)[0].astype(int) - engine.image(state)
        assert np.abs(difference).max() <= 1


def test_directions_are_found_for_groups_of_layers(make_generator):
    for options in ({}, {"block": "demod"}, {"classes": 3}, {"resolution": 8}):
        G = make_generator(**options)
        found = find_directions(G)
        assert len({direction.name for direction in found}) == len(found)
        layers = {direction.name.split()[0]: direction.layers for direction in found if " " in direction.name}
        assert [layer for group in layers.values() for layer in group] == list(range(G.num_ws))


def test_a_path_goes_through_its_keyframes(engine):
    keyframes = [State(seed=1), State(seed=2), State(seed=3, directions={"pca0": 1.0})]
    for easing in paths.EASINGS:
        for loop in (False, True):
            walker = paths.Walker(engine, paths.Path(keyframes, 4, easing, loop))
            for i, state in enumerate(keyframes):
                np.testing.assert_allclose(walker.styles(i), engine.styles(state), atol=1e-5)
            frames = list(walker.frames())
            assert len(frames) == (12 if loop else 9)
            for i in (0, 3, 7):
                difference = frames[i].astype(int) - walker.image(i / 4)
                assert np.abs(difference).max() <= 1
    if loop:
        np.testing.assert_allclose(walker.styles(3), engine.styles(keyframes[0]), atol=1e-5)


def test_curves_are_those_of_sample(engine):
    keyframes = [State(seed=1), State(seed=2), State(seed=3)]
    ws = np.stack([engine.styles(state) for state in keyframes])
    for easing, kind in (("linear", "linear"), ("smooth", "eased"), ("curve", "cubic")):
        walker, curve = paths.Walker(engine, paths.Path(keyframes, 4, easing)), curves.curve(ws, kind)
        for place in (0.4, 1.7):
            np.testing.assert_allclose(walker.styles(place), curve(place), atol=1e-6)


def test_easings_differ_as_they_say(engine):
    keyframes = [State(seed=1), State(seed=2), State(seed=3)]
    speeds = {}
    for easing in paths.EASINGS:
        walker = paths.Walker(engine, paths.Path(keyframes, 4, easing))
        around = [walker.styles(place) for place in (0.97, 1.0, 1.03)]
        speeds[easing] = [np.linalg.norm(b - a) for a, b in zip(around, around[1:], strict=False)]
        turn = np.linalg.norm(around[2] - 2 * around[1] + around[0])
        speeds[easing].append(turn)
    assert max(speeds["smooth"][:2]) < 0.2 * min(speeds["linear"][:2])  # stands still
    assert speeds["curve"][2] < 0.3 * speeds["linear"][2]  # and has no corner


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([State()],), "1 keyframes: a path has 2 to 32"),
        (([State()] * 65,), "65 keyframes"),
        (([State()] * 3, 0), "frames = 0"),
        (([State()] * 3, 2501), "at most 5000 in all"),
    ],
)
def test_paths_that_cannot_be(arguments, words):
    with pytest.raises(stylegen.StylegenError, match=words):
        paths.Path(*arguments)


def test_thumbnails_are_the_images(engine):
    states = [State(seed=seed) for seed in range(5)]
    single = np.stack([engine.image(state) for state in states]).astype(int)
    assert np.abs(engine.images(states) - single).max() <= 1
    assert sampling.default_batch(16) == 16


def test_the_file_has_no_folders_of_mine(engine):
    with np.load(io.BytesIO(engine.projection_file(State()))) as file:
        assert "/" not in str(file["header"])
