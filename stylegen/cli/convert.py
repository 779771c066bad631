"""The verb ``convert``: other people's generators as runs of ours, and ours in other forms."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

import stylegen
from stylegen.cli import arguments, common
from stylegen.io.progress import announced, counted

if TYPE_CHECKING:  # JAX, which takes seconds to import, is not needed for --help and wrong options
    from stylegen.networks.generator import Generator
    from stylegen.nvidia.weight_table import Imported

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
  # The same for ONNX Runtime and every other reader of ONNX
  convert runs/bedroom --to onnx --out exported
  # A web page that draws without a server, with directions of your own
  convert runs/bedroom --to web --out bedroom.html --directions out/directions.npz
  # Style transfer as one ONNX file: the networks of the package, or a file that train_style wrote
  convert style_transfer --to onnx --out stylize.onnx
"""

Form = Literal["safetensors", "npz", "stablehlo", "onnx", "web"]
Text = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
IMPORTED = (".pkl", ".pt", ".pth")  # files that are imported before they can be exported
EXPORT_ONLY = ("kimg", "cutoff", "directions", "size", "license", "push_to_hub")
TO = "--to safetensors, npz, stablehlo, onnx or web"
PAGE_DIRECTIONS, PAGE_SAMPLES = 4, 2000  # of each kind that a page offers, and of w that they are found in
STYLE_TRANSFER = "style_transfer"  # the name of the networks that come with the package


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to convert."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")] = Path()
    """A pickle of NVIDIA's (.pkl), a checkpoint of rosinality's form (.pt), or one of these elsewhere (https://...,
    nvidia:bedroom-256); with --to also a run directory, an exported file or folder, hf:owner/name, or toy_bedrooms;
    with --to onnx also style_transfer, or a file of such networks."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Run directory to write; with --to a file with the form's ending, or a folder."""
    report: bool = False  # print the networks found, the weights mapped, and remarks.
    overwrite: bool = False  # replace the run, or the exported files, that are in --out.
    to: Form | None = None
    """Export: weights and configuration (safetensors, npz), the sampling function as a program (stablehlo, onnx), or a
    page that draws in the browser (web)."""
    kimg: float | None = None  # with --to, the checkpoint of a run; default: the newest good one.
    cutoff: int | None = None
    """With --to stablehlo or onnx, layers that psi truncates, from the coarsest; default: all."""
    directions: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """With --to web, the page's directions, as edit wrote them; default: principal components and factorized ones."""
    half: bool = False  # with --to web, write weights in half precision: half the size, and images a little different.
    size: int | None = None
    """Of style transfer as onnx, pixels a side of both images; default: any multiples of 4, or of 8 with VGG-19."""
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
    """Entry point; the exit status is 0, 2 for what the user can fix, or 130 after Ctrl-C."""
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
    from stylegen.hub import remote

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
    if given := [name for name in EXPORT_ONLY if getattr(options, name) is not None] + ["half"] * options.half:
        raise common.UsageError(f"--{given[0].replace('_', '-')} goes with {TO}.")
    if _is_ours(options.source):
        raise common.UsageError(f"{options.source} is no pickle, so it can only be exported: add {TO}.")
    if options.out is None and not options.report:
        raise common.UsageError("--out is missing, for example --out runs/nvidia-bedroom; or --report, to look inside.")
    from stylegen.nvidia import importing

    if options.out is not None:
        importing.check_free(options.out, options.overwrite)
    imported = importing.read(options.source)
    if options.report:
        print(imported.report.text())
    if options.out is None:
        return
    importing.write_run(imported, options.out, str(options.source), options.overwrite)
    print(f"{options.out}: {stylegen.load(options.out)}{_note(imported)}")


def _is_ours(source: Path) -> bool:
    from stylegen.runs.load import shipped

    return source.is_dir() or source.suffix in (".safetensors", ".npz") or str(source) in (*shipped(), STYLE_TRANSFER)


def _note(imported: "Imported") -> str:
    from stylegen.nvidia import importing

    num_remarks = len(imported.report.remarks)
    return f"; {counted(num_remarks, 'remark')} in {importing.REPORT}" if num_remarks else ""


def _export(options: Options, form: Form) -> None:
    from stylegen.export import files, stablehlo  # here, because jax.export and metrics are not needed to import
    from stylegen.export.onnx import graph

    suffix = files.SUFFIXES[form]
    out = _check_export(options, form, suffix)
    if form == "onnx":
        graph.check_installed()
        if (style := _style_model(options.source)) is not None:
            _export_style(options, style, out)
            return
    if options.size is not None:
        raise common.UsageError("--size is of style transfer with --to onnx; a generator has one size.")
    files.check_license(options.license)
    hub: Any = None if options.push_to_hub is None else files.check_hub(options.push_to_hub, options.license)
    if form == "stablehlo":
        stablehlo.check_serializer()
    G: Generator = files.without_paths(stylegen.load(options.source, options.kimg))
    facts = files.facts_of(str(options.source), G, options.license)
    choices = files.Choices(options.cutoff, _contents(options, G)) if form == "web" else files.Choices(options.cutoff)
    single = out.suffix == suffix
    folder = out.parent if single else out
    names = files.names_beside(form, out) if single else files.folder_names(G, form, choices)
    common.check_outputs(folder, names, options.overwrite)
    with announced(f"Writing {', '.join(names)}; the program that draws the grid is compiled first."):
        if single:
            files.save_beside(G, form, out, facts, choices)
        else:
            files.save_folder(G, form, out, facts, choices)
    print(f"{G}\n{folder}: {', '.join(names)}")
    if choices.contents.note:
        print(choices.contents.note)
    if hub is not None and options.push_to_hub is not None:
        print(f"uploaded to {files.push(hub, out, options.push_to_hub, names)}")


