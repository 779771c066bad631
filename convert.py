"""Turn other people's generators into runs of ours; ``python convert.py --help`` shows how."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("convert"))
