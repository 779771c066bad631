"""Configurations: what is refused and in which words, what survives JSON, and what makes two runs different."""

import dataclasses
import json

import pytest

from stylegen.config import (
    AugmentConfig,
    Config,
    ConfigError,
    DataConfig,
    DiscriminatorConfig,
    DistributedConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    is_resolution,
)
from stylegen.config_json import differences, from_json, to_dict, to_json

# Every kind of value that JSON changes on the way: integer keys, tuples, None and whole floats.
UNUSUAL = Config(
    resolution=64,
    image_channels=1,
    num_classes=7,
    compute_dtype="bfloat16",
    data=DataConfig(source="lsun", path="somewhere", category="cat", crop="center-crop-wide", mirror=True, batch=8),
    generator=GeneratorConfig(z_dim=3, mapping_lr_multiplier=0.5),
    discriminator=DiscriminatorConfig(mbstd_group_size=2),
    loss=LossConfig(name="wgan_gp"),
    augment=AugmentConfig("fixed", p=0.25, color=False),
    optimizer=OptimizerConfig(learning_rate=1e-4),
    schedule=ScheduleConfig(stable_kimg_at={8: 24.0}, fade_kimg_at={16: 0.5}, batch={16: 4}, learning_rate={64: 0.003}),
    run=RunConfig(dir="runs/ä", tick_kimg=3.0, grid=(3, 2), devices=1, compilation_cache=""),
)


@pytest.mark.parametrize("config", [Config(), UNUSUAL])
def test_round_trip_through_json(config):
    back = from_json(to_json(config))
    assert back == config
    assert {type(key) for key in back.schedule.batch} <= {int}
    assert isinstance(back.run.grid, tuple)
    assert to_json(back) == to_json(config)


def test_dictionary_holds_only_what_json_holds():
    tree = to_dict(UNUSUAL)
    assert tree == json.loads(to_json(UNUSUAL))
    assert tree["schedule"]["batch"] == {"16": 4} and tree["run"]["grid"] == [3, 2]


def test_whole_numbers_are_read_as_floats_where_floats_belong():
    tree = to_dict(Config())
    tree["schedule"]["total_kimg"] = 100
    config = from_json(json.dumps(tree))
    assert isinstance(config.schedule.total_kimg, float)


def test_fields_that_an_older_version_did_not_have_take_their_defaults():
    config = from_json('{"resolution": 64, "loss": {"r1_gamma": 3.0}}')
    assert config == Config(resolution=64, loss=LossConfig(r1_gamma=3.0))


def test_a_run_that_began_before_there_were_paired_augmentations_goes_on_without():
    assert not from_json('{"augment": {"mode": "fixed", "p": 0.5}}').augment.paired
    assert from_json('{"augment": {"mode": "none"}}') == Config()


@pytest.mark.parametrize(
    "text, words",
    [
        ('{"resolutoin": 64}', "resolutoin: no such field; Config has resolution, "),
        ('{"loss": {"gamma": 1}}', "loss.gamma: no such field; LossConfig has name, r1_gamma"),
        ('{"loss": 3}', "loss"),
        ('{"loss": {"name": "hinge"}}', "loss.name = 'hinge': must be one of logistic, relativistic, wgan_gp"),
        ('{"resolution": 100}', "resolution = 100: must be a power of two"),
        ("[1, 2]", "must be an object"),
        ("{", "not valid JSON"),
    ],
)
def test_wrong_json_is_refused_in_words(text, words):
    with pytest.raises(ConfigError) as caught:
        from_json(text)
    assert words in str(caught.value)


def replaced(name, value):
    """The default configuration with one field, named as in messages, replaced."""
    owner, _, field = name.rpartition(".")
    if not owner:
        return Config(**{field: value})
    return Config(**{owner: dataclasses.replace(getattr(Config(), owner), **{field: value})})


NAN = float("nan")


