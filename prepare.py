"""Prepare images for training; ``python prepare.py --help`` says how."""

import sys

from stylegen.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
