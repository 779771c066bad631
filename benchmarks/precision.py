#!/usr/bin/env python3
"""The effect of TF32 and bfloat16 on numbers, images and path lengths, compared with float32 at highest precision.

    python benchmarks/precision.py
    python benchmarks/precision.py --block demod --json out/precision.json

TF32 and bfloat16 products are emulated on every machine: the operands of each product and convolution, in derivatives
too, are rounded to 10 or 7 bits of mantissa, and sums are float32. On an accelerator there is one more row, "default",
which is its own fast choice (precision = default). "compute_dtype" is bfloat16 in all convolutions and activations.

The first table has the largest differences from the numbers of StyleGAN's published code (tests/support/reference.py),
relative to the largest of them; of gradients, those of the norms by layer relative to the norm of the whole. The
second one has the samples of the generator that comes with the package, in gray levels, and its perceptual path
lengths. The third one has gradients of a network of 64 pixels with random weights: the difference from float32
relative to the norm, and the cosine. The last line is one JSON object.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common
from benchmarks.emulation import rounded

NETWORK, LOD = "stylegan1_32", "0.4"  # of the stored numbers: in the middle of a fade
GAMMA = 10.0  # of R1
AGREEMENT = {
    "way": ("", ""),
    "images": ("images", ".1e"),
    "scores": ("scores", ".1e"),
    "r1": ("R1", ".1e"),
    "d_gradient": ("D gradient", ".1e"),
    "g_gradient": ("G gradient", ".1e"),
}
SAMPLES = {
    "way": ("", ""),
    "levels_mean": ("mean difference", ".3f"),
    "levels_largest": ("largest", ""),
    "ppl_zend": ("ppl zend", ",.1f"),
    "ppl_wend": ("ppl wend", ",.1f"),
}
GRADIENTS = {
    "way": ("", ""),
    "d_difference": ("D with R1", ".1e"),
    "d_cosine": ("cosine", ".6f"),
    "g_difference": ("G", ".1e"),
    "g_cosine": ("cosine", ".6f"),
}


@dataclasses.dataclass(frozen=True)
class Numerics:
    """The numerics of networks: the dtype that they are built with, and a transformation of functions of them."""

    name: str
    change: Callable[[Callable[..., Any]], Callable[..., Any]]
    dtype: str = "float32"

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with these numerics, compiled."""
        import jax

        from stylegen.runtime.compilation import compiler_options

        return jax.jit(self.change(function), compiler_options=compiler_options())


def all_numerics() -> list[Numerics]:
    """Float32 at highest precision, which the others are compared with, and the others."""
    import jax

    from stylegen.runtime.compilation import at_precision

    exact = at_precision("highest")
    variants = [
        Numerics("float32", exact),
        Numerics("TF32, emulated", functools.partial(rounded, mantissa_bits=10)),
        Numerics("bfloat16 products, emulated", functools.partial(rounded, mantissa_bits=7)),
        Numerics("compute_dtype bfloat16", exact, "bfloat16"),
    ]
    if jax.default_backend() != "cpu":
        variants.insert(1, Numerics(f"default of {common.device_name()}", at_precision("default")))
    return variants