@pytest.mark.parametrize(
    "name, value, fix",
    [
        ("resolution", 100, "power of two from 4 to 1024"),
        ("resolution", 2, "power of two from 4 to 1024"),
        ("resolution", 2048, "power of two from 4 to 1024"),
        ("image_channels", 0, "must be 1 to 4"),
        ("image_channels", 5, "must be 1 to 4"),
        ("num_classes", -1, "0 (unconditional) or more"),
        ("generator.z_dim", 0, "at least 1"),
        ("generator.w_dim", 0, "at least 1"),
        ("generator.mapping_layers", 0, "at least 1"),
        ("generator.mapping_lr_multiplier", 0.0, "positive"),
        ("generator.mapping_lr_multiplier", NAN, "positive"),
        ("generator.mapping_width", 0, "at least 1"),
        ("generator.channel_decay", -1.0, "0 (equal widths) to 4"),
        ("generator.channel_max", 0, "at least 1"),
        ("generator.channel_base", 128, "make it at least 256"),
        ("generator.w_avg_beta", 1.0, "in [0, 1)"),
        ("generator.w_avg_beta", -0.1, "in [0, 1)"),
        ("generator.style_mixing_prob", 1.1, "in [0, 1]"),
        ("generator.style_mixing_prob", -0.1, "in [0, 1]"),
        ("discriminator.channel_max", 0, "at least 1"),
        ("discriminator.channel_base", 255, "make it at least 256"),
        ("discriminator.mbstd_group_size", 0, "at least 1"),
        ("loss.r1_gamma", -1.0, "0 (off) or more"),
        ("loss.r1_interval", 0, "1 (every step) or more"),
        ("loss.pl_weight", -1.0, "0 (off) or more"),
        ("loss.pl_weight", float("inf"), "finite"),
        ("loss.r1_gamma", float("inf"), "must be a finite number"),
        ("loss.wgan_lambda", float("inf"), "must be a finite number"),
        ("optimizer.learning_rate", float("inf"), "must be a finite number"),
        ("augment.target", float("nan"), "must be between"),
        ("loss.pl_interval", 0, "1 (after every step) or more"),
        ("loss.pl_decay", 0.0, "above 0, and at most 1"),
        ("loss.pl_decay", NAN, "above 0, and at most 1"),
        ("loss.pl_batch_shrink", 0, "1 (the whole batch) or more"),
        ("loss.wgan_lambda", -1.0, "0 or more"),
        ("loss.wgan_epsilon", -1.0, "0 or more"),
        ("augment.p", 1.1, "in [0, 1]"),
        ("augment.p", NAN, "in [0, 1]"),
        ("augment.max_p", -0.1, "in [0, 1]"),
        ("augment.target", 1.0, "between -1 and 1"),
        ("augment.speed_kimg", 0.0, "positive"),
        ("augment.speed_kimg", float("inf"), "finite"),
        ("augment.interval", 0, "at least 1"),
        ("optimizer.learning_rate", 0.0, "positive"),
        ("optimizer.beta1", 1.0, "in [0, 1)"),
        ("optimizer.beta2", 1.0, "in [0, 1)"),
        ("optimizer.epsilon", 0.0, "positive"),
        ("optimizer.ema_kimg", -1.0, "0 (no averaging) or more"),
        ("optimizer.ema_rampup", 0.0, "positive and finite"),
        ("data.num_images", 0, "at least 1"),
        ("data.workers", -1, "0 or more"),
        ("data.batch", 0, "at least 1"),
        ("data.batch", 6, "multiple of discriminator.mbstd_group_size = 4, or smaller"),
        ("schedule.start_resolution", 12, "power of two from 4 to resolution = 256"),
        ("schedule.start_resolution", 512, "power of two from 4 to resolution = 256"),
        ("schedule.total_kimg", 0, "positive"),
        ("schedule.cooldown_kimg", -1.0, "from 0 to schedule.total_kimg = 25000"),
        ("schedule.cooldown_kimg", 25_001.0, "from 0 to schedule.total_kimg = 25000"),
        ("schedule.cooldown_kimg", NAN, "from 0 to schedule.total_kimg = 25000"),
        ("schedule.stable_kimg", 0, "positive"),
        ("schedule.fade_kimg", NAN, "positive"),
        ("schedule.stable_kimg_at", {7: 1.0}, "its key 7 is no resolution"),
        ("schedule.stable_kimg_at", {8: 0.0}, "values must be positive"),
        ("schedule.fade_kimg_at", {16: -1.0}, "values must be positive"),
        ("schedule.batch", {16: 0}, "values must be positive"),
        ("schedule.learning_rate", {16: 0.0}, "values must be positive"),
        ("run.tick_kimg", 0.0, "positive"),
        ("run.checkpoint_kimg", -1.0, "positive"),
        ("run.keep_every_kimg", 0.0, "positive"),
        ("run.snapshot_kimg", -1.0, "positive"),
        ("run.keep_last", 0, "at least 1"),
        ("run.grid", (0, 8), "at least one column and one row"),
        ("run.devices", 0, "at least 1"),
        ("distributed.timeout", 1.0, "5 to 86400 seconds"),
        ("distributed.start_timeout", NAN, "5 to 86400 seconds"),
    ],
)
def test_a_wrong_value_is_refused_by_name_value_and_fix(name, value, fix):
    with pytest.raises(ConfigError) as caught:
        replaced(name, value)
    message = str(caught.value)
    assert message.startswith(f"{name} = {value!r}: ") and fix in message and message.endswith(".")


