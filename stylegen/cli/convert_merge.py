"""What ``convert --blend`` and ``--average`` do: one generator's file or folder of several generators."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import stylegen
from stylegen.cli import common
from stylegen.editing import blending
from stylegen.networks.generator import Generator


def merge(
    sources: Sequence[str],
    *,
    at: int | None,
    smooth: float,
    weights: str | None,
    out: Path | None,
    overwrite: bool,
    license: str | None,
) -> None:
    """Write the generator.

    Args:
        sources: names or paths of the generators.
        at: of a blend, resolution of the first block of the second; None is an average.
        smooth: of a blend.
        weights: of an average, with commas between them.
        out: a .safetensors or .npz file, or a folder.
        overwrite: replace what is there.
        license: for the model card.
    """
    target = _check_out(out, overwrite, license)
    shares = None if weights is None else _weights(weights)
    generators = [stylegen.load(source) for source in sources]
    G = _merged(generators, at, smooth, shares)
    how = f"{sources[0]} below {at} pixels, {sources[1]} from there on" if at else f"the mean of {', '.join(sources)}"
    _write(G, target, license, how, facts_of=None)


def reconstruct(
    run: Path, std: float, *, kimg: float | None, out: Path | None, overwrite: bool, license: str | None
) -> None:
    """Write the generator of a run that a power-function average of another length would have been.

    Args:
        run: its directory.
        std: the length, as of ``runs.power_ema.reconstruct``.
        kimg: where the average ends.
        out: a .safetensors or .npz file, or a folder.
        overwrite: replace what is there.
        license: for the model card.
    """
    from stylegen.runs import power_ema

    target = _check_out(out, overwrite, license)
    if not (run / "config.json").is_file():
        raise common.UsageError(f"--ema {std:g}: {run} is no run directory; only a run keeps averages.")
    G, missed = power_ema.reconstruct(run, std, kimg)
    how = f"the average of length {std:g} at {G.kimg:g} kimg, {100 * missed:.1f}% of whose profile is missed"
    _write(G, target, license, how, facts_of=run)


@dataclass(frozen=True)
class _Target:
    """Where a generator goes."""

    out: Path  # the file or folder that was asked for.
    form: Literal["safetensors", "npz"]  # of the weights.
    single: bool  # a file with its card and grid beside it, and no folder.
    names: list[str]  # of all files.
    folder: Path  # that they are in.


def _check_out(out: Path | None, overwrite: bool, license: str | None) -> _Target:
    """Where to write, if that can be."""
    from stylegen.export import files

    if out is None:
        raise common.UsageError("--out is missing, for example --out made.safetensors, or a folder.")
    suffix = out.suffix.lower()
    single = suffix in (".safetensors", ".npz") and not out.is_dir()
    if suffix and not single and not out.is_dir():
        raise common.UsageError(f"--out {out}: must end with .safetensors or .npz, or be a folder.")
    form: Literal["safetensors", "npz"] = "npz" if suffix == ".npz" else "safetensors"
    names, folder = (files.names_beside(form, out), out.parent) if single else (files.fixed_folder_names(form), out)
    common.check_outputs(folder, names, overwrite)
    files.check_license(license)
    return _Target(out, form, single, names, folder)


def _write(G: Generator, target: _Target, license: str | None, how: str, facts_of: Path | None) -> None:
    """Write a generator, with a model card that tells of the run ``facts_of``, if it is of one."""
    from stylegen.export import files, model_card

    G = files.without_paths(G)
    facts = model_card.facts(facts_of, G, license)
    save = files.save_beside if target.single else files.save_folder
    save(G, target.form, target.out, facts)
    print(f"{G}\n{target.folder}: {', '.join(target.names)}; {how}.")


def _merged(generators: list[Generator], at: int | None, smooth: float, weights: list[float] | None) -> Generator:
    if at is None:
        return blending.average(generators, weights)
    return blending.blend(generators[0], generators[1], at, smooth)


def _weights(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise common.UsageError(f"--weights {text}: must be numbers such as 0.7,0.3.") from error
