"""Dragging points: what moves, as an independent reader of the image finds, and what must not."""

import jax.numpy as jnp
import numpy as np
import pytest

import stylegen
from stylegen.editing import drag as dragging
from stylegen.editing.drag import Drag, Options
from stylegen.evaluation.toy_factors import read_factors


def place_of_bed(factors: dict[str, np.ndarray]) -> float:
    """The middle of the bed, from 0 at the left of the image to 1; the reader has it as if nothing were mirrored."""
    middle = float(factors["bed_left"][0] + factors["bed_width"][0] / 2)
    return 1 - middle if factors["flip"][0] else middle


@pytest.mark.parametrize(
    "seed, points, targets",
    [
        (8, [(22, 28), (26, 13)], [(22, 24), (26, 9)]),  # to the left
        (13, [(22, 17)], [(22, 21)]),  # to the right
    ],
)
def test_the_bed_moves_as_asked_and_keeps_its_color(seed, points, targets):
    G = stylegen.load("toy_bedrooms")
    ws = stylegen.styles(G, stylegen.latents([seed], G.z_dim), psi=0.7)[0]
    moved, steps = dragging.drag(G, ws, points, targets)
    assert steps[-1].arrived
    was, now = (read_factors(stylegen.synthesize(G, one[None])) for one in (ws, moved))
    asked = np.mean(targets, axis=0)[1] - np.mean(points, axis=0)[1]
    way = place_of_bed(now) - place_of_bed(was)
    assert now["has_bed"][0] and now["flip"][0] == was["flip"][0]
    assert way * np.sign(asked) > 0.03, way
    assert np.abs(now["bed"] - was["bed"]).max() < 0.15


@pytest.fixture(scope="module")
def G(make_generator):
    return make_generator()


@pytest.fixture(scope="module")
def ws(G):
    return stylegen.styles(G, stylegen.latents([1], G.z_dim))[0]


def test_the_first_step_is_adam_s_and_only_of_the_layers(G, ws):
    moving = Drag(G, ws, [(4, 4)], [(4, 9)], Options(layers=3, learning_rate=0.03))
    step = moving.step()
    assert step.step == 1 and step.image.shape == (16, 16, 3)
    np.testing.assert_array_equal(moving.ws[3:], ws[3:])
    change = np.abs(moving.ws[:3] - ws[:3])
    np.testing.assert_allclose(np.median(change), 0.03, rtol=1e-3)  # Adam's first step is the rate for every number
    assert (change > 0).mean() > 0.9
    np.testing.assert_array_equal(step.image, stylegen.synthesize(G, moving.ws[None])[0])


def test_motion_is_toward_the_target(G, ws):
    """The loss of a step falls, and a drag of no way moves nothing."""
    steps = list(Drag(G, ws, [(6, 6)], [(6, 12)], Options(steps=15, style_weight=0.0)))
    assert steps[-1].loss < steps[0].loss
    still = Drag(G, ws, [(6, 6)], [(6, 6)], Options(steps=5, style_weight=0.0))
    (only,) = list(still)
    assert only.arrived and only.loss == 0
    np.testing.assert_allclose(still.ws, ws, atol=1e-6)


def test_outside_of_the_mask_less_changes(G, ws):
    mask = np.zeros((16, 16), bool)
    mask[:, 8:] = True
    before = stylegen.synthesize(G, ws[None], as_float=True)[0]

    def change(**given) -> float:
        options = Options(steps=30, learning_rate=0.02, style_weight=0.0)
        moved, _ = dragging.drag(G, ws, [(8, 12)], [(4, 12)], options, **given)
        after = stylegen.synthesize(G, moved[None], as_float=True)[0]
        return float(np.abs(after - before)[:, :8].mean())

    assert change(mask=mask) < 0.7 * change()


def test_styles_stay_near_with_a_weight(G, ws):
    far, near = (
        dragging.drag(G, ws, [(8, 12)], [(2, 3)], Options(steps=40, style_weight=weight))[0] for weight in (0.0, 10.0)
    )
    assert np.square(near - ws).sum() < 0.7 * np.square(far - ws).sum()


