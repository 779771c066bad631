"""The synthesis network: styles to images, block by block; StyleGAN's blocks or StyleGAN2's.

Karras, Laine and Aila 2019, Sec. 2 and Fig. 1b, with the constants of the published code. StyleGAN2's block, which
``generator.block`` chooses, is in ``stylegan2``; all else is shared.
"""

import math
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array

from stylegen import ops
from stylegen.config import Config
from stylegen.networks.layers import Initializer, num_noise, width_at
from stylegen.networks.mapping import num_styles
from stylegen.networks.stylegan1 import SynthesisBlock
from stylegen.networks.stylegan2 import DemodulatedBlock
from stylegen.shapes import shape_at

NoiseMode = Literal["random", "const", "none"]


class SynthesisNetwork(nnx.Module):
    """Styles ws [N, num_ws, w_dim] to images [N, h, w, C], float32 around [-1, 1]; [N, r, r, C] for squares."""

    def __init__(self, config: Config, *, init: Initializer):
        g = config.generator
        self.resolutions = config.resolutions
        self.const_shape = config.const_shape
        self.use_noise = g.use_noise
        self.sums_images = g.block == "demod"
        block = DemodulatedBlock if self.sums_images else SynthesisBlock
        widths = {r: width_at(g, r) for r in self.resolutions}
        self.blocks = nnx.Dict(
            {f"b{r}": block(widths.get(r // 2, 0), widths[r], r, config, init=init) for r in self.resolutions}
        )

    def __call__(
        self,
        ws: Array,
        *,
        resolution: int,
        alpha: Array | float = 1.0,
        noise: NoiseMode | Array = "const",
        key: Array | None = None,
    ) -> Array:
        """Synthesize at a stage's resolution.

        Args:
            ws: [N, num_ws, w_dim]; layers beyond those of the resolution are not used.
            resolution: of the images; the blocks up to it are active.
            alpha: weight of the newest block in [0, 1]; 0 is the previous resolution upsampled.
            noise: random draws with ``key``; const uses the network's own; none adds none; an array
                [N, num_noise(resolution)] is used as it is.
            key: of the random noise.

        Raises:
            ValueError: unknown resolution, too few styles, or random noise without a key.
        """
        return self.with_features(ws, resolution=resolution, alpha=alpha, noise=noise, key=key)[0]

    def with_features(
        self,
        ws: Array,
        *,
        resolution: int,
        alpha: Array | float = 1.0,
        noise: NoiseMode | Array = "const",
        key: Array | None = None,
    ) -> tuple[Array, dict[int, Array]]:
        """As ``__call__``, with the features [N, r, r, C] of each block by its resolution; errors are the same."""
        if resolution not in self.resolutions:
            raise ValueError(f"resolution {resolution} is none of this network's: {self.resolutions}.")
        if ws.ndim != 3 or ws.shape[1] < num_styles(resolution):
            raise ValueError(f"ws has shape {ws.shape}; {resolution} pixels need [N, {num_styles(resolution)}, w_dim].")
        active = [r for r in self.resolutions if r <= resolution]
        inputs = self._noise(noise, key, ws.shape[0], resolution)
        x: Array | None = None
        features: dict[int, Array] = {}
        for r in active:
            x = self.blocks[f"b{r}"](x, ws[:, : num_styles(r)], inputs[r])
            features[r] = x
        stable = isinstance(alpha, int | float) and alpha == 1
        old: Array | None = None
        image: Any = None
        # A sum of images takes all of them; else the newest one does, and in a fade the one before.
        for r in active if self.sums_images else active[-1:] if stable else active[-2:]:
            old, image = self.blocks[f"b{r}"].image(features[r], ws[:, : num_styles(r)], image)
        return (image if old is None or stable else ops.lerp(old, image, alpha)), features

    def constant_noise(self, resolution: int) -> Array:
        """The constant noise of all layers up to a resolution, in the form that noise is given in: [num_noise]."""
        maps: list[Array] = []
        for r in (r for r in self.resolutions if r <= resolution):
            # StyleGAN2 has one layer at 4 pixels, and a place for the noise of two.
            pair = self.blocks[f"b{r}"].noise_const() if self.use_noise else (None, None)
            pixels = math.prod(shape_at(r, self.const_shape))
            maps += [jnp.zeros(pixels) if noise is None else jnp.ravel(noise) for noise in pair]
        return jnp.concatenate(maps)

    def _noise(
        self, noise: NoiseMode | Array, key: Array | None, n: int, resolution: int
    ) -> dict[int, tuple[Array | None, Array | None]]:
        """The noise of both layers of each block up to a resolution, by the block's resolution."""
        active = [r for r in self.resolutions if r <= resolution]
        if not self.use_noise:
            return dict.fromkeys(active, (None, None))
        if isinstance(noise, str) and noise != "random":
            return {r: self.blocks[f"b{r}"].noise_const() if noise == "const" else (None, None) for r in active}
        if isinstance(noise, str):
            if key is None:
                raise ValueError("noise='random' needs a key.")
            # One draw for all layers: on a CPU every call of jax.random costs a second or two of compilation.
            noise = ops.noise(key, (n, num_noise(resolution, self.const_shape)))
        parts: dict[int, tuple[Array | None, Array | None]] = {}
        for r in active:
            # The blocks before this one have taken as many numbers as num_noise says for half the resolution.
            start, shape = num_noise(r // 2, self.const_shape), shape_at(r, self.const_shape)
            pair = noise[:, start : start + 2 * math.prod(shape)].reshape(n, 2, *shape, 1)
            parts[r] = pair[:, 0], pair[:, 1]
        return parts
