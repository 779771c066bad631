"""The generator: mapping network, synthesis network, and the trained ``Generator`` that everything downstream consumes.

Karras, Laine and Aila 2019, Sec. 2 and Fig. 1b, with the constants of the published code. StyleGAN2's block, which
``generator.block`` chooses, is in ``stylegan2``; all else is shared.
"""

import dataclasses
from typing import Any, Literal

from flax import nnx
from jax import Array

from stylegen import ops
from stylegen.config import Config
from stylegen.networks.layers import (
    Initializer,
    NoiseConst,
    num_noise,
    width,
)
from stylegen.networks.mapping import MappingNetwork, num_styles
from stylegen.networks.stylegan1 import SynthesisBlock
from stylegen.networks.stylegan2 import DemodulatedBlock

NoiseMode = Literal["random", "const", "none"]


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
