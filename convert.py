"""Turn other people's generators into runs of ours; ``python convert.py --help`` shows how."""

import sys

from stylegen.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
