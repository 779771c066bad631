"""``--auto``, and the memory that it goes by."""

import dataclasses

import pytest

from stylegen.cli import train as train_verb
from stylegen.cli.experiments import load_config
from stylegen.config import Config, DataConfig, GeneratorConfig, LossConfig, ScheduleConfig
from stylegen.config_json import from_dict, to_dict, to_json
from stylegen.runtime import sharding
from stylegen.training import auto, footprint
from tests.support.configs import tiny_config


def fixed_size(resolution, **options):
    """StyleGAN2's blocks, with nothing stated but the resolution."""
    schedule = ScheduleConfig(start_resolution=resolution)
    data = DataConfig(source="images")
    return Config(
        resolution=resolution, data=data, generator=GeneratorConfig(block="demod"), schedule=schedule, **options
    )


@pytest.mark.parametrize(
    ("resolution", "devices", "batch", "gamma", "rate"),
    [
        (256, 1, 16, 0.8192, 0.0025),  # 0.0002 * 256^2 / 16
        (256, 4, 64, 0.2048, 0.0025),
        (512, 1, 8, 6.554, 0.0025),
        (1024, 1, 4, 52.43, 0.002),
        (1024, 8, 32, 6.554, 0.002),
        (32, 1, 32, 0.0064, 0.0025),
        (1024, 16, 64, 3.277, 0.002),
        (256, 32, 128, 0.1024, 0.0025),  # NVIDIA's rule gives 64: two images a device, less than a group
    ],
)
def test_the_rules_of_stylegan2_ada(resolution, devices, batch, gamma, rate):
    chosen = auto.choose(fixed_size(resolution), {"schedule.start_resolution"}, auto.Devices(devices))
    assert chosen == {
        "data.batch": batch,
        "optimizer.learning_rate": rate,
        "loss.r1_gamma": pytest.approx(gamma, rel=1e-3),
        "optimizer.ema_kimg": pytest.approx(batch * 10 / 32),
    }
    config = auto.apply(fixed_size(resolution), chosen)
    assert config.data.batch == batch and config.loss.r1_gamma == chosen["loss.r1_gamma"]


def test_a_growing_network_keeps_the_originals_gamma_and_rates():
    chosen = auto.choose(Config(resolution=256), set(), auto.Devices(1))
    assert "loss.r1_gamma" not in chosen
    assert chosen["schedule.batch"] == {8: 256, 16: 256, 32: 128, 64: 64, 128: 32}
    assert chosen["schedule.learning_rate"] == {128: 0.0015, 256: 0.002}


@pytest.mark.parametrize("count", range(1, 33))
def test_batches_of_every_stage_split_over_any_number_of_devices(count):
    config = Config(resolution=256)
    config = auto.apply(config, auto.choose(config, set(), auto.Devices(count)))
    sharding.check_splits(config, count, config.stage_resolutions)


def test_images_that_are_not_square_count_with_all_their_pixels():
    square, wide = fixed_size(256), dataclasses.replace(fixed_size(256), const_shape=(6, 8))
    assert footprint.features(wide, 256) == 3 * footprint.features(square, 256)
    chosen = auto.choose(wide, set(), auto.Devices(1))
    assert chosen["data.batch"] == 8  # 4096 / 443, the side of a square of 512 x 384 pixels, in whole groups of 4
    assert chosen["loss.r1_gamma"] == pytest.approx(0.0002 * 512 * 384 / 8, rel=1e-3)
    assert chosen["optimizer.learning_rate"] == 0.0025
    large = dataclasses.replace(fixed_size(1024), const_shape=(3, 4))  # 768 x 1024, of fewer pixels than 1024 x 1024
    assert auto.choose(large, set(), auto.Devices(1))["optimizer.learning_rate"] == 0.0025


def test_what_is_stated_stays():
    """A default that is stated is stated."""
    config = fixed_size(256, loss=LossConfig(r1_gamma=10.0))
    stated = auto.stated_in(config)
    assert stated >= {"loss.r1_gamma", "generator.block", "schedule.start_resolution"}
    assert "loss.r1_gamma" not in auto.choose(config, stated, auto.Devices(1))
    assert auto.choose(config, {*stated, "data.batch"}, auto.Devices(1))["optimizer.ema_kimg"] == 10