@pytest.mark.parametrize(
    "options, start, fix",
    [
        ({"schedule": ScheduleConfig(batch={16: 6})}, "schedule.batch[16] = 6: ", "mbstd_group_size = 4"),
        ({"augment": AugmentConfig("fixed")}, "augment.p = 0.0: ", "needs a chance, for example 0.2"),
        ({"augment": AugmentConfig("ada", p=0.9)}, "augment.p = 0.9: ", "at most augment.max_p = 0.8"),
        (
            {"augment": AugmentConfig("ada", blit=False, geometric=False, color=False)},
            "augment.mode = 'ada': ",
            "switch on one of blit, geometric, color, noise, cutout",
        ),
        (
            {"augment": AugmentConfig("ada"), "loss": LossConfig("wgan_gp")},
            "augment.mode = 'ada': ",
            "use logistic, or fixed",
        ),
        ({"data": DataConfig(source="tfds")}, "data.tfds_name = None: ", "needs the data set's name"),
        ({"resolution": 512}, "resolution = 512: ", "toy_bedrooms is drawn at up to 256 pixels"),
        ({"image_channels": 1}, "image_channels = 1: ", "toy_bedrooms is RGB; use 3"),
        (
            {"generator": GeneratorConfig(block="demod")},
            "schedule.start_resolution = 8: ",
            "generator.block = demod does not grow; set it to resolution = 256",
        ),
        (
            {"loss": LossConfig(pl_weight=2.0, pl_batch_shrink=3)},
            "loss.pl_batch_shrink = 3: ",
            "must divide every batch if loss.pl_weight is not 0, and does not divide 32",
        ),
    ],
)
def test_a_wrong_combination_is_refused(options, start, fix):
    with pytest.raises(ConfigError) as caught:
        Config(**options)
    assert str(caught.value).startswith(start) and fix in str(caught.value)


