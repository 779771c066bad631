"""Turn other people's generators into runs of ours; ``python convert.py --help`` shows how."""

import sys

from stylegen.cli.convert import main

if __name__ == "__main__":
    sys.exit(main())
