"""The verb ``edit``: directions in the space of styles, found, named, and applied to seeds or to projections."""

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

import stylegen
from stylegen import values
from stylegen.cli import arguments, common
from stylegen.io import images
from stylegen.io.files import check_writable, unique_names
from stylegen.runtime.memory import keep_freed_memory

DESCRIPTION = """Find directions in which images change, and move images along them.

  # Ten principal components of w, each with an image of what it does; all in edits/directions.npz
  edit --run runs/bedroom --discover 10 --out edits
  # By factorizing the layers' affines, for the coarse layers and for the others apart
  edit --run runs/bedroom --discover 5 --method sefa --ranges 0-3,4-13 --out edits
  # What you saw gets a name
  edit --rename pca3=light,pca0=wall --out edits
  # Move seeds, or your own image as project found it; a single strength gives edited.npz as well
  edit --run runs/bedroom --apply light --strength -3..3 --seeds 0-3 --out edits
  edit --run runs/bedroom --apply 3 --strength 2 --from out/projection.npz --out edited
  # Directions of attributes that you have scored: a .csv or .json with seed (or image) and a column for each
  edit --run runs/bedroom --probe scores.csv --out edits
  # Drag points of images to other places, from x,y to x,y in pixels; dragged.npz is for sample --from
  edit --run toy_bedrooms --seeds 8 --psi 0.7 --drag 28,22:24,22/13,26:9,26 --out dragged
"""

MAX_STRENGTH = 1000  # of either sign; images are of noise long before
FILE = "directions.npz"
Text = Annotated[str | None, tyro.conf.arg(metavar="LIST")]
Number = Annotated[int | None, tyro.conf.arg(metavar="INT")]
File = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to do."""

    run: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """Run directory, exported file or folder, or toy_bedrooms, which ships with the package."""
    kimg: Annotated[float | None, tyro.conf.arg(metavar="KIMG")] = None
    """Checkpoint at so many thousand images; default: the newest good one."""
    discover: Annotated[Number, arguments.Bounds(1)] = None
    """Find so many directions for each method and range of layers."""
    method: str = "pca"  # pca, principal components of w; sefa, factorized affines; or pca,sefa.
    ranges: str = "all"  # layers that directions act on, 0 being the coarsest: all,0-3,4-7 are three ranges.
    probe: File = None  # find the directions of these scores instead: .csv or .json.
    rename: Text = None  # give directions names: pca3=light,pca0=wall.
    apply: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Move images along this direction, by its name or its number."""
    drag: Text = None  # drag points, x,y:x,y from where to where, several with / between them.
    drag_steps: Annotated[int, arguments.STEPS] = 200  # of a drag, at most.
    mask: File = None  # of a drag: an image that is white where the others may change; default: everywhere.
    strength: Annotated[str, tyro.conf.arg(metavar="RANGE")] = "-3..3"
    """How far, in standard deviations: a number, several with commas, or -3..3, of which --steps are shown."""
    steps: Annotated[int, arguments.Bounds(1, 100)] = 7  # strengths of a range.
    layers: Text = None  # apply to these layers instead of the direction's own: 0-3.
    seeds: str = "0-3"  # images to move.
    projection: Annotated[File, tyro.conf.arg(name="from")] = None
    """Images to move, instead of seeds: projection.npz of project."""
    labels: Text = None  # classes of a class-conditional generator, by number or name: one for all, or one a seed.
    psi: float = 1.0  # truncation of the seeds, toward the mean of all classes.
    directions: File = None  # where directions are kept; default: directions.npz in --out.
    samples: Annotated[int, arguments.Bounds(20, 1_000_000)] = 10_000  # random w that directions are measured with.
    seed: Annotated[int, arguments.SEED] = 0  # seed of the random w.
    scale: Annotated[Number, arguments.SCALE] = None  # enlargement by whole pixels; default: so that one can see them.
    out: Path = Path("edits")  # folder.
    overwrite: bool = False  # replace images, and directions of the same name, that are there already.


INTERRUPTED = "Files that are there are whole; --overwrite starts anew."


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can fix, or 130 after Ctrl-C."""
    words = joined_strength(sys.argv[1:] if argv is None else argv)
    return common.run(lambda: edit(arguments.parse(Options, words, prog="edit", description=DESCRIPTION)), INTERRUPTED)


def joined_strength(argv: Sequence[str]) -> list[str]:
    """``--strength -3..3`` as one word: what begins with a minus would else be taken for an option."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] == "--strength":
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def edit(options: Options) -> None:
    """Do what was asked; an error of our own says why it cannot be done."""
    keep_freed_memory()
    asked = [name for name in ("discover", "probe", "rename", "apply", "drag") if getattr(options, name) is not None]
    if len(asked) != 1:
        raise common.UsageError("give one of --discover, --probe, --rename, --apply and --drag.")
    if options.mask is not None and options.drag is None:
        raise common.UsageError("--mask needs --drag.")
    strengths = parse_strengths(options.strength, options.steps)
    if options.rename is not None:
        _rename(options)
        return
    if options.run is None:
        raise common.UsageError("--run is missing, for example --run toy_bedrooms.")
    if options.drag is not None:
        _drag(options, options.drag)
    elif options.apply is not None:
        _apply(options, options.apply, strengths)
    else:
        _find(options, strengths)