def agreement(numerics: Numerics, network: str = NETWORK, lod: str = LOD) -> dict[str, float]:
    """Largest relative differences from the stored numbers of the published code."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from stylegen import ops
    from stylegen.networks.build import build_networks
    from stylegen.networks.mapping import broadcast_styles, num_styles
    from stylegen.training import losses
    from stylegen.training.draws import prepare_reals
    from tests.support.reference import Reference, get

    ref = Reference(network)
    resolution, alpha = ref.stage(lod)
    networks = build_networks(dataclasses.replace(ref.config, compute_dtype=numerics.dtype))
    noise, g, d = ref.noise_const(), ref.params(ref.generator_paths()), ref.params(ref.discriminator_paths())
    order = np.array(ops.minibatch_std_order(len(ref["in/z"]), ref.config.discriminator.mbstd_group_size))
    c = None if ref.labels is None else ref.labels[order]
    factor = ref.config.resolution // resolution
    reals = prepare_reals(ref.images(f"in/lod{lod}/reals_uint8"), alpha, False, jax.random.key(0))[order]
    fakes = ref.images(f"out/lod{lod}/images")[order][:, ::factor, ::factor]

    def score(d: Any) -> Callable[[Any], Any]:
        return functools.partial(networks.discriminator(d), c=c, alpha=alpha)

    def draw(g: Any, ws: Any) -> Any:
        return networks.generator(g, noise).synthesis(ws, resolution=resolution, alpha=alpha)

    def d_loss(d: Any) -> tuple[Any, Any]:
        real, penalty = losses.scores_and_penalty(score(d), reals, ref.config.resolution)
        loss = losses.logistic_discriminator(real, score(d)(fakes))
        return jnp.mean(loss + GAMMA / 2 * penalty), (real, jnp.mean(penalty))

    def g_loss(g: Any) -> Any:
        w = networks.generator(g, noise).mapping(ref["in/z"][order], c)
        return jnp.mean(losses.logistic_generator(score(d)(draw(g, broadcast_styles(w, num_styles(resolution))))))

    def relative(actual: Any, expected: Any) -> float:
        expected = np.asarray(expected, np.float64)
        return float(np.abs(np.asarray(actual, np.float64) - expected).max() / np.abs(expected).max())

    def norms(side: str, gradient: Any, paths: dict[str, tuple[str, ...]]) -> float:
        stored = {name: float(ref[f"out/lod{lod}/{side}_grad_l2/{name}"]) for name in paths}
        ours = {name: np.linalg.norm(get(gradient, path).astype(np.float64)) for name, path in paths.items()}
        largest = max(abs(ours[name] - stored[name]) for name in paths)
        return float(largest / np.linalg.norm([*stored.values()]))

    d_gradient, (real, penalty) = numerics.jit(jax.grad(d_loss, has_aux=True))(d)
    expected = (ref[f"out/lod{lod}/d_loss"].mean() - ref[f"out/lod{lod}/d_loss_without_r1"].mean()) / (GAMMA / 2)
    return {
        "images": relative(
            numerics.jit(draw)(g, ref["out/dlatents"]), ref.images(f"out/lod{lod}/images")[:, ::factor, ::factor]
        ),
        "scores": relative(real, ref[f"out/lod{lod}/real_scores"][order][:, 0]),
        "r1": relative(penalty, expected),
        "d_gradient": norms("d", d_gradient, ref.discriminator_paths(prefix="")),
        "g_gradient": norms("g", numerics.jit(jax.grad(g_loss))(g), ref.generator_paths(prefix="")),
    }


def samples_and_lengths(numerics: Numerics, G: Any, samples: int, pairs: int) -> dict[str, Any]:
    """Samples of a generator, uint8 [samples, r, r, C], and its path lengths by ``pairs`` pairs of latents."""
    import numpy as np

    from stylegen import ops, sampling
    from stylegen.metrics.extractors import open_distance
    from stylegen.metrics.ppl import path_ends, path_length
    from stylegen.networks.build import build_networks
    from stylegen.networks.mapping import broadcast_styles

    config = dataclasses.replace(G.config, compute_dtype=numerics.dtype)
    network = build_networks(config).generator(G.params, G.noise_const)
    mapping = numerics.jit(lambda z: network.mapping(z))
    draw = numerics.jit(
        lambda w: network.synthesis(broadcast_styles(w, G.num_ws), resolution=G.resolution, noise="const")
    )
    size = max(1, min(8, pairs))

    def images(z: np.ndarray) -> np.ndarray:
        return np.asarray(ops.to_uint8(draw(mapping(z))))

    z = sampling.latents(range(samples), G.z_dim)
    result: dict[str, Any] = {"samples": np.concatenate([images(z[i : i + size]) for i in range(0, samples, size)])}
    distance = open_distance("random_vgg")
    for space in ("z", "w"):
        ends = path_ends(pairs, G.z_dim, sampling="end", batch=size)
        length = path_length(lambda z: np.asarray(mapping(z.astype(np.float32))), draw, distance, ends, space=space)
        result[f"ppl_{space}end"] = length.mean
    return result


def gradients(numerics: Numerics, block: str, resolution: int, width: int, batch: int = 4) -> dict[str, Any]:
    """Gradients [n] of the discriminator's loss with R1 and of the generator's, of new networks."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from stylegen import ops
    from stylegen.config import Config, DiscriminatorConfig, GeneratorConfig, ScheduleConfig
    from stylegen.data.toy import bedrooms
    from stylegen.networks.build import build_networks
    from stylegen.networks.mapping import broadcast_styles, num_styles
    from stylegen.training import losses
    from stylegen.training.state import init_state

    config = Config(
        resolution=resolution,
        generator=GeneratorConfig(block=block, channel_max=width),  # type: ignore[arg-type]
        discriminator=DiscriminatorConfig(channel_max=width),
        schedule=ScheduleConfig(start_resolution=resolution),
    )
    state = init_state(config)
    networks = build_networks(dataclasses.replace(config, compute_dtype=numerics.dtype))  # type: ignore[arg-type]
    reals = ops.to_float(bedrooms.render(range(2 * batch), resolution))
    reals, fakes = reals[:batch], reals[batch:, ::-1]  # other images, upside down
    z = np.random.default_rng(0).standard_normal((batch, config.generator.z_dim), np.float32)

    def d_loss(d: Any) -> Any:
        score = networks.discriminator(d)
        real, penalty = losses.scores_and_penalty(score, reals, resolution)
        return jnp.mean(losses.logistic_discriminator(real, score(fakes)) + GAMMA / 2 * penalty)

    def g_loss(g: Any) -> Any:
        network = networks.generator(g, state.noise_const)
        images = network.synthesis(broadcast_styles(network.mapping(z), num_styles(resolution)), resolution=resolution)
        return jnp.mean(losses.logistic_generator(networks.discriminator(state.d)(images)))

    by_side = {"d": numerics.jit(jax.grad(d_loss))(state.d), "g": numerics.jit(jax.grad(g_loss))(state.g)}
    return {
        side: np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(gradient)])
        for side, gradient in by_side.items()
    }


