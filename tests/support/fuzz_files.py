"""Reads many mutated files: ``python -m tests.support.fuzz_files safetensors npz --count 100000 --seconds 30``.

Kinds: safetensors, npz, config, image. Each file is either read or refused with a StylegenError. The process may take
one GiB more than it has when it begins, and each file five seconds. The last line of the output is a summary in JSON.
"""

import argparse
import collections
import contextlib
import functools
import io
import json
import random
import re
import resource
import signal
import struct
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from safetensors.numpy import save

from stylegen import config_json
from stylegen.config import Config, DataConfig, DiscriminatorConfig, GeneratorConfig, ScheduleConfig
from stylegen.data import imaging
from stylegen.editing import directions
from stylegen.errors import StylegenError
from stylegen.networks.generator import Generator
from stylegen.networks.structure import ARRAYS, abstract_arrays
from stylegen.pretrained import weights
from stylegen.projection import result
from stylegen.runs import load
from stylegen.style_transfer import model, networks
from tests.support.mutation import mutate

MEMORY, SECONDS = 2**30, 5
TINY = Config(
    resolution=4,
    data=DataConfig(batch=4),
    generator=GeneratorConfig(z_dim=2, w_dim=2, mapping_layers=2, channel_base=16, channel_max=2),
    discriminator=DiscriminatorConfig(channel_base=16, channel_max=2),
    schedule=ScheduleConfig(start_resolution=4, batch={4: 8}),
)
# What stands in the place of a value in a text of JSON.
VALUES = (
    *(
        "0",
        "-1",
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "null",
        "true",
        '""',
        "[]",
        "{}",
        "[[]]",
        '{"a": 1}',
        "0.5",
        "64",
    ),
    *(
        "9" * 30,
        "9" * 5000,
        "[" * 200,
        "[" * 100_000,
        '{"a":' * 5000,
        '"\\ud800"',
        '"' + "x" * 5000 + '"',
        "1" + "0" * 400,
    ),
    *("1000000", "2147483648", "16384", "1024", '"²"', "1e-999", "\x00", '"\\u0000"'),
)
NAMES = ('"a"', '"resolution"', '"²"', '"8"', '"ws"', '"name"', '"format"', '"config"', '"9999999999999999999999"')
CODES = b"{}[]\",:'0\x00\xff\x01P"  # of JSON and of headers of arrays and archives


class SlowError(BaseException):
    """A file took too long."""


def generator() -> Generator:
    """A tiny one."""
    rng = np.random.RandomState(0)
    arrays = jax.tree.map(lambda leaf: rng.randn(*leaf.shape).astype(np.float32), abstract_arrays(TINY))
    return Generator(TINY, *(arrays[name] for name in ARRAYS), resolution=4)


@functools.cache
def tokens(text: str) -> list[str]:
    """A text of JSON as its tokens, and what is between them."""
    return re.findall(r'"(?:[^"\\]|\\.)*"|-?[0-9.eE+-]+|true|false|null|[][{}:,]|\s+', text)


def mutate_text(text: str, rng: random.Random) -> str:
    """One to three values or names of a text of JSON replaced, doubled or left out."""
    parts = list(tokens(text))
    for _ in range(rng.choice((1, 1, 2, 3)) if parts else 0):
        at, kind = rng.randrange(len(parts)), rng.random()
        if kind < 0.6:
            is_name = parts[at + 1 : at + 2] == [":"]
            parts[at] = rng.choice(NAMES if is_name and rng.random() < 0.7 else VALUES)
        elif kind < 0.8:
            parts[at] = rng.choice(parts)
        else:
            parts[at] = rng.choice(("", parts[at] * 2))
    return "".join(parts)


