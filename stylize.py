"""Give pictures or a video the style of others; ``python stylize.py --help`` shows how."""

import sys

from stylegen.cli import main

if __name__ == "__main__":
    sys.exit(main(["stylize", *sys.argv[1:]]))
