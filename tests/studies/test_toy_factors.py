"""studies/toy_factors.py: what is said of a generator of drawn bedrooms."""

import argparse

import numpy as np
import pytest

from benchmarks import common
from studies import factor_reader_training, toy_factors
from stylegen.evaluation.toy_factors import read_factors


@pytest.fixture(scope="module")
def rooms():
    return [factor_reader_training.draw_rooms(600, 16, seed).factors for seed in (11, 12)]


def test_distances_are_total_variations():
    assert toy_factors.total_variation(np.array([0.5, 0.5]), np.array([0.2, 0.8])) == pytest.approx(0.3)
    assert toy_factors.total_variation(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
    assert toy_factors.total_variation(np.zeros(2), np.array([0.0, 1.0])) == 1
    np.testing.assert_allclose(toy_factors.shares(np.array([-1, 0, 2, 2]), 3), [1 / 3, 0, 2 / 3])
    # Ten bins with a tenth of the reference each; what lies outside falls into the outer ones.
    reference = np.arange(1000.0)
    bins = toy_factors.binned(np.array([-5.0, 0, 99, 101, 950, 5000, np.nan]), reference)
    assert bins.tolist() == [0, 0, 0, 1, 9, 9, -1]
    np.testing.assert_allclose(toy_factors.shares(toy_factors.binned(reference, reference), 10), 0.1, atol=0.002)


def test_a_shifted_factor_is_far_and_others_are_not(rooms):
    data, other_rooms = rooms
    assert all(value == 0 for value in toy_factors.distances(data, data).values())
    chance = toy_factors.distances(other_rooms, data)
    assert 0 < max(chance.values()) < 0.25
    moved = dict(data, floor_y=data["floor_y"] + 1, wall=data["wall"] * [1, 1, 0], has_rug=np.zeros(600, bool))
    distances = toy_factors.distances(moved, data)
    assert distances["floor_y"] == pytest.approx(0.9)
    assert distances["wall"] == pytest.approx(0.9 / 3)  # one of three channels
    assert distances["has_rug"] == pytest.approx(data["has_rug"].mean())
    assert distances["floor"] == distances["has_lamp"] == 0


def test_what_never_comes_is_named_once(rooms):
    data, other_rooms = rooms
    assert toy_factors.never(data, data) == []
    dark = dict(data, time=np.where(data["time"] == 2, 0, data["time"]))
    (gone,) = toy_factors.never(dark, data)
    assert gone["what"] == "time: night" and gone["share_of_data"] == pytest.approx((data["time"] == 2).mean())
    # A pair that is missing although both of its values are there.
    red_at_night = (data["time"] == 2) & (data["bed_class"] == 0)
    changed = dict(data, time=np.where(red_at_night, 0, data["time"]))
    assert [x["what"] for x in toy_factors.never(changed, data)] == ["bed_class: red, time: night"]
    assert len(toy_factors.never(other_rooms, data)) < 20


def test_asked_and_read_classes(rooms):
    data, _ = rooms
    right = toy_factors.confusion(data["bed_class"], data)
    assert [row["asked"] for row in right] == ["red", "yellow", "green", "teal", "blue", "purple"]
    assert all(row[row["asked"]] == 1 for row in right)
    (red, *_) = toy_factors.confusion(np.zeros(600, int), data)
    assert red["red"] == pytest.approx((data["bed_class"] == 0).mean()) and red["no bed"] > 0.1
    assert sum(value for key, value in red.items() if key != "asked") == pytest.approx(1)


def test_the_data_itself_is_all_right(monkeypatch, make_generator, capsys):
    """With rooms in the place of samples, everything is as in the data, to chance."""
    from stylegen.data.toy import bedrooms

    G = make_generator()
    rooms = bedrooms.render(range(5000, 5400), 16)
    monkeypatch.setattr(toy_factors, "generated", lambda *_: (rooms, np.arange(400) % 6))
    result = toy_factors.compare(G, 400, 1.0, 0)
    toy_factors.show(result)
    text = capsys.readouterr().out
    assert "bed, pillows, window and lamp" in text and "Never generated" in text and "Bed color asked for" in text
    for name in toy_factors.NAMED:
        generated, data = result["present"][name]
        assert generated == pytest.approx(data, abs=0.1)
    assert result["present"]["has_bed"][1] > 0.98
    assert np.mean([a - b for a, b in result["distances"].values()]) == pytest.approx(0, abs=0.02)


def test_a_generator_is_read(make_generator):
    G = make_generator(classes=6)
    images, labels = toy_factors.generated(G, 12, 1.0, 0)
    assert images.shape == (12, 16, 16, 3) and labels.tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert set(read_factors(images)) >= set(toy_factors.NAMED)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"count": 5}, "--count 5"), ({"run": "nothing"}, "nothing: no such run directory"), ({"kimg": 3.0}, "kimg = 3")],
)
def test_wrong_options_are_a_sentence(options, message):
    a = argparse.Namespace(
        **{"run": "toy_bedrooms", "kimg": None, "count": 100, "psi": 1.0, "first_seed": 0, **options}
    )
    with pytest.raises(common.BenchmarkError, match=message):
        toy_factors.run(a)


def test_generators_of_other_data_are_refused(make_generator):
    with pytest.raises(common.BenchmarkError, match="was trained on images"):
        toy_factors.check(make_generator())
