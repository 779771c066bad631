"""Find directions in a generator's styles and move pictures along them; ``python edit.py --help`` shows how."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("edit"))
