"""Give pictures or a video the style of others; ``python stylize.py --help`` shows how."""

import sys

from stylegen.cli import command

if __name__ == "__main__":
    sys.exit(command("stylize"))
