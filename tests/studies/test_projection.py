"""How closely images are projected: the study measures what it says."""

import argparse

import stylegen
from studies import projection


def test_projections_are_measured(make_generator):
    G = make_generator()
    a = argparse.Namespace(scales=1, steps=3, perceptual="none")
    row = projection.measure(G, "generated", stylegen.sample(G, [100, 101]), "w", a)
    assert set(row) == set(projection.COLUMNS) - {"lpips"} and row["found"] in ("0 of 2", "1 of 2", "2 of 2")
    assert "from_truth" not in projection.measure(G, "noise", stylegen.sample(G, [100]), "w+", a)
