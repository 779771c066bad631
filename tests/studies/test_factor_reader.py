"""The factor reader: what it says of held-out rooms, by the weights in the package, and what it is trained on."""

import numpy as np
import pytest

from studies import factor_reader_training
from stylegen.cli.experiments import load_config
from stylegen.data import open_source
from stylegen.data.toy import bedrooms
from stylegen.evaluation import EvaluationError, toy_factors
from stylegen.formats import WeightsError

NAMED = ("has_bed", "has_pillows", "has_window", "has_lamp")  # whose error is at most 2 %


@pytest.fixture(scope="module")
def rooms():
    return factor_reader_training.draw_rooms(1000, 32, factor_reader_training.HELD_OUT_SEED)


@pytest.fixture(scope="module")
def read(rooms):
    return toy_factors.read_factors(rooms.images)


def degraded(images, share=1.0, seed=5):
    return factor_reader_training.degrade(images.astype(np.float32), np.random.RandomState(seed), share).astype(
        np.uint8
    )


def test_presences_are_read_with_at_most_two_percent_of_error(rooms, read):
    for name in NAMED:
        # Not by chance: each thing is missing from a good many of the rooms, and there in many.
        assert 0.1 < rooms.factors[name].mean() < 0.95
        assert (read[name] != rooms.factors[name]).mean() <= 0.02, name


def test_degraded_rooms_are_read_too(rooms):
    errors = factor_reader_training.errors(toy_factors.read_factors(degraded(rooms.images)), rooms.factors)
    for name in NAMED:
        assert errors[name] <= 0.05, name
    assert min(errors["wall"], errors["bed"], errors["bed_left"], errors["window_x"]) > 0.8


def test_other_resolutions_and_both_directions_are_read(rooms, read):
    large = factor_reader_training.draw_rooms(200, 64, factor_reader_training.HELD_OUT_SEED)
    errors = factor_reader_training.errors(toy_factors.read_factors(large.images), large.factors)
    assert max(errors[name] for name in NAMED) <= 0.02
    small = toy_factors.to_network_size(large.images).astype(np.uint8)
    assert small.shape == (200, 32, 32, 3)
    mirrored = toy_factors.read_factors(rooms.images[:, :, ::-1])
    np.testing.assert_array_equal(mirrored["flip"][read["has_bed"]], ~read["flip"][read["has_bed"]])
    for name in NAMED:
        np.testing.assert_array_equal(mirrored[name], read[name])
    np.testing.assert_allclose(mirrored["floor_y"], read["floor_y"], atol=1e-4)


def test_what_is_returned(rooms, read):
    n = len(rooms.images)
    assert set(read) == {*toy_factors.YES_NO, *toy_factors.CHOICES, *toy_factors.COLORS, *toy_factors.NUMBERS}
    for name in toy_factors.YES_NO:
        assert read[name].shape == (n,) and read[name].dtype == bool
    for name, size in toy_factors.CHOICES.items():
        assert read[name].shape == (n,) and read[name].min() >= -1 and read[name].max() <= size
    assert all(read[name].shape == (n, 3) for name in toy_factors.COLORS)
    assert all(read[name].shape == (n,) for name in toy_factors.NUMBERS)
    # What belongs to a thing that is not seen says so.
    assert np.isnan(read["window_x"][~read["has_window"]]).all() and not np.isnan(read["wall"]).any()
    assert (read["lamp_kind"][~read["has_lamp"]] == -1).all() and not read["lamp_on"][~read["has_lamp"]].any()
    np.testing.assert_array_equal(read["pillows"] > 0, read["has_pillows"])
    assert not read["has_pillows"][~read["has_bed"]].any()


def test_an_image_is_read_alike_whatever_is_read_with_it(rooms, read):
    alone = toy_factors.read_factors(rooms.images[77:78])
    for name, values in alone.items():
        np.testing.assert_allclose(values[0], read[name][77], atol=1e-4)
    assert len(toy_factors.read_factors(rooms.images[:0])["flip"]) == 0


def test_rooms_are_labeled_as_they_are_drawn():
    rooms = factor_reader_training.draw_rooms(200, 16, seed=7)
    factors = rooms.factors
    plain = bedrooms.render(range(200), 16, 7)
    is_complete = factors["has_bed"] & factors["has_pillows"] & factors["has_window"]
    assert 0.4 < is_complete.mean() < 0.6
    np.testing.assert_array_equal((rooms.images == plain).all(axis=(1, 2, 3)), is_complete)
    for i in np.flatnonzero(is_complete)[:20]:
        truth = bedrooms.factors(int(i), 7)
        assert factors["has_lamp"][i] == truth.lamp and factors["pillows"][i] == truth.pillows
        np.testing.assert_allclose(factors["wall"][i], truth.wall, rtol=1e-6)
        assert factors["window_x"][i] == pytest.approx(truth.window_x, rel=1e-6)
        assert bool(np.isnan(factors["lamp_x"][i])) == (not truth.lamp)
    bare = np.flatnonzero(~factors["has_bed"] & factors["has_window"])[0]
    expected = bedrooms.render([bare], 16, 7, without=("bed",))[0]
    np.testing.assert_array_equal(rooms.images[bare], expected)
    assert not factors["has_cushion"][bare] and factors["bed_class"][bare] == -1


