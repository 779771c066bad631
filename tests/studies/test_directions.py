"""What directions change: the study measures what it says."""

import numpy as np
import pytest

import stylegen
from studies import directions
from stylegen.metrics import ppl


def test_what_directions_change_is_measured(make_generator):
    G = make_generator()
    ws = stylegen.styles(G, stylegen.latents(range(40), G.z_dim))

    def read(images):
        return {"red": images[..., 0].mean(axis=(1, 2)), "light": images.mean(axis=(1, 2, 3)) > 128}

    scale = read(stylegen.synthesize(G, ws))
    first, *_ = directions.find(G, {"": [0, 1], "@2": [2]}, 1)
    row = directions.moved(G, first, ws[:5], 2.0, read, scale)
    assert set(row) >= set(directions.COLUMNS) and row["layers"] == "0-1" and row["factor"] in scale
    assert row["total"] == pytest.approx(sum(row["changes"].values()))


def test_the_path_length_of_all_layers_is_that_of_w(make_generator):
    G = make_generator()

    def distance(a, b):
        return ((a - b) ** 2).mean(axis=(1, 2, 3))

    some = [directions.path_length_of_layers(G, layers, 8, distance) for layers in (range(6), [5])]
    ends = ppl.path_ends(8, G.z_dim, sampling="full", batch=16)
    ws = ppl.path_length(
        lambda z: stylegen.styles(G, np.asarray(z, np.float32))[:, 0],
        lambda w: stylegen.synthesize(G, np.repeat(w[:, None], G.num_ws, axis=1), as_float=True),
        distance,
        ends,
        space="w",
    )
    assert some[0] == pytest.approx(ws.mean, rel=1e-3) and 0 < some[1] < some[0]