def test_the_tracker_finds_what_was_moved():
    """Features that are moved by (2, -1) are found there, and in a plain area the point stays."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((16, 16, 5)).astype(np.float32)
    features[8:] = 1.0
    points = jnp.asarray([[4.0, 6.0], [12.0, 9.0]])
    static = dragging._Static(at=16, layers=4, supervised=1, tracked=3)
    handles = dragging.bilinear(jnp.asarray(features), dragging._around(points, 1))
    moved = np.roll(features, (2, -1), axis=(0, 1))
    moved[10:] = 1.0
    found = dragging._tracked(jnp.asarray(moved), points, handles, static)
    np.testing.assert_array_equal(found, [[6, 5], [12, 9]])


def test_places_between_pixels_are_means():
    features = jnp.asarray(np.arange(12, dtype=np.float32).reshape(3, 4, 1))
    places = jnp.asarray([[0.0, 0.0], [1.5, 2.25], [-3.0, 9.0], [2.0, 3.0]])
    np.testing.assert_allclose(dragging.bilinear(features, places)[:, 0], [0, 8.25, 3, 11])


def test_other_points_compile_nothing_new(G, ws):
    size = dragging._step.jitted._cache_size
    Drag(G, ws, [(4, 4)], [(4, 9)]).step()
    before = size()
    Drag(
        G, ws, [(4, 4), (8, 8), (1, 1)], [(4, 9), (2, 3), (0, 0)], Options(learning_rate=0.1), mask=np.ones((16, 16))
    ).step()
    assert size() == before


@pytest.mark.parametrize(
    "change, words",
    [
        ({"points": [(4, 16)]}, "must lie in the image, from 0 to 15"),
        ({"points": [(4, np.nan)]}, "must lie in the image"),
        ({"points": [(4, 4), (5, 5)]}, "2 points and 1 targets"),
        ({"points": [(1, 1)] * 9, "targets": [(1, 1)] * 9}, "1 to 8 places"),
        ({"points": []}, "1 to 8 places"),
        ({"points": [4, 4]}, "1 to 8 places"),
        ({"ws": np.zeros((5, 16))}, r"wanted are finite numbers \[6, 16\]"),
        ({"ws": np.full((6, 16), np.inf)}, "wanted are finite numbers"),
        ({"mask": np.ones((8, 8))}, r"mask is \(8, 8\)"),
        ({"mask": np.full((16, 16), 2)}, "wanted are shares of 1"),
        ({"noise": np.zeros(3)}, "noise has 3 numbers"),
        ({"options": Options(at=32)}, "at = 32: the blocks of this generator are 4, 8, 16"),
        ({"options": Options(layers=7)}, "layers = 7: must be from 1 to 6"),
        ({"options": Options(steps=0)}, "steps = 0"),
        ({"options": Options(learning_rate=-1)}, "learning_rate = -1"),
        ({"options": Options(style_weight=np.inf)}, "style_weight = inf"),
    ],
)
def test_what_cannot_be_dragged(G, ws, change, words):
    arguments = {"ws": ws, "points": [(4, 4)], "targets": [(4, 5)], **change}
    with pytest.raises(stylegen.StylegenError, match=words):
        Drag(G, **arguments)


@pytest.mark.parametrize("options", [{"block": "demod"}, {"classes": 3}, {"channels": 4}, {"resolution": 8}])
def test_all_kinds_of_generators(make_generator, options):
    G = make_generator(**options)
    labels = 1 if G.c_dim else None
    ws = stylegen.styles(G, stylegen.latents([1], G.z_dim), labels=labels)[0]
    moved, steps = dragging.drag(G, ws, [(2, 2)], [(5, 5)], Options(steps=3))
    assert len(steps) <= 3 and np.isfinite(moved).all()


def test_the_verb_writes_what_sample_reads(G, tmp_path, monkeypatch, capsys):
    from stylegen.cli import edit, sample
    from stylegen.projection import result
    from stylegen.runs.load import save_generator

    monkeypatch.chdir(tmp_path)
    save_generator(G, "g.safetensors")
    arguments = ["--run", "g.safetensors", "--seeds", "1,2", "--drag-steps", "3", "--out", "dragged"]
    assert edit.main([*arguments, "--drag", "4,4:9,4/12,3:12,1"]) == 0
    assert "by the tracker" in capsys.readouterr().out
    projection = result.load("dragged/dragged.npz")
    moved, _ = dragging.drag(
        G, stylegen.styles(G, stylegen.latents([1], G.z_dim))[0], [(4, 4), (3, 12)], [(4, 9), (1, 12)], Options(steps=3)
    )
    np.testing.assert_allclose(projection.ws[0], moved, atol=1e-5)
    assert sample.main(["--run", "g.safetensors", "--from", "dragged/dragged.npz", "--out", "again"]) == 0
    assert edit.main([*arguments, "--drag", "4,4>9,4", "--overwrite"]) == 2
    assert "wanted are x,y:x,y" in capsys.readouterr().err
    assert edit.main([*arguments[:2], "--discover", "1", "--mask", "a.png"]) == 2
    assert "--mask needs --drag" in capsys.readouterr().err
