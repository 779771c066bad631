"""The verb train: what it refuses before anything is done, and where its settings come from."""

import dataclasses
import re
from pathlib import Path

import pytest

from stylegen.cli import train
from stylegen.cli.common import UsageError
from stylegen.cli.experiments import run_to_resume
from stylegen.config import Config, DistributedConfig
from stylegen.config_json import to_json
from tests.support.configs import tiny_config
from tests.support.hooks import terminate


@pytest.fixture
def trained(monkeypatch) -> list[Config]:
    """The configurations that were to be trained."""
    configs: list[Config] = []
    monkeypatch.setattr("stylegen.train.train", configs.append)
    return configs


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


def test_a_dry_run_totals_the_hours(capsys):
    """At 2 images a second at full size, every stage as long as its multiplications make it, and the sum of them."""
    assert train.main(["--config", "quickstart", "--dry-run", "--img-per-sec", "2"]) == 0
    output = capsys.readouterr().out
    assert "hours: predicted from 2 images/s at 32 pixels" in output
    lines = output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("pixels ")) + 2
    *rows, total = [
        line.split() for line in lines[start : next(i for i in range(start, 99999) if "hours:" in lines[i])]
    ]
    assert total[0] == "all" and len(rows) > 2
    assert float(total[-1]) == pytest.approx(sum(float(row[-1]) for row in rows), abs=0.01 * len(rows))


@pytest.mark.slow
def test_a_dry_run_measures_each_stage_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("stylegen.training.speed.LEAST_SECONDS", 0.0)
    config = tiny_config(loss={"r1_interval": 4}, schedule={"start_resolution": 4, "total_kimg": 2000.0})
    (tmp_path / "config.json").write_text(to_json(config))
    assert train.main(["--run.dir", str(tmp_path), "--dry-run", "--measure"]) == 0
    output = capsys.readouterr().out
    speeds = [float(x) for x in re.findall(r"compiled in .*; (\S+) images/s", output)]
    assert len(speeds) == 2 and min(speeds) > 0, "of 4 and of 8 pixels"
    (row,) = [line for line in output.splitlines() if line.startswith("4       stable")]
    assert float(row.split()[-1]) == pytest.approx(600_000 / speeds[0] / 3600, rel=0.02, abs=0.005)
    assert "hours: measured here, a few steps of each stage" in output
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_signal_stops_a_dry_run_between_two_stages(tmp_path, monkeypatch, capsys):
    def measured(config, mesh, programs, phase):
        terminate()
        return 1.0, 0.0

    monkeypatch.setattr("stylegen.training.speed._measure_stage", measured)
    (tmp_path / "config.json").write_text(to_json(tiny_config(schedule={"start_resolution": 4, "total_kimg": 2000.0})))
    assert train.main(["--run.dir", str(tmp_path), "--dry-run", "--measure"]) == 143
    said = capsys.readouterr()
    assert said.out.count("Compiling") == 1 and said.err.splitlines()[-1].startswith("interrupted. ")


@pytest.mark.parametrize("words", ["--run.dir r", "--dry-run --img-per-sec 3", "--dry-run --target h100"])
def test_measuring_goes_with_a_dry_run(words, capsys):
    assert train.main(["--config", "quickstart", "--measure", *words.split()]) == 2
    assert "error: --measure goes with --dry-run, and without --img-per-sec and --target." in capsys.readouterr().err


def test_a_dry_run_checks_the_metrics(capsys):
    assert train.main(["--config", "quickstart", "--dry-run", "--run.metrics", "fud"]) == 2
    assert capsys.readouterr().err.startswith("error: metric 'fud': there is no such")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--augment.p 0.5", "augment.p = 0.5: has no effect, because augment.mode none augments nothing; leave it"),
        ("--augment.no-blit", "augment.blit = False: has no effect"),
        (
            "--augment.mode fixed --augment.p 0.1 --augment.target 0.5",
            "augment.target = 0.5: has no effect, because only",
        ),
        ("--loss.wgan-lambda 5", "or add --loss.name wgan_gp."),
        ("--loss.name wgan_gp --loss.r1-gamma 5", "loss.r1_gamma = 5.0: has no effect, because the loss wgan_gp has a"),
        ("--loss.pl_interval 8", "loss.pl_interval = 8: has no effect, because loss.pl_weight 0"),
        ("--run.metrics-every=9", "run.metrics_every = 9.0: has no effect, because run.metrics names no metric"),
        ("--data.path photos", "data.path = 'photos': data.source toy_bedrooms does not use it"),
        ("--data.path=photos", "or add --data.source images (or lsun, cifar10, tfds, arrays)."),
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


def test_a_run_resumes_from_its_own_settings(tmp_path, trained):
    """It was moved since. It was begun with ``--run.overwrite``, which must not delete it, by two processes."""
    settings = tiny_config(loss={"r1_gamma": 3.0}, run={"dir": "elsewhere", "overwrite": True, "grid": (3, 1)})
    distributed = DistributedConfig(coordinator="a:1", num_processes=2, process_id=1)
    (tmp_path / "config.json").write_text(to_json(dataclasses.replace(settings, distributed=distributed)))
    assert train.main(["--run.dir", str(tmp_path)]) == 0
    expected = dataclasses.replace(settings.run, dir=str(tmp_path), overwrite=False)
    assert trained == [dataclasses.replace(settings, run=expected)]
    assert train.main([f"--run.dir={tmp_path}", "--schedule.total-kimg", "7"]) == 0
    assert (trained[1].schedule.total_kimg, trained[1].loss.r1_gamma) == (7, 3)


def test_an_experiment_goes_before_the_settings_of_the_run(tmp_path, trained):
    (tmp_path / "config.json").write_text(to_json(tiny_config()))
    assert train.main(["--config", "quickstart", "--run.dir", str(tmp_path)]) == 0
    assert trained[0].resolution == 32


@pytest.mark.parametrize("words", [[], ["--run.dir", "nothing"], ["--run.dir"]])
def test_without_settings_the_fix_is_said(words, tmp_path, monkeypatch, trained, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(words) == 2
    assert "--config is missing: name an experiment" in capsys.readouterr().err
    assert not trained and not Path("nothing").exists()


def test_settings_of_a_run_that_cannot_be_read_are_a_sentence(tmp_path, trained, capsys):
    (tmp_path / "config.json").write_text("{")
    assert train.main(["--run.dir", str(tmp_path)]) == 2
    assert f"error: {tmp_path}/config.json cannot be used" in capsys.readouterr().err


def test_the_run_to_resume_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    for words in (["--run.dir", "~/run"], ["--run.dir=~/run"]):
        assert run_to_resume(None, words, "quickstart") == tmp_path / "run"
    with pytest.raises(UsageError, match="--config is missing"):
        run_to_resume(None, ["--run.dir", "~/other"], "quickstart")
