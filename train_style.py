"""Train the networks of style transfer, or resume; ``python train_style.py --help`` shows how."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("train_style"))
