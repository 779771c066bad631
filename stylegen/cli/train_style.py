"""The verb ``train_style``: train the small network of style transfer, or a decoder for VGG-16 or VGG-19."""

import argparse
import sys
from pathlib import Path

from stylegen.cli import arguments, common
from stylegen.cli.experiments import load_config, run_to_resume
from stylegen.style_transfer.config import StyleConfig, current_name

DESCRIPTION = """Train the networks of stylize. The same command resumes the training that is in the directory.

  # The small network, on a folder that studies/style_data.py made; needs the extra perceptual
  train_style --config configs/style_transfer.py --data.photographs data/style --run.dir runs/style
  # Go on with it, with its own settings
  train_style --run.dir runs/style
  # A decoder for VGG-16, which comes with the extra perceptual
  train_style --config configs/style_transfer.py --encoder.network vgg16 --run.dir runs/vgg16
  # A decoder for VGG-19 (stylize --download vgg19)
  train_style --config configs/style_transfer.py --encoder.weights vgg19-dcbb9e9d.pth --run.dir runs/vgg19

Besides the fields below:
  --config FILE       experiment file, or the name of one that ships (style_transfer);
                      not needed to resume the training in --run.dir

Defaults below are those of the experiment named by --config.
"""


INTERRUPTED = "The same command goes on from what is saved."


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can fix, or 130 after Ctrl-C."""
    return common.run(lambda: _train(sys.argv[1:] if argv is None else argv), INTERRUPTED)


def _train(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="train_style", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    words = arguments.normalized(argv, arguments.booleans(StyleConfig))
    _refuse_old_names(words)
    ours, overrides = parser.parse_known_args(words)
    run = run_to_resume(ours.config, overrides, "configs/style_transfer.py")
    config = arguments.parse(
        StyleConfig,
        overrides,
        prog="train_style",
        description=DESCRIPTION,
        default=_default(ours.config, run),
    )
    from stylegen.runtime.memory import keep_freed_memory
    from stylegen.style_transfer.train import train_style

    keep_freed_memory()
    common.use_compiled_programs()
    train_style(config)


def _default(name: str | None, run: Path | None) -> StyleConfig:
    """The settings that the command line overrides: an experiment's, or those of the training to resume."""
    if name is not None:
        return load_config(name, StyleConfig)
    if run is None:
        return StyleConfig()
    from stylegen.style_transfer.train import settings_of

    return settings_of(run)


def _refuse_old_names(words: list[str]) -> None:
    """Raise UsageError that says the present name of an option which had another one."""
    for word in words:
        old = word.partition("=")[0]
        name = old.removeprefix("--").replace("-", "_")
        if old.startswith("--") and (new := current_name(name)) != name:
            raise common.UsageError(f"{old} is now --{new.replace('_', '-')}.")
