"""What is disturbed: work that writes files, what lies there before it, and what a reader finds at any time."""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import lmdb
import numpy as np
from PIL import Image

from stylegen.config import Config
from stylegen.data.prepared.manifest import MANIFEST_NAME, WORK_FOLDER, read_manifest
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.raw.opening import open_raw
from stylegen.data.source import DataError
from stylegen.errors import StylegenError
from stylegen.export import files as export_files
from stylegen.io import images
from stylegen.networks.generator import Generator
from stylegen.nvidia import importing
from stylegen.runs import directory, load
from stylegen.runs.checkpoint import Checkpointer, load_state
from stylegen.runtime import compilation
from stylegen.train import train
from stylegen.training import schedule
from tests.support import original_pickles
from tests.support.configs import tiny_config
from tests.support.fuzz_files import generator
from tests.support.states import numbers, random_state


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Work that a fault disturbs. A second call of ``act`` goes on, as the same command of a user does."""

    what: str
    before: Callable[[Path], None]  # fills a folder with what is there before; the caller makes the folder
    act: Callable[[Path], None]
    # What a reader finds, as a text that differs where the contents differ. Changes nothing. Raises StylegenError where
    # there is nothing yet, or nothing that can be used.
    look: Callable[[Path], str]
    steps: bool = False  # a reader may find any state that the undisturbed work goes through
    leaves: tuple[str, ...] = ()  # patterns of files that a disturbed and repeated work may leave besides


def digest(arrays: list[np.ndarray]) -> str:
    """A hash of arrays."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


# A checkpoint of a tiny network, with the log and the grid of a tick.
HIDDEN = (".*.partial*",)  # deleted when the same is written again, a minute later or more
OLD = ("damaged-*",)

RUN = tiny_config(run={"keep_last": 2}, schedule={"stable_kimg": 3, "fade_kimg": 1, "total_kimg": 10})


def run_with(*nimgs: int) -> Callable[[Path], None]:
    """A run directory with checkpoints at these numbers of images."""

    def before(folder: Path) -> None:
        directory.write_config(folder, RUN)
        with (
            Checkpointer(folder, RUN, keep_last=len(nimgs)) as checkpointer,
            directory.RunLog(folder, 0) as log,
        ):
            for nimg in nimgs:
                log.scalars(nimg, {"Loss/G/loss": 0.5 + nimg})
                checkpointer.save(random_state(nimg, RUN), schedule.at(RUN, nimg), {"skipped": nimg})

    return before


def save_next(keep_last: int) -> Callable[[Path], None]:
    """Resume a run, and write its checkpoint at 3.5 kimg."""

    def act(folder: Path) -> None:
        directory.check_run(dataclasses.replace(RUN, run=dataclasses.replace(RUN.run, dir=str(folder))))
        with Checkpointer(folder, RUN, keep_last=keep_last) as checkpointer:
            restored = checkpointer.restore(log=print)
            assert restored is not None
            directory.write_config(folder, RUN)
            with directory.RunLog(folder, restored.meta.nimg) as log:
                if restored.meta.nimg == 3500:
                    return
                log.scalars(3500, {"Loss/G/loss": 3500.5})
                log.grid("fakes000003", np.zeros((2, 8, 8, 3), np.uint8), 2, 3500, newest="fakes")
                checkpointer.save(random_state(3500, RUN), schedule.at(RUN, 3500), {"skipped": 3500})
                checkpointer.wait()

    return act


def newest(folder: Path) -> str:
    """The newest good checkpoint of a run."""
    config, meta, state = load_state(folder, log=print)
    assert meta.nimg == int(state.nimg)
    return f"{meta.nimg} {digest(numbers(state))} {json.dumps(dataclasses.asdict(config.generator))}"


# A whole training.


