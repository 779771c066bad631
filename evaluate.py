"""Measure generated pictures: FID, KID, precision and recall, SWD; ``python evaluate.py --help`` shows how."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("evaluate"))
