"""How far networks are from the numbers of the original implementation (``tests/data/reference``)."""

import argparse
import functools
import time
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gpu_runner import Records
from benchmarks.gpu_variants import with_dtype
from stylegen import losses, ops
from stylegen.generator import broadcast_styles, num_styles
from stylegen.state import build_networks
from stylegen.train_step import prepare_reals
from tests.reference import Reference, get

GAMMA = 10.0  # of R1, in the stored numbers


def reference(a: argparse.Namespace, records: Records) -> None:
    """Largest differences from the original's numbers, by precision of products."""
    cases = [
        ("stylegan1_32", "0.4", "float32", "highest"),
        ("stylegan1_32", "2.25", "float32", "highest"),
        ("stylegan1_16_labels", "0.6", "float32", "highest"),
        ("stylegan1_32", "0.4", "float32", "default"),
        ("stylegan1_32", "0.4", "bfloat16", "default"),
    ]
    longest = 0.0
    for network, lod, dtype, precision in cases[:1] if a.tiny else cases:
        fields = {"network": network, "lod": lod, "dtype": dtype, "precision": precision}
        if records.skips("reference", 1.3 * longest + 5, **fields):
            continue
        begin = time.monotonic()
        with records.guarded("reference", **fields):
            found = differences(network, lod, dtype, precision)
            records.add("reference", **fields, largest=max(found.values()), **found)
        longest = max(longest, time.monotonic() - begin)


def differences(network: str, lod: str, dtype: str, precision: str) -> dict[str, float]:
    """Of images, scores, losses, R1 and gradients, each relative to the largest number, or the norm, that is expected.

    Args:
        network: a file of the reference.
        lod: of those stored there.
        dtype: that networks compute in.
        precision: of float32 products.
    """
    with jax.default_matmul_precision(precision):
        s = _setting(Reference(network), lod, dtype, precision)
        return _forward(s) | _gradients(s)


def _setting(ref: Reference, lod: str, dtype: str, precision: str) -> SimpleNamespace:
    """Inputs, with minibatch-std groups as neighbors."""
    resolution, alpha = ref.stage(lod)
    order = np.array(ops.minibatch_std_order(len(ref["in/z"]), ref.config.discriminator.mbstd_group_size))
    return SimpleNamespace(
        ref=ref,
        at=f"out/lod{lod}/",
        resolution=resolution,
        alpha=alpha,
        order=order,
        networks=build_networks(with_dtype(ref.config, dtype, precision)),
        g=ref.params(ref.generator_paths()),
        d=ref.params(ref.discriminator_paths()),
        c=None if ref.labels is None else ref.labels[order],
        reals=prepare_reals(ref.images(f"in/lod{lod}/reals_uint8"), alpha, False, jax.random.key(0))[order],
    )


def _forward(s: SimpleNamespace) -> dict[str, float]:
    ref, full = s.ref, s.ref.config.resolution

    @jax.jit
    def values(g: Any, d: Any, reals: Any) -> dict[str, Any]:
        network = s.networks.generator(g, ref.noise_const())
        images = network.synthesis(ref["out/dlatents"], resolution=s.resolution, alpha=s.alpha)
        score = functools.partial(s.networks.discriminator(d), c=s.c, alpha=s.alpha)
        real, r1 = losses.scores_and_penalty(score, reals, full)
        fake = score(images[s.order])
        loss = losses.logistic_discriminator(real, fake)
        by_name = {"real_scores": real, "fake_scores": fake, "d_loss_without_r1": loss}
        return by_name | {"g_loss": losses.logistic_generator(fake), "images": images, "r1": jnp.mean(r1)}

    found = {name: np.asarray(value, np.float64) for name, value in values(s.g, s.d, s.reals).items()}
    wanted = {name: ref[s.at + name][s.order][:, 0] for name in found if name not in ("images", "r1")}
    wanted["images"] = ref.images(f"{s.at}images")[:, :: full // s.resolution, :: full // s.resolution]
    r1 = ref[f"{s.at}d_loss"].mean() - ref[f"{s.at}d_loss_without_r1"].mean()
    wanted["r1"] = r1 / (GAMMA / 2)
    return {name: float(np.abs(found[name] - wanted[name]).max() / np.abs(wanted[name]).max()) for name in found}


def _gradients(s: SimpleNamespace) -> dict[str, float]:
    """Of the norm of each parameter's gradient, by the whole gradient's; and of those that are stored whole."""
    ref, full = s.ref, s.ref.config.resolution
    fakes = ref.images(f"{s.at}images")[s.order][:, :: full // s.resolution, :: full // s.resolution]

    @jax.jit
    @jax.grad
    def of_d(d: Any) -> Any:
        score = functools.partial(s.networks.discriminator(d), c=s.c, alpha=s.alpha)
        real, r1 = losses.scores_and_penalty(score, s.reals, full)
        return jnp.mean(losses.logistic_discriminator(real, score(fakes)) + GAMMA / 2 * r1)

    @jax.jit
    @jax.grad
    def of_g(g: Any) -> Any:
        network = s.networks.generator(g, ref.noise_const())
        ws = broadcast_styles(network.mapping(ref["in/z"][s.order], s.c), num_styles(s.resolution))
        images = network.synthesis(ws, resolution=s.resolution, alpha=s.alpha)
        return jnp.mean(losses.logistic_generator(s.networks.discriminator(s.d)(images, s.c, alpha=s.alpha)))

    sides = {"d": (of_d(s.d), ref.discriminator_paths("")), "g": (of_g(s.g), ref.generator_paths(""))}
    found = {}
    for side, (gradient, paths) in sides.items():
        norms = {name: np.linalg.norm(get(gradient, path).astype(np.float64)) for name, path in paths.items()}
        wanted = {name: float(ref[f"{s.at}{side}_grad_l2/{name}"]) for name in norms}
        whole = np.linalg.norm(list(wanted.values()))
        found[f"{side}_gradient_norms"] = float(max(abs(norms[name] - wanted[name]) for name in norms) / whole)
        for name in paths:
            if (stored := f"{s.at}{side}_grad/{name}") in ref.arrays:
                expected = ref.convert(name, ref[stored])
                apart = np.linalg.norm(get(gradient, paths[name]) - expected) / np.linalg.norm(expected)
                found[f"{side}_gradient"] = max(found.get(f"{side}_gradient", 0.0), float(apart))
    return found