def test_labels_of_the_data_are_the_colors_in_its_images():
    """What a class-conditional run is trained on: `bed_class` by number is the color that is read."""
    source = open_source(load_config("toy_bedrooms_by_bed_color"))
    assert source.class_names == bedrooms.CLASS_NAMES
    batch = source.read(np.arange(300), 16)
    assert set(batch["label"]) == set(range(6))
    assert (toy_factors.read_factors(batch["image"])["bed_class"] == batch["label"]).mean() > 0.98


def test_targets_are_what_would_be_read(rooms):
    """The network's perfect output decodes to the factors that it was made from."""
    mean, spread = factor_reader_training.scale(rooms.factors)
    expected, counts = factor_reader_training.targets(rooms.factors, mean, spread)
    assert expected.shape == counts.shape == (1000, toy_factors.num_outputs())
    raw = expected.copy()
    chosen = slice(0, toy_factors.num_outputs() - toy_factors.num_measured())
    raw[:, chosen] = 2 * raw[:, chosen] - 1
    decoded = toy_factors.decode(raw, mean.astype(np.float32), spread.astype(np.float32))
    for name, values in rooms.factors.items():
        np.testing.assert_allclose(decoded[name], values, atol=1e-5, err_msg=name)


def test_errors_count_only_where_there_is_something_to_read(rooms):
    truth = rooms.factors
    perfect = factor_reader_training.errors(truth, truth)
    assert all(perfect[name] == 0 for name in (*toy_factors.YES_NO, *toy_factors.CHOICES))
    assert all(perfect[name] == 1 for name in toy_factors.COLORS + toy_factors.NUMBERS)
    wrong = dict(truth, has_lamp=~truth["has_lamp"], lamp_kind=np.full(1000, 0))
    errors = factor_reader_training.errors(wrong, truth)
    has_lamp = truth["has_lamp"]
    assert errors["has_lamp"] == 1
    assert errors["lamp_kind"] == pytest.approx((truth["lamp_kind"][has_lamp] != 0).mean())
    blind = dict(truth, floor_y=np.full(1000, np.nan, np.float32))
    assert factor_reader_training.errors(blind, truth)["floor_y"] == pytest.approx(0)


def test_degrading_does_what_it_says(rooms):
    images = rooms.images[:200]
    assert np.array_equal(degraded(images[:40], share=0.0), images[:40]) is False  # a third is at half the resolution
    changed = np.abs(degraded(images).astype(int) - images).mean(axis=(1, 2, 3))
    assert changed.min() > 0.5 and 3 < changed.mean() < 20
    flat = np.full((3, 32, 32, 3), 90, np.float32)
    np.testing.assert_allclose(factor_reader_training.blurred(flat), 90, rtol=1e-6)


@pytest.mark.slow
def test_training_learns_from_the_images():
    """The loss falls below that of the best answer which is the same for every image."""
    calls = []
    settings = factor_reader_training.Settings(rooms=256, passes=6, batch=16)
    params = factor_reader_training.train(settings, lambda step, steps, loss: calls.append((step, steps, loss)))
    assert [step for step, _, _ in calls] == list(range(1, 97)) and calls[0][1] == 96
    assert {name: values.shape for name, values in params.items()} == toy_factors.shapes()
    factors = factor_reader_training.draw_rooms(256, 32, factor_reader_training.TRAINING_SEED).factors
    expected, counts = factor_reader_training.targets(factors, *factor_reader_training.scale(factors))
    rate = expected.sum(axis=0) / counts.sum(axis=0)
    rate[toy_factors.columns()["flip"]] = 0.5  # half of the images are mirrored
    chosen = rate[: toy_factors.num_outputs() - toy_factors.num_measured()].clip(1e-9, 1 - 1e-9)
    split = len(toy_factors.YES_NO)
    blind = -(chosen * np.log(chosen)).sum() - ((1 - chosen[:split]) * np.log(1 - chosen[:split])).sum()
    blind += factor_reader_training.MEASURED_WEIGHT * toy_factors.num_measured()
    assert np.mean([loss for _, _, loss in calls[-16:]]) < 0.9 * blind


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((2, 48, 48, 3), np.uint8),
        np.zeros((2, 32, 64, 3), np.uint8),
        np.zeros((2, 32, 32, 1), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((2, 32, 32, 3), np.float32),
    ],
)
def test_other_images_are_refused(images):
    with pytest.raises(EvaluationError, match="a power of two from 16 to 256"):
        toy_factors.read_factors(images)


def test_missing_weights_are_named(tmp_path, rooms):
    with pytest.raises(WeightsError, match="none.safetensors"):
        toy_factors.read_factors(rooms.images[:1], tmp_path / "none.safetensors")
