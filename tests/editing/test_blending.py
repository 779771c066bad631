"""Blends and averages: each array is that of the network it should be of, and other architectures are named."""

import dataclasses

import jax
import numpy as np
import pytest

import stylegen
from stylegen.cli import convert
from stylegen.editing.blending import BlendError, average, blend, share_of_b
from stylegen.networks.trees import by_path
from stylegen.runs.load import save_generator


@pytest.fixture(params=["adain", "demod"])
def pair(request, make_generator):
    """Two fine-tunes of one network."""
    a = make_generator(block=request.param)
    rng = np.random.default_rng(1)
    changed = {
        name: jax.tree.map(lambda x: x + rng.standard_normal(x.shape, np.float32), getattr(a, name))
        for name in ("params", "noise_const", "w_avg")
    }
    return a, dataclasses.replace(a, **changed)


def test_a_sharp_seam(pair):
    a, b = pair
    made = blend(a, b, at=8)
    flat = [by_path({"p": G.params, "n": G.noise_const}) for G in (a, b, made)]
    for path in flat[0]:
        of_b = ".blocks.b8." in path or ".blocks.b16." in path
        np.testing.assert_array_equal(flat[2][path], flat[1 if of_b else 0][path], err_msg=path)
    np.testing.assert_array_equal(made.w_avg, a.w_avg)
    assert any(".blocks.b16." in path for path in flat[0]) and any(".blocks.b4." in path for path in flat[0])


def test_a_smooth_seam(pair):
    a, b = pair
    assert [share_of_b(r, 32, 0) for r in (4, 16, 32, 64)] == [0, 0, 1, 1]
    assert [share_of_b(r, 32, 2) for r in (4, 8, 16, 32, 64, 128)] == [0, 0, 0.25, 0.75, 1, 1]
    made = blend(a, b, at=8, smooth=2)
    for r, share in ((4, 0.25), (8, 0.75), (16, 1.0)):
        x, y, z = (np.asarray(G.params["synthesis"]["blocks"][f"b{r}"]["conv1"]["weight"]) for G in (a, b, made))
        np.testing.assert_allclose(z, (1 - share) * x + share * y, rtol=1e-6, atol=1e-6)


def test_averages(pair):
    a, b = pair
    same = average([a, a, a])
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(same), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
    made = average([a, b], [3, 1])
    x, y, z = (by_path({"p": G.params, "w_avg": G.w_avg}) for G in (a, b, made))
    for path in x:
        np.testing.assert_allclose(z[path], 0.75 * x[path] + 0.25 * y[path], rtol=1e-5, atol=1e-6)
    for mine, first in zip(jax.tree.leaves(made.noise_const), jax.tree.leaves(a.noise_const), strict=True):
        np.testing.assert_array_equal(mine, first)


def test_other_architectures_are_named(make_generator):
    a, b = make_generator(), make_generator(block="demod")
    with pytest.raises(BlendError, match="generators 1 and 2 .*: generator.block is adain and demod. Layers go"):
        blend(a, b, at=8)
    with pytest.raises(BlendError, match="resolution is 16 and 32"):
        average([a, make_generator(resolution=32)])
    with pytest.raises(BlendError, match="generators 1 and 3 .*: num_classes is 0 and 3"):
        average([a, a, make_generator(classes=3)])


def test_arguments_that_do_not_fit(make_generator):
    a = make_generator()
    for at in (2, 32, 12):
        with pytest.raises(BlendError, match=f"at = {at}: must be a resolution of the generators: 4, 8, 16"):
            blend(a, a, at=at)
    with pytest.raises(BlendError, match="smooth = -1"):
        blend(a, a, at=8, smooth=-1)
    with pytest.raises(BlendError, match="at least two"):
        average([a])
    for weights in ([1, -1], [1], [1, float("nan")]):
        with pytest.raises(BlendError, match="must be 2 finite numbers"):
            average([a, a], weights)


def test_from_the_command_line(make_generator, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    a = make_generator()
    b = dataclasses.replace(a, params=jax.tree.map(lambda x: x * 0.5, a.params))
    save_generator(a, "a.safetensors")
    save_generator(b, "b.safetensors")
    assert (
        convert.main(
            ["--blend", "a.safetensors", "b.safetensors", "--at", "8", "--smooth", "1", "--out", "c.safetensors"]
        )
        == 0
    )
    found, expected = stylegen.load("c.safetensors"), blend(a, b, 8, 1)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(x, y)
    assert "c.safetensors, c.md, c.png; a.safetensors below 8 pixels" in capsys.readouterr().out
    assert convert.main(["--average", "a.safetensors", "b.safetensors", "--weights", "3,1", "--out", "folder"]) == 0
    np.testing.assert_allclose(stylegen.load("folder").w_avg, a.w_avg, rtol=1e-6)
    for command, message in (
        ("--blend a.safetensors b.safetensors", "--out is missing"),
        ("--blend a.safetensors b.safetensors --at 5 --out d.npz", "at = 5: must be a resolution"),
        ("--blend a.safetensors b.safetensors --out c.safetensors", "exists already"),
        ("a.safetensors --blend a.safetensors b.safetensors --out d.npz", "--blend goes with --out"),
        ("--average a.safetensors b.safetensors --at 8 --out d.npz", "--at and --smooth go with --blend"),
        ("--average a.safetensors b.safetensors --weights x --out d.npz", "--weights x: must be numbers"),
        ("a.safetensors --weights 1,1 --out d.npz", "--weights goes with --average"),
        ("--out d.npz", "SOURCE is missing"),
    ):
        assert convert.main(command.split()) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