def test_folder_256_keeps_gamma_10():
    config = load_config("folder_256")
    chosen = auto.choose(config, auto.stated_in(config), auto.Devices(1))
    assert auto.apply(config, chosen).loss.r1_gamma == 10
    assert round(auto.R1_RULE * 256**2 / config.batch_at(256), 1) == 1.6
    assert chosen == {"optimizer.ema_kimg": 2.5}


def test_a_micro_batch_is_what_fits_the_memory():
    config = load_config("ffhq_1024_sg2")
    stated = {*auto.stated_in(config), "data.batch"}
    assert "run.micro_batch" not in auto.choose(config, stated, auto.Devices(1, 80 * 2**30))
    small = auto.choose(config, stated, auto.Devices(1, 16 * 2**30))["run.micro_batch"]
    assert small == 4
    fitted = auto.apply(config, {"run.micro_batch": small})
    assert footprint.step_bytes(fitted, 1024, 1) <= 16 * 2**30 < footprint.step_bytes(config, 1024, 1)
    assert "run.micro_batch" not in auto.choose(config, stated, auto.Devices(8, 16 * 2**30)), "4 images each"
    assert "run.micro_batch" not in auto.choose(config, stated, auto.Devices(1)), "memory that is not known"


@pytest.mark.parametrize(
    ("name", "devices", "compiled"),
    [
        ("lsun_bedroom_256", 1, 7.4),
        ("lsun_bedroom_256", 8, 1.7),
        ("lsun_bedroom_256_sg2", 1, 12.7),
        ("lsun_bedroom_256_sg2", 8, 2.6),
        ("ffhq_1024", 1, 30.7),
        ("ffhq_1024", 8, 5.3),
        ("ffhq_1024_sg2", 1, 53.2),
        ("ffhq_1024_sg2", 8, 8.6),
    ],
)
def test_the_footprint_is_near_the_compilers_count(name, devices, compiled):
    """The table of docs/scaling.md: GiB of the last stage's step on H100s."""
    config = load_config(name)
    predicted = footprint.step_bytes(config, config.resolution, devices) / 2**30
    assert 0.94 * compiled < predicted < 1.3 * compiled, predicted


def test_a_run_that_goes_on_keeps_its_settings():
    run = fixed_size(256)
    run = dataclasses.replace(run, data=dataclasses.replace(run.data, batch=16))
    kept = auto.of_run(fixed_size(256), run, set())
    assert kept == {"data.batch": 16}
    again = auto.choose(auto.apply(fixed_size(256), kept), auto.NAMES, auto.Devices(4, 2**40))
    assert again == {}


def test_options_are_what_one_would_type():
    chosen = {"data.batch": 8, "schedule.batch": {8: 64, 16: 32}, "loss.r1_gamma": 1.6}
    assert auto.options(chosen) == "--data.batch 8 --schedule.batch 8:64,16:32 --loss.r1-gamma 1.6"


def test_copies_of_a_configuration_are_equal_to_it():
    config = load_config("folder_256")
    assert from_dict(Config, to_dict(config)) == config
    assert hash(config.loss) == hash(LossConfig()) and config.loss == LossConfig()


def test_the_command_prints_what_it_stands_for(capsys):
    line = [
        "--auto",
        "--dry-run",
        "--resolution",
        "64",
        "--schedule.start-resolution",
        "64",
        "--generator.block",
        "demod",
    ]
    assert train_verb.main([*line, "--optimizer.learning-rate", "0.001"]) == 0
    printed = capsys.readouterr().out
    expected = "--auto stands for --data.batch 32 --loss.r1-gamma 0.0256 --optimizer.ema-kimg 10.0"
    assert printed.splitlines()[0] == expected
    assert '"r1_gamma": 0.0256' in printed and '"learning_rate": 0.001' in printed


def test_a_resumed_run_stays_the_same_under_auto(tmp_path, capsys):
    config = tiny_config(run={"dir": str(tmp_path)}, data={"batch": 4})
    (tmp_path / "config.json").write_text(to_json(config))
    assert train_verb.main(["--auto", "--dry-run", "--run.dir", str(tmp_path)]) == 0
    assert '"batch": 4' in capsys.readouterr().out
