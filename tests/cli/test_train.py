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
