"""Prepare images for training; ``python prepare.py --help`` says how."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("prepare"))
