"""Where a run's configuration comes from: an experiment file (``get_config() -> Config``), or the run to resume."""

import argparse
import importlib.util
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import stylegen
from stylegen.cli.common import UsageError
from stylegen.config import Config, ConfigError
from stylegen.io.objects import is_url
from stylegen.paths import expanded

Kind = TypeVar("Kind")


def config_dirs() -> list[Path]:
    """Where the shipped experiments are: inside an installed package, or beside it in a checkout."""
    package = Path(stylegen.__file__).parent
    return [d for d in (package / "configs", package.parent / "configs") if d.is_dir()]


def find_config(name: str) -> Path:
    """The file of an experiment given by path or by name (``lsun_bedroom_256``).

    Raises:
        ConfigError: there is none; the message lists those that there are.
    """
    if expanded(name).is_file():
        return expanded(name)
    stem = Path(name).stem
    for folder in config_dirs():
        if (folder / f"{stem}.py").is_file():
            return folder / f"{stem}.py"
    shipped = sorted(path.stem for folder in config_dirs() for path in folder.glob("*.py"))
    raise ConfigError(f"--config {name}: no such file or experiment; there are {', '.join(shipped)}.")


def load_config(name: str, kind: type[Kind] = Config) -> Kind:  # type: ignore[assignment]
    """The configuration of an experiment given by path or by name.

    Args:
        name: path, or name of an experiment that ships.
        kind: class of the configuration that is expected.

    Raises:
        ConfigError: there is no such file, or it does not give such a configuration.
    """
    path = find_config(name)
    spec = importlib.util.spec_from_file_location(f"stylegen_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config {name}: is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config() if hasattr(module, "get_config") else None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except Exception as error:
        # Whatever a user's file does wrong; a misspelled field is a TypeError that names it.
        line = next(
            (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), 0
        )
        raise ConfigError(f"{path}, line {line}: {type(error).__name__}: {error}") from error
    if config is None:
        raise ConfigError(f"--config {name}: has no function get_config() that returns a {kind.__name__}.")
    if not isinstance(config, kind):
        raise ConfigError(f"--config {name}: get_config() gave a {type(config).__name__}, not a {kind.__name__}.")
    return config


def run_to_resume(config: str | None, words: Sequence[str], example: str, auto: bool = False) -> Path | None:
    """The directory that ``--run.dir`` names on a command line, if it holds a run.

    Args:
        config: experiment that ``--config`` names; without one there must be such a run, unless help is asked for.
        words: the command line.
        example: of an experiment, for the message.
        auto: settings are chosen where none are stated, so that there need be neither.

    Raises:
        UsageError: there is neither.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--run.dir", dest="folder", nargs="?")
    folder = parser.parse_known_args(list(words))[0].folder
    if folder and is_url(folder):
        return _remote_run(folder, required=not auto) if config is None or auto else None
    run = expanded(folder) if folder else None
    if run is not None and (run / "config.json").is_file():
        return run
    if config is None and not auto and not any(word in ("-h", "--help", "--version") for word in words):
        raise UsageError(
            f"--config is missing: name an experiment, for example --config {example}; or resume a run, --run.dir "
            "alone naming its directory."
        )
    return None


def _remote_run(url: str, required: bool) -> Path | None:
    """A folder of this machine with the configuration of a run in an object store; None if there may be none.

    Raises:
        UsageError: there is no run.
    """
    from stylegen.io.objects import Store
    from stylegen.runs.directory import working_copy

    folder = working_copy(url, ".config")
    store = Store(url)
    if store.read("config.json") is None:
        if not required:
            return None
        raise UsageError(f"--config is missing, and {url} holds no run yet that could go on.")
    store.get("config.json", folder / "config.json")
    return folder