def parse_strengths(text: str, steps: int) -> list[float]:
    """Strengths: "2", "-1,0,1", or "-3..3", which is ``steps`` of them at equal distances.

    Raises:
        UsageError: it does not parse.
    """
    is_range = ".." in text
    try:
        strengths = [float(part) for part in text.split(".." if is_range else ",")]
    except ValueError:
        strengths = [math.nan]
    if not all(abs(strength) <= MAX_STRENGTH for strength in strengths) or (is_range and len(strengths) != 2):
        raise common.UsageError(
            f"--strength {text}: must be a number, several with commas, or a range such as -3..3, of at most "
            f"{MAX_STRENGTH} standard deviations."
        )
    if is_range:
        first, last = strengths
        return np.linspace(first, last, steps).tolist() if first != last else [first]
    return strengths


def parse_ranges(text: str, num_ws: int) -> dict[str, list[int]]:
    """Ranges of layers by what is put behind a direction's name: "all,0-3" is {"": [0, ...], "@0-3": [0, 1, 2, 3]}."""
    ranges: dict[str, list[int]] = {}
    for part in text.split(","):
        if part.strip() == "all":
            ranges[""] = list(range(num_ws))
            continue
        layers = common.parse_numbers("--ranges: layers", part)
        if max(layers) >= num_ws:
            raise common.UsageError(f"--ranges {part}: this generator has {num_ws} layers, 0 to {num_ws - 1}.")
        ranges[f"@{part.strip()}"] = layers
    return ranges


def _find(options: Options, strengths: list[float]) -> None:
    from stylegen import sampling
    from stylegen.editing import directions, discovery
    from stylegen.projection.result import fingerprint

    methods = [part.strip() for part in options.method.split(",")]
    if unknown := set(methods) - {"pca", "sefa"}:
        raise common.UsageError(f"--method {options.method}: {min(unknown)!r} is neither pca nor sefa.")
    scores = discovery.read_scores(options.probe) if options.probe is not None else None
    check_writable(_file(options))
    G = _load(options)
    ranges = parse_ranges(options.ranges, G.num_ws)
    new: list[Any] = []  # directions
    if scores is not None:
        labels = common.parse_labels(options.labels, len(scores[0]), "seeds")
        w = stylegen.styles(G, stylegen.latents(scores[0], G.z_dim), labels=labels)[:, 0]
        unique = unique_names(map(_clean, scores[1]))
        for (name, values), clean in zip(scores[1].items(), unique, strict=True):
            for suffix, layers in ranges.items():
                probe = discovery.attribute_direction(w, values, layers, clean + suffix)
                new.append(probe.direction)
            print(
                f"{name}: {probe.kind} {probe.quality:.3f} on the samples left out ({probe.baseline:.3f} by guessing)"
            )
    else:
        w = sampling.sample_w(G, options.samples, options.seed, _single_label(options))
        for suffix, layers in ranges.items():
            if "pca" in methods:
                new += discovery.principal_components(w, options.discover or 1, layers, "pca{}" + suffix)
            if "sefa" in methods:
                new += discovery.factorized(G, w, options.discover or 1, layers, "sefa{}" + suffix)
    path = _file(options)
    earlier = _earlier(options, path, G, [direction.name for direction in new])
    names = [f"{direction.name}.png" for direction in new]
    common.check_outputs(options.out, names, options.overwrite)
    if earlier is None:
        earlier = directions.Directions((), fingerprint(G))
    directions.save(earlier.joined(new), path)
    for direction, name in zip(new, names, strict=True):
        _draw_table(options, G, direction, strengths, options.out / name)
    print(f"{path}: {', '.join(direction.name for direction in new)}; an image of each in {options.out}.")


def _earlier(options: Options, path: Path, G: Any, names: list[str]) -> Any:
    """Directions in the file already, or None; ``--overwrite`` lets new ones of the same names replace them."""
    from stylegen.editing import directions

    if not path.is_file():
        return None
    earlier = directions.load(path, G)
    if (shared := {direction.name for direction in earlier.entries} & set(names)) and not options.overwrite:
        raise common.UsageError(
            f"{path} has a direction {min(shared)} already; --rename it, give another --out, or --overwrite."
        )
    return earlier


