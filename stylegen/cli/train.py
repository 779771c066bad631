"""The verb ``train``: a configuration file and overrides in, a run directory out."""

import argparse
import dataclasses
import math
import sys
import typing
from pathlib import Path
from typing import Any

import tyro

from stylegen import config_json, shapes
from stylegen.cli import arguments, common, ignored_settings
from stylegen.cli.experiments import load_config, run_to_resume
from stylegen.config import Config, DistributedConfig, option
from stylegen.io.objects import is_url
from stylegen.runs import settings
from stylegen.untrusted import shown

DESCRIPTION = """Train a generator. The same command resumes the run that is in the directory.

  # Minutes on a laptop: drawn bedrooms at 32 pixels
  train --config configs/quickstart.py --run.dir runs/quickstart
  # Go on with it, with its own settings
  train --run.dir runs/quickstart
  # LSUN bedrooms; DIR holds bedroom_train_lmdb.zip, or what prepare made of it
  train --config configs/lsun_bedroom_256.py --run.dir runs/bedroom --data.path DIR
  # Fine-tune on other images: from another run, at full size at once, its discriminator's finest layers kept
  train --config configs/folder_256.py --run.dir runs/mine --data.path DIR --run.init-from runs/bedroom \\
      --schedule.start-resolution 256 --run.freeze d.b256,d.b128
  # What would happen, and how long it takes here, by a few steps of each stage; or at 120 images/s
  train --config configs/quickstart.py --dry-run --measure
  train --config configs/lsun_bedroom_256.py --dry-run --img-per-sec 120
  # On your images at 512 pixels: batch, R1 gamma and the like from the devices that are here
  train --auto --resolution 512 --schedule.start-resolution 512 --generator.block demod --data.source images \\
      --data.path DIR --run.dir runs/mine
  # Does it fit eight H100, which batch would, how long it takes at least; compiled for them here, without them
  train --config configs/lsun_bedroom_256.py --dry-run --target h100x8

Besides the fields below:
  --config FILE       experiment file, or the name of one that ships (quickstart, lsun_bedroom_256, ...);
                      not needed to resume the run in --run.dir
  --auto              choose batch, micro-batch, R1 gamma, EMA and learning rate from devices and resolution, where
                      neither the experiment nor the command states them; prints the options that it stands for
  --dry-run           print the resolved configuration, the schedule and the parameters, and stop
  --measure           with --dry-run: run a few steps of each stage here, to show hours; compiles first
  --img-per-sec N     with --dry-run: speed at full resolution, to predict hours
  --target DEVICES    with --dry-run: compile the step for devices that need not be here: h100, h100x8, a100x4, t4,
                      tpu:v5e:2x4, v4-8, v5p-8; takes minutes, and XLA's compiler for them (it says how to get that)
  --stage PIXELS      with --target: the stage to compile; default: full resolution

Defaults below are those of the experiment named by --config.
"""


INTERRUPTED = "The same command goes on from what is saved."


def main(argv: list[str] | None = None) -> int:
    """Run the verb; the exit status."""
    return common.run(lambda: _train(sys.argv[1:] if argv is None else argv), INTERRUPTED)


def _train(argv: list[str]) -> None:
    ours, overrides = _own_options(argv)
    overrides = _with_shape(overrides)
    run = run_to_resume(ours.config, overrides, "configs/quickstart.py", ours.auto)
    default = load_config(ours.config) if ours.config else _settings_of(run) if run else Config()
    config = arguments.parse(
        Config, overrides, prog="train", description=DESCRIPTION, default=default, registry=_by_resolution()
    )
    ignored_settings.check(config, overrides)
    auto = _Auto(default, overrides, None if run is None or config.run.overwrite else run) if ours.auto else None
    if ours.target:
        _describe_target(config, ours.target, ours.stage, auto)
        return
    if ours.dry_run:
        _dry_run(config if auto is None else auto.here(config), ours.img_per_sec, ours.measure)
        return
    from stylegen.train import train

    if auto is None:
        train(config)
        return
    from stylegen.runtime import processes

    with processes.running(config.distributed):
        train(auto.here(config))


