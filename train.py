"""Train a generator, or resume a run: see ``python train.py --help``."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("train"))
