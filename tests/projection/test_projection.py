"""Projection: what it recovers, against numpy where there is a formula, and what it refuses."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.networks.layers import num_noise
from stylegen.projection import (
    descent,
    pivotal_tuning,
    search,
    targets,
)
from stylegen.projection import (
    loss as projection_loss,
)
from stylegen.projection import (
    result as projected,
)
from stylegen.projection.result import ProjectionError
from stylegen.projection.search import Options, Weights, project

PIXELS = Weights(perceptual=0.0, scales=1)
FAST = Options(space="w", steps=40, candidates=50, batch=2, weights=PIXELS)


@pytest.fixture(scope="module")
def G(make_generator):
    return make_generator()


@pytest.fixture(scope="module")
def images(G):
    return stylegen.sample(G, [5, 6])


@pytest.fixture(scope="module")
def fast_result(G, images):
    return project(G, images, FAST, frames=5)


def recovered(G, seeds, options) -> tuple[np.ndarray, np.ndarray]:
    """Project what the generator draws: distance of each w from the true one, in mean distances, and PSNR."""
    truth = stylegen.styles(G, stylegen.latents(seeds, G.z_dim))
    images = stylegen.synthesize(G, truth)
    projection = project(G, images, options).projection
    random = stylegen.styles(G, stylegen.latents(range(5000, 6000), G.z_dim))[:, 0]
    mean = np.linalg.norm(random[:500] - random[500:], axis=1).mean()
    distance = np.linalg.norm(projection.ws[:, 0] - truth[:, 0], axis=1) / mean
    return distance, projected.psnr(projected.draw(G, projection), images)


@pytest.mark.slow  # one and a half minutes of CPU time
def test_images_of_the_shipped_generator_are_recovered():
    G = stylegen.load("toy_bedrooms")
    assert not G.config.generator.use_noise
    distance, psnr = recovered(G, range(100, 110), Options(space="w", steps=800, weights=PIXELS))
    assert np.sum((distance <= 0.2) & (psnr >= 30)) >= 9, (distance, psnr)


def test_three_of_four_images_are_recovered_in_half_the_steps():
    G = stylegen.load("toy_bedrooms")
    options = Options(space="w", steps=400, candidates=500, weights=PIXELS)
    distance, psnr = recovered(G, range(100, 104), options)
    assert np.sum((distance <= 0.2) & (psnr >= 30)) >= 3, (distance, psnr)


def test_each_target_is_found_as_if_alone_and_again(G, images, fast_result):
    alone = project(G, images[1:], dataclasses.replace(FAST, batch=None)).projection
    np.testing.assert_allclose(alone.ws[0], fast_result.projection.ws[1], atol=1e-3)
    again = project(G, images, FAST).projection
    np.testing.assert_array_equal(again.ws, fast_result.projection.ws)
    other = project(G, images, dataclasses.replace(FAST, exploration=0.1, seed=1)).projection
    assert np.abs(other.ws - fast_result.projection.ws).max() > 1e-3


def test_the_loss_falls_and_frames_are_recorded(G, images, fast_result):
    loss = fast_result.projection.loss
    assert loss.shape == (40, 2) and (loss[-1] < 0.5 * loss[0]).all()
    assert (
        fast_result.frame_steps == [0, 8, 16, 24, 32, 40]
        and len(fast_result.frames) == 6
        and fast_result.frames[0].shape == images.shape
    )
    np.testing.assert_array_equal(fast_result.frames[0], fast_result.started)
    np.testing.assert_array_equal(fast_result.frames[-1], projected.draw(G, fast_result.projection))
    assert (fast_result.projection.ws == fast_result.projection.ws[:, :1]).all(), "w is the same for all layers"


@pytest.mark.parametrize("space", ["z", "w+", "w+noise"])
def test_the_other_spaces(G, images, fast_result, space):
    options = dataclasses.replace(FAST, space=space, steps=15, weights=Weights(perceptual=0.0, noise=1.0))
    result = project(G, images, options).projection
    assert (result.loss[-1] < result.loss[0]).all()
    if space == "z":
        np.testing.assert_allclose(stylegen.styles(G, result.z), result.ws, atol=1e-5)
    else:
        assert np.abs(result.ws - result.ws[:, :1]).max() > 1e-2
    assert (result.noise is None) == (space != "w+noise")
    if result.noise is not None:
        for maps in projection_loss.noise_maps(jnp.asarray(result.noise), 16):
            np.testing.assert_allclose(np.mean(maps, axis=(2, 3)), 0, atol=1e-4)
            np.testing.assert_allclose(np.var(maps, axis=(2, 3)), 1, atol=1e-3)


def test_noise_is_sought_for_stylegan2_too(make_generator):
    G = make_generator(block="demod")
    images = stylegen.sample(G, [5])
    options = dataclasses.replace(FAST, space="w+noise", steps=10, weights=Weights(perceptual=0.0, noise=1.0))
    result = project(G, images, options, frames=2)
    own = dataclasses.replace(result.projection, noise=None)
    assert (result.projection.loss[-1] < result.projection.loss[0]).all()
    assert result.projection.noise.shape == (1, num_noise(16))
    assert not np.array_equal(projected.draw(G, result.projection), projected.draw(G, own))


def test_the_search_for_noise_begins_with_the_generators_own(G, make_generator):
    for generator in (G, make_generator(block="demod")):
        ws = stylegen.styles(generator, stylegen.latents([3], generator.z_dim))
        own = np.asarray(generator.constant_noise())[None]
        images = stylegen.synthesize(generator, ws, noise=own, as_float=True)
        np.testing.assert_allclose(images, stylegen.synthesize(generator, ws, as_float=True), atol=1e-5)


def test_several_starts_are_no_worse_than_one(G, images, fast_result):
    several = project(G, images, dataclasses.replace(FAST, starts=3, batch=6)).projection
    assert several.ws.shape == fast_result.projection.ws.shape
    assert (several.loss[-1] <= fast_result.projection.loss[-1] * 1.001).all()


def test_classes_are_kept_apart(make_generator):
    G = make_generator(classes=3)
    images = stylegen.sample(G, [1, 2], labels=[0, 2])
    result = project(G, images, dataclasses.replace(FAST, space="z", steps=3), labels=[0, 2]).projection
    np.testing.assert_allclose(stylegen.styles(G, result.z, labels=[0, 2]), result.ws, atol=1e-5)


def test_each_target_explores_with_the_spread_of_its_own_class(make_generator):
    G = make_generator(classes=2)
    z = stylegen.latents(range(50), G.z_dim)
    spreads = [stylegen.styles(G, z, labels=label)[:, 0].std(axis=0).mean() for label in (0, 1)]
    assert abs(spreads[0] / spreads[1] - 1) > 1e-3
    images = stylegen.sample(G, [1, 2], labels=[0, 1])
    options = dataclasses.replace(FAST, space="w", steps=10, exploration=0.5, candidates=50, batch=1)
    together = project(G, images, options, labels=[0, 1]).projection
    for i in range(2):
        alone = project(G, images[i : i + 1], options, labels=i).projection
        np.testing.assert_array_equal(alone.ws[0], together.ws[i])


def test_the_learning_rate_rises_stays_and_falls():
    options = Options(steps=1000, learning_rate=0.1, exploration=0.05)
    rate = [descent.learning_rate(options, step) for step in range(1000)]
    assert rate[0] == pytest.approx(0.1 / 50) and rate[49] == pytest.approx(0.1) == pytest.approx(rate[740])
    assert rate[875] == pytest.approx(0.05, rel=0.02) and 0 < rate[-1] < 1e-5
    noise = [descent.exploration(options, step) for step in range(1000)]
    assert noise[0] == 0.05 and noise[375] == pytest.approx(0.0125) and max(noise[750:]) == 0


def test_pixels_are_compared_at_every_scale():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 8, 8, 3)).astype(np.float32)
    halves = (a - b).reshape(3, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    expected = (np.square(a - b).mean(axis=(1, 2, 3)) + np.square(halves).mean(axis=(1, 2, 3))) / 2
    np.testing.assert_allclose(projection_loss.pixel_loss(a, b, 2), expected, rtol=1e-5)


def test_targets_are_the_middle_of_what_rounds_to_them():
    from stylegen import ops

    levels = np.arange(256, dtype=np.uint8)
    exact = projection_loss.to_target(levels)
    np.testing.assert_array_equal(ops.to_uint8(jnp.asarray(exact)), levels)
    assert exact[0] == pytest.approx(-1, abs=0.004) and exact[-1] >= 1


def test_what_is_beyond_white_is_no_error():
    target = np.concatenate([np.full((1, 4, 4, 1), 255), np.full((1, 4, 4, 1), 128)]).astype(np.uint8)
    goal = projection_loss.make_goal(None, jnp.asarray(projection_loss.to_target(target)))
    loss = projection_loss.image_loss(None, goal, jnp.full((2, 4, 4, 1), 1.5), PIXELS)
    assert loss[0] == 0 and loss[1] > 2


def test_noise_is_penalized_for_order_and_not_for_being_noise():
    rng = np.random.default_rng(0)
    white = rng.standard_normal((2, num_noise(32))).astype(np.float32)
    maps = projection_loss.noise_maps(jnp.asarray(white), 32)
    assert [m.shape for m in maps] == [(2, 2, r, r) for r in (4, 8, 16, 32)]
    # One map of 8 pixels by the formula of the paper: no scale below it.
    x = np.asarray(maps[1])[0, 0]
    expected = np.mean(x * np.roll(x, 1, 0)) ** 2 + np.mean(x * np.roll(x, 1, 1)) ** 2
    only = np.zeros_like(white)
    start = num_noise(4)
    only[0, start : start + 64] = white[0, start : start + 64]
    assert projection_loss.noise_penalty(jnp.asarray(only), 32)[0] == pytest.approx(expected, rel=1e-4)
    ordered = white.copy()
    start = num_noise(16)
    ordered[0, start : start + 32 * 32] = np.repeat(rng.standard_normal(32), 32)
    penalty = projection_loss.noise_penalty(jnp.asarray(ordered), 32)
    plain = projection_loss.noise_penalty(jnp.asarray(white), 32)
    assert penalty[0] > plain[0] + 0.5 and penalty[1] == plain[1]


def test_coarse_scales_of_the_noise_penalty_are_those_of_the_paper():
    """Noise that is halved keeps its variance: the published code leaves the factor 2 out, and counts 1/16."""
    noise = np.zeros((1, num_noise(16)), np.float32)
    fine = np.random.default_rng(1).standard_normal((16, 16)).astype(np.float32)
    noise[0, num_noise(8) : num_noise(8) + 256] = fine.ravel()

    def correlation(x):
        return sum(np.mean(x * np.roll(x, 1, axis), dtype=np.float64) ** 2 for axis in (0, 1))

    mean = fine.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    penalty = projection_loss.noise_penalty(jnp.asarray(noise), 16)[0]
    assert penalty == pytest.approx(correlation(fine) + correlation(2 * mean), rel=1e-4)
    assert correlation(2 * mean) == pytest.approx(16 * correlation(mean)) and correlation(mean) > 1e-5


def test_the_perceptual_loss_is_a_distance_and_says_what_it_is(G, images):
    distance = projection_loss.open_perceptual("random_vgg")
    assert "random_vgg" in distance.provenance["distance"]
    goal = projection_loss.make_goal(distance.network, jnp.asarray(projection_loss.to_target(images)))
    weights = Weights(pixel=0.0)
    itself = projection_loss.image_loss(distance.network, goal, goal["pixels"], weights)
    other = projection_loss.image_loss(distance.network, goal, goal["pixels"][::-1], weights)
    assert (itself < 1e-6).all() and (other > 0.01).all()
    np.testing.assert_allclose(other, distance(goal["pixels"], goal["pixels"][::-1]), rtol=1e-3)
    assert projection_loss.open_perceptual("none") is None


def test_without_weights_the_random_network_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "random_vgg" in projection_loss.open_perceptual("auto").provenance["distance"]


def test_pivotal_tuning_brings_the_image_closer_and_changes_nothing_else(G, images, fast_result):
    upside_down = np.ascontiguousarray(images[:, ::-1])
    options = pivotal_tuning.Options(steps=25, learning_rate=3e-3, weights=PIXELS)
    tuned, pivot = pivotal_tuning.tune(G, fast_result.projection, upside_down, options)
    before = projected.psnr(projected.draw(G, pivot), upside_down)
    after = projected.psnr(projected.draw(tuned, pivot), upside_down)
    assert (after > before + 1).all()
    np.testing.assert_array_equal(pivot.ws, fast_result.projection.ws)
    z = stylegen.latents([9], G.z_dim)
    np.testing.assert_array_equal(stylegen.styles(G, z), stylegen.styles(tuned, z))
    assert projected.fingerprint(tuned) != projected.fingerprint(G)
    for generator in (G, tuned):
        projected.check(pivot, generator, "p.npz")


def test_locality_holds_the_other_images(G, images, fast_result):
    target, seeds = np.ascontiguousarray(images[:, ::-1]), range(20, 30)
    moved = []
    for weight in (0.0, 10.0):
        options = pivotal_tuning.Options(steps=25, learning_rate=3e-3, locality=weight, weights=PIXELS)
        tuned, _ = pivotal_tuning.tune(G, fast_result.projection, target, options)
        moved.append(np.abs(stylegen.sample(tuned, seeds).astype(int) - stylegen.sample(G, seeds)).mean())
    assert moved[1] < 0.8 * moved[0]


def test_a_descent_is_the_search_and_can_be_stopped_and_continued(G, images, fast_result):
    search_steps = search.descend(G, images, FAST)
    seen = []
    for step, losses, shown in search_steps:
        seen.append((step, np.asarray(losses), np.asarray(shown)))
        if step == 9:
            break
    early = search_steps.projection(["a", "b"])
    assert early.names == ("a", "b") and early.loss.shape == (10, 2)
    # The image of a step is that of the latents before it: ten steps are not yet drawn.
    np.testing.assert_array_equal(seen[0][2], fast_result.started)
    assert psnr_of(G, early, images).mean() > projected.psnr(seen[0][2], images).mean()
    seen += [(step, losses, shown) for step, losses, shown in search_steps]
    assert [step for step, *_ in seen] == list(range(FAST.steps))
    np.testing.assert_array_equal(search_steps.projection().ws, fast_result.projection.ws)
    np.testing.assert_array_equal(search_steps.losses, fast_result.projection.loss)
    with pytest.raises(ProjectionError, match="starts = 2: a descent has 1"):
        search.descend(G, images, dataclasses.replace(FAST, starts=2))


def psnr_of(G, projection, images) -> np.ndarray:
    return projected.psnr(projected.draw(G, projection), images)


def test_a_tuning_can_be_stopped(G, images, fast_result):
    options = pivotal_tuning.Options(steps=6, locality=0.0, weights=PIXELS)
    tuning = pivotal_tuning.descend(G, fast_result.projection, images, options)
    losses = []
    for step, loss, shown in tuning:
        losses.append(float(loss))
        if step == 0:
            np.testing.assert_array_equal(shown, projected.draw(G, fast_result.projection))
        if step == 2:
            break
    halfway = tuning.generator()
    losses += [float(loss) for _, loss, _ in tuning]
    assert len(losses) == 6 and losses[-1] < losses[0]
    whole, projection = pivotal_tuning.tune(G, fast_result.projection, images, options)
    assert projection.generators == tuning.projection().generators
    assert projected.fingerprint(halfway) != projected.fingerprint(whole)


def test_a_projection_is_kept(G, fast_result, tmp_path):
    path = tmp_path / "p.npz"
    projected.save(fast_result.projection, path)
    read = projected.load(path)
    for name in ("ws", "loss", "names", "generators"):
        np.testing.assert_array_equal(getattr(read, name), getattr(fast_result.projection, name))
    assert read.about["options"]["space"] == "w" and read.about["perceptual"] is None
    assert [file.name for file in tmp_path.iterdir()] == ["p.npz"]


def test_a_projection_of_another_generator_is_refused(G, make_generator, fast_result):
    projected.check(fast_result.projection, G, "p.npz")
    bent = dataclasses.replace(G, params={**G.params, "mapping": {}})
    with pytest.raises(ProjectionError, match=r"p\.npz is a projection of another generator .* the weights"):
        projected.check(fast_result.projection, bent, "p.npz")
    with pytest.raises(ProjectionError, match="6 styles of 16, and this one needs 4 of 16"):
        projected.check(fast_result.projection, make_generator(stage=8), "p.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no zip", "directions"])
def test_files_that_are_no_projections(tmp_path, content):
    path = tmp_path / "p.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, ws=np.zeros((1, 2, 3)))
    with pytest.raises(ProjectionError, match="is not a projection"):
        projected.load(path)
    with pytest.raises(ProjectionError, match="cannot be read"):
        projected.load(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"steps": 0}, "steps = 0: must be at least 1"),
        ({"space": "v"}, "space = 'v': must be one of z, w"),
        ({"space": "z", "start": "mean"}, "there is no mean of z"),
        ({"start": "mean", "starts": 2}, "there is one mean to start from"),
        ({"starts": 60}, "starts = 60: must be at most the number of candidates, 50"),
        ({"learning_rate": float("nan")}, "learning_rate = nan: must be positive"),
        ({"ramp_down": 1.5}, "ramp_down = 1.5: must be a share"),
        ({"weights": Weights(pixel=0.0, perceptual=0.0)}, "nothing is left to match"),
        ({"batch": 0}, "batch = 0"),
    ],
)
def test_options_that_cannot_be(G, images, change, words):
    with pytest.raises(ProjectionError, match=words):
        project(G, images, dataclasses.replace(FAST, **change))


def test_targets_that_do_not_fit(G, images):
    for wrong in (images[:, :8], images.astype(np.float32), images[:0], images[..., :1]):
        with pytest.raises(ProjectionError, match="targets are"):
            project(G, wrong, FAST)
    toy = stylegen.load("toy_bedrooms")
    with pytest.raises(ProjectionError, match="no noise inputs"):
        project(toy, stylegen.sample(toy, [1]), dataclasses.replace(FAST, space="w+noise"))


@pytest.mark.parametrize(
    "size, words",
    [
        ((40, 20), "40x20 pixels, 20 cut off at left and right together .* enlarged from 20 to 32"),
        ((64, 100), "36 cut off at top and bottom together .* resized from 64 to 32"),
        ((32, 32), "32x32 pixels, not resized"),
    ],
)
def test_targets_of_any_size_say_how_they_were_cropped(tmp_path, size, words):
    path = tmp_path / "photo.png"
    half_white = np.zeros((size[1], size[0], 3), np.uint8)
    half_white[:, size[0] // 2 :] = 255
    Image.fromarray(half_white).save(path)
    target = targets.load_target(path, 32, 3)
    assert target.name == "photo" and target.image.shape == (32, 32, 3)
    assert target.image[:, :14].max() < 40 and target.image[:, 18:].min() > 215, "the middle stays in the middle"
    assert re.search(words, target.note)


def test_gray_and_transparent_targets(tmp_path):
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "gray.png")
    assert (targets.load_target(tmp_path / "gray.png", 8, 3).image == 77).all()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (targets.load_target(tmp_path / "clear.png", 8, 3).image == 255).all()
    assert targets.load_target(tmp_path / "clear.png", 8, 4).image[0, 0].tolist() == [255, 0, 0, 0]


def test_files_that_are_no_targets(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(targets.TargetError, match="cannot be used as an image"):
        targets.load_target(tmp_path / "text.jpg", 8, 3)
    with pytest.raises(targets.TargetError, match="cannot be read"):
        targets.load_target(tmp_path, 8, 3)
    with pytest.raises(targets.TargetError, match="no such file or folder"):
        targets.find_targets(str(tmp_path / "nothing.jpg"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(targets.TargetError, match="holds no images"):
        targets.find_targets(str(tmp_path / "empty"))


def test_an_image_too_large_to_be_honest(tmp_path, monkeypatch):
    from stylegen.data import imaging

    Image.new("L", (100, 100)).save(tmp_path / "big.png")
    monkeypatch.setattr(imaging, "MAX_PIXELS", 9999)
    with pytest.raises(targets.TargetError, match="100x100 pixels are too many"):
        targets.load_target(tmp_path / "big.png", 8, 3)


def test_targets_of_the_same_name_get_names_of_their_own(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "room.png")
    paths = targets.find_targets(f"{tmp_path / 'a'},{tmp_path / 'b' / 'room.png'}")
    assert [target.name for target in targets.load_targets(paths, 8, 3)] == ["room", "room-2"]


def test_targets_of_a_folder_are_those_that_can_be_used(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/c.png", ".hidden.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "a.png").write_text("no image")
    paths = targets.find_targets(str(tmp_path))
    assert [path.name for path in paths] == ["a.png", "b.png", "c.png"]
    left_out: list[str] = []
    loaded = targets.load_targets(paths, 8, 3, left_out=left_out)
    assert [target.name for target in loaded] == ["b", "c"]
    assert len(left_out) == 1 and "a.png: cannot be used as an image" in left_out[0]
    with pytest.raises(targets.TargetError, match="a.png: cannot be used"):
        targets.load_targets(paths, 8, 3)
    with pytest.raises(targets.TargetError, match="None of 1 images can be used .*a.png: cannot be used"):
        targets.load_targets(paths[:1], 8, 3, left_out=[])


def test_a_projection_names_no_folders_of_mine(G, images, tmp_path):
    absolute = dataclasses.replace(G, source=str(tmp_path / "runs" / "bedroom"))
    about = project(absolute, images[:1], FAST).projection.about
    assert about["generator"] == f"bedroom at {G.kimg:g} kimg" and str(tmp_path) not in str(about)
