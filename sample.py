"""Draw pictures, style-mixing tables and videos with a trained generator; ``python sample.py --help`` shows how."""

import sys

from stylegen.cli import main

if __name__ == "__main__":
    sys.exit(main(["sample", *sys.argv[1:]]))
