"""The generator: mapping network, synthesis network, and the trained ``Generator`` that everything downstream consumes.

Karras, Laine and Aila 2019, Sec. 2 and Fig. 1b, with the constants of the published code. StyleGAN2's block, which
``generator.block`` chooses, is in ``demodulation``; all else is shared.
"""

import dataclasses
import math
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array

from stylegen import ops
from stylegen.config import Config, GeneratorConfig
from stylegen.networks.layers import ACTIVATIONS, EqualConv, EqualDense, Initializer, NoiseConst, StyledActivation
from stylegen.networks.stylegan2 import DemodulatedBlock

NoiseMode = Literal["random", "const", "none"]


def width(resolution: int, channel_base: int, channel_max: int, channel_decay: float = 1.0) -> int:
    """Channels of the block at a resolution: with a decay of 1, ``channel_base // resolution``; at most the maximum."""
    stage = math.log2(resolution) - 1
    return min(int(channel_base / 2 / 2.0 ** (stage * channel_decay)), channel_max)


def num_noise(resolution: int) -> int:
    """Noise inputs of one image, all layers together: 2 r^2 for each block.

    StyleGAN2 has no use for the first 16: its block of 4 pixels has one layer. Noise is laid out alike nevertheless.
    """
    return sum(2 * 4**i for i in range(2, int(math.log2(resolution)) + 1))


def num_styles(resolution: int) -> int:
    """Layers that take a style, two for each block from 4 pixels up: 2 log2(resolution) - 2."""
    return 2 * int(math.log2(resolution)) - 2


class MappingNetwork(nnx.Module):
    """z [N, z_dim] (and one-hot labels c [N, c_dim]) to w [N, w_dim], float32 whatever ``config.compute_dtype`` says.

    Labels are embedded and concatenated to z *before* the normalisation, as in the original, or after it with the
    blocks of StyleGAN2. The latter's discriminator has one too, of labels alone (``z_dim`` 0).
    """

    def __init__(self, g: GeneratorConfig, num_classes: int, *, init: Initializer):
        self.joins_first = g.block == "adain"
        self.normalizes = g.normalize_z
        size = g.z_dim if self.joins_first else g.w_dim
        scale = math.sqrt(num_classes) if self.joins_first else 1.0
        self.label_embedding = (
            EqualDense(num_classes, size, gain=scale, use_bias=not self.joins_first, init=init) if num_classes else None
        )
        hidden = [g.mapping_width or g.w_dim] * (g.mapping_layers - 1)
        features = [g.z_dim + (size if num_classes else 0), *hidden, g.w_dim]
        gain, self.activation = ACTIVATIONS[g.block]
        multiplier = g.mapping_lr_multiplier
        self.dense = nnx.Dict(
            {
                f"dense{i}": EqualDense(features[i], features[i + 1], gain=gain, lr_multiplier=multiplier, init=init)
                for i in range(g.mapping_layers)
            }
        )
        self.num_layers = g.mapping_layers

    def __call__(self, z: Array | None, c: Array | None = None) -> Array:
        """Map latents, labels or both; ``z`` is None where ``z_dim`` is 0.

        Raises:
            ValueError: labels are missing.
        """
        parts = [] if z is None else [z]
        if self.label_embedding is not None:
            if c is None:
                raise ValueError("A class-conditional generator needs labels.")
            parts.append(self.label_embedding(c))
        if self.joins_first:
            w = self._norm(jnp.concatenate(parts, axis=-1))
        else:
            w = jnp.concatenate([self._norm(part) for part in parts], axis=-1)
        for i in range(self.num_layers):
            w = self.activation(self.dense[f"dense{i}"](w))
        return w

    def _norm(self, x: Array) -> Array:
        return ops.pixel_norm(x) if self.normalizes else x


class SynthesisBlock(nnx.Module):
    """Two styled convolutions at one resolution; the first doubles the size and blurs, or is a constant at 4 pixels.

    The block of 4 pixels computes in float32. Its constant starts at 1, so its features are 1 and a little noise.
    bfloat16 rounds such noise, and the instance norm then amplifies the error: 9 % of the block's output for the
    stored network of tests/references/networks/stylegan1_32.npz, where other blocks add 1 % or less.
    """

    def __init__(self, in_channels: int, channels: int, resolution: int, config: Config, *, init: Initializer):
        dtype = jnp.dtype(config.compute_dtype)
        dtype = jnp.promote_types(dtype, jnp.float32) if resolution == 4 else dtype
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
        """x [N, r/2, r/2, C] (None at 4 pixels), styles and each layer's noise to features [N, r, r, C'].

        Args:
            x: features of the block before.
            ws: [N, layers, w_dim], the last two of which are this block's.
            noise: of both layers, [N or 1, r, r, 1].
        """
        if x is None:
            const = self.const[...].astype(self.dtype)
            x = jnp.broadcast_to(const, (ws.shape[0], *const.shape[1:]))
        else:
            x = ops.blur(self.conv0(x, ops.upsample_conv))
        x = self.act0(x, ws[:, -2], noise[0])
        return self.act1(self.conv1(x), ws[:, -1], noise[1])

    def image(self, x: Array, ws: Array, before: Array | None) -> tuple[Array | None, Array]:
        """The image of the block before [N, r/2, r/2, C] (or None) enlarged, and this block's; styles are not used."""
        new = self.torgb(x).astype(jnp.float32)
        return (None if before is None else ops.upsample(before)), new

    def noise_const(self) -> tuple[Array, Array]:
        """The constant noise of both layers, [1, r, r, 1]."""
        return self.act0.noise.noise_const[...], self.act1.noise.noise_const[...]


class SynthesisNetwork(nnx.Module):
    """Styles ws [N, num_ws, w_dim] to images [N, r, r, C], float32 around [-1, 1]."""

    def __init__(self, config: Config, *, init: Initializer):
        g = config.generator
        self.resolutions = config.resolutions
        self.use_noise = g.use_noise
        self.sums_images = g.block == "demod"
        block = DemodulatedBlock if self.sums_images else SynthesisBlock
        widths = {r: width(r, g.channel_base, g.channel_max, g.channel_decay) for r in self.resolutions}
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
        return image if old is None or stable else ops.lerp(old, image, alpha)

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
        self.mapping = MappingNetwork(config.generator, config.num_classes, init=init)
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


def structure(config: Config) -> Any:
    """The graphdef of the configured network; nothing is computed."""
    return nnx.graphdef(nnx.eval_shape(lambda: GeneratorNetwork(config, init=Initializer(None))))


def in_float32(G: Generator) -> Generator:
    """The same generator, computing in float32 at the highest precision whatever it was trained in.

    Metrics and projection use it. They look at differences between images that bfloat16 and TF32 round away: a step of
    1e-4, as path lengths take, is below the resolution of bfloat16.
    """
    config = dataclasses.replace(G.config, compute_dtype="float32", precision="highest")
    if config == G.config:
        return G
    return dataclasses.replace(G, config=config, graphdef=structure(config))