class Safetensors:
    """Generators, style networks and weights, by bytes and by their metadata."""

    suffix = ".safetensors"

    def __init__(self) -> None:
        G = generator()
        style = networks.random_params({"encoder.preprocess.bias": (3,), "decoder.conv0.kernel": (3, 3, 2, 3)}, 0)
        about = {"format": model.FORMAT, "stages": "[[2]]", "variance": "biased"}
        self.parts = [(load._tensors(G), load.metadata(G))] * 2 + [(style, about), ({"a": np.zeros((2, 3))}, None)]

    def make(self, rng: random.Random) -> bytes:
        tensors, metadata = rng.choice(self.parts)
        if metadata and rng.random() < 0.6:
            name = rng.choice(list(metadata))
            metadata = metadata | {name: mutate_text(metadata[name], rng)}
            with contextlib.suppress(UnicodeEncodeError):
                return save(tensors, metadata)
        data = save(tensors, metadata if metadata is None or "config" not in metadata else dict(metadata))
        if rng.random() < 0.5:
            length = struct.unpack("<Q", data[:8])[0]
            header = mutate_text(data[8 : 8 + length].decode(), rng).encode("utf-8", "replace")
            return struct.pack("<Q", len(header)) + header + data[8 + length :]
        head, tail = data[:2000], data[2000:]  # most bytes are weights, in which a change is none that matters
        return mutate(head, rng, CODES) + tail

    def read(self, path: Path, rng: random.Random) -> None:
        if (kind := rng.random()) < 0.6:
            load.load(path)
        elif kind < 0.8:
            model.load_model(path)
        else:
            weights.read_tensors(path, {"a": (2, 3)})


class Npz:
    """Generators, projections, directions and weights."""

    suffix = ".npz"

    def __init__(self) -> None:
        G = generator()
        meta = json.dumps(load.metadata(G))
        projection = {"format": result.FORMAT, "names": ["a"], "generators": ["g"], "about": {"steps": 5}}
        entries = [{"name": "a", "layers": [0], "about": {}}]
        found = {"format": directions.FORMAT, "generator": "g", "directions": entries}
        ws = np.zeros((1, 2, 2), np.float32)
        self.parts = [
            ("metadata", meta, load._tensors(G), load.load),
            ("header", json.dumps(projection), {"ws": ws, "z": ws[0]}, result.load),
            ("header", json.dumps(found), {"vectors": ws[0, :1]}, directions.load),
            ("text", "x", {"a": np.zeros((2, 3))}, lambda path: weights.read_tensors(path, {"a": (2, 3)})),
        ]

    def make(self, rng: random.Random) -> bytes:
        name, text, arrays, self.reader = rng.choice(self.parts)
        text = mutate_text(text, rng) if rng.random() < 0.4 else text
        about = np.array(text) if name != "metadata" else np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
        buffer = io.BytesIO()
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(buffer, "w", method) as file:
            for key, array in {name: about, **arrays}.items():
                member = io.BytesIO()
                np.lib.format.write_array(member, array, allow_pickle=False)
                data = member.getvalue()
                if rng.random() < 0.1:  # with the right CRC, which a change of the archive's bytes does not have
                    data = mutate(data[:128], rng, CODES) + data[128:]
                file.writestr(f"{key}.npy", data)
        data = buffer.getvalue()
        if rng.random() < 0.3:
            return data
        at = data.rindex(b"PK\x01\x02") if rng.random() < 0.5 else 0
        return data[:at] + mutate(data[at : at + 400], rng, CODES) + data[at + 400 :]

    def read(self, path: Path, rng: random.Random) -> None:
        self.reader(path)


class Configuration:
    """Configurations as a run has them."""

    suffix = ".json"

    def __init__(self) -> None:
        self.texts = [config_json.to_json(TINY), config_json.to_json(Config())]

    def make(self, rng: random.Random) -> bytes:
        text = rng.choice(self.texts)
        if rng.random() < 0.2:
            return mutate(text.encode(), rng, CODES)
        return mutate_text(text, rng).encode("utf-8", "replace")

    def read(self, path: Path, rng: random.Random) -> None:
        config_json.read(path)


