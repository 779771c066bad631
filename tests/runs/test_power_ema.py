"""Post-hoc EMA: profiles by their definition, the averages of a training by adding them up, and others made of them."""

import dataclasses
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

import stylegen
from stylegen.cli import convert
from stylegen.config import Config, ConfigError, OptimizerConfig
from stylegen.networks.trees import by_path
from stylegen.runs import power_ema as kept
from stylegen.runs.power_ema import PowerEmaError
from stylegen.train import Hooks, train
from stylegen.training.power_ema import Snapshot, beta, gamma_of, reconstruction
from stylegen.training.state import abstract_state
from tests.support.configs import tiny_config


def test_lengths_and_exponents():
    """EDM2, Sec. 3.1: 5% is a gamma of 16.97, 10% one of 6.94."""
    assert abs(gamma_of(0.05) - 16.97) < 0.005 and abs(gamma_of(0.10) - 6.94) < 0.005
    for std in (0.02, 0.2, 0.28):
        t = (np.arange(200_000) + 0.5) / 200_000
        p = t ** gamma_of(std)
        mean = (p * t).sum() / p.sum()
        assert abs(np.sqrt((p * (t - mean) ** 2).sum() / p.sum()) - std) < 1e-4


def direct(networks, ends, std, upto):
    """The average at ``upto``: each network weighs as the integral of tau^gamma over the images it was there for."""
    power = gamma_of(std) + 1
    ends = np.asarray(ends, np.float64)
    starts = np.concatenate([[0], ends[:-1]])
    shares = (ends / upto) ** power - (starts / upto) ** power
    return sum(share * network for share, network, end in zip(shares, networks, ends, strict=True) if end <= upto)


@pytest.mark.parametrize("std", [0.05, 0.1, 0.2])
def test_steps_add_up_to_the_integral(std):
    rng = np.random.default_rng(0)
    batches = rng.integers(8, 64, 300)  # batches of several sizes, as a schedule may have
    networks, ends = rng.standard_normal(300), np.cumsum(batches)
    average = 123.0  # forgotten by the first step
    for network, end, batch in zip(networks, ends, batches, strict=True):
        stays = float(beta(int(end - batch), int(batch), gamma_of(std)))
        average = network + (average - network) * stays
    np.testing.assert_allclose(average, direct(networks, ends, std, ends[-1]), rtol=1e-4)


def test_beta_is_exact_where_a_batch_is_a_small_part():
    stays = float(beta(25_000_000, 32, 16.97))
    assert abs((1 - stays) / (1 - (25_000_000 / 25_000_032) ** 17.97) - 1) < 0.01


def test_any_length_is_made_of_two(monkeypatch):
    """A random walk, whose averages differ by their lengths, and eight moments at which two of them were kept."""
    rng = np.random.default_rng(1)
    networks, ends = np.cumsum(rng.standard_normal((2000, 3)), axis=0), 10 * (1 + np.arange(2000))
    snapshots = [Snapshot(int(at), std) for at in ends[249::250] for std in (0.05, 0.1)]
    averages = np.stack([direct(networks, ends, s.std, s.nimg) for s in snapshots])
    spread = np.linalg.norm(direct(networks, ends, 0.05, ends[-1]) - direct(networks, ends, 0.1, ends[-1]))
    for std, most in ((0.05, 0.001), (0.06, 0.05), (0.08, 0.05), (0.1, 0.001), (0.13, 0.1), (0.2, 0.5)):
        weights, missed = reconstruction(snapshots, Snapshot(int(ends[-1]), std))
        error = np.linalg.norm(weights @ averages - direct(networks, ends, std, ends[-1]))
        assert missed < 2 * most and error < most * spread, (std, missed, error)
        assert abs(weights.sum() - 1) < 1e-6
    weights, missed = reconstruction(snapshots, snapshots[-1])
    np.testing.assert_allclose(weights, [0] * 15 + [1], atol=1e-6)
    assert missed < 1e-6
    # From the last two alone, a long average cannot be made, and that is known.
    assert reconstruction(snapshots[-2:], Snapshot(20_000, 0.2))[1] > 0.2


class Record(Hooks):
    """The generator before each step, and the images shown after it."""

    def __init__(self, first):
        self.networks, self.ends = [first], []

    def on_step(self, state, metrics, nimg):
        self.networks.append({name: np.asarray(leaf) for name, leaf in by_path(state.g).items()})
        self.ends.append(nimg)


