"""Train a generator, or resume a run: see ``python train.py --help``."""

from stylegen.cli.train import main

if __name__ == "__main__":
    raise SystemExit(main())
