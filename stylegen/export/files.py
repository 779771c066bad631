"""A generator for use elsewhere: its sampling function as one program that needs JAX alone, and folders for a hub.

A folder has the layout of the Hugging Face hub: ``config.json``, ``generator.safetensors``, ``README.md`` (the model
card), ``grid.png``, and the files of the form that is asked for (``FOLDER_NAMES``). ``stylegen.load`` takes it.
"""

import dataclasses
import importlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from stylegen import sampling, values
from stylegen.config import DataConfig, RunConfig
from stylegen.export import ExportError, model_card
from stylegen.export.onnx import networks
from stylegen.export.stablehlo import save_sampler
from stylegen.export.web import page
from stylegen.io import files, images
from stylegen.networks.generator import Generator
from stylegen.runs import load

Form = Literal["safetensors", "npz", "stablehlo", "onnx", "web"]
SUFFIXES: dict[Form, str] = {form: f".{form}" for form in get_args(Form)} | {"web": ".html"}

GRID_NAME, CARD_NAME, CONFIG_NAME = "grid.png", "README.md", "config.json"
# What a form adds to a folder besides the weights, which are always there; of web, see ``page.names``.
FOLDER_NAMES: dict[Form, list[str]] = {
    "safetensors": [],
    "npz": [f"generator{load.NPZ_SUFFIX}"],
    "stablehlo": ["sampler.stablehlo"],
    "onnx": ["sampler.onnx", "synthesis.onnx"],
    "web": [page.PAGE_NAME],
}
GRID_SEEDS = range(16)
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclasses.dataclass(frozen=True)
class Choices:
    """How to write a form; each choice is of some of them."""

    cutoff: int | None = None  # stablehlo and onnx: layers that psi truncates, from the coarsest; None is all
    contents: page.Contents = page.Contents()  # web: what the page says and offers


def without_paths(G: Generator) -> Generator:
    """The generator without the paths of this machine in its configuration, to give to others."""
    data, run = DataConfig(), RunConfig()
    config = dataclasses.replace(
        G.config,
        data=dataclasses.replace(G.config.data, path=data.path, prepared=data.prepared),
        run=dataclasses.replace(
            G.config.run,
            dir=run.dir,
            init_from=run.init_from,
            metrics_weights=run.metrics_weights,
            compilation_cache=run.compilation_cache,
        ),
    )
    return dataclasses.replace(G, config=config)


def save_file(G: Generator, form: Form, path: Path, choices: Choices = Choices()) -> None:
    """Write the files of a form; atomic.

    Args:
        G: the generator.
        form: the form.
        path: of its only or first file; that of ONNX's synthesis network is ``synthesis_beside`` it.
        choices: how to write it.

    Raises:
        ExportError: it cannot be written like this.
    """
    if form == "safetensors":
        load.save_generator(G, path)
    elif form == "npz":
        load.save_npz(G, path)
    elif form == "stablehlo":
        save_sampler(G, path, choices.cutoff)
    elif form == "onnx":
        networks.save(networks.sampler(G, choices.cutoff), path)
        networks.save(networks.synthesis(G), path.with_name(synthesis_beside(path)))
    else:
        page.save_page(G, path, choices.contents)


def synthesis_beside(path: Path) -> str:
    """Name of the ONNX file of the synthesis network, beside the sampler's."""
    sampler, synthesis = FOLDER_NAMES["onnx"]
    return synthesis if path.name == sampler else f"{path.stem}-{synthesis}"


def folder_names(G: Generator, form: Form, choices: Choices = Choices()) -> list[str]:
    """Files of an exported folder."""
    if form != "web":
        return fixed_folder_names(form)
    return [CONFIG_NAME, load.WEIGHTS_NAME, *page.names(G, choices.contents), GRID_NAME, CARD_NAME]


def fixed_folder_names(form: Form) -> list[str]:
    """Files of an exported folder whose names depend on no generator: of every form but web."""
    return [CONFIG_NAME, load.WEIGHTS_NAME, *FOLDER_NAMES[form], GRID_NAME, CARD_NAME]


