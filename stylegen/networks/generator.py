"""The trained ``Generator``: both networks with their weights, a value that can be called and is a pytree."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from stylegen.config import Config
from stylegen.io.progress import counted
from stylegen.networks.layers import num_noise
from stylegen.networks.mapping import broadcast_styles, num_styles, truncate
from stylegen.networks.structure import ARRAYS, GeneratorNetwork, Structure, structure
from stylegen.networks.synthesis import NoiseMode


@dataclasses.dataclass(frozen=True)
class _Static:
    """A Generator without its leaves. Programs are compiled anew for other values of the compared fields."""

    structure: Structure
    resolution: int
    precision: str
    fading: bool
    config: Config = dataclasses.field(compare=False)
    kimg: float = dataclasses.field(compare=False)
    source: str = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """A generator to use: ``G.synthesis(G.broadcast(G.mapping(z)))`` are its images of the latents z.

    Trained and imported generators are alike; sampling, metrics, projection and notebooks take this and nothing else.
    Both networks are pure functions that compute at ``config.precision``.

    A Generator is a pytree and goes through ``jax.jit``, ``jax.grad`` and ``jax.vmap`` as one argument. ``params``,
    ``noise_const`` and ``w_avg`` are its leaves, and so is ``alpha`` in a fade. Generators of the same architecture,
    resolution and precision share compiled programs: ``kimg``, ``source`` and all other settings in ``config`` do not
    count. A Generator that a jitted function returns therefore has those of the one that the function was compiled for.

    Raises:
        ValueError: the network has no such resolution, or alpha is not in [0, 1].
    """

    config: Config
    params: dict[str, Any]  # weights (of the moving average, where there is one), of ``mapping`` and ``synthesis``
    noise_const: dict[str, Any]  # the constant noise inputs
    w_avg: Array  # [w_dim], mean of w
    resolution: int  # of its images: that of the stage it was taken from
    # Weight of the newest block, below 1 in the middle of a fade. The number 1 is a finished stage; programs then do
    # not even compute the old image. An array is a fade, whatever is in it.
    alpha: float | Array = 1.0
    kimg: float = 0.0  # thousands of real images seen in training
    source: str = ""  # where it was loaded from

    def __post_init__(self) -> None:
        if self.resolution not in self.config.resolutions:
            available = ", ".join(map(str, self.config.resolutions))
            raise ValueError(f"resolution = {self.resolution}: this network has {available}.")
        if _is_number(self.alpha) and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha = {self.alpha}: must be in [0, 1].")

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
    def num_noise(self) -> int:
        """Numbers of noise that an image of this generator's resolution takes."""
        return num_noise(self.resolution, self.config.const_shape)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of its images; both are ``resolution`` for squares."""
        return self.config.shape_at(self.resolution)

    @property
    def image_channels(self) -> int:
        """Channels of its images."""
        return self.config.image_channels

    @property
    def fading(self) -> bool:
        """Whether the image is a blend with that of the resolution before, by ``alpha``."""
        return self._static.fading

    def mapping(self, z: ArrayLike, c: ArrayLike | None = None) -> Array:
        """Map latents to styles.

        Args:
            z: [N, z_dim].
            c: one-hot labels [N, c_dim]; needed by a generator with classes, refused by another.

        Returns:
            w [N, w_dim], float32.

        Raises:
            ValueError: shapes or labels that do not fit.
        """
        z = jnp.asarray(z)
        _check_shape("z", z, (None, self.z_dim))
        if c is not None:
            c = jnp.asarray(c)
            if not self.c_dim:
                raise ValueError(f"c has shape {c.shape}, but this generator has no classes: leave it out.")
            _check_shape("c", c, (z.shape[0], self.c_dim))
        elif self.c_dim:
            raise ValueError(f"c is missing: this generator needs one-hot labels [{z.shape[0]}, {self.c_dim}].")
        with jax.default_matmul_precision(self.config.precision):
            return self._network().mapping(z, c)

    def broadcast(self, w: ArrayLike, *, psi: ArrayLike = 1.0, cutoff: Array | int | None = None) -> Array:
        """Give every layer its style: w, truncated.

        Args:
            w: [N, w_dim].
            psi: truncation: w_avg + psi (w - w_avg); 1 is none. w_avg is the mean of all classes.
            cutoff: layers that are truncated, counted from the coarsest; None is all. It may be traced.

        Returns:
            ws [N, num_ws, w_dim].

        Raises:
            ValueError: another shape.
        """
        w = jnp.asarray(w)
        _check_shape("w", w, (None, self.w_dim))
        ws = broadcast_styles(w, self.num_ws)
        return ws if _is_number(psi) and psi == 1 else truncate(ws, self.w_avg, jnp.asarray(psi), cutoff)

    def synthesis(self, ws: ArrayLike, *, noise: NoiseMode | ArrayLike = "const", key: Array | None = None) -> Array:
        """Draw images, at the resolution (and fade) that the generator was taken at.

        It is differentiable in the styles, the given noise and the generator itself. A gradient that is taken outside
        has the precision of ``jax.default_matmul_precision`` there, which matters on accelerators alone.

        Args:
            ws: [N, num_ws, w_dim]; layers beyond num_ws are not used.
            noise: const is the network's own, the same for all images; random is drawn with ``key``; none adds none; an
                array [N, num_noise] is the noise itself.
            key: of random noise, ``jax.random.key(seed)``.

        Returns:
            [N, r, r, C], float32 around [-1, 1], not clipped.

        Raises:
            ValueError: shapes that do not fit, an unknown kind of noise, or a key without random noise or the reverse.
        """
        return self._synthesize(ws, noise, key)[0]

    def features(
        self, ws: ArrayLike, at: int, *, noise: NoiseMode | ArrayLike = "const", key: Array | None = None
    ) -> tuple[Array, Array]:
        """Draw images, and show what a block has computed for them. Differentiable, as ``synthesis``.

        Args:
            ws: as of ``synthesis``, like noise and key.
            at: resolution of the block, from 4 to that of the images.
            noise: kind of noise.
            key: of random noise.

        Returns:
            images [N, r, r, C], and the block's features [N, at, at, channels], in the type it computes in.

        Raises:
            ValueError: there is no such block, or as ``synthesis``.
        """
        blocks = [r for r in self.config.resolutions if r <= self.resolution]
        if at not in blocks:
            raise ValueError(f"at = {at}: the blocks of these images are {', '.join(map(str, blocks))}.")
        images, features = self._synthesize(ws, noise, key)
        return images, features[at]

    def _synthesize(
        self, ws: ArrayLike, noise: NoiseMode | ArrayLike, key: Array | None
    ) -> tuple[Array, dict[int, Array]]:
        ws = jnp.asarray(ws)
        if ws.ndim != 3 or ws.shape[1] < self.num_ws or ws.shape[2] != self.w_dim:
            raise ValueError(f"ws has shape {ws.shape}; this generator needs [N, {self.num_ws}, {self.w_dim}].")
        if not isinstance(noise, str):
            noise = jnp.asarray(noise)
            _check_shape("noise", noise, (ws.shape[0], self.num_noise))
        elif noise not in get_args(NoiseMode):
            raise ValueError(f"noise = {noise!r}: must be {', '.join(get_args(NoiseMode))} or an array.")
        if (key is not None) != (isinstance(noise, str) and noise == "random"):
            what = "is missing" if key is None else "was given"
            raise ValueError(f"key {what}: noise='random' needs one, and no other noise does.")
        alpha = self.alpha if self.fading else 1.0
        with jax.default_matmul_precision(self.config.precision):
            synthesis = self._network().synthesis
            return synthesis.with_features(ws, resolution=self.resolution, alpha=alpha, noise=noise, key=key)

    def constant_noise(self) -> Array:
        """The network's own noise in the form that ``synthesis`` takes noise in: [num_noise], float32."""
        return self._network().synthesis.constant_noise(self.resolution)

    def _network(self) -> GeneratorNetwork:
        return nnx.merge(self._static.structure.graphdef, self.params, self.noise_const)

    @functools.cached_property
    def _static(self) -> _Static:
        config, fading = self.config, not (_is_number(self.alpha) and self.alpha == 1)
        return _Static(structure(config), self.resolution, config.precision, fading, config, self.kimg, self.source)

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone, for copies and pickles: a structure is one object only within a process."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __repr__(self) -> str:
        rows, columns = self.shape
        stage = f"{columns}x{rows}"
        if self.fading:
            try:
                stage += f", alpha {float(self.alpha):.2f}"
            except (TypeError, ValueError):
                stage += ", fading"  # alpha is traced, or several are stacked
        classes = f", {counted(self.c_dim, 'class')}" if self.c_dim else ""
        return f"Generator({stage}, z {self.z_dim}, {self.num_ws} styles of {self.w_dim}{classes}, {self.kimg:g} kimg)"


