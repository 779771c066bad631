"""The verb ``convert``: other people's generators as runs of ours, and ours in other forms."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from stylegen.cli import arguments, common
from stylegen.hub import remote
from stylegen.hub.opening import load
from stylegen.io.progress import counted
from stylegen.nvidia import importing
from stylegen.nvidia.weight_table import Imported
from stylegen.runs.load import is_exported, shipped

if TYPE_CHECKING:
    from stylegen.networks.generator import Generator

DESCRIPTION = """Convert generators from and to other forms.

  # NVIDIA's pickle to a run directory; nothing in the file is run
  convert karras2019stylegan-bedrooms-256x256.pkl --out runs/nvidia-bedroom --report
  sample --run runs/nvidia-bedroom --seeds 0-15 --psi 0.7 --cutoff 8 --out out
  # A fine-tune of rosinality's stylegan2-pytorch, or the generator within a pSp or e4e encoder
  convert ffhq-cartoon.pt --out runs/cartoon
  # A file that NVIDIA publishes, by its name: address, license and size are said, and it is fetched once
  convert nvidia:bedroom-256 --out runs/nvidia-bedroom
  # What is in it? Nothing is written
  convert karras2019stylegan-bedrooms-256x256.pkl --report
  # A run as one file, with a model card and a grid beside it
  convert runs/bedroom --to safetensors --out bedroom.safetensors
  # Two fine-tunes of one network: shapes of the first, textures of the second from 32 pixels on; or their mean
  convert --blend runs/faces runs/cartoon --at 32 --out blended.safetensors
  convert --average runs/a runs/b --weights 0.7,0.3 --out mean.safetensors
  # The generator that a moving average of another length would have been (of a run with optimizer.power-ema)
  convert runs/bedroom --ema 0.1 --out bedroom-ema0.1.safetensors
  # Its sampling function as one program for CPU, CUDA and TPU that needs JAX alone, in a folder for the hub
  convert runs/bedroom --to stablehlo --out exported --license apache-2.0
"""

Text = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
IMPORTED = (".pkl", ".pt", ".pth")  # files that are imported before they can be exported
EXPORT_ONLY = ("kimg", "cutoff", "license", "push_to_hub")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to convert."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")] = Path()
    """A pickle of NVIDIA's (.pkl), a checkpoint of rosinality's form (.pt), or one of these elsewhere (https://...,
    nvidia:bedroom-256); with --to also a run directory, an exported file or folder, hf:owner/name, or toy_bedrooms."""
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
    blend: Annotated[tuple[str, str] | None, tyro.conf.arg(metavar="A B")] = None
    """Instead of SOURCE, two generators of one ancestor: coarse layers of the first, fine ones of the second."""
    at: Annotated[int | None, tyro.conf.arg(metavar="PIXELS")] = None  # with --blend, where the second begins: 32.
    smooth: Annotated[float, arguments.Bounds(0, 16)] = 0.0  # with --blend, doublings to fade over; 0 is a sharp seam.
    average: Annotated[tuple[str, ...], tyro.conf.arg(metavar="A B ...")] = ()
    """Instead of SOURCE, generators of one ancestor whose weights are averaged."""
    ema: Annotated[float | None, tyro.conf.arg(metavar="LENGTH")] = None
    """Of a run with optimizer.power-ema, the average of this length, such as 0.1 of the training."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="LIST")] = None  # with --average: 0.7,0.3; default: equal.


INTERRUPTED = "A run is there whole or not at all; --overwrite starts anew."


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can mend, or 130 after Ctrl-C."""
    return common.run(
        lambda: convert(arguments.parse(Options, argv, prog="convert", description=DESCRIPTION)), INTERRUPTED
    )


def convert(options: Options) -> None:
    """Do what was asked; an error of our own says why it cannot be done."""
    common.use_compiled_programs()
    if _merges(options):
        return
    if options.source == Path():
        raise common.UsageError("SOURCE is missing: a file or run to convert, or give --blend A B or --average A B.")
    if options.ema is not None:
        _reconstruct(options, options.ema)
        return
    options = dataclasses.replace(options, source=Path(remote.local(options.source)))
    if options.to is None:
        _import(options)
    else:
        _export(options, options.to)


def _merges(options: Options) -> bool:
    """Whether this was a blend or an average, which is then done."""
    is_blend, sources = options.blend is not None, options.blend or options.average
    if not is_blend and (options.at is not None or options.smooth):
        raise common.UsageError("--at and --smooth go with --blend A B.")
    if options.weights is not None and (is_blend or not sources):
        raise common.UsageError("--weights goes with --average.")
    if not sources:
        return False
    if is_blend and options.average:
        raise common.UsageError("--blend and --average are two different things; give one of them.")
    others = ("to", "kimg", "cutoff", "push_to_hub", "ema")
    if options.source != Path() or options.report or any(getattr(options, name) is not None for name in others):
        what = "--blend" if is_blend else "--average"
        raise common.UsageError(f"{what} goes with --out, --license and --overwrite alone; convert its result then.")
    from stylegen.cli import convert_merge

    convert_merge.merge(
        sources,
        at=(options.at or 32) if is_blend else None,
        smooth=options.smooth,
        weights=options.weights,
        out=options.out,
        overwrite=options.overwrite,
        license=options.license,
    )
    return True


def _reconstruct(options: Options, std: float) -> None:
    """Write the generator of another average."""
    from stylegen.cli import convert_merge

    others = ("to", "cutoff", "push_to_hub")
    if options.report or any(getattr(options, name) is not None for name in others):
        raise common.UsageError("--ema goes with --kimg, --out, --license and --overwrite; convert its result then.")
    convert_merge.reconstruct(
        options.source,
        std,
        kimg=options.kimg,
        out=options.out,
        overwrite=options.overwrite,
        license=options.license,
    )


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
    if single:
        files.save_beside(G, form, out, facts, options.cutoff)
    else:
        files.save_folder(G, form, out, facts, options.cutoff)
    print(f"{G}\n{folder}: {', '.join(names)}")
    if hub is not None and options.push_to_hub is not None:
        print(f"uploaded to {files.push(hub, out, options.push_to_hub, names)}")


def _check_export(options: Options, form: str) -> Path:
    """The file or folder to write, if the options fit each other."""
    if options.source.suffix in IMPORTED and options.source.is_file():
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
