"""The generator: mapping network, synthesis network, and the trained ``Generator`` that everything downstream consumes.

Karras, Laine and Aila 2019, Sec. 2 and Fig. 1b, with the constants of the published code.
"""

import dataclasses
import math
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array

from stylegen import ops
from stylegen.config import Config
from stylegen.layers import RELU_GAIN, EqualConv, EqualDense, Initializer, NoiseConst, StyledActivation

NoiseMode = Literal["random", "const", "none"]


def width(resolution: int, channel_base: int, channel_max: int) -> int:
    """Channels of the block at a resolution."""
    return min(channel_base // resolution, channel_max)


def num_noise(resolution: int) -> int:
    """Noise inputs of one image, all layers together: 2 r^2 for each block."""
    return sum(2 * 4**i for i in range(2, int(math.log2(resolution)) + 1))


def num_styles(resolution: int) -> int:
    """Layers that take a style, two for each block from 4 pixels up: 2 log2(resolution) - 2."""
    return 2 * int(math.log2(resolution)) - 2


class MappingNetwork(nnx.Module):
    """z [N, z_dim] (and one-hot labels c [N, c_dim]) to w [N, w_dim], float32 throughout.

    Labels are embedded and concatenated to z *before* the normalisation, as in the original.
    """

    def __init__(self, config: Config, *, init: Initializer):
        g = config.generator
        self.label_embedding = (
            EqualDense(config.num_classes, g.z_dim, gain=math.sqrt(config.num_classes), use_bias=False, init=init)
            if config.num_classes
            else None
        )
        features = [g.z_dim * (2 if config.num_classes else 1)] + [g.w_dim] * g.mapping_layers
        self.dense = nnx.Dict(
            {
                f"dense{i}": EqualDense(
                    features[i], features[i + 1], gain=RELU_GAIN, lr_multiplier=g.mapping_lr_multiplier, init=init
                )
                for i in range(g.mapping_layers)
            }
        )
        self.num_layers = g.mapping_layers

    def __call__(self, z: Array, c: Array | None = None) -> Array:
        if self.label_embedding is not None:
            if c is None:
                raise ValueError("A class-conditional generator needs labels.")
            z = jnp.concatenate([z, self.label_embedding(c)], axis=-1)
        w = ops.pixel_norm(z)
        for i in range(self.num_layers):
            w = ops.leaky_relu(self.dense[f"dense{i}"](w))
        return w


class SynthesisBlock(nnx.Module):
    """Two styled convolutions at one resolution; the first doubles the size and blurs, or is a constant at 4 pixels."""

    def __init__(self, in_channels: int, channels: int, resolution: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        w_dim = config.generator.w_dim
        if resolution == 4:
            self.const = nnx.Param(jnp.ones((1, 4, 4, channels)))
        else:
            self.conv0 = EqualConv(in_channels, channels, use_bias=False, dtype=dtype, init=init)
        self.act0 = StyledActivation(w_dim, channels, resolution, dtype=dtype, init=init)
        self.conv1 = EqualConv(channels, channels, use_bias=False, dtype=dtype, init=init)
        self.act1 = StyledActivation(w_dim, channels, resolution, dtype=dtype, init=init)
        self.torgb = EqualConv(channels, config.image_channels, 1, gain=1.0, dtype=dtype, init=init)
        self.dtype = dtype

    def __call__(self, x: Array | None, ws: Array, noise: tuple[Array | None, Array | None]) -> Array:
        """x [N, r/2, r/2, C] (None at 4 pixels), ws [N, 2, w_dim] and each layer's noise to features [N, r, r, C']."""
        if x is None:
            const = self.const[...].astype(self.dtype)
            x = jnp.broadcast_to(const, (ws.shape[0], *const.shape[1:]))
        else:
            x = ops.blur(self.conv0(x, ops.upsample_conv))
        x = self.act0(x, ws[:, 0], noise[0])
        return self.act1(self.conv1(x), ws[:, 1], noise[1])

    def noise_const(self) -> tuple[Array, Array]:
        """The constant noise of both layers, [1, r, r, 1]."""
        return self.act0.noise.noise_const[...], self.act1.noise.noise_const[...]


class SynthesisNetwork(nnx.Module):
    """Styles ws [N, num_ws, w_dim] to images [N, r, r, C], float32 around [-1, 1]."""

    def __init__(self, config: Config, *, init: Initializer):
        g = config.generator
        self.resolutions = config.resolutions
        self.use_noise = g.use_noise
        widths = {r: width(r, g.channel_base, g.channel_max) for r in self.resolutions}
        self.blocks = nnx.Dict(
            {f"b{r}": SynthesisBlock(widths.get(r // 2, 0), widths[r], r, config, init=init) for r in self.resolutions}
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
        if resolution not in self.resolutions:
            raise ValueError(f"resolution {resolution} is none of this network's: {self.resolutions}.")
        if ws.ndim != 3 or ws.shape[1] < num_styles(resolution):
            raise ValueError(f"ws has shape {ws.shape}; {resolution} pixels need [N, {num_styles(resolution)}, w_dim].")
        active = [r for r in self.resolutions if r <= resolution]
        inputs = self._noise(noise, key, ws.shape[0], resolution)
        x: Array | None = None
        features: list[Array] = []
        for i, r in enumerate(active):
            x = self.blocks[f"b{r}"](x, ws[:, 2 * i : 2 * i + 2], inputs[r])
            features.append(x)
        image = self.blocks[f"b{resolution}"].torgb(features[-1]).astype(jnp.float32)
        if len(features) == 1 or (isinstance(alpha, int | float) and alpha == 1):
            return image
        old = self.blocks[f"b{resolution // 2}"].torgb(features[-2]).astype(jnp.float32)
        return ops.lerp(ops.upsample(old), image, alpha)

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
            noise = ops.noise(key, (n, num_noise(resolution)))
        parts: dict[int, tuple[Array | None, Array | None]] = {}
        for r in active:
            # The blocks before this one have taken as many numbers as num_noise says for half the resolution.
            start = num_noise(r // 2)
            pair = noise[:, start : start + 2 * r * r].reshape(n, 2, r, r, 1)
            parts[r] = pair[:, 0], pair[:, 1]
        return parts


class GeneratorNetwork(nnx.Module):
    """Mapping and synthesis network together."""

    def __init__(self, config: Config, *, init: Initializer):
        self.mapping = MappingNetwork(config, init=init)
        self.synthesis = SynthesisNetwork(config, init=init)


def broadcast_styles(w: Array, layers: int) -> Array:
    """One w for every layer: [N, w_dim] to [N, layers, w_dim]."""
    return jnp.broadcast_to(w[:, None], (w.shape[0], layers, w.shape[1]))


def truncate(ws: Array, w_avg: Array, psi: Array | float, cutoff: int | None = None) -> Array:
    """Truncation trick: w_avg + psi (w - w_avg) for layers below ``cutoff`` (None: all) (StyleGAN, appendix B).

    Args:
        ws: [N, num_ws, w_dim].
        w_avg: [w_dim].
    """
    below = jnp.arange(ws.shape[1]) < (ws.shape[1] if cutoff is None else cutoff)
    return jnp.where(below[None, :, None], ops.lerp(w_avg, ws, psi), ws)


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """A generator to use: the weights and all that is needed to sample from them.

    Trained and imported generators are alike; sampling, metrics, projection and notebooks take this and nothing else.
    """

    config: Config
    graphdef: Any  # the network's structure, hashable
    params: dict[str, Any]  # weights (of the moving average, where there is one)
    noise_const: dict[str, Any]  # the constant noise inputs
    w_avg: Array  # [w_dim], mean of w
    resolution: int  # of its images: that of the stage it was taken from
    alpha: float = 1.0  # weight of the newest block, below 1 in the middle of a fade
    kimg: float = 0.0  # thousands of real images seen in training
    source: str = ""  # where it was loaded from

    @property
    def z_dim(self) -> int:
        """Size of the latent z."""
        return self.config.generator.z_dim

    @property
    def w_dim(self) -> int:
        """Size of the style vector w."""
        return self.config.generator.w_dim

    @property
    def c_dim(self) -> int:
        """Number of classes; 0 is unconditional."""
        return self.config.num_classes

    @property
    def num_ws(self) -> int:
        """Layers that take a style at this generator's resolution."""
        return num_styles(self.resolution)

    @property
    def image_channels(self) -> int:
        """Channels of its images."""
        return self.config.image_channels

    def __repr__(self) -> str:
        stage = f"{self.resolution}x{self.resolution}" + (f", alpha {self.alpha:.2f}" if self.alpha < 1 else "")
        classes = f", {self.c_dim} classes" if self.c_dim else ""
        return f"Generator({stage}, z {self.z_dim}, {self.num_ws} styles of {self.w_dim}{classes}, {self.kimg:g} kimg)"


def split_generator(config: Config, init: Initializer) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A new network as (graphdef, params, noise_const); the last two are nested dicts of arrays."""
    network = GeneratorNetwork(config, init=init)
    params, noise_const = nnx.state(network, nnx.Param), nnx.state(network, NoiseConst)
    return nnx.graphdef(network), nnx.to_pure_dict(params), nnx.to_pure_dict(noise_const)
