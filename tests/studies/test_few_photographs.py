"""Few photographs: arms differ in what they say, numbers mean what they say, results are taken up again."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import common
from studies import few_photographs
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.raw.opening import open_raw
from stylegen.data.toy import bedrooms


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prepared images to train on and held-out ones, of drawn rooms in the place of photographs."""
    folder = tmp_path_factory.mktemp("study")
    for name, numbers in (("train", range(24)), ("held_out", range(100, 110))):
        (folder / f"raw_{name}").mkdir()
        for i, image in enumerate(bedrooms.render(numbers, 16)):
            Image.fromarray(image).save(folder / f"raw_{name}" / f"{i:03d}.png")
        prepare(open_raw("images", folder / f"raw_{name}"), folder / name, Options(16), workers=1)
    return folder


def options(data, tmp_path, **changes):
    values = {
        "out": tmp_path / "study.json",
        "data": data / "train",
        "held_out": data / "held_out",
        "resolution": 16,
        "kimg": 0.064,
        "width": 4,
        "seeds": 2,
        "arms": "plain,mirror",
        "fakes": 20,
        "extractor": "random_vgg",
        "runs": None,
        "keep_runs": False,
        "table": False,
    }
    return argparse.Namespace(**values | changes)


def test_arms_differ_in_their_setting_alone(data, tmp_path):
    a = options(data, tmp_path, arms=["plain", "mirror"], runs=tmp_path)
    settings, runs = few_photographs.plan(a)
    assert [(arm, seed) for arm, seed, _ in runs] == [
        ("plain", 1000),
        ("mirror", 1000),
        ("plain", 1001),
        ("mirror", 1001),
    ]
    plain, mirror = runs[0][2], runs[1][2]
    assert not plain.data.mirror and mirror.data.mirror and plain.run.seed == mirror.run.seed == 1000
    changed = few_photographs.changed(mirror, {"data.mirror": False, "run.dir": plain.run.dir}, "mirror")
    assert changed == plain and plain.run.dir != mirror.run.dir
    assert settings["data"] != settings["held_out"] and settings["config"]["resolution"] == 16
    # Neither where the data lies nor the seed makes it another study.
    assert settings["config"]["data"]["path"] is None


def test_settings_of_another_version_are_named(data, tmp_path, monkeypatch):
    monkeypatch.setitem(few_photographs.ARMS, "new", lambda kimg: {"augment.wings": True})
    with pytest.raises(common.BenchmarkError, match=r"--arms new: this version has no setting augment\.wings"):
        few_photographs.plan(options(data, tmp_path, arms=["new"], runs=tmp_path))


def test_adas_speed_goes_with_the_budget():
    assert few_photographs.ARMS["ada"](50.0)["augment.speed_kimg"] == pytest.approx(5.0)
    assert few_photographs.ARMS["mirror_ada"](50.0) == few_photographs.ARMS["ada"](50.0) | {"data.mirror": True}


def test_copies_are_found_and_new_images_are_not():
    rng = np.random.RandomState(0)
    train, held_out, new = rng.randn(200, 8), rng.randn(100, 8), rng.randn(300, 8)
    photos = {"train": train, "mirrored": train + 50, "held_out": held_out}
    fresh = few_photographs.measure(new, photos)
    assert fresh["nearest"] == pytest.approx(1, abs=0.1) and fresh["copies"] == pytest.approx(0.05, abs=0.05)
    # Copies of mirror images are copies as well.
    for copied in (train, train + 50):
        copies = few_photographs.measure(copied + 1e-3, photos)
        assert copies["nearest"] < 0.01 and copies["copies"] == 1
    assert few_photographs.measure(train, photos)["fid"] == pytest.approx(0, abs=1e-6)
    assert few_photographs.measure(new + 5, photos)["precision"] == 0
    np.testing.assert_allclose(
        few_photographs.nearest(new[:5], train),
        np.linalg.norm(new[:5, None] - train[None], axis=2).min(axis=1),
        rtol=1e-9,
    )


