"""The convolutions of AlexNet as torchvision has them (Krizhevsky 2014), whose distance LPIPS' authors recommend."""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

MIN_SIDE = 31  # pixels of which the second pool leaves one
KERNELS = ((11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256))
_STRIDES, _PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
_POOLED = (1, 2)  # convolutions before which 3x3 pixels are pooled at stride 2


def maps(params: Any, x: Array) -> list[Array]:
    """What each of the five convolutions gives after its ReLU, before a pool: [N, r/4, r/4, 64], …"""
    outputs = []
    for i, (layer, stride, padding) in enumerate(zip(params["conv"], _STRIDES, _PADDINGS, strict=True)):
        if i in _POOLED:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
        x = lax.conv_general_dilated(
            x, layer["kernel"], (stride, stride), [(padding, padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=lax.Precision.HIGHEST,
        )  # fmt: skip
        x = jnp.maximum(x + layer["bias"][None, None, None], 0)
        outputs.append(x)
    return outputs