def _own_options(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options that are no settings, and the other words of the command; raises UsageError if they do not fit."""
    parser = argparse.ArgumentParser(prog="train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--auto", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--dry-run", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--img-per-sec", type=float)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--target")
    parser.add_argument("--stage", type=int)
    names = {"dry-run": False, "auto": False} | arguments.booleans(Config)
    ours, overrides = parser.parse_known_args(arguments.normalized(argv, names))
    speed = ours.img_per_sec
    if speed is not None and not (0 < speed < math.inf):
        raise common.UsageError(f"--img-per-sec {speed:g}: must be a positive number of images a second.")
    if speed is not None and not ours.dry_run:
        raise common.UsageError("--img-per-sec goes with --dry-run alone: training measures its speed itself.")
    if (ours.target or ours.stage) and not (ours.dry_run and ours.target):
        raise common.UsageError("--target goes with --dry-run, and --stage with --target: nothing is trained there.")
    if ours.measure and (not ours.dry_run or ours.target or speed is not None):
        raise common.UsageError("--measure goes with --dry-run, and without --img-per-sec and --target.")
    if ours.target and speed is not None:
        raise common.UsageError("--img-per-sec gives the hours of a dry run without --target, which bounds them.")
    return ours, overrides


def _dry_run(config: Config, img_per_sec: float | None, measures: bool) -> None:
    """Print what a run would be."""
    from stylegen.evaluation.during_training import check
    from stylegen.training.summary import describe

    check(config)
    measured = None
    if measures:
        from stylegen.training.speed import measure

        measured = measure(config, lambda line: print(line, flush=True))
    print(describe(config, img_per_sec, measured))
    if config.run.init_from:
        from stylegen.hub import init_from

        print(init_from.describe(config))


@dataclasses.dataclass(frozen=True)
class _Auto:
    """Settings by ``--auto``: what it needs to know of the command besides the configuration."""

    default: Config  # the experiment's
    words: list[str]  # of the command line
    run: Path | None  # that is resumed

    def here(self, config: Config) -> Config:
        """The configuration for the devices of this run, of all its processes; prints what was chosen."""
        import jax

        from stylegen.training import auto

        local = jax.local_devices()[: config.run.devices]
        memory = (local[0].memory_stats() or {}).get("bytes_limit")  # unknown on a CPU
        return self.on(config, auto.Devices(len(local) * jax.process_count(), memory))

    def on(self, config: Config, devices: Any) -> Config:
        """The configuration for such devices; prints what was chosen."""
        from stylegen.runtime import processes
        from stylegen.training import auto

        given = {word.partition("=")[0] for word in self.words}
        fields = {name: option(name, "").strip() for name in config_json.names(config)}
        stated = auto.stated_in(self.default) | {name for name, word in fields.items() if word in given}
        earlier = auto.of_run(config, _read(self.run), stated) if self.run else {}
        config = auto.apply(config, earlier)
        names = stated if self.run is None else {*stated, *auto.NAMES}
        chosen = {**earlier, **auto.choose(config, names, devices)}
        if processes.is_main():
            print(f"--auto stands for {auto.options(chosen) or 'nothing: all is stated'}", flush=True)
        return auto.apply(config, chosen)


def _with_shape(words: list[str]) -> list[str]:
    """The words of a command with ``--resolution 512x384`` as a resolution and the rows and columns of the constant."""
    resolved: list[str] = []
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        before = words[i - 1] if i else ""
        text = value if name == "--resolution" and equals else word if before == "--resolution" else ""
        if "x" not in text:
            resolved.append(word)
            continue
        parsed = shapes.parse(text)
        if isinstance(parsed, str):
            raise common.UsageError(f"--resolution {shown(text)}: {parsed}.")
        resolution, (rows, columns) = parsed
        resolved.append(f"--resolution={resolution}" if equals else str(resolution))
        resolved += ["--const-shape", str(rows), str(columns)]
    return resolved


def _read(run: Path) -> Config:
    return settings.read(run, lambda line: print(f"warning: {line}", file=sys.stderr))


def _settings_of(run: Path) -> Config:
    """The configuration of the run in a directory, to resume it: where it lies and who trains it is said anew."""
    config = _read(run)
    # A URL stays what the run was begun with; a folder may have moved.
    folder = config.run.dir if is_url(config.run.dir) else str(run)
    resumed = dataclasses.replace(config.run, dir=folder, overwrite=False)
    return dataclasses.replace(config, run=resumed, distributed=DistributedConfig())


def _describe_target(config: Config, name: str, stage: int | None, auto: _Auto | None) -> None:
    from stylegen.runtime import chips

    target = chips.parse(name)
    if stage is not None and stage not in config.stage_resolutions:
        raise common.UsageError(f"--stage {stage}: the stages are {', '.join(map(str, config.stage_resolutions))}.")
    chips.prepare_environment()
    from stylegen.training import plan

    if auto is not None:
        from stylegen.training.auto import Devices

        config = auto.on(config, Devices(target.count, plan.usable(target)))
    print(plan.describe(config, target, stage, log=lambda line: print(line, flush=True)))


def _by_resolution() -> tyro.constructors.ConstructorRegistry:
    """Reads settings by resolution as ``8:256,16:128``; tyro by itself would not let keys be added."""
    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
        if typing.get_origin(info.type) is not dict:
            return None
        number = typing.get_args(info.type)[1]

        def read(args: list[str]) -> dict[int, Any]:
            pairs = [pair.split(":") for pair in args[0].split(",") if pair]
            if any(len(pair) != 2 for pair in pairs):
                raise ValueError(f"{args[0]!r} is not of the form 8:256,16:128")
            return {int(resolution): number(value) for resolution, value in pairs}

        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="PIXELS:VALUE,...",
            instance_from_str=read,
            is_instance=lambda value: isinstance(value, dict),
            str_from_instance=lambda value: [",".join(f"{r}:{v:g}" for r, v in value.items())],
        )

    return registry
