"""Explore a trained generator in the browser; ``python explore.py --help`` shows how."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("explore"))
