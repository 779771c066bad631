"""Train a generator, or resume a run: see ``python train.py --help``."""

import sys

from stylegen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
