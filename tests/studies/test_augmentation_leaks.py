"""Whether augmentation leaks: the study sees leaks, shares its runs, and judges by the spread of seeds."""

import dataclasses

import numpy as np
import pytest

import stylegen
from benchmarks import common
from studies import augmentation_leaks
from stylegen.data.toy import bedrooms
from stylegen.io.files import exclusive


def test_leaks_are_seen():
    """Turned, shifted, recolored rooms, each by the measure that is for it and no other."""
    measure = augmentation_leaks.Reader(bedrooms.render(range(1000), 16)).measure
    rooms = bedrooms.render(range(5000, 5300), 16)
    plain = measure(rooms)
    assert tuple(plain) == augmentation_leaks.MEASURES
    assert plain["upright"] > 0.99 and plain["top - bottom"] > 40
    assert plain["x"] == pytest.approx(0, abs=0.2) and plain["y"] == pytest.approx(0, abs=0.2)
    for turned in (rooms[:, ::-1], np.rot90(rooms, 1, (1, 2))):
        measures = measure(turned)
        assert measures["upright"] < 0.01 and measures["top - bottom"] < 5
        assert measures["red"] == pytest.approx(plain["red"])
    straight, mirrored = augmentation_leaks.facing(rooms)
    assert plain["mirrored"] == mirrored.mean()
    for right, down in ((2, 0), (0, 2), (-1, 1)):
        by = [np.full(len(rooms), v) for v in (right, down)]
        measures = measure(augmentation_leaks.shifted(straight, *by))
        assert measures["x"] - plain["x"] == pytest.approx(0.85 * right, abs=0.3)
        assert measures["y"] - plain["y"] == pytest.approx(0.9 * down, abs=0.3)
    dark = measure(rooms // 2)
    assert dark["red"] == pytest.approx(plain["red"] / 2, abs=0.5) and dark["tint spread"] < plain["tint spread"]
    assert dark["upright"] == pytest.approx(plain["upright"], abs=0.02)
    other = measure(rooms[:, :, ::-1])
    assert other["upright"] > 0.99 and other["mirrored"] == pytest.approx(1 - plain["mirrored"], abs=0.01)
    assert [other[name] for name in "xy"] == pytest.approx([plain[name] for name in "xy"], abs=0.05)


def test_images_are_shifted_and_reflected():
    image = np.arange(16).reshape(1, 4, 4, 1)
    moved = augmentation_leaks.shifted(image, np.array([1]), np.array([-2]))
    np.testing.assert_array_equal(moved[0, :, :, 0], image[0][[2, 3, 2, 1]][:, [1, 0, 1, 2], 0])


@pytest.mark.slow
def test_runs_of_the_leak_study_are_measured_once_and_shared(tmp_path, monkeypatch, capsys):
    """A second command takes up what is there, leaves to another process what that has, and mixes nothing."""
    trained = []
    shipped = stylegen.load("toy_bedrooms")
    monkeypatch.setattr(augmentation_leaks, "train_arm", lambda config: trained.append(config) or 1.0)
    monkeypatch.setattr(stylegen, "load", lambda folder: shipped)
    options = ["--out", str(tmp_path), "--resolution", "32", "--seeds", "1", "--samples", "16"]
    busy = tmp_path / "seed0-p0"
    busy.mkdir()
    with exclusive(busy, RuntimeError()):
        assert augmentation_leaks.study(augmentation_leaks.parse(options))["missing"] == 1
    grown, *slower = trained
    assert [c.optimizer.learning_rate for c in slower] == [grown.optimizer.learning_rate / by for by in (2, 5)]
    assert [c.run.init_from for c in slower] == [c.run.dir for c in trained[:2]] and len(
        {c.run.dir for c in trained}
    ) == 3
    assert {(c.augment.p, c.augment.paired, c.run.seed, c.data.seed) for c in trained} == {(0.6, True, 0, 0)}
    assert set(augmentation_leaks.study(augmentation_leaks.parse(options))["within"]) == set(augmentation_leaks.GROUPS)
    plain = trained[3]
    assert len(trained) == 6 and {c.augment.mode for c in trained[3:]} == {"none"}
    assert dataclasses.replace(plain, augment=grown.augment, run=grown.run) == grown
    again = augmentation_leaks.study(augmentation_leaks.parse([*options, "--table"]))
    assert len(trained) == 6 and again["missing"] == 0 and "top - bottom" in capsys.readouterr().out
    with pytest.raises(common.BenchmarkError, match="other options"):
        augmentation_leaks.study(augmentation_leaks.parse([*options, "--kimg", "60"]))


def test_a_leak_is_a_difference_beyond_the_spread_without():
    def rows(p, values):
        return [{"p": p, **dict.fromkeys(augmentation_leaks.MEASURES, value)} for value in values]

    without = rows(0.0, [1.0, 1.2, 1.3])
    data = dict.fromkeys(augmentation_leaks.MEASURES, 1.0)
    near = augmentation_leaks.verdicts(without + rows(0.6, [1.4, 1.5, 1.4]), data)["red"]
    far = augmentation_leaks.verdicts(without + rows(0.6, [1.4, 1.5, 1.6]), data)["red"]
    assert near["within"] and not far["within"]
    assert far["difference"] == pytest.approx(1 / 3) and far["spread"] == pytest.approx(0.3)
    assert far["drift with"] == pytest.approx(0.5) and far["drift without"] == pytest.approx(0.5 / 3)
    together = augmentation_leaks.verdicts([*without, {**without[0], "p": 0.6, "x": 1.1, "y": 1.5}], data)["position"]
    center = (1.0 + 1.2 + 1.3) / 3
    assert together["difference"] == pytest.approx(np.hypot(1.1 - center, 1.5 - center))
    assert together["spread"] == pytest.approx(np.hypot(0.3, 0.3)) and together["within"]
