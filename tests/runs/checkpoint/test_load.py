import shutil

import pytest

from stylegen.config_json import to_json
from stylegen.runs.checkpoint import CheckpointError, available, load_generator, read_config
from tests.support.checkpoints import CONFIG, assert_same, damage_data, make_state, save, step


def test_generator_is_what_training_saw(run):
    save(run, 3250)  # a quarter into a fade
    generator = load_generator(run)
    want = make_state(3250)
    assert (generator.resolution, generator.alpha, generator.kimg) == (8, 0.25, 3.25)
    assert generator.config == CONFIG and generator.source.endswith("000003250")
    assert_same(generator.params, want.g_ema)
    assert_same(generator.noise_const, want.noise_const)
    assert_same(generator.w_avg, want.w_avg)


def test_generator_needs_its_own_item_only(run):
    shutil.rmtree(step(run, 2500) / "train")
    before = sorted(run.rglob("*"))
    assert load_generator(run).kimg == 2.5
    assert sorted(run.rglob("*")) == before


def test_generator_of_a_given_time(run):
    assert load_generator(run, kimg=1.5).kimg == 1.5
    assert load_generator(run, kimg=1.1).kimg == 1.5
    assert load_generator(run, kimg=3).kimg == 2.5
    with pytest.raises(CheckpointError, match=r"has no checkpoint at 7 kimg; it has 1.5, 2.5\."):
        load_generator(run, kimg=7)


def test_generator_falls_back_unless_its_time_was_given(run):
    damage_data(step(run, 2500) / "ema")
    log: list[str] = []
    assert load_generator(run, log=log.append).kimg == 1.5
    assert len(log) == 1 and "2.5 kimg" in log[0] and "using the one at 1.5 kimg" in log[0]
    with pytest.raises(CheckpointError, match="000002500: ema: "):
        load_generator(run, kimg=2.5)
    assert available(run) == [1500, 2500]


def test_generator_leaves_an_unfinished_save_alone(run):
    unfinished = run / "checkpoints" / "000003500.orbax-checkpoint-tmp"
    unfinished.mkdir()
    load_generator(run)
    assert unfinished.is_dir() and available(run) == [1500, 2500]


def test_bad_run_directories(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere is no run directory: it does not exist"):
        load_generator(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no run directory: it has no config.json"):
        load_generator(tmp_path)
    path = tmp_path / "config.json"
    with pytest.raises(CheckpointError, match="no run directory: it is a file"):
        path.write_text("{")
        read_config(path)
    for text in ("{", "[]", '{"resolution": 17}', '{"resolution": "x"}', '{"data": 3}', '{"sizes": 3}', "\x00\xff"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(CheckpointError, match="config.json cannot be used: "):
            read_config(tmp_path)
    path.write_text(to_json(CONFIG))
    assert read_config(tmp_path) == CONFIG
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        load_generator(tmp_path)
