"""Starting from another run: what is taken, what is not, what is refused, and that it happens once."""

import dataclasses
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import stylegen
from stylegen.cli.train import main
from stylegen.config import Config, ConfigError, GeneratorConfig
from stylegen.config_json import to_json
from stylegen.hub import init_from
from stylegen.hub.init_from import TransferError
from stylegen.networks.trees import by_path
from stylegen.nvidia import importing
from stylegen.runs.checkpoint import Checkpointer, load_state
from stylegen.runs.directory import RunError, write_config
from stylegen.runs.load import save_generator
from stylegen.train import train
from stylegen.training import freeze
from stylegen.training.schedule import Stage
from stylegen.training.state import TrainState, abstract_state, init_state
from tests.support.configs import tiny_config
from tests.support.original_pickles import TINY
from tests.support.original_pickles import networks as networks_of_others
from tests.support.original_pickles import write as write_pickle
from tests.support.paths import REFERENCES
from tests.support.web import Answer, serving

FIELDS = ("g", "g_ema", "d", "w_avg", "noise_const")
NETWORKS = REFERENCES / "networks"


def tiny(folder: Path | str = "", resolution: int = 8, w_dim: int = 8, **run) -> Config:
    return tiny_config(
        resolution,
        generator={"w_dim": w_dim},
        schedule={"total_kimg": 0.012, "stable_kimg": 10},
        run={"dir": str(folder), "checkpoint_kimg": 0.004, **run},
    )


def leaves(state, field) -> dict[str, np.ndarray]:
    return {path: np.asarray(leaf) for path, leaf in by_path({field: getattr(state, field)}).items()}


def unlike_a_new_one(state, seed=5):
    """A state in which all that may be taken differs from what any run begins with, and g from its average."""
    rng = np.random.default_rng(seed)
    fields = {
        name: jax.tree.map(lambda x: np.asarray(x) + rng.standard_normal(x.shape, np.float32), getattr(state, name))
        for name in FIELDS
    }
    return dataclasses.replace(state, **fields, nimg=np.int32(5000))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The directory of a run of 8 pixels, trained up to 4 of them, and its state."""
    folder = tmp_path_factory.mktemp("source") / "run"
    config, state = tiny(folder), unlike_a_new_one(init_state(tiny(), seed=9))
    folder.mkdir()
    write_config(folder, config)
    with Checkpointer(folder, config, keep_last=1) as checkpointer:
        checkpointer.save(state, Stage(0, 4, 1.0, 4, 0.001))
    return folder, state


def start(config: Config):
    return init_from.apply(init_state(config), init_from.read(config))


def test_a_run_gives_both_networks_and_their_averages_and_nothing_else(source):
    folder, source_state = source
    config = tiny(init_from=str(folder))
    state, fresh = start(config), init_state(config)
    for field in FIELDS:
        for path, leaf in leaves(state, field).items():
            np.testing.assert_array_equal(leaf, leaves(source_state, field)[path], err_msg=path)
    assert state.nimg == 0
    np.testing.assert_array_equal(jax.random.key_data(state.key), jax.random.key_data(fresh.key))
    for mine, theirs in zip(jax.tree.leaves(state.d_opt), jax.tree.leaves(fresh.d_opt), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    text = init_from.read(config).text
    assert f"{folder} at 5 kimg" in text and "discriminator" in text and "fresh" not in text
    assert "trained up to 4 pixels" in text and "ema_rampup" not in text
    optimizer = dataclasses.replace(config.optimizer, ema_rampup=0.05)
    assert "ema_rampup is off" in init_from.read(dataclasses.replace(config, optimizer=optimizer)).text


def test_a_file_gives_the_generator_and_says_that_the_discriminator_is_new(source, tmp_path):
    folder, source_state = source
    save_generator(stylegen.load(folder), tmp_path / "G.safetensors")
    config = tiny(init_from=str(tmp_path / "G.safetensors"))
    state, fresh = start(config), init_state(config)
    for field in ("g", "g_ema"):
        for path, leaf in leaves(state, field).items():
            expected = leaves(source_state, "g_ema")[path.replace(f"{field}.", "g_ema.", 1)]
            np.testing.assert_array_equal(leaf, expected, err_msg=path)
    np.testing.assert_array_equal(state.w_avg, source_state.w_avg)
    for path, leaf in leaves(state, "d").items():
        np.testing.assert_array_equal(leaf, leaves(fresh, "d")[path], err_msg=path)
    assert "no discriminator: that starts fresh" in init_from.read(config).text


def of_file(path: Path | str, source: Path, **run) -> tuple[Config, TrainState]:
    """A configuration of the networks in a file that starts from it, by another name maybe, and what is in it."""
    config, state, _ = importing.state_of(importing.read(source))
    run = dataclasses.replace(config.run, init_from=str(path), **run)
    return dataclasses.replace(config, run=run), state


@pytest.fixture(scope="module")
def pickled(tmp_path_factory):
    """Tiny networks as NVIDIA's trainer writes them: G, D and the averaged Gs."""
    path = tmp_path_factory.mktemp("pickled") / "network-snapshot.pkl"
    write_pickle(path, networks_of_others(TINY))
    return path


