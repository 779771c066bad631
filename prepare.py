"""Prepare images for training; ``python prepare.py --help`` says how."""

from stylegen.cli.prepare import main

if __name__ == "__main__":
    raise SystemExit(main())
