"""Measure generated pictures: FID, KID, precision and recall, SWD; ``python evaluate.py --help`` shows how."""

import sys

from stylegen.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
