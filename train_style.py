"""Train the networks of style transfer, or resume; ``python train_style.py --help`` shows how."""

import sys

from stylegen.cli import main

if __name__ == "__main__":
    sys.exit(main(["train_style", *sys.argv[1:]]))
