"""Find the styles with which a trained generator draws your picture; ``python project.py --help`` shows how."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("project"))