def run_config(folder, cache, **optimizer):
    return tiny_config(
        8,
        optimizer=optimizer,
        schedule={"start_resolution": 8, "total_kimg": 0.08},
        run={
            "dir": str(folder),
            "tick_kimg": 0.04,
            "checkpoint_kimg": 0.008,
            "keep_last": 20,
            "grid": (2, 1),
            "compilation_cache": str(cache),
        },
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 20 steps that kept averages of two lengths, and its networks."""
    from stylegen.training.state import init_state

    folder = tmp_path_factory.mktemp("runs") / "run"
    config = run_config(folder, tmp_path_factory.mktemp("programs"), power_ema=(0.05, 0.1))
    first = {name: np.asarray(leaf) for name, leaf in by_path(init_state(config).g).items()}
    hooks = Record(first)
    train(config, hooks)
    return folder, hooks


NAME = "synthesis.blocks.b8.conv1.weight"


def test_a_training_keeps_the_averages(trained):
    folder, hooks = trained
    names = sorted(path.stem for path in (folder / kept.FOLDER).iterdir())
    assert names == [f"{nimg:010d}" for nimg in range(8, 81, 8)]
    networks = [network[NAME] for network in hooks.networks[:-1]]  # each, while the step from it to the next was taken
    for std in (0.05, 0.1):
        G, missed = kept.reconstruct(folder, std)
        assert missed < 1e-5
        expected = direct(networks, hooks.ends, std, 80)
        np.testing.assert_allclose(by_path(G.params)[NAME], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_an_average_of_another_length_is_near_to_the_direct_one(trained):
    folder, hooks = trained
    networks = [network[NAME] for network in hooks.networks[:-1]]
    ends = {std: direct(networks, hooks.ends, std, 80) for std in (0.05, 0.07, 0.1)}
    G, missed = kept.reconstruct(folder, 0.07)
    error = np.linalg.norm(np.asarray(by_path(G.params)[NAME]) - ends[0.07])
    assert missed < 0.1
    assert error < 0.1 * np.linalg.norm(ends[0.05] - ends[0.1])
    earlier, _ = kept.reconstruct(folder, 0.1, kimg=0.04)
    np.testing.assert_allclose(by_path(earlier.params)[NAME], direct(networks, hooks.ends, 0.1, 40), atol=1e-5)
    assert earlier.kimg == 0.04


def test_convert_writes_it(trained, tmp_path, capsys):
    folder, _ = trained
    out = tmp_path / "made.safetensors"
    assert convert.main([str(folder), "--ema", "0.08", "--out", str(out)]) == 0
    assert "the average of length 0.08 at 0.08 kimg" in capsys.readouterr().out
    G = stylegen.load(out)
    np.testing.assert_array_equal(by_path(G.params)[NAME], by_path(kept.reconstruct(folder, 0.08)[0].params)[NAME])
    # Its mean of w is that of its own mapping network.
    z = np.random.default_rng(0).standard_normal((10_000, G.z_dim), np.float32)
    np.testing.assert_allclose(G.w_avg, np.asarray(G.mapping(z)).mean(axis=0), rtol=0, atol=1e-6)
    w = stylegen.styles(G, stylegen.latents(range(500), G.z_dim))[:, 0]
    assert np.abs(w.mean(axis=0) - np.asarray(G.w_avg)).max() < 4 * w.std() / np.sqrt(500)
    for command, message in (
        (f"{folder} --ema 0.5 --out {tmp_path}/a.npz", "--ema 0.5: must be from 0.01 to 0.28"),
        (f"{folder} --ema 0.1 --kimg 7 --out {tmp_path}/a.npz", "--kimg 7: .* has kept averages at"),
        (f"{folder} --ema 0.1", "--out is missing"),
        (f"toy_bedrooms --ema 0.1 --out {tmp_path}/a.npz", "toy_bedrooms is no run directory"),
        (f"{folder} --ema 0.1 --to npz --out {tmp_path}/a.npz", "--ema goes with --kimg"),
    ):
        assert convert.main(command.split()) == 2
        error = capsys.readouterr().err
        assert message.partition(".*")[0] in error and error.count("\n") == 1


def test_a_resumed_run_forgets_what_was_beyond(trained, tmp_path):
    folder, _ = trained
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    before = {path.name: load_file(path) for path in (copy / kept.FOLDER).iterdir()}
    for path in (copy / "checkpoints").iterdir():
        if path.name.isdigit() and int(path.name) > 40 or int("".join(filter(str.isdigit, path.name)) or 0) > 40:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    config = stylegen.runs.checkpoint.read_config(copy)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, dir=str(copy)))
    train(config)
    after = {path.name: load_file(path) for path in (copy / kept.FOLDER).iterdir()}
    assert before.keys() == after.keys()
    for file, tensors in before.items():
        assert all(np.array_equal(tensors[name], after[file][name]) for name in tensors), file  # the same to the bit


def test_a_run_that_kept_nothing_says_how(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PowerEmaError, match=r"has kept no averages. Train with --optimizer.power-ema 0.05 0.1"):
        kept.reconstruct(tmp_path, 0.1)


def test_damaged_files_are_refused(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder, tmp_path / "run")
    path = sorted((tmp_path / "run" / kept.FOLDER).iterdir())[2]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PowerEmaError, match="an average cannot be used: .*0000000024.safetensors"):
        kept.reconstruct(tmp_path / "run", 0.1)


def test_without_it_the_state_is_as_it_was():
    config = tiny_config()
    assert abstract_state(config).power_ema is None
    paths = by_path(abstract_state(config))
    assert not any("power" in path for path in paths)
    with_it = by_path(abstract_state(tiny_config(optimizer={"power_ema": (0.05, 0.1)})))
    assert set(with_it) - set(paths) == {
        f"power_ema.{i}.{path[2:]}" for i in (0, 1) for path in paths if path[:2] == "g."
    }


def test_settings():
    for lengths in ((0.5,), (0.0,), (0.1, 0.1), (0.01, 0.02, 0.03, 0.04, 0.05)):
        with pytest.raises(ConfigError, match="optimizer.power_ema = .*: must be none, or up to 4 different lengths"):
            Config(optimizer=OptimizerConfig(power_ema=lengths))
