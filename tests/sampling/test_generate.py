"""Sampling against the network called directly, and against numpy."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import stylegen
from stylegen import sampling
from stylegen.networks.build import build_networks
from stylegen.runs.load import save_generator
from stylegen.sampling import programs
from stylegen.sampling.batches import split
from stylegen.sampling.generate import SamplingError
from stylegen.sampling.interpolation import PathError


def network(G):
    return build_networks(G.config).generator(G.params, G.noise_const)


def numpy_uint8(x: np.ndarray) -> np.ndarray:
    return np.trunc(np.clip(x * 127.5 + 128, 0, 255)).astype(np.uint8)


def test_latents_are_those_of_everyone_else():
    z = stylegen.latents([7, 0, 2**32 - 1], 16)
    assert z.shape == (3, 16) and z.dtype == np.float32
    for row, seed in zip(z, [7, 0, 2**32 - 1], strict=True):
        np.testing.assert_array_equal(row, np.random.RandomState(seed).randn(1, 16)[0].astype(np.float32))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seeds", [[], [-1], [2**32], [1.5], ["3"], [True]])
def test_seeds_that_are_none_are_refused(seeds):
    with pytest.raises(SamplingError, match="seed"):
        stylegen.latents(seeds, 4)


@pytest.mark.parametrize("psi, cutoff", [(0.7, None), (0.7, 2), (-0.5, 5), (0.3, 0), (0.0, 99), (1.0, None)])
def test_styles_are_the_mapping_truncated(make_generator, psi, cutoff):
    G = make_generator()
    z = stylegen.latents(range(5), 16)
    w = np.asarray(network(G).mapping(z))
    expected = np.repeat(w[:, None], 6, axis=1)
    layers = slice(None) if cutoff is None else slice(cutoff)
    expected[:, layers] = np.asarray(G.w_avg) + psi * (expected[:, layers] - np.asarray(G.w_avg))
    ws = stylegen.styles(G, z, psi=psi, cutoff=cutoff)
    assert ws.shape == (5, G.num_ws, 16) and ws.dtype == np.float32
    np.testing.assert_allclose(ws, expected, atol=1e-5)


def test_truncation_of_classes_is_toward_the_mean_of_all_of_them(make_generator):
    G = make_generator(classes=3)
    z = stylegen.latents([1], G.z_dim)
    means = [stylegen.styles(G, z, labels=label, psi=0.0) for label in range(3)]
    for mean in means:
        np.testing.assert_array_equal(mean[0], np.broadcast_to(G.w_avg, mean[0].shape))


def test_psi_0_gives_one_image_and_psi_1_is_no_truncation(make_generator):
    G = make_generator()
    mean = stylegen.sample(G, range(4), psi=0)
    assert (mean == mean[0]).all()
    astray = dataclasses.replace(G, w_avg=G.w_avg + 100)
    np.testing.assert_array_equal(stylegen.sample(G, range(4), psi=1), stylegen.sample(astray, range(4), psi=1))
    assert len({image.tobytes() for image in stylegen.sample(G, range(4))}) == 4


@pytest.mark.parametrize("noise", ["const", "none"])
def test_synthesize_is_the_network(make_generator, noise):
    G = make_generator()
    ws = stylegen.styles(G, stylegen.latents(range(3), 16))
    expected = np.asarray(network(G).synthesis(ws, resolution=16, noise=noise))
    images = stylegen.synthesize(G, ws, noise=noise, as_float=True)
    assert images.shape == (3, 16, 16, 3) and images.dtype == np.float32
    np.testing.assert_allclose(images, expected, atol=1e-5)
    assert abs(images).max() > 1, "the test needs values that clipping would change"
    np.testing.assert_array_equal(stylegen.synthesize(G, ws, noise=noise), numpy_uint8(images))


def test_noise_modes_differ(make_generator):
    G = make_generator()
    const, random, none = (stylegen.sample(G, [1], noise=noise) for noise in ("const", "random", "none"))
    assert not np.array_equal(const, none) and not np.array_equal(const, random) and not np.array_equal(none, random)


def test_random_noise_belongs_to_the_seed_and_not_to_the_place(make_generator):
    G = make_generator()
    many = stylegen.sample(G, range(20), noise="random", batch=4)
    np.testing.assert_array_equal(stylegen.sample(G, [17, 3], noise="random", batch=4), many[[17, 3]])
    ws = np.repeat(stylegen.styles(G, stylegen.latents([5], 16)), 3, axis=0)
    a, b, again = stylegen.synthesize(G, ws, noise="random", noise_seeds=[5, 6, 5], batch=4)
    np.testing.assert_array_equal(a, again)
    assert not np.array_equal(a, b)


def test_random_noise_has_the_statistics_of_the_networks_own(make_generator):
    G = make_generator(stage=4)
    ws = np.repeat(stylegen.styles(G, stylegen.latents([5], 16)), 2000, axis=0)
    ours = stylegen.synthesize(G, ws, noise="random", as_float=True, batch=1000)
    theirs = np.asarray(network(G).synthesis(ws, resolution=4, noise="random", key=jax.random.key(1)))
    assert theirs.std(0).min() > 0.05, "the test needs noise that one can see"
    np.testing.assert_allclose(ours.std(0), theirs.std(0), rtol=0.15)
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.15 * theirs.std(0).max())


def test_an_image_does_not_depend_on_the_others(make_generator):
    G = make_generator()
    together = stylegen.sample(G, range(21), psi=0.7, batch=4)
    for seeds in ([0], [13, 20], range(7, 21)):
        np.testing.assert_array_equal(stylegen.sample(G, seeds, psi=0.7, batch=4), together[list(seeds)])
    in_fours = stylegen.sample(G, range(21), psi=0.7, batch=4, as_float=True)
    for seeds in ([0], [13, 20], range(7, 21), range(21)):  # programs of other sizes: the same to rounding
        images = stylegen.sample(G, seeds, psi=0.7, as_float=True)
        np.testing.assert_allclose(images, in_fours[list(seeds)], atol=1e-6 * abs(in_fours).max())
        levels = stylegen.sample(G, seeds, psi=0.7).astype(int) - together[list(seeds)]
        assert abs(levels).max() <= 1 and (levels != 0).mean() < 1e-3


def test_any_number_of_images_compiles_once(make_generator):
    G = make_generator()
    stylegen.sample(G, [0], batch=3)
    compiled = programs.map_latents.jitted._cache_size(), programs.draw.jitted._cache_size()
    stylegen.sample(G, range(7), batch=3, psi=0.3)
    stylegen.sample(G, range(100, 102), batch=3)
    for cutoff in (None, *range(G.num_ws + 2)):  # a slider of it compiles nothing
        stylegen.sample(G, [0], batch=3, psi=0.3, cutoff=cutoff)
    assert (programs.map_latents.jitted._cache_size(), programs.draw.jitted._cache_size()) == compiled


@pytest.fixture
def batches(monkeypatch):
    """Inputs of the synthesis program, in the order of its calls, with a CPU's largest batch."""
    inputs, draw = [], programs.draw
    monkeypatch.setattr(sampling.generate, "default_batch", lambda resolution: 16)

    def recorded(G, ws, extra, **options):
        inputs.append(ws)
        return draw(G, ws, extra, **options)

    monkeypatch.setattr(programs, "draw", recorded)
    return inputs