def training(folder: Path) -> Config:
    """From 4 to 8 pixels in 16 steps of 4 images, with a checkpoint, a tick and metrics every few steps."""
    return tiny_config(
        schedule={"start_resolution": 4, "total_kimg": 0.064, "stable_kimg": 0.024, "fade_kimg": 0.02},
        run={
            "dir": str(folder / "run"),
            "tick_kimg": 0.016,
            "checkpoint_kimg": 0.016,
            "keep_last": 1,
            "grid": (2, 1),
            "metrics": "swd16",
            "metrics_every": 0.032,
        },
    )


def train_all(folder: Path) -> None:
    train(training(folder))


def trained(folder: Path) -> str:
    return newest(folder / "run")


# Preparing an LSUN archive, which is unpacked first.


def archive(folder: Path) -> None:
    """150 images in a zip, in LSUN's form."""
    rng = np.random.default_rng(0)
    database = folder / "bedroom_train_lmdb"
    with lmdb.open(str(database), map_size=2**24) as file, file.begin(write=True) as transaction:
        for i in range(150):
            image = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
            transaction.put(f"{i * 7919 % 65_536:040x}".encode(), images.encoded(image, ".webp"))
    with zipfile.ZipFile(folder / "bedroom_train_lmdb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("data.mdb", "lock.mdb"):
            packed.write(database / name, f"bedroom_train_lmdb/{name}")
            (database / name).unlink()
    database.rmdir()


def prepare_all(folder: Path) -> None:
    dataset = open_raw("lsun", folder / "bedroom_train_lmdb.zip", category="bedroom", split="train")
    prepare(dataset, folder / "out", Options(16), workers=1)


def prepared(folder: Path) -> str:
    """The contents of what was prepared. Raises DataError while it is not complete."""
    out = folder / "out"
    if not (out / MANIFEST_NAME).exists():
        raise DataError(f"{out} is not prepared")
    read_manifest(out).check_shards(out, 1024)
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and WORK_FOLDER not in path.parts]
    return digest([np.frombuffer(path.read_bytes() + path.name.encode(), np.uint8) for path in paths])


# A generator as a file and as a folder, over an older one.


def scaled(by: float) -> Generator:
    return jax.tree.map(lambda x: np.asarray(x) * np.float32(by), generator())


def facts(G: Generator) -> export_files.model_card.Facts:
    return export_files.facts_of("nowhere", G, "mit")


def export_file(by: float) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        compilation.use_cache(None)
        export_files.save_beside(scaled(by), "safetensors", folder / "g.safetensors", facts(scaled(by)))

    return act


def export_folder(by: float) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        compilation.use_cache(None)
        export_files.save_folder(scaled(by), "npz", folder / "hub", facts(scaled(by)))

    return act


def exported(name: str) -> Callable[[Path], str]:
    return lambda folder: digest(numbers(load.load(folder / name)))


# Somebody else's generator as a run.


def pickled(folder: Path) -> None:
    original_pickles.write(folder / "network.pkl", original_pickles.networks(original_pickles.TINY))


def import_run(folder: Path) -> None:
    source, out = folder / "network.pkl", folder / "run"
    importing.write_run(importing.read(source), out, str(source), overwrite=True)


SCENARIOS = {
    "checkpoint": Scenario(
        "a checkpoint, log and grid; 2 are kept", run_with(1500, 2500), save_next(2), newest, leaves=OLD
    ),
    "checkpoint-1": Scenario("the same; 1 is kept", run_with(2500), save_next(1), newest, leaves=OLD),
    "train": Scenario(
        "a training from its first step to its last", lambda folder: None, train_all, trained, steps=True
    ),
    "prepare": Scenario("an LSUN archive, prepared", archive, prepare_all, prepared),
    "export-file": Scenario(
        "a generator as .safetensors over another one",
        export_file(2),
        export_file(3),
        exported("g.safetensors"),
        leaves=HIDDEN,
    ),
    "export-folder": Scenario(
        "a generator as a folder over another one", export_folder(2), export_folder(3), exported("hub"), leaves=HIDDEN
    ),
    "import": Scenario("NVIDIA's pickle as a run", pickled, import_run, trained, leaves=HIDDEN),
}

__all__ = ["SCENARIOS", "Scenario", "StylegenError"]
