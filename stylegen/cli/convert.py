"""The verb ``convert``: other people's generators as runs of ours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from stylegen import importing
from stylegen.cli import common
from stylegen.loading import load
from stylegen.pretrained.mapping import Imported

DESCRIPTION = """Convert generators from and to other forms.

  # NVIDIA's pickle to a run directory; nothing in the file is run
  convert karras2019stylegan-bedrooms-256x256.pkl --out runs/nvidia-bedroom --report
  sample --run runs/nvidia-bedroom --seeds 0-15 --psi 0.7 --cutoff 8 --out out
  # What is in it? Nothing is written
  convert karras2019stylegan-bedrooms-256x256.pkl --report
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to convert."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A pickle of NVIDIA's (.pkl)."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Run directory to write."""
    report: bool = False  # print what was found, mapped and left.
    overwrite: bool = False  # replace the run that is in --out.


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can mend, or 130 after Ctrl-C."""
    config = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(Options, prog="convert", description=DESCRIPTION, args=argv, config=config)
    return common.run(lambda: convert(options))


def convert(options: Options) -> None:
    """Do what was asked; an error of our own says why it cannot be done."""
    if options.out is None and not options.report:
        raise common.UsageError("--out is missing, for example --out runs/nvidia-bedroom; or --report, to look inside.")
    if options.out is not None:
        importing.check_free(options.out, options.overwrite)
    imported = importing.read(options.source)
    if options.report:
        print(imported.report.text())
    if options.out is None:
        return
    importing.write_run(imported, options.out, str(options.source), options.overwrite)
    print(f"{options.out}: {load(options.out)}{_note(imported)}")


def _note(imported: Imported) -> str:
    left = len(imported.report.left)
    return f"; {left} remark{'s' if left > 1 else ''} in {importing.REPORT}" if left else ""