class Images:
    """Small images of all formats that are read."""

    suffix = ".png"
    FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF")

    def __init__(self) -> None:
        self.files: list[bytes] = []
        pixels = np.random.RandomState(0).randint(0, 256, (8, 9, 4), np.uint8)
        for form in self.FORMATS:
            for mode in ("RGB", "L", "RGBA", "P"):
                buffer = io.BytesIO()
                with contextlib.suppress(OSError, KeyError, ValueError):  # a mode that the format has not
                    Image.fromarray(pixels).convert("RGB").convert(mode).save(buffer, form)
                    self.files.append(buffer.getvalue())

    def make(self, rng: random.Random) -> bytes:
        return mutate(rng.choice(self.files), rng, CODES)

    def read(self, path: Path, rng: random.Random) -> None:
        imaging.crop_and_resize(imaging.decode(path.read_bytes(), rng.choice((1, 3, 4))), 8, "center-crop")


KINDS = {"safetensors": Safetensors, "npz": Npz, "config": Configuration, "image": Images}


def bounded_memory() -> None:
    """Allow this process one GiB more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def too_slow(*_: object) -> None:
    raise SlowError(f"more than {SECONDS} s")


class Fuzzer:
    """Reads files of one kind, and counts what came of it."""

    def __init__(self, kind: str, seed: int, folder: Path) -> None:
        self.rng, self.files = random.Random(seed), KINDS[kind]()
        self.path = folder / f"fuzzed{self.files.suffix}"
        self.counts: collections.Counter[str] = collections.Counter(files=0, read=0, refused=0)
        self.sentences: collections.Counter[str] = collections.Counter()
        self.unexpected: list[list[str]] = []
        self.slowest = 0.0

    def warm_up(self) -> None:
        """Read a few: what is imported or traced once is not the files' doing."""
        for _ in range(50):
            self.path.write_bytes(self.files.make(self.rng))
            with contextlib.suppress(StylegenError):
                self.files.read(self.path, self.rng)

    def run(self, count: int, seconds: float) -> dict[str, Any]:
        """Read so many, or as many as there is time for; a summary."""
        started = time.monotonic()
        while self.counts["files"] < count and time.monotonic() - started < seconds:
            self.one(self.files.make(self.rng))
        self.path.unlink()
        common = [text for text, _ in self.sentences.most_common(20)]
        summary = {**self.counts, "unexpected": self.unexpected[:20], "sentences": common}
        return summary | {"slowest": self.slowest, "seconds": time.monotonic() - started}

    def one(self, data: bytes) -> None:
        """Read one."""
        self.path.write_bytes(data)
        self.counts["files"] += 1
        began = time.monotonic()
        signal.alarm(SECONDS)
        try:
            self.files.read(self.path, self.rng)
            self.counts["read"] += 1
        except StylegenError as error:
            self.counts["refused"] += 1
            text = str(error)
            self.sentences[re.sub(r"[^a-z ]+", " ", text.lower().replace(str(self.path), ""))[:60]] += 1
            if len(text) > 1500:
                self.unexpected.append(["a long sentence", text[:300], data[:4000].hex()])
        except BaseException as error:  # whatever it is, it is a bug
            self.unexpected.append([type(error).__name__, str(error)[:200], data[:4000].hex()])
        finally:
            signal.alarm(0)
        self.slowest = max(self.slowest, time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", choices=KINDS, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=300, help="files of each kind")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each kind, at most")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, too_slow)
    # Not on a disk, which takes longer to forget a file than we to read it.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        fuzzers = {kind: Fuzzer(kind, options.seed, Path(folder)) for kind in options.kinds}
        for fuzzer in fuzzers.values():
            fuzzer.warm_up()
        bounded_memory()
        summaries = {kind: fuzzer.run(options.count, options.seconds) for kind, fuzzer in fuzzers.items()}
    print(json.dumps(summaries))


if __name__ == "__main__":
    main()