def save_folder(G: Generator, form: Form, folder: Path, facts: model_card.Facts, choices: Choices = Choices()) -> None:
    """Write a folder in the hub's layout; files of the same names are replaced, all at the end.

    Raises:
        ExportError: as of ``save_file``.
    """
    names = folder_names(G, form, choices)
    with files.replacing_folder(folder) as partial:
        load.save_generator(G, partial / load.WEIGHTS_NAME)
        if form == "web":
            page.save_files(G, partial, choices.contents)
        elif FOLDER_NAMES[form]:
            save_file(G, form, partial / FOLDER_NAMES[form][0], choices)
        (partial / CONFIG_NAME).write_text(config_json(G))
        save_grid(G, partial / GRID_NAME)
        (partial / CARD_NAME).write_text(model_card.text(G, facts, names), encoding="utf-8")


def save_beside(G: Generator, form: Form, path: Path, facts: model_card.Facts, choices: Choices = Choices()) -> None:
    """Write one file (of ONNX two), and its model card and grid beside it, named by ``names_beside``."""
    *names, card, grid = names_beside(form, path)
    save_file(G, form, path, choices)
    save_grid(G, path.with_name(grid))
    files.write_text(path.with_name(card), model_card.text(G, facts, [*names, grid]))


def names_beside(form: Form, path: Path) -> list[str]:
    """Names of a single exported file (of ONNX two), its model card and its grid."""
    more = [synthesis_beside(path)] if form == "onnx" else []
    return [path.name, *more, f"{path.stem}.md", f"{path.stem}.png"]


def save_grid(G: Generator, path: Path) -> None:
    """The images of seeds 0 to 15, none left out, truncated to ``model_card.PSI``; the classes in turn."""
    labels = np.arange(len(GRID_SEEDS)) % G.c_dim if G.c_dim else None
    samples = values.as_rgb(sampling.sample(G, GRID_SEEDS, labels=labels, psi=model_card.PSI), G.config.is_arrays)
    images.save_grid(samples, path, scale=images.comfortable_scale(min(G.shape)))


def config_json(G: Generator) -> str:
    """``config.json`` of an exported folder, for people and the hub; ``load`` reads the copy in the weights' file."""
    fields: dict[str, Any] = {"library_name": "stylegen", **load.metadata(G)}
    return json.dumps(
        {**fields, "config": json.loads(fields["config"]), "stage": json.loads(fields["stage"])}, indent=2
    )


def check_license(license: str | None) -> None:
    """Raise ExportError if this is no identifier of a license of the hub."""
    if license is not None and not LICENSE.fullmatch(license):
        raise ExportError(f"--license {license!r}: must be an identifier such as apache-2.0, cc-by-nc-4.0 or other.")


def check_hub(name: str, license: str | None) -> Any:
    """The module huggingface_hub, if a repository of this name can be filled.

    Raises:
        ExportError: it is not installed, the name is none, or there is no license.
    """
    if not REPOSITORY.fullmatch(name):
        raise ExportError(f"--push-to-hub {name!r}: must be the name of a repository, such as someone/bedrooms.")
    if license is None:
        raise ExportError("--license is missing: what is given to others says how it may be used, such as apache-2.0.")
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ExportError(
            "--push-to-hub needs the package huggingface_hub: pip install huggingface_hub, or stylegen[hub]."
        ) from error


def push(hub: Any, folder: Path, name: str, files: Sequence[str]) -> str:
    """Upload these files of an exported folder to a repository, created if need be; returns its address."""
    api = hub.HfApi()
    url = api.create_repo(repo_id=name, repo_type="model", exist_ok=True)
    api.upload_folder(
        repo_id=name,
        repo_type="model",
        folder_path=str(folder),
        allow_patterns=list(files),
        commit_message="A generator of stylegen",
    )
    return str(url)


def facts_of(source: str, G: Generator, license: str | None) -> model_card.Facts:
    """Facts about a generator besides itself: of a run directory its metrics and where it was imported from."""
    if license is None and source in load.shipped():
        license = "apache-2.0"
    folder = Path(source) if Path(source).is_dir() and not load.is_exported(source) else None
    return model_card.facts(folder, G, license)
