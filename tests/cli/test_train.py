"""The verb train: what it refuses before anything is done."""

import pytest

from stylegen.cli import train


@pytest.mark.parametrize("speed", ["0", "-120", "nan", "inf"])
def test_a_speed_that_is_none_is_a_sentence(speed, capsys):
    assert train.main(["--config", "quickstart", "--dry-run", f"--img-per-sec={speed}"]) == 2
    output = capsys.readouterr()
    assert output.err == f"error: --img-per-sec {speed}: must be a positive number of images a second.\n"
    assert output.out == ""


def test_a_speed_without_dry_run_is_not_ignored(capsys, tmp_path):
    assert train.main(["--config", "quickstart", "--run.dir", str(tmp_path / "run"), "--img-per-sec", "2"]) == 2
    assert "--img-per-sec goes with --dry-run alone" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_speed_gives_hours(capsys):
    """7,200 images at 2 a second, all at full resolution, are one hour."""
    at_full_size = ["--resolution", "8", "--schedule.start-resolution", "8", "--schedule.total-kimg", "7.2"]
    assert train.main(["--config", "quickstart", "--dry-run", "--img-per-sec", "2", *at_full_size]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("8       stable")]
    assert row.split()[-1] == "1.00"


def test_a_dry_run_checks_the_metrics(capsys):
    assert train.main(["--config", "quickstart", "--dry-run", "--run.metrics", "fud"]) == 2
    assert capsys.readouterr().err.startswith("error: metric 'fud': there is no such")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data.path photos", "data.path = 'photos': data.source toy_bedrooms does not use it"),
        ("--data.path=photos", "or add --data.source images or --data.source lsun"),
        ("--data.prepared there", "data.prepared = 'there': data.source toy_bedrooms does not use it"),
        ("--data.split test", "data.split = 'test'"),
        ("--data.tfds_name cars", "data.tfds_name = 'cars'"),
        ("--data.source images --data.path photos --data.num-images 50", "data.num_images = 50: data.source images"),
        ("--data.source images --data.path photos --data.category cat", "data.category = 'cat': data.source images"),
    ],
)
def test_a_setting_that_the_source_ignores_is_refused(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for mode in ("--dry-run", "--run.dir=run"):
        assert train.main(["--config", "quickstart", mode, *words.split()]) == 2
        assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_settings_of_another_source_in_the_experiment_are_no_error(capsys):
    assert train.main(["--config", "quickstart", "--dry-run", "--data.source", "images", "--data.path", "photos"]) == 0