@pytest.mark.parametrize(
    "n, sizes",
    [
        (1, [1]),
        (2, [2]),
        (3, [4]),
        (5, [8]),
        (9, [16]),
        (16, [16]),
        (17, [16, 1]),
        (20, [16, 4]),
        (64, [16] * 4),
        (60, [16] * 4),  # a program of its own is not worth 4 rows in 60
        (69, [16] * 5),
        (33, [16, 16, 1]),
    ],
)
def test_a_few_images_cost_a_few_images(make_generator, batches, n, sizes):
    G = make_generator(stage=4)
    images = {
        "sample": stylegen.sample(G, range(n)),
        "synthesize": stylegen.synthesize(G, stylegen.styles(G, stylegen.latents(range(n), 16))),
    }
    assert [len(ws) for ws in batches] == 2 * sizes and all(len(x) == n for x in images.values())
    batches.clear()
    assert len(stylegen.sample(G, range(n), batch=16)) == n
    assert [len(ws) for ws in batches] == [16] * -(-n // 16), "a batch that is given is kept"


def test_all_numbers_of_images_together_have_few_programs():
    sizes = {part.size for n in range(1, 300) for part in split(n, 16, fixed=False)}
    assert sizes == {1, 2, 4, 8, 16}
    for n in range(1, 300):
        parts = split(n, 16, fixed=False)
        assert len({part.size for part in parts}) <= 2
        assert sum(part.size for part in parts) < max(2 * n, 2) and sum(part.count for part in parts) == n


def test_walks_run_in_full_batches(make_generator, batches):
    for space in ("w", "z"):
        batches.clear()
        frames = list(stylegen.walk(make_generator(stage=4), [1, 2, 3], space=space, frames=10))
        assert len(frames) == 21 and [len(ws) for ws in batches] == [16, 8]


def test_styles_stay_on_the_device_between_mapping_and_synthesis(make_generator, batches):
    stylegen.sample(make_generator(), range(20))
    list(stylegen.walk(make_generator(), [1, 2], space="z", frames=5))
    assert len(batches) == 3 and all(isinstance(ws, jax.Array) for ws in batches)


def test_a_batch_is_computed_while_the_one_before_is_fetched(make_generator, batches):
    stream = stylegen.stream(make_generator(), range(12), batch=4)
    next(stream)
    assert len(batches) == 2


@pytest.mark.parametrize(
    "platform, sizes",
    [
        ("cpu", {8: 16, 128: 16, 256: 4, 512: 1, 1024: 1}),
        ("gpu", {8: 64, 256: 64, 512: 16, 1024: 4}),
        ("tpu", {8: 64, 256: 64, 512: 16, 1024: 4}),
    ],
)
def test_the_batch_fits_the_platform(monkeypatch, platform, sizes):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert {resolution: sampling.default_batch(resolution) for resolution in sizes} == sizes


def test_a_generator_from_the_middle_of_a_fade_draws_what_training_saw(make_generator):
    G = make_generator(stage=8, alpha=0.25)
    images = stylegen.sample(G, [1, 2], as_float=True)
    assert images.shape == (2, 8, 8, 3) and G.num_ws == 4
    old = stylegen.sample(dataclasses.replace(G, alpha=0.0), [1, 2], as_float=True)
    new = stylegen.sample(dataclasses.replace(G, alpha=1.0), [1, 2], as_float=True)
    np.testing.assert_allclose(images, 0.75 * old + 0.25 * new, atol=1e-5)
    np.testing.assert_array_equal(old[:, ::2, ::2], old[:, 1::2, 1::2])
    before = stylegen.sample(dataclasses.replace(G, resolution=4, alpha=1.0), [1, 2], as_float=True)
    np.testing.assert_allclose(old[:, ::2, ::2], before, atol=1e-5)


def test_stream_is_sample_in_bounded_batches(make_generator):
    G = make_generator()
    batches = list(stylegen.stream(G, range(10), batch=4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(batches), stylegen.sample(G, range(10), batch=4))


def test_leading_dimensions_are_kept(make_generator):
    G = make_generator()
    ws = stylegen.styles(G, stylegen.latents(range(6), 16))
    table = stylegen.synthesize(G, ws.reshape(2, 3, 6, 16), batch=4)
    assert table.shape == (2, 3, 16, 16, 3)
    np.testing.assert_array_equal(table.reshape(6, 16, 16, 3), stylegen.synthesize(G, ws, batch=4))
    np.testing.assert_array_equal(stylegen.synthesize(G, ws[4], batch=4), table[1, 1])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channel_counts(make_generator, channels):
    assert stylegen.sample(make_generator(channels=channels), [1]).shape == (1, 16, 16, channels)


def test_classes_change_the_image(make_generator):
    G = make_generator(classes=3)
    images = stylegen.sample(G, [5, 5, 5, 5], labels=[0, 1, 2, 1], batch=2)
    assert len({image.tobytes() for image in images}) == 3
    np.testing.assert_array_equal(images[1], images[3])
    np.testing.assert_array_equal(stylegen.sample(G, [5, 5], labels=2, batch=2), images[[2, 2]])
    z = stylegen.latents([5], 16)
    expected = network(G).mapping(z, np.eye(3, dtype=np.float32)[[2]])
    np.testing.assert_allclose(stylegen.styles(G, z, labels=np.array([2]))[:, 0], expected, atol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "classes, labels, words",
    [
        (3, None, "give labels, each from 0 to 2"),
        (3, [0, 1], "2 labels for 3 images"),
        (3, [0, 1, 3], "label 3 is no class"),
        (3, -1, "label -1 is no class"),
        (3, [0.5, 1, 2], "label 0.5 is no class"),
        (0, [0, 0, 0], "has no classes"),
    ],
)
def test_wrong_labels_are_sentences(make_generator, classes, labels, words):
    with pytest.raises(SamplingError, match=words):
        stylegen.sample(make_generator(classes=classes), [1, 2, 3], labels=labels)


def test_mix_takes_layers_from_the_columns():
    rng = np.random.default_rng(0)
    rows, cols = rng.normal(size=(2, 6, 5)), rng.normal(size=(3, 6, 5))
    mixed = stylegen.mix(rows, cols, layers=[0, 1, 4])
    assert mixed.shape == (2, 3, 6, 5)
    for r, c, layer in itertools.product(range(2), range(3), range(6)):
        source = cols[c] if layer in (0, 1, 4) else rows[r]
        np.testing.assert_array_equal(mixed[r, c, layer], source[layer])


def test_mixing_all_or_no_layers_gives_the_sources(make_generator):
    G = make_generator()
    ws = stylegen.styles(G, stylegen.latents(range(5), 16))
    images = stylegen.synthesize(G, ws, batch=4)
    nothing = stylegen.synthesize(G, stylegen.mix(ws[:2], ws[2:], layers=[]), batch=4)
    everything = stylegen.synthesize(G, stylegen.mix(ws[:2], ws[2:], layers=range(6)), batch=4)
    np.testing.assert_array_equal(nothing, np.repeat(images[:2, None], 3, axis=1))
    np.testing.assert_array_equal(everything, np.repeat(images[None, 2:], 2, axis=0))


@pytest.mark.parametrize("space", ["z", "w"])
def test_a_walk_meets_its_seeds(make_generator, space):
    G = make_generator()
    frames = list(stylegen.walk(G, [3, 1, 2], space=space, frames=4, psi=0.8, batch=4))
    assert len(frames) == 9 and frames[0].shape == (16, 16, 3) and frames[0].dtype == np.uint8
    np.testing.assert_array_equal(np.stack(frames[::4]), stylegen.sample(G, [3, 1, 2], psi=0.8, batch=4))
    assert len({frame.tobytes() for frame in frames}) == 9
    loop = list(stylegen.walk(G, [3, 1, 2], space=space, frames=4, psi=0.8, loop=True, batch=4))
    assert len(loop) == 12
    np.testing.assert_array_equal(np.stack(loop[:9]), np.stack(frames))


def test_walks_in_z_and_w_are_spherical_and_straight(make_generator):
    G = make_generator()
    z = stylegen.latents([1, 2], 16)
    middle_z = stylegen.slerp(z[0], z[1], n=3)[1]
    expected = {
        "z": stylegen.synthesize(G, stylegen.styles(G, middle_z[None]))[0],
        "w": stylegen.synthesize(G, stylegen.styles(G, z).mean(0)),
    }
    for space, image in expected.items():
        middle = list(stylegen.walk(G, [1, 2], space=space, frames=2))[1]
        assert np.abs(middle.astype(int) - image).max() <= 1
    assert np.abs(expected["z"].astype(int) - expected["w"]).max() > 1


def test_random_noise_stays_the_same_throughout_a_walk(make_generator):
    frames = list(stylegen.walk(make_generator(), [1, 2], frames=2, psi=0, noise="random"))
    assert all(np.array_equal(frame, frames[0]) for frame in frames)


def test_a_walk_between_classes_is_one_in_w(make_generator):
    G = make_generator(classes=3)
    frames = list(stylegen.walk(G, [1, 2], frames=2, labels=[0, 2], batch=4))
    np.testing.assert_array_equal(np.stack(frames[::2]), stylegen.sample(G, [1, 2], labels=[0, 2], batch=4))
    with pytest.raises(SamplingError, match="one class"):
        stylegen.walk(G, [1, 2], space="z", labels=[0, 2])
    assert len(list(stylegen.walk(G, [1, 2], space="z", frames=2, labels=[2, 2]))) == 3


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "call, words",
    [
        (lambda G: stylegen.styles(G, np.zeros((2, 15))), "needs \\[N, 16\\]"),
        (lambda G: stylegen.sample(G, [1], psi=float("nan")), "psi"),
        (lambda G: stylegen.sample(G, [1], cutoff=-1), "cutoff"),
        (lambda G: stylegen.sample(G, [1], batch=0), "batch"),
        (lambda G: stylegen.sample(G, [1], noise="some"), "const, random, none"),
        (lambda G: stylegen.synthesize(G, np.zeros((2, 5, 16))), "needs \\[..., 6, 16\\]"),
        (lambda G: stylegen.synthesize(G, np.zeros((2, 6, 16)), noise="random", noise_seeds=[1]), "1 noise seeds"),
        (lambda G: stylegen.mix(np.zeros((1, 6, 16)), np.zeros((1, 6, 16)), [6]), "layer 6 does not exist"),
        (lambda G: stylegen.mix(np.zeros((1, 6, 16)), np.zeros((1, 4, 16)), [0]), "styles to mix"),
        (lambda G: stylegen.walk(G, [1]), "at least two seeds"),
        (lambda G: stylegen.walk(G, [1, 2], space="x"), "must be z or w"),
    ],
)
def test_errors_are_sentences_raised_at_once(make_generator, call, words):
    with pytest.raises((SamplingError, PathError), match=words):
        call(make_generator())


def test_importing_is_light_and_sampling_needs_no_training_libraries(make_generator, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_generator(make_generator(), path)
    code = f"""
import sys, stylegen
assert "jax" not in sys.modules and "numpy" not in sys.modules
images = stylegen.sample(stylegen.load({str(path)!r}), [1, 2])
assert images.shape == (2, 16, 16, 3)
heavy = {{"tensorflow", "tensorflow_datasets", "grain", "orbax", "lmdb", "array_record"}}
heavy |= {{"tensorboardX", "imageio_ffmpeg"}}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    root = Path(stylegen.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_the_package_has_its_public_names_and_submodules():
    assert all(hasattr(stylegen, name) for name in stylegen.__all__)
    assert set(stylegen.__all__) <= set(dir(stylegen))
    assert stylegen.ops.adain is not None
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        stylegen.smaple  # noqa: B018


def test_classes_have_names(make_generator):
    G = make_generator(classes=3)
    named = dataclasses.replace(G, config=dataclasses.replace(G.config, class_names=("cat", "dog, wet", "7")))
    expected = sampling.sample(G, [4, 5], labels=[1, 0], batch=2)
    for labels in (["dog, wet", "cat"], ("dog, wet", 0), np.array(["dog, wet", "cat"])):
        np.testing.assert_array_equal(sampling.sample(named, [4, 5], labels=labels, batch=2), expected)
    np.testing.assert_array_equal(
        sampling.sample(named, [4], labels="cat", batch=2), sampling.sample(G, [4], labels=0, batch=2)
    )
    z = sampling.latents([4], G.z_dim)
    np.testing.assert_array_equal(sampling.styles(named, z, labels="7"), sampling.styles(G, z, labels=2))
    with pytest.raises(
        SamplingError, match="label 'bird' is no class of this generator; its 3 classes: cat, dog, wet, 7"
    ):
        sampling.sample(named, [4], labels="bird")
    with pytest.raises(
        SamplingError, match="label 'cat' is no class of this generator; its classes have no names: give"
    ):
        sampling.styles(G, z, labels="cat")