@pytest.mark.parametrize("form", ["pkl", "pt"])
def test_files_of_others_give_both_networks(form, pickled):
    path = pickled if form == "pkl" else NETWORKS / "rosinality_32.pt"
    config, theirs = of_file(path, path)
    state = start(config)
    for field in FIELDS:
        for name, leaf in leaves(state, field).items():
            np.testing.assert_array_equal(leaf, leaves(theirs, field)[name], err_msg=name)
    assert state.nimg == 0
    assert f"Taken from {path}: generator, moving average and mean of w, discriminator." in init_from.read(config).text


def test_a_file_of_others_without_a_discriminator():
    path = NETWORKS / "rosinality_32_legacy.pt"
    config, theirs = of_file(path, path)
    state, fresh = start(config), init_state(config)
    np.testing.assert_array_equal(state.w_avg, theirs.w_avg)
    for name, leaf in leaves(state, "d").items():
        np.testing.assert_array_equal(leaf, leaves(fresh, "d")[name], err_msg=name)
    assert "no discriminator: that starts fresh" in init_from.read(config).text


def test_a_file_of_others_that_does_not_fit(pickled):
    with pytest.raises(TransferError, match=r"generator\.normalize_z is True there and False here"):
        config, _ = of_file(pickled, pickled)
        init_from.read(dataclasses.replace(config, generator=dataclasses.replace(config.generator, normalize_z=False)))
    with pytest.raises(TransferError) as caught:
        init_from.read(tiny(init_from=str(pickled)))
    options = str(caught.value).splitlines()[-1]
    for name, value in (("generator.z-dim", 7), ("generator.w-dim", 6), ("discriminator.channel-max", 5)):
        assert f"--{name} {value}" in options
    assert options.startswith("Make the networks alike: --generator.")


def test_a_run_starts_from_a_file_elsewhere(pickled, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with serving({"/network.pkl": Answer(pickled.read_bytes())}) as server:
        url = f"{server.url}/network.pkl"
        config, theirs = of_file(url, pickled, dir=str(tmp_path / "run"), freeze="d.b4", grid=(2, 1))
        schedule = dataclasses.replace(tiny().schedule, start_resolution=8, total_kimg=0.004)
        train(dataclasses.replace(config, data=tiny().data, schedule=schedule))
    assert f"Taken from {url}" in (tmp_path / "run" / "log.txt").read_text()
    _, meta, state = load_state(tmp_path / "run")
    assert meta.nimg == 4
    for name, leaf in leaves(state, "d").items():
        assert np.array_equal(leaf, leaves(theirs, "d")[name]) == (".b4." in name), name


def test_a_name_that_is_not_published_is_said_with_those_that_are():
    with pytest.raises(TransferError, match=r"run.init_from = 'nvidia:nothing': .*there are nvidia:"):
        init_from.read(tiny(init_from="nvidia:nothing"))


def test_a_smaller_run_starts_a_larger_one(source):
    folder, source_state = source
    config = tiny(resolution=16, init_from=str(folder))
    state, fresh, old = start(config), init_state(config), source_state
    new_paths = set()
    for field in FIELDS:
        for path, leaf in leaves(state, field).items():
            common = leaves(old, field).get(path)
            if common is None:
                new_paths.add(path)
            np.testing.assert_array_equal(leaf, leaves(fresh, field)[path] if common is None else common, path)
    assert new_paths and all(".b16." in path for path in new_paths)
    assert "ends at 8 pixels: blocks b16 start fresh" in init_from.read(config).text


def test_what_does_not_fit_is_listed_side_by_side(source):
    folder, _ = source
    with pytest.raises(TransferError) as caught:
        init_from.read(tiny(w_dim=6, init_from=str(folder)))
    text = str(caught.value)
    lines = [line.split() for line in text.splitlines()]
    assert ["expected", "found"] in lines
    assert ["g.mapping.dense.dense0.weight", "8x6", "8x8"] in lines
    assert ["w_avg", "6", "8"] in lines
    assert "g_ema." not in text and "more" not in text.splitlines()[0]
    assert " d." not in text, "the discriminator fits"
    assert text.splitlines()[-1] == "Make the networks alike: --generator.w-dim 8"


@pytest.mark.parametrize("name, value", [("mapping_lr_multiplier", 0.1), ("normalize_z", False)])
def test_settings_that_make_another_function_of_the_same_weights_are_refused(source, name, value):
    config = tiny(init_from=str(source[0]))
    config = dataclasses.replace(config, generator=dataclasses.replace(config.generator, **{name: value}))
    default = getattr(GeneratorConfig(), name)
    with pytest.raises(TransferError, match=rf"generator\.{name} is {default} there and {value} here") as error:
        init_from.read(config)
    fix = {"mapping_lr_multiplier": "--generator.mapping-lr-multiplier 0.01", "normalize_z": "--generator.normalize-z"}
    assert str(error.value).endswith(f"; give {fix[name]}.")


def test_a_larger_run_does_not_start_a_smaller_one(source):
    with pytest.raises(
        TransferError, match=r"(?s)It is of 8 pixels: give --resolution 8.*g\.synthesis\.blocks\.b8\S* +- "
    ):
        init_from.read(tiny(resolution=4, init_from=str(source[0])))


@pytest.mark.parametrize("name", ["nowhere", "README.md"])
def test_nothing_to_start_from_is_a_sentence_before_anything_is_written(name, tmp_path):
    with pytest.raises(TransferError, match=f"run.init_from = '{name}'"):
        train(tiny(tmp_path / "run", init_from=name))
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_another_once_and_then_resumes(source, tmp_path, capsys):
    """The first checkpoint is written before a step is taken beyond it; the source is not needed any more then."""
    folder, source_state = source
    config = tiny(tmp_path / "run", init_from=str(folder), freeze="d.b4,g.mapping")
    short = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, total_kimg=0.004))
    train(short)
    assert "Taken from" in (tmp_path / "run" / "log.txt").read_text()
    _, _, one = load_state(tmp_path / "run")
    folder.rename(folder.with_name("moved"))
    try:
        train(config)
    finally:
        folder.with_name("moved").rename(folder)
    assert (tmp_path / "run" / "log.txt").read_text().count("Taken from") == 1
    _, meta, two = load_state(tmp_path / "run")
    assert meta.nimg == 12
    for state in (one, two):
        for path, leaf in leaves(state, "g").items():
            same = np.array_equal(leaf, leaves(source_state, "g")[path])
            assert same == (path.startswith("g.mapping.") or ".b8." in path), path
        for path, leaf in leaves(state, "g_ema").items():
            if path.startswith("g_ema.mapping."):
                np.testing.assert_array_equal(leaf, leaves(source_state, "g_ema")[path], err_msg=path)
        for path, leaf in leaves(state, "d").items():
            np.testing.assert_array_equal(leaf, leaves(source_state, "d")[path], err_msg=path)
    with pytest.raises(RunError, match=r"run\.freeze"):
        train(dataclasses.replace(config, run=dataclasses.replace(config.run, freeze="")))


