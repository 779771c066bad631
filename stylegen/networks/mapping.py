"""The mapping network, and its styles: one a layer, truncated."""

import math

import jax.numpy as jnp
from flax import nnx
from jax import Array

from stylegen import ops
from stylegen.config import GeneratorConfig
from stylegen.networks.layers import ACTIVATIONS, EqualDense, Initializer


def num_styles(resolution: int) -> int:
    """Layers that take a style, two for each block from 4 pixels up: 2 log2(resolution) - 2."""
    return 2 * int(math.log2(resolution)) - 2


class MappingNetwork(nnx.Module):
    """z [N, z_dim] (and one-hot labels c [N, c_dim]) to w [N, w_dim], float32 whatever ``config.compute_dtype`` says.

    Labels are embedded and concatenated to z *before* the normalization, as in the original, or after it with the
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


def broadcast_styles(w: Array, layers: int) -> Array:
    """One w for every layer: [N, w_dim] to [N, layers, w_dim]."""
    return jnp.broadcast_to(w[:, None], (w.shape[0], layers, w.shape[1]))


def truncate(ws: Array, w_avg: Array, psi: Array | float, cutoff: Array | int | None = None) -> Array:
    """Truncation trick: w_avg + psi (w - w_avg) for layers below ``cutoff`` (None: all) (StyleGAN, appendix B).

    Args:
        ws: [N, num_ws, w_dim].
        w_avg: [w_dim].
        psi: 1 is no truncation.
        cutoff: number of layers, which may be traced: one program serves all of them.
    """
    below = jnp.arange(ws.shape[1]) < (ws.shape[1] if cutoff is None else cutoff)
    return jnp.where(below[None, :, None], ops.lerp(w_avg[None, None], ws, psi), ws)
