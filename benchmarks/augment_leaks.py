#!/usr/bin/env python3
"""Does augmentation leak into the samples? Tiny networks on toy_bedrooms, with it at a fixed p and without, by seed.

    python benchmarks/augment_leaks.py                         # p 0.6, three seeds each
    python benchmarks/augment_leaks.py --ramp_kimg 6           # p rises from 0 over the first 6 kimg, as in training
    python benchmarks/augment_leaks.py --kimg 60 --resolution 32 --json leaks.json --pictures leaks

All runs are one compiled program: the strength is an argument of it, and p 0 gives the images themselves. Both kinds of
run see the same images, latents and noise of a seed. Samples are of the moving average, psi 1, none selected.

Measured on samples, on the data, and on the data augmented at that p, which is what a complete leak would look like:

  red, green, blue   mean colour, 0 to 255
  tint spread        standard deviation, from picture to picture, of their mean colour
  x, x spread        middle of a picture's saturation from the left, in pixels: mean and standard deviation
  y, off height      shift down, in pixels, at which a picture's rows fit those of the data's mean picture best: mean,
                     and mean of its size
  upright            share of pictures that fit the mean picture best as they are, of its four quarter turns
  top - bottom       mean brightness of the upper half less that of the lower

A measure is within the spread if the means over the seeds differ, between the runs with augmentation and those without,
by no more than the runs without it differ among themselves (largest less smallest). Drift is the mean distance of a run
from the data. The last line is one JSON object.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common
from stylegen.config import (
    AugmentConfig,
    Config,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
)

MEASURES = ("red", "green", "blue", "tint spread", "x", "x spread", "y", "off height", "upright", "top - bottom")
NEVER = 1e12  # kimg in which the strength would move, were it to


def study_config(options: argparse.Namespace) -> Config:
    """One configuration for all runs."""
    width = {"channel_base": 32 * options.resolution, "channel_max": options.channels}
    return Config(
        resolution=options.resolution,
        data=DataConfig(batch=options.batch, num_images=options.images),
        generator=GeneratorConfig(
            z_dim=64,
            w_dim=64,
            mapping_layers=2,
            mapping_lr_multiplier=0.1,
            use_noise=False,
            style_mixing_prob=0.0,
            w_avg_beta=0.99,
            **width,
        ),
        discriminator=DiscriminatorConfig(**width),
        loss=LossConfig(r1_gamma=1.0, r1_interval=8),
        augment=AugmentConfig(mode="ada", speed_kimg=NEVER, max_p=1.0),
        optimizer=OptimizerConfig(learning_rate=0.012, ema_kimg=1.0),
        schedule=ScheduleConfig(start_resolution=options.resolution, total_kimg=options.kimg),
        run=RunConfig(dir="none"),
    )


def unit(rows: np.ndarray) -> np.ndarray:
    """Vectors [n, m] with mean 0 and length 1."""
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def measure(images: np.ndarray, data_mean: np.ndarray) -> dict[str, float]:
    """The measures of uint8 pictures [n, r, r, 3]; ``data_mean`` is the data's mean picture [r, r, 3]."""
    n, r = images.shape[:2]
    pictures = images.astype(np.float64)
    grey, mean = pictures.mean(-1), (data_mean + data_mean[:, ::-1]).mean(-1) / 2  # half of the rooms are mirrored
    turned = np.stack([np.rot90(mean, k).ravel() for k in range(4)])
    upright = np.argmax(unit(grey.reshape(n, -1)) @ unit(turned).T, axis=1) == 0
    reach = max(r // 5, 1)
    shifts = np.arange(-reach, reach + 1)
    rows = unit(mean.mean(1)[None, reach : r - reach])[0]
    fits = [unit(grey.mean(2)[:, reach + y : r - reach + y]) @ rows for y in shifts]
    height = shifts[np.argmax(fits, axis=0)]
    saturation = np.square(pictures.max(-1) - pictures.min(-1)).sum(1) + 1e-9
    across = saturation @ np.arange(r) / saturation.sum(1)
    colors = pictures.mean((1, 2))
    values = [*colors.mean(0), colors.std(0).mean(), across.mean(), across.std(), height.mean(), np.abs(height).mean()]
    values += [upright.mean(), grey[:, : r // 2].mean() - grey[:, r // 2 :].mean()]
    return {name: float(value) for name, value in zip(MEASURES, values, strict=True)}


class Study:
    """The compiled programs, and runs of them."""

    def __init__(self, config: Config):
        import jax
        import jax.numpy as jnp

        from stylegen.data import toy_bedrooms
        from stylegen.distributed import make_mesh, replicated, split_batch
        from stylegen.state import abstract_state, build_networks
        from stylegen.train_step import Static, jit_step, regularize_step, train_step

        self.config, n, r = config, config.data.batch, config.resolution
        self.data = toy_bedrooms.render(range(config.data.num_images), r)
        self.mean = self.data.mean(0)
        self.networks = build_networks(config)
        mesh = make_mesh(dataclasses.replace(config, run=RunConfig(devices=1)))
        static = Static(config, self.networks)
        shapes = (
            abstract_state(config),
            jax.ShapeDtypeStruct((n, r, r, 3), jnp.uint8),
            jax.ShapeDtypeStruct((n,), jnp.int32),
            *[jax.ShapeDtypeStruct((), jnp.float32)] * 2,
        )
        self.step, self.regularize = (
            jit_step(step, static, replicated(mesh), split_batch(mesh)).lower(*shapes).compile()
            for step in (train_step, regularize_step)
        )

    def batches(self, seed: int) -> Iterator[np.ndarray]:
        """Endless batches, in an order of the seed's."""
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(self.data))
            for i in range(0, len(order) - self.config.data.batch + 1, self.config.data.batch):
                yield self.data[order[i : i + self.config.data.batch]]

    def run(self, seed: int, p: float, samples: int, ramp_kimg: float = 0.0) -> np.ndarray:
        """Train from a seed at strength p, reached in ramp_kimg; uint8 samples of the moving average."""
        import jax
        import jax.numpy as jnp

        from stylegen import sampling
        from stylegen.schedule import Stage
        from stylegen.state import ema_generator, init_state

        config, r = self.config, self.config.resolution
        state = init_state(config, seed=seed)
        labels, one = np.zeros(config.data.batch, np.int32), np.float32(1)
        rate, batches = np.float32(config.optimizer.learning_rate), self.batches(seed)
        for step in range(round(config.schedule.total_kimg * 1000) // config.data.batch):
            now = min(p, p * step * config.data.batch / (ramp_kimg * 1000)) if ramp_kimg > 0 else p
            state = dataclasses.replace(state, augment=dataclasses.replace(state.augment, p=jnp.float32(now)))
            arguments = next(batches), labels, one, rate
            state, metrics = self.step(state, *arguments)
            if step % config.loss.r1_interval == 0:
                state, _ = self.regularize(state, *arguments)
        found = jax.device_get(metrics)
        if not np.isfinite(found["Loss/D/loss"]) or not np.isclose(found["Progress/augment"], p):
            raise common.BenchmarkError(f"The run of seed {seed} at p {p:g} went wrong: {found}.")
        G = ema_generator(config, self.networks, state, Stage(0, r, 1.0, config.data.batch, 0.0))
        return sampling.sample(G, seeds=range(samples), noise="none")

    def augmented_data(self, p: float, n: int) -> np.ndarray:
        """The first images of the data, augmented at strength p."""
        from stylegen import augment

        return augment.sheet(self.data[:n], dataclasses.replace(self.config.augment, mode="fixed", p=p))


def verdicts(runs: list[dict[str, Any]], data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By measure: means over the seeds with augmentation and without, their distances to the data, and the verdict."""
    found = {}
    for name in MEASURES:
        with_, without = ([run[name] for run in runs if (run["p"] > 0) == on] for on in (True, False))
        difference, spread = np.mean(with_) - np.mean(without), max(without) - min(without)
        found[name] = {
            "with": float(np.mean(with_)),
            "without": float(np.mean(without)),
            "difference": float(difference),
            "spread": float(spread),
            "drift with": float(np.mean(np.abs(np.array(with_) - data[name]))),
            "drift without": float(np.mean(np.abs(np.array(without) - data[name]))),
            "within": bool(abs(difference) <= spread),
        }
    return found


def show(rows: list[dict[str, Any]]) -> str:
    """The table of all that was measured."""
    columns = {"what": ("", "s")} | {name: (name, ".2f") for name in MEASURES}
    return common.table(rows, columns)


def study(options: argparse.Namespace) -> dict[str, Any]:
    """All runs, their table and the verdicts."""
    from stylegen import images

    config = study_config(options)
    machine = common.machine()
    print(common.describe(machine), flush=True)
    started = time.perf_counter()
    work = Study(config)
    print(f"compiled in {time.perf_counter() - started:.0f} s", flush=True)
    rows = [{"what": "data", **measure(work.data, work.mean)}]
    leaked = work.augmented_data(options.p, options.samples)
    rows.append({"what": f"data, augmented at p {options.p:g}", **measure(leaked, work.mean)})
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
        images.save_grid(work.data[:64], options.pictures / "data.png", columns=8, scale=2)
        images.save_grid(leaked[:64], options.pictures / "augmented.png", columns=8, scale=2)
    runs = []
    for seed in range(options.seeds):
        for p in (0.0, options.p):
            samples = work.run(seed, p, options.samples, options.ramp_kimg)
            runs.append({"what": f"seed {seed}, p {p:g}", "seed": seed, "p": p, **measure(samples, work.mean)})
            print(f"{time.perf_counter() - started:6.0f} s  {runs[-1]}", flush=True)
            if options.pictures:
                images.save_grid(samples[:64], options.pictures / f"seed{seed}-p{p:g}.png", columns=8, scale=2)
    print(show(rows + runs))
    verdict = verdicts(runs, rows[0])
    columns = {"what": ("", "s"), "with": ("with", ".2f"), "without": ("without", ".2f")}
    columns |= {"difference": ("difference", ".2f"), "spread": ("spread without", ".2f"), "within": ("within", "")}
    columns |= {name: (name, ".2f") for name in ("drift with", "drift without")}
    print(common.table([{"what": name} | {**v, "within": str(v["within"])} for name, v in verdict.items()], columns))
    chosen = {name: value for name, value in vars(options).items() if name not in ("json", "pictures")}
    seconds = time.perf_counter() - started
    result = {"machine": machine, "options": chosen, "rows": rows, "runs": runs, "verdicts": verdict, "s": seconds}
    common.write_json(options.json, result)
    return {"within": {name: v["within"] for name, v in verdict.items()}, "s": seconds}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    p = common.parser(__doc__)
    p.add_argument("--p", type=float, default=0.6, help="chance of each transformation, in the runs with augmentation")
    p.add_argument("--ramp_kimg", type=float, default=0.0, help="p rises from 0 over so many thousand images")
    p.add_argument("--seeds", type=int, default=3, help="runs of each kind")
    p.add_argument("--kimg", type=float, default=20.0, help="length of a run, thousands of images")
    p.add_argument("--resolution", type=int, default=16, help="pixels")
    p.add_argument("--batch", type=int, default=16, help="images a step")
    p.add_argument("--channels", type=int, default=24, help="greatest width of the networks")
    p.add_argument("--images", type=int, default=4000, help="rooms in the data")
    p.add_argument("--samples", type=int, default=1000, help="samples of each run")
    p.add_argument("--pictures", type=Path, metavar="FOLDER", help="grids of samples go there")
    return p.parse_args(argv)


if __name__ == "__main__":
    common.main(lambda: study(parse()))
