"""config.json that is damaged or changed: the checkpoint's copy stands in for it, and shows the difference."""

import dataclasses
import json
from pathlib import Path

import pytest

from stylegen.cli import train as train_verb
from stylegen.config import Config
from stylegen.config_json import to_dict, to_json
from stylegen.runs import directory, settings
from stylegen.runs.checkpoint import Checkpointer, CheckpointError, load_generator, read_config
from stylegen.training import schedule
from tests.support.configs import tiny_config
from tests.support.states import random_state

CONFIG = tiny_config(schedule={"stable_kimg": 3, "fade_kimg": 1, "total_kimg": 10})


@pytest.fixture
def run(tmp_path) -> Path:
    config = dataclasses.replace(CONFIG, run=dataclasses.replace(CONFIG.run, dir=str(tmp_path)))
    directory.write_config(tmp_path, config)
    with Checkpointer(tmp_path, config, keep_last=2) as checkpointer:
        checkpointer.save(random_state(2500, config), schedule.at(config, 2500))
    return tmp_path


def config_of(run: Path) -> Config:
    return dataclasses.replace(CONFIG, run=dataclasses.replace(CONFIG.run, dir=str(run)))


@pytest.mark.parametrize("text", ["", "{", '{"resolution": ', "\x00" * 100, '{"resolution": 9}'])
def test_a_damaged_config_is_replaced_by_the_copy_in_the_checkpoint(run, text):
    (run / "config.json").write_text(text)
    said: list[str] = []
    assert settings.read(run, said.append) == config_of(run)
    assert len(said) == 1 and "config.json cannot be used" in said[0] and "checkpoint at 2.5 kimg" in said[0]
    with pytest.warns(UserWarning, match="Taking the settings from the checkpoint"):
        assert read_config(run) == config_of(run)
    assert directory.check_run(config_of(run)) == run  # the same command resumes


def test_resuming_by_the_directory_alone(run, capsys):
    (run / "config.json").write_text("")
    assert train_verb.main(["--run.dir", str(run), "--dry-run"]) == 0
    assert "Taking the settings from the checkpoint at 2.5 kimg" in capsys.readouterr().err


def test_without_a_good_copy_the_file_is_named(run):
    (run / "config.json").write_text("{")
    path = next(run.glob("checkpoints/*/meta/metadata"))
    path.write_text(path.read_text().replace('"mapping_layers": 2', '"mapping_layers": 3'))
    with pytest.raises(CheckpointError, match=r"config\.json cannot be used"):
        read_config(run)


def changed(run: Path, section: str, **fields: object) -> Config:
    config = config_of(run)
    config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **fields)})
    (run / "config.json").write_text(to_json(config))
    return config


def test_another_function_of_the_same_weights_is_refused(run):
    changed(run, "generator", mapping_lr_multiplier=0.5)
    with pytest.raises(CheckpointError, match=r"generator.mapping_lr_multiplier: 0.01 -> 0.5.*Put the old value back"):
        load_generator(run)


def test_another_run_is_refused_though_its_shapes_fit(run):
    config = changed(run, "optimizer", learning_rate=0.5)
    load_generator(run)  # which it does not change
    with (
        Checkpointer(run, config, keep_last=2) as checkpointer,
        pytest.raises(CheckpointError, match=r"optimizer.learning_rate: 0.001 -> 0.5"),
    ):
        checkpointer.restore()


def test_settings_that_may_change_are_listed(run):
    config = changed(run, "run", keep_last=7)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, path="/elsewhere"))
    tree = to_dict(config_of(run))
    assert settings.changes(tree, config) == ["run.keep_last: 2 -> 7"]
    assert settings.conflicts(tree, config) == []


def test_a_description_of_another_version_is_no_difference():
    tree = json.loads(to_json(CONFIG)) | {"a_setting_that_is_gone": 1}
    assert settings.of_checkpoint(tree) is None
    assert settings.conflicts(tree, CONFIG) == [] and settings.changes(tree, CONFIG) == []