def compared(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the second and third table: samples and gradients of all numerics against those of float32."""
    import numpy as np

    first = next(iter(results.values()))
    rows = []
    for name, result in results.items():
        row: dict[str, Any] = {"way": name} | {key: x for key, x in result.items() if key.startswith("ppl")}
        if "samples" in result:
            levels = np.abs(result["samples"].astype(int) - first["samples"])
            row |= {"levels_mean": float(levels.mean()), "levels_largest": int(levels.max())}
        for side in ("d", "g") if "d" in result else ():
            a, b = result[side], first[side]
            norm = float(np.linalg.norm(b))
            row[f"{side}_difference"] = float(np.linalg.norm(a - b)) / norm
            row[f"{side}_cosine"] = float(a @ b) / (float(np.linalg.norm(a)) * norm)
        rows.append(row)
    return rows


def run() -> dict[str, Any]:
    p = common.parser(__doc__)
    p.add_argument("--run", default="toy_bedrooms", help="generator without classes")
    p.add_argument("--samples", type=int, default=64)
    p.add_argument("--pairs", type=int, default=100, help="of latents, for path lengths")
    p.add_argument("--block", choices=("adain", "demod"), default="adain", help="of the third table's networks")
    p.add_argument("--resolution", type=int, default=64, help="of them")
    p.add_argument("--width", type=int, default=64, help="their greatest width")
    return measure(p.parse_args())


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """All three tables, printed; written where ``a.json`` says, and returned."""
    import stylegen

    variants = all_numerics()
    machine = common.machine()
    print(common.describe(machine))
    differences = [{"way": x.name} | agreement(x) for x in variants]
    print(f"\ndifferences from the published code's numbers, {NETWORK}, lod {LOD}")
    print(common.table(differences, AGREEMENT), flush=True)
    G = stylegen.load(a.run)
    sample_rows = compared({x.name: samples_and_lengths(x, G, a.samples, a.pairs) for x in variants})
    print(f"\n{a.samples} samples and path lengths ({a.pairs} pairs, random_vgg), {G}")
    print(common.table(sample_rows, SAMPLES), flush=True)
    gradient_rows = compared({x.name: gradients(x, a.block, a.resolution, a.width) for x in variants})
    print(f"\ngradients, {a.block} at {a.resolution} pixels, width {a.width}: differences from float32")
    print(common.table(gradient_rows, GRADIENTS), flush=True)
    result = {"machine": machine, "agreement": differences, "drawn": sample_rows, "gradients": gradient_rows}
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(run)