def test_dry_run_says_what_would_be_taken(source, tmp_path, capsys):
    (tmp_path / "experiment.py").write_text(
        f"from stylegen.config_json import from_json\ndef get_config():\n    return from_json({to_json(tiny())!r})\n"
    )
    command = ["--config", str(tmp_path / "experiment.py"), "--dry-run", "--run.init-from", str(source[0])]
    assert main([*command, "--run.dir", str(tmp_path / "run"), "--run.freeze", "d.b8"]) == 0
    text = capsys.readouterr().out
    assert "Taken from" in text and "Frozen (d.b8): " in text
    assert not (tmp_path / "run").exists()
    shutil.copytree(source[0], tmp_path / "begun")
    assert main([*command, "--run.dir", str(tmp_path / "begun")]) == 0
    assert "nothing is taken" in capsys.readouterr().out


def test_names_of_layers():
    assert freeze.name("d", "blocks.b64.conv0.weight") == "d.b64.conv0.weight"
    assert freeze.name("g", "synthesis.blocks.b8.act0.bias") == "g.b8.act0.bias"
    assert freeze.name("g", "mapping.dense.dense0.weight") == "g.mapping.dense.dense0.weight"
    assert freeze.prefixes(" d.b64., d.blocks.b32,,g.synthesis.blocks.b4 ") == ("d.b64", "d.b32", "g.b4")


def test_prefixes_are_of_whole_words():
    prefixes = freeze.prefixes("d.b8,g.mapping.dense.dense1")
    assert freeze.is_frozen("d.b8.conv0.weight", prefixes)
    assert not freeze.is_frozen("d.b80.conv0.weight", prefixes)
    assert not freeze.is_frozen("g.b8.conv0.weight", prefixes)
    assert freeze.is_frozen("g.mapping.dense.dense1.bias", prefixes)
    assert not freeze.is_frozen("g.mapping.dense.dense10.bias", prefixes)


def test_frozen_parameters_are_listed():
    names = freeze.frozen(tiny(init_from="x", freeze="d.b8,g.b4.torgb"))
    assert "d.b8.fromrgb.weight" in names and "g.b4.torgb.bias" in names
    state = abstract_state(tiny())
    b8 = [path for path in by_path(state.d) if path.startswith("blocks.b8.")]
    assert len(names) == len(b8) + 2


@pytest.mark.parametrize(
    "layers, words",
    [
        ("d.b64", r"there are no parameters d\.b64; name some of d\.b4, d\.b8, g\.b4, g\.b8, g\.mapping"),
        ("b8", "there are no parameters b8"),
        ("d", "leaves nothing of d to train"),
    ],
)
def test_layers_that_are_not_there_are_a_sentence(layers, words):
    with pytest.raises(ConfigError, match=words):
        freeze.frozen(tiny(init_from="x", freeze=layers))


def test_freezing_random_layers_and_starting_from_oneself_are_refused():
    with pytest.raises(ConfigError, match=r"run\.freeze = 'd\.b8': .*run\.init_from"):
        tiny(freeze="d.b8")
    with pytest.raises(ConfigError, match=r"run\.init_from = 'a/': must be another"):
        tiny("a", init_from="a/")