def _contents(options: Options, G: "Generator") -> Any:
    """What the page of a generator says and offers."""
    from stylegen import sampling
    from stylegen.editing import directions, discovery
    from stylegen.export import model_card
    from stylegen.export.web.page import Contents, Slider

    if options.directions is not None:
        entries = directions.load(options.directions, G).entries
    else:
        labels = np.arange(PAGE_SAMPLES) % G.c_dim if G.c_dim else None
        w, half = sampling.sample_w(G, PAGE_SAMPLES, labels=labels), G.num_ws // 2
        entries = (
            *discovery.principal_components(w, min(PAGE_DIRECTIONS, G.w_dim), range(G.num_ws)),
            *discovery.factorized(G, w, min(PAGE_DIRECTIONS, G.w_dim), range(half), "coarse{}"),
            *discovery.factorized(G, w, min(PAGE_DIRECTIONS, G.w_dim), range(half, G.num_ws), "fine{}"),
        )
    sliders = tuple(Slider(d.name, d.layers, d.vector) for d in entries)
    data = model_card.data_line(G.config).replace("`", "")  # a card's Markdown
    summary = f"{G.config.size_text(G.resolution)} pixels, {G.kimg:g} kimg, {data}"
    note = _half_note(G) if options.half else ""
    return Contents(options.source.absolute().name, summary, note, model_card.PSI, sliders, options.half)


def _half_note(G: "Generator") -> str:
    from stylegen.export.web import page

    most, mean = page.half_difference(G)
    return (
        f"Half precision changes the images of seeds 0 to {page.CHECKED_SEEDS[-1]} by at most {counted(most, 'level')} "
        f"of 255, {mean:.2g} on average."
    )


def _style_model(source: Path) -> Any:
    """The style-transfer networks that the source is, or None where it is something else."""
    from stylegen.style_transfer import StyleError, model

    if str(source) == STYLE_TRANSFER:
        return model.load_model()
    if source.suffix != ".safetensors" or not source.is_file():
        return None
    try:
        return model.load_model(source)
    except StyleError:
        return None


def _export_style(options: Options, style: Any, out: Path) -> None:
    from stylegen.export.onnx import networks

    if out.suffix != ".onnx":
        raise common.UsageError(f"--out {out}: style transfer is one file that ends with .onnx.")
    if given := [name for name in EXPORT_ONLY if name != "size" and getattr(options, name) is not None]:
        raise common.UsageError(f"--{given[0].replace('_', '-')} is of generators, not of style transfer.")
    common.check_outputs(out.parent, [out.name], options.overwrite)
    networks.save(networks.stylizer(style, options.size), out)
    print(f"{style}\n{out}")


def _check_export(options: Options, form: str, suffix: str) -> Path:
    """The file or folder to write, if the options fit each other."""
    from stylegen.runs.load import is_exported

    if options.source.suffix in IMPORTED and options.source.is_file():
        raise common.UsageError(
            f"{options.source} is a pickle: import it first (convert {options.source} --out runs/imported), then "
            "export that run."
        )
    if options.report:
        raise common.UsageError("--report is of pickles; --to does not go with it.")
    if options.cutoff is not None and form not in ("stablehlo", "onnx"):
        raise common.UsageError(
            f"--cutoff goes with --to stablehlo or onnx; {form} has the weights, which any cutoff fits."
        )
    if form != "web" and (options.half or options.directions is not None):
        raise common.UsageError(f"--{'half' if options.half else 'directions'} goes with --to web.")
    if form != "onnx" and str(options.source) == STYLE_TRANSFER:
        raise common.UsageError(f"{STYLE_TRANSFER} is exported with --to onnx; {form} is a form of generators.")
    if options.out is None:
        raise common.UsageError(f"--out is missing: a file such as generator{suffix}, or a folder.")
    out = options.out
    if out.suffix and out.suffix != suffix and not out.is_dir():
        raise common.UsageError(f"--out {out}: --to {form} writes a file that ends with {suffix}, or a folder.")
    if out.suffix == suffix and out.is_dir():
        raise common.UsageError(f"--out {out} is a folder; give the name of a file.")
    if options.push_to_hub is not None and out.suffix == suffix:
        raise common.UsageError("--push-to-hub uploads a folder; give one as --out.")
    if out.is_dir() and (out / "config.json").exists() and not is_exported(out):
        raise common.UsageError(f"--out {out} holds a run; give another folder.")
    return out
