"""Reads many mutated pickles: ``python -m tests.support.fuzz_pickles --count 300000``.

Each is either read or refused with a WeightsError. The process may take one GiB of memory, and an audit hook notes
whatever a file could have run. The last line of the output is a summary in JSON.
"""

import argparse
import collections
import contextlib
import encodings.cp437
import encodings.latin_1
import encodings.raw_unicode_escape  # noqa: F401
import json
import pickletools
import random
import re
import resource
import struct
import sys
import time
from pathlib import Path

from stylegen.formats import WeightsError, torch_files
from stylegen.nvidia import pickles
from tests.support import hostile
from tests.support.mutation import NUMBERS, mutate

MEMORY = 2**30
WATCHED = re.compile(r"exec|compile|import|open|os\.|subprocess\.|pickle\.|marshal\.|ctypes\.|socket\.|shutil\.")
CODES = [ord(info.code) for info in pickletools.opcodes]


def seeds():
    """Small files of every kind: good ones, and all of the zoo that are small."""
    pair = lambda name, value: hostile.text(name) + value + b"\x86"  # noqa: E731
    variables = b"](" + pair("lod", hostile.array((), bytes(4))) + pair("x", hostile.array()) + b"e"
    settings = b"}(" + hostile.text("fmap_base") + b"K\x08" + hostile.text("blur_filter") + b"](K\x01K\x02K\x01eu"
    network = hostile.network(settings, variables)
    nested = hostile.network(components=b"}" + hostile.text("mapping") + network + b"s")
    tensor = hostile.tensor(hostile.stored(hostile.legacy()))
    good = [
        b"\x80\x02" + network + b".",
        b"\x80\x02(" + nested + network + network + b"t.",
        hostile.generator(tensor),
        hostile.legacy(),
        hostile.archive(
            b"}" + hostile.text("x") + hostile.tensor(hostile.zip_storage()) + b"s.", **{"data/0": bytes(8)}
        ),
    ]
    return good * 30 + [data for data, _ in hostile.zoo().values() if len(data) < 3000]


def program(rng):
    """Instructions at random, with arguments that are whole."""
    instructions = []
    for _ in range(rng.randrange(1, 40)):
        info = rng.choice(pickletools.opcodes)
        if info.name in ("STOP", "PROTO"):
            continue
        size = info.arg.n if info.arg else 0
        if info.name in ("GLOBAL", "INST"):
            argument = "{}\n{}\n".format(*rng.choice(list(pickles.NAMES.exact))).encode()
        elif size == pickletools.UP_TO_NEWLINE:
            argument = str(rng.choice(NUMBERS)).encode() + b"\n"
        elif size >= 0:
            argument = bytes(rng.choice((0, 0, 1, 2, 255)) for _ in range(size))
        else:
            form = {-2: "<B", -3: "<i", -4: "<I", -5: "<Q"}[size]
            argument = struct.pack(form, 2) + b"f4"
        instructions.append(info.code.encode("latin-1") + argument)
    return b"\x80\x04" + b"".join(instructions) + b"."


def read(data, rng):
    """Read as one of the two kinds of files that there are."""
    if rng.random() < 0.75:
        pickles.parse(data, Path("fuzzed.pkl"))
    else:
        value, storages = torch_files.load(data, torch_files.STATE_DICT, "fuzzed.pth")
        if isinstance(value, dict):
            tensors = torch_files.Tensors(storages, "fuzzed.pth")
            for item in value.values():
                tensors.array(item)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=3000)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    files, events, counts = seeds(), [], collections.Counter()
    sentences, unexpected = collections.Counter(), []
    for data in files:  # what is imported on the way is imported now
        with contextlib.suppress(WeightsError):
            read(data, rng)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    watching = [True]

    def note(event, args):
        if watching[0] and WATCHED.match(event):
            events.append(f"{event} {str(args[:1])[:60]}")

    sys.addaudithook(note)
    started = time.monotonic()
    for i in range(options.count):
        if i and i % 20_000 == 0:
            speed = i / (time.monotonic() - started)
            seconds_left = (options.count - i) / speed
            status = f"{counts['refused']:,} refused, {counts['read']:,} read, {len(unexpected)} unexpected"
            print(f"{i:,} files, {status}; {speed:.0f} files/s, {seconds_left:.0f} s left", file=sys.stderr, flush=True)
        data = program(rng) if rng.random() < 0.15 else mutate(rng.choice(files), rng, CODES, files)
        counts["files"] += 1
        try:
            read(data, rng)
            counts["read"] += 1
        except WeightsError as error:
            counts["refused"] += 1
            sentences[re.sub(r"[^a-z ]+", " ", str(error).lower())[:60]] += 1
        except BaseException as error:  # whatever it is, it is a bug
            unexpected.append([type(error).__name__, str(error)[:200], data[:4000].hex()])
    watching[0] = False
    summary = {**counts, "events": sorted(set(events)), "unexpected": unexpected[:20]}
    summary |= {"sentences": sorted(sentences, key=sentences.get)[-40:], "seconds": time.monotonic() - started}
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
