"""The verb ``convert``: other people's generators as runs of ours, and ours in other forms."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from stylegen.cli import arguments, common
from stylegen.io.progress import announced, counted
from stylegen.nvidia import importing
from stylegen.nvidia.weight_table import Imported
from stylegen.runs.load import is_exported, load, shipped

if TYPE_CHECKING:
    from stylegen.networks.generator import Generator

DESCRIPTION = """Convert generators from and to other forms.

  # NVIDIA's pickle to a run directory; nothing in the file is run
  convert karras2019stylegan-bedrooms-256x256.pkl --out runs/nvidia-bedroom --report
  sample --run runs/nvidia-bedroom --seeds 0-15 --psi 0.7 --cutoff 8 --out out
  # What is in it? Nothing is written
  convert karras2019stylegan-bedrooms-256x256.pkl --report
  # A run as one file, with a model card and a grid beside it
  convert runs/bedroom --to safetensors --out bedroom.safetensors
  # Its sampling function as one program for CPU, CUDA and TPU that needs JAX alone, in a folder for the hub
  convert runs/bedroom --to stablehlo --out exported --license apache-2.0
"""

Text = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
EXPORT_ONLY = ("kimg", "cutoff", "license", "push_to_hub")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to convert."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A pickle of NVIDIA's (.pkl); with --to a run directory, an exported file or folder, or toy_bedrooms."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Run directory to write; with --to a file with the form's ending, or a folder."""
    report: bool = False  # print the networks found, the weights mapped, and remarks.
    overwrite: bool = False  # replace the run, or the exported files, that are in --out.
    to: Literal["safetensors", "npz", "stablehlo"] | None = None
    """Export: weights and configuration (safetensors, npz), or the sampling function as a program (stablehlo)."""
    kimg: float | None = None  # with --to, the checkpoint of a run; default: the newest good one.
    cutoff: int | None = None  # with --to stablehlo, layers that psi truncates, from the coarsest; default: all.
    license: Text = None
    """With --to, the identifier of the license that the model card states: apache-2.0, cc-by-nc-4.0, ..."""
    push_to_hub: Text = None
    """With --to and a folder as --out, repository of the Hugging Face hub to upload it to."""


INTERRUPTED = "A run is there whole or not at all; --overwrite starts anew."


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can mend, or 130 after Ctrl-C."""
    return common.run(
        lambda: convert(arguments.parse(Options, argv, prog="convert", description=DESCRIPTION)), INTERRUPTED
    )


def convert(options: Options) -> None:
    """Do what was asked; an error of our own says why it cannot be done."""
    common.use_compiled_programs()
    if options.to is None:
        _import(options)
    else:
        _export(options, options.to)


def _import(options: Options) -> None:
    if given := [name for name in EXPORT_ONLY if getattr(options, name) is not None]:
        raise common.UsageError(f"--{given[0].replace('_', '-')} goes with --to safetensors, npz or stablehlo.")
    if _is_ours(options.source):
        raise common.UsageError(
            f"{options.source} is no pickle, so it can only be exported: add --to safetensors, npz or stablehlo."
        )
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


def _is_ours(source: Path) -> bool:
    return source.is_dir() or source.suffix in (".safetensors", ".npz") or str(source) in shipped()


def _note(imported: Imported) -> str:
    num_remarks = len(imported.report.remarks)
    return f"; {counted(num_remarks, 'remark')} in {importing.REPORT}" if num_remarks else ""


def _export(options: Options, form: Literal["safetensors", "npz", "stablehlo"]) -> None:
    from stylegen.export import files, stablehlo  # here, because jax.export and metrics are not needed to import

    out = _check_export(options, form)
    single = out.suffix == f".{form}"
    names, folder = (files.names_beside(out), out.parent) if single else (files.folder_names(form), out)
    common.check_outputs(folder, names, options.overwrite)
    files.check_license(options.license)
    hub: Any = None if options.push_to_hub is None else files.check_hub(options.push_to_hub, options.license)
    if form == "stablehlo":
        stablehlo.check_serializer()
    G: Generator = files.without_paths(load(options.source, options.kimg))
    facts = files.facts_of(str(options.source), G, options.license)
    with announced(f"Writing {', '.join(names)}; the program that draws the grid is compiled first."):
        if single:
            files.save_beside(G, form, out, facts, options.cutoff)
        else:
            files.save_folder(G, form, out, facts, options.cutoff)
    print(f"{G}\n{folder}: {', '.join(names)}")
    if hub is not None and options.push_to_hub is not None:
        print(f"uploaded to {files.push(hub, out, options.push_to_hub, names)}")


def _check_export(options: Options, form: str) -> Path:
    """The file or folder to write, if the options fit each other."""
    if options.source.suffix == ".pkl" and options.source.is_file():
        raise common.UsageError(
            f"{options.source} is a pickle: import it first (convert {options.source} --out runs/imported), then "
            "export that run."
        )
    if options.report:
        raise common.UsageError("--report is of pickles; --to does not go with it.")
    if options.cutoff is not None and form != "stablehlo":
        raise common.UsageError(f"--cutoff goes with --to stablehlo; {form} has the weights, which any cutoff fits.")
    if options.out is None:
        raise common.UsageError(f"--out is missing: a file such as generator.{form}, or a folder.")
    out = options.out
    if out.suffix and out.suffix != f".{form}" and not out.is_dir():
        raise common.UsageError(f"--out {out}: --to {form} writes a file that ends with .{form}, or a folder.")
    if out.suffix == f".{form}" and out.is_dir():
        raise common.UsageError(f"--out {out} is a folder; give the name of a file.")
    if options.push_to_hub is not None and out.suffix == f".{form}":
        raise common.UsageError("--push-to-hub uploads a folder; give one as --out.")
    if out.is_dir() and (out / "config.json").exists() and not is_exported(out):
        raise common.UsageError(f"--out {out} holds a run; give another folder.")
    return out