def _flatten(G: Generator) -> tuple[tuple[Any, ...], _Static]:
    static = G._static
    return (G.params, G.noise_const, G.w_avg, G.alpha if static.fading else None), static


def _flatten_with_keys(G: Generator) -> tuple[tuple[Any, ...], _Static]:
    leaves, static = _flatten(G)
    names = (*ARRAYS, "alpha")
    return tuple((jax.tree_util.GetAttrKey(name), leaf) for name, leaf in zip(names, leaves, strict=True)), static


def _unflatten(static: _Static, leaves: Iterable[Any]) -> Generator:
    # Past __init__, because leaves may be anything here: tracers, or None and numbers in trees of other things.
    G = object.__new__(Generator)
    *arrays, alpha = leaves
    G.__dict__.update(
        config=static.config,
        **dict(zip(ARRAYS, arrays, strict=True)),
        resolution=static.resolution,
        alpha=alpha if static.fading else 1.0,
        kimg=static.kimg,
        source=static.source,
        _static=static,  # so that a leaf 1 in the place of alpha leaves the structure of the tree as it is
    )
    return G


jax.tree_util.register_pytree_with_keys(Generator, _flatten_with_keys, _unflatten, _flatten)


def _is_number(x: Any) -> bool:
    """Whether this is a number of Python or numpy, and not an array, which may be traced."""
    return isinstance(x, int | float | np.generic)


def _check_shape(name: str, x: Array, expected: tuple[int | None, ...]) -> None:
    """Raise ValueError unless an array has this shape; None is any number, called N."""
    if x.ndim != len(expected) or any(n not in (None, size) for n, size in zip(expected, x.shape, strict=True)):
        sizes = ", ".join("N" if size is None else str(size) for size in expected)
        raise ValueError(f"{name} has shape {x.shape}; this generator needs [{sizes}].")


def in_float32(G: Generator) -> Generator:
    """The same generator, computing in float32 at the highest precision whatever it was trained in.

    Metrics and projection use it. They look at differences between images that bfloat16 and TF32 round away: a step of
    1e-4, as path lengths take, is below the resolution of bfloat16.
    """
    config = dataclasses.replace(G.config, compute_dtype="float32", precision="highest")
    return G if config == G.config else dataclasses.replace(G, config=config)
