"""The table of layers: each row is the layer that its number changes."""

import dataclasses

import jax
import numpy as np
import pytest

from stylegen.networks.layer_table import layer_table, rows
from tests.support.marks import slow_but


@pytest.mark.parametrize("block", slow_but(["adain", "demod"], ["demod"]))
def test_a_style_reaches_the_parts_of_its_row(make_generator, block):
    """The gradient of an image by a layer's style goes through the affines of the parts that the row names."""
    G = make_generator(block=block)
    ws = np.random.default_rng(0).standard_normal((1, G.num_ws, G.w_dim)).astype(np.float32)
    found = rows(G)
    assert [row["layer"] for row in found] == list(range(G.num_ws))
    for row in found:
        # Only this layer's style is not 0, so only affines that take it have a gradient by their weight.
        alone = ws * (np.arange(G.num_ws) == row["layer"])[None, :, None]
        grads = jax.grad(lambda G, ws=alone: jax.numpy.square(G.synthesis(ws)).mean())(G)
        moved = set()
        for name, part in grads.params["synthesis"]["blocks"].items():
            for key, layer in part.items():
                affine = (
                    layer.get("affine") or layer.get("adain", {}).get("affine") if isinstance(layer, dict) else None
                )
                if affine is not None and np.abs(np.asarray(affine["weight"])).max() > 0:
                    conv = key.replace("act", "conv")
                    moved.add(f"{name}.{conv if conv in part else 'const'}")
        assert moved == set(row["part"].split(", ")), row


def test_numbers_of_a_row(make_generator):
    G = make_generator()
    first, *_, last = rows(G)
    assert (first["pixels"], first["channels"], first["group"]) == ("4 x 4", 8, "coarse")
    assert (last["pixels"], last["group"]) == ("16 x 16", "middle")
    strengths = G.params["synthesis"]["blocks"]["b16"]["act1"]["noise"]["noise_strength"]
    assert last["noise"] == pytest.approx(np.abs(np.asarray(strengths)).mean())


def test_sizes_are_width_and_height(make_generator):
    assert [row["pixels"] for row in rows(make_generator(stage=8, const_shape=(4, 6)))] == ["6 x 4"] * 2 + [
        "12 x 8"
    ] * 2


def test_layers_of_a_stage_and_without_noise(make_generator):
    G = make_generator(stage=8)
    assert len(rows(G)) == G.num_ws == 4
    config = dataclasses.replace(G.config, generator=dataclasses.replace(G.config.generator, use_noise=False))
    text = layer_table(dataclasses.replace(G, config=config))
    assert text.splitlines()[1].split()[-2:] == ["-", "coarse"]