@pytest.mark.parametrize(
    "coordinator, processes, number, words",
    [
        ("10.0.0.1", 2, 0, "distributed.coordinator = '10.0.0.1': must be host:port"),
        (":80", 2, 0, "must be host:port"),
        ("host:70000", 2, 0, "must be host:port"),
        ("host:80", None, 0, "distributed.num_processes = None: coordinator, num_processes and process_id are given"),
        (None, 2, 0, "distributed.coordinator = None: coordinator, num_processes and process_id are given together"),
        ("host:80", 2, 2, "distributed.process_id = 2: must be 0 to 1"),
        ("host:80", 0, 0, "distributed.num_processes = 0: must be at least 1"),
    ],
)
def test_processes_that_cannot_find_each_other_are_refused(coordinator, processes, number, words):
    with pytest.raises(ConfigError) as caught:
        Config(distributed=DistributedConfig(coordinator, processes, number))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"distributed": DistributedConfig("[::1]:80", 2, 1)},
        # Smaller than a group is one group; stages that are never trained at do not count.
        {"data": DataConfig(batch=3)},
        {"schedule": ScheduleConfig(start_resolution=16, batch={8: 6})},
        {"resolution": 4, "schedule": ScheduleConfig(start_resolution=4)},
        {"resolution": 1024, "data": DataConfig(source="images")},
        {"generator": GeneratorConfig(style_mixing_prob=0, w_avg_beta=0)},
        {"loss": LossConfig(r1_gamma=0)},
        {"loss": LossConfig(pl_weight=2.0, pl_interval=1, pl_decay=1, pl_batch_shrink=1)},
        {"loss": LossConfig(pl_batch_shrink=3)},
        {"generator": GeneratorConfig(block="demod"), "schedule": ScheduleConfig(start_resolution=256)},
        {"augment": AugmentConfig("fixed", p=1.0), "loss": LossConfig("wgan_gp")},
        {"augment": AugmentConfig("ada", p=1.0, max_p=1.0, target=0.0, interval=1, color=False)},
        {"optimizer": OptimizerConfig(ema_kimg=0, beta1=0, beta2=0)},
    ],
)
def test_limits_are_allowed(options):
    Config(**options)


def test_resolutions_of_blocks_and_stages():
    config = Config(resolution=64, schedule=ScheduleConfig(start_resolution=16))
    assert config.resolutions == (4, 8, 16, 32, 64)
    assert config.stage_resolutions == (16, 32, 64)
    assert [r for r in range(2000) if is_resolution(r)] == [4, 8, 16, 32, 64, 128, 256, 512, 1024]


def test_settings_by_resolution():
    config = Config(schedule=ScheduleConfig(batch={8: 64}, learning_rate={128: 0.0015}))
    assert (config.batch_at(8), config.batch_at(16)) == (64, 32)
    assert (config.learning_rate_at(64), config.learning_rate_at(128)) == (0.001, 0.0015)


def test_configurations_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().resolution = 64


def test_differences_names_what_computes_another_run():
    assert differences(Config(), Config()) == []
    changed = Config(resolution=64, loss=LossConfig(r1_gamma=1.0), run=RunConfig(seed=1))
    assert differences(Config(), changed) == [
        "loss.r1_gamma: 10.0 -> 1.0",
        "resolution: 256 -> 64",
        "run.seed: 1000 -> 1",
    ]


def test_differences_inside_dictionaries():
    old = Config(schedule=ScheduleConfig(batch={8: 64}))
    new = Config(schedule=ScheduleConfig(batch={8: 32, 16: 16}))
    assert differences(old, new) == ["schedule.batch.16: None -> 16", "schedule.batch.8: 64 -> 32"]
    assert differences(Config(), old) and differences(old, Config())


def test_differences_leaves_out_what_a_resumed_run_may_change():
    new = Config(
        data=DataConfig(path="elsewhere", prepared="there", workers=7),
        schedule=ScheduleConfig(total_kimg=1.0, cooldown_kimg=0.5),
        run=RunConfig(dir="a", devices=1, tick_kimg=1.0, keep_last=9, overwrite=True, compilation_cache=""),
        distributed=DistributedConfig("host:80", 2, 1),
    )
    assert differences(Config(), new) == []
    assert differences(Config(), Config(data=DataConfig(seed=1))) == ["data.seed: 0 -> 1"]
