"""The layers of a generator that take a style, as a table: the numbers that ``--layers`` and ``--cutoff`` speak of."""

from typing import Any

import numpy as np

from stylegen.io.tables import table
from stylegen.networks.generator import Generator
from stylegen.networks.layers import width_at

COARSE, MIDDLE = 8, 32  # pixels up to which layers are called so (Karras et al. 2019, Sec. 3.1)
COLUMNS = {
    "layer": ("layer", "d"),
    "pixels": ("pixels", "<"),
    "part": ("part of the network", "<"),
    "channels": ("channels", "d"),
    "noise": ("noise strength", ".3f"),
    "group": ("group", "<"),
}


def rows(G: Generator) -> list[dict[str, Any]]:
    """A row for each of ``G.num_ws`` layers, coarsest first, with the keys of ``COLUMNS``.

    The noise strength is the mean of the magnitudes of the layer's strengths; None where the layer adds no noise. Of
    blocks with demodulation, ToRGB of a resolution shares its style with the first convolution of the next one.
    """
    settings = G.config.generator
    blocks = G.params["synthesis"]["blocks"]
    table: list[dict[str, Any]] = []
    for r in (r for r in G.config.resolutions if r <= G.resolution):
        block = blocks[f"b{r}"]
        high, wide = G.config.shape_at(r)
        channels = width_at(settings, r)
        group = "coarse" if r <= COARSE else "middle" if r <= MIDDLE else "fine"
        parts = [("conv0", "act0"), ("conv1", "act1")] if "act0" in block else [("conv1", "act1")]
        for conv, act in parts:
            name = f"b{r}.{conv if conv in block else 'const'}"
            if settings.block == "demod" and conv == "conv0":
                name = f"b{r // 2}.torgb, {name}"
            noise = block[act].get("noise") if settings.use_noise else None
            strength = None if noise is None else float(np.mean(np.abs(np.asarray(noise["noise_strength"]))))
            table.append(
                {"pixels": f"{wide} x {high}", "part": name, "channels": channels, "noise": strength, "group": group}
            )
    if settings.block == "demod":
        last = table[-1]
        table.append(last | {"part": f"b{G.resolution}.torgb", "channels": G.image_channels, "noise": None})
    return [{"layer": number, **row} for number, row in enumerate(table)]


def layer_table(G: Generator) -> str:
    """The table as text."""
    return table(rows(G), COLUMNS)
