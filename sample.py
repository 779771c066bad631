"""Draw pictures, style-mixing tables and videos with a trained generator; ``python sample.py --help`` shows how."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("sample"))