def _rename(options: Options) -> None:
    from stylegen.editing import directions

    path = _file(options)
    table = directions.load(path)
    renamed_files: list[tuple[Path, Path]] = []
    for part in (options.rename or "").split(","):
        old, equals, new = part.strip().partition("=")
        if not equals:
            raise common.UsageError(f"--rename {options.rename}: {part.strip()!r} is not OLD=NEW.")
        before = table.get(old).name
        table = table.renamed(old, new)
        renamed_files.append((options.out / f"{before}.png", options.out / f"{new}.png"))
    directions.save(table, path)
    for source, target in renamed_files:
        if source.is_file() and not target.exists():
            source.rename(target)
    print(f"{path}: {', '.join(direction.name for direction in table.entries)}")


def _apply(options: Options, name: str, strengths: list[float]) -> None:
    from stylegen.editing import directions
    from stylegen.projection import result

    path = _file(options)
    single = options.projection is not None and len(strengths) == 1
    G = _load(options)
    direction = directions.load(path, G).get(name)
    projection = result.load(options.projection) if single and options.projection is not None else None
    files = [f"{direction.name}-applied.png"]
    if projection is not None:
        files += ["edited.npz", *(f"edited-{name}.png" for name in unique_names(projection.names))]
    common.check_outputs(options.out, files, options.overwrite)
    _draw_table(options, G, direction, strengths, options.out / files[0])
    if projection is not None:
        from dataclasses import replace

        moved = directions.move(projection.ws, direction, strengths[0], _layers(options))
        about = {**projection.about, "moved": [*projection.about.get("moved", []), [direction.name, strengths[0]]]}
        edited = replace(projection, ws=moved, z=None, about=about)
        result.save(edited, options.out / "edited.npz")
        for name, image in zip(files[2:], result.draw(G, edited), strict=True):
            images.save_image(image, options.out / name)
    print(f"{options.out}: {', '.join(files)}; {direction.name} at {', '.join(f'{s:.3g}' for s in strengths)}.")


def _drag(options: Options, points: str) -> None:
    from stylegen.cli import edit_drag
    from stylegen.projection import result

    edit_drag.parse_points(points)
    G = _load(options)
    if options.projection is not None:
        projection = result.load(options.projection)
        result.check(projection, G, str(options.projection))
    else:
        seeds = common.parse_numbers("--seeds: seed list", options.seeds)
        labels = common.parse_labels(options.labels, len(seeds), "seeds")
        projection = edit_drag.seeds_as_projection(G, seeds, labels, options.psi)
    edit_drag.drag(
        G,
        points,
        projection,
        mask=options.mask,
        steps=options.drag_steps,
        out=options.out,
        overwrite=options.overwrite,
    )


def _draw_table(options: Options, G: Any, direction: Any, strengths: list[float], path: Path) -> None:
    """Rows of images, columns of strengths."""
    from stylegen.editing import directions
    from stylegen.projection import result

    layers = _layers(options)
    if options.projection is not None:
        projection = result.load(options.projection)
        result.check(projection, G, str(options.projection))
        ws, rows = projection.ws, list(projection.names)
    else:
        seeds = common.parse_numbers("--seeds: seed list", options.seeds)
        projection, rows = None, [f"seed {seed}" for seed in seeds]
        labels = common.parse_labels(options.labels, len(seeds), "seeds")
        ws = stylegen.styles(G, stylegen.latents(seeds, G.z_dim), labels=labels, psi=options.psi)
    scale = common.page_scale(options.scale, G.shape, len(rows), len(strengths))
    moved = np.stack([directions.move(ws, direction, strength, layers) for strength in strengths], axis=1)
    table = stylegen.synthesize(G, moved) if projection is None else result.draw(G, projection, moved)
    table = values.as_rgb(table, G.config.is_arrays)
    page = images.labeled_grid(table, rows, [f"{strength:.3g}" for strength in strengths], scale)
    images.save_image(page, path)


def _load(options: Options) -> Any:
    assert options.run is not None  # ``main`` has asked for it
    common.use_compiled_programs()
    G = stylegen.load(options.run, kimg=options.kimg)
    print(G)
    return G


def _file(options: Options) -> Path:
    return options.directions or options.out / FILE


def _layers(options: Options) -> list[int] | None:
    return None if options.layers is None else common.parse_numbers("--layers: layer list", options.layers)


def _single_label(options: Options) -> int | str | None:
    """The class whose w are sampled: the first one given."""
    return None if options.labels is None else common.label_list(options.labels)[0]


def _clean(name: str) -> str:
    """An attribute's name as one that a direction and a file can have."""
    return re.sub(r"[^\w@.+-]+", "_", name.strip()) or "attribute"