def test_the_table_has_mean_and_spread():
    results = [
        {"arm": arm, "seed": s, **dict.fromkeys(few_photographs.COLUMNS, s + 1.0), "seconds": 3.0}
        for arm in "ab"
        for s in (0, 1)
    ]
    lines = few_photographs.table({"results": results, "limits": {"fid": 0.6, "copies": 0.06}}).splitlines()
    assert len(lines) == 4 and lines[1].split()[:2] == ["a", "2"]
    assert "1.50 (1.00 to 2.00)" in lines[1] and "1500.0 (1000.0 to 2000.0)" in lines[1]
    assert lines[3].split() == ["photographs", "held", "out", "-", "0.60", "-", "-", "-", "-", "-", "-", "6.0", "-"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* samples are no more than the 64 features:UserWarning")
def test_a_study_runs_and_is_taken_up_again(data, tmp_path, monkeypatch, capsys):
    stopped = []

    def train_two(config):
        if len(stopped) == 2:
            raise KeyboardInterrupt
        stopped.append(config.run.dir)
        return 1.0

    rng = np.random.RandomState(0)
    monkeypatch.setattr(few_photographs, "fake_features", lambda *_: rng.randn(20, 64).astype(np.float32))
    monkeypatch.setattr(few_photographs.shutil, "rmtree", lambda *_: None)
    with monkeypatch.context() as patch:
        patch.setattr(few_photographs, "train_arm", train_two)
        with pytest.raises(KeyboardInterrupt):
            few_photographs.run(options(data, tmp_path))
    assert len(json.loads((tmp_path / "study.json").read_text())["results"]) == 2
    trained = []
    monkeypatch.setattr(few_photographs, "train_arm", lambda config: trained.append(config.run.dir) or 1.0)
    study = few_photographs.run(options(data, tmp_path))
    assert len(trained) == 2 and not set(trained) & set(stopped)
    assert [(x["arm"], x["seed"]) for x in study["results"]] == [
        ("plain", 1000),
        ("mirror", 1000),
        ("plain", 1001),
        ("mirror", 1001),
    ]
    assert study["photographs"] == {"train": 24, "mirrored": 24, "held_out": 10}
    capsys.readouterr()
    few_photographs.run(options(data, tmp_path, table=True))
    assert "mirror" in capsys.readouterr().out
    with pytest.raises(common.BenchmarkError, match="holds a study with another fakes"):
        few_photographs.run(options(data, tmp_path, fakes=30))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* samples are no more than")  # few are enough to see that it runs
def test_a_run_is_trained_and_measured(data, tmp_path):
    study = few_photographs.run(options(data, tmp_path, seeds=1, arms="mirror"))
    (result,) = study["results"]
    assert set(few_photographs.COLUMNS) <= set(result) and all(
        np.isfinite(result[key]) for key in few_photographs.COLUMNS
    )
    assert study["extractor"]["extractor"] == "random_vgg" and set(study["limits"]) >= {"fid", "nearest"}
    assert study["limits"]["nearest"] == 1
    folder = tmp_path / "study" / "mirror-1000"
    assert (folder / "log.txt").is_file() and not (folder / "checkpoints").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": "plain,wide"}, "--arms wide: there is no such arm"),
        ({"seeds": 0}, "--seeds 0"),
        ({"resolution": 12}, "resolution = 12"),
        ({"table": True}, "there are no results yet"),
    ],
)
def test_wrong_options_are_a_sentence(data, tmp_path, changes, message):
    with pytest.raises(common.BenchmarkError, match=message):
        few_photographs.run(options(data, tmp_path, **changes))


def test_data_must_be_prepared(data, tmp_path):
    with pytest.raises(common.BenchmarkError, match="--held-out None: must be a folder that prepare.py has written"):
        few_photographs.run(options(data, tmp_path, held_out=None))
