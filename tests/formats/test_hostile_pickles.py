"""Hostile pickles: each is refused with a sentence that names what it asked for; nothing runs; memory stays bounded."""

import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from stylegen.formats import WeightsError, pickle_scan
from stylegen.formats.torch_files import read_state_dict
from stylegen.nvidia import pickles
from tests.support import hostile
from tests.support.paths import ROOT

ZOO = hostile.zoo()
MEGABYTE = 2**20


@pytest.fixture
def witness(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(hostile.WITNESS)


@pytest.mark.parametrize("name", ZOO)
def test_refused_with_a_sentence(name, witness):
    data, pattern = ZOO[name]
    path = Path("hostile.pkl")
    path.write_bytes(data)
    size = path.stat().st_size
    for read in (pickles.read, read_state_dict):
        tracemalloc.start()
        try:
            with pytest.raises(WeightsError, match=pattern if read is pickles.read else None) as caught:
                read(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # The instructions of a file cost some 300 bytes each, and the shortest have one byte.
        assert peak < 2 * MEGABYTE + 400 * size, f"{peak:,} bytes for a file of {size:,}"
        sentence = str(caught.value)
        assert sentence.startswith("hostile.pkl") and len(sentence) < 600 and sentence.isprintable()
    assert [path.name for path in Path().iterdir()] == ["hostile.pkl"]


@pytest.mark.parametrize(
    "name", ["call os.system", "call builtins.eval", "getattr chain", "INST", "OBJ", "STACK_GLOBAL"]
)
def test_python_itself_would_run_it(name, witness):
    """So the test above tests something."""
    pickle.loads(ZOO[name][0])
    assert witness.exists()


def test_the_smallest_that_use_up_memory():
    """20-odd bytes that ask numpy for 16 GiB, 9 that ask Python for a memo of 32 GiB: both are in the zoo."""
    assert len(ZOO["numpy.ndarray, called"][0]) <= 24 and len(ZOO["memo entry 2^32"][0]) == 9


def test_the_number_of_instructions_is_limited(monkeypatch, witness):
    monkeypatch.setattr(pickle_scan, "MAX_INSTRUCTIONS", 1000)
    Path("long.pkl").write_bytes(b"N0" * 600 + b"N.")
    with pytest.raises(WeightsError, match="has more than 1,000 instructions"):
        pickles.read("long.pkl")


def test_many_instructions_are_within_the_stated_memory(witness):
    """The most that a file can make: a dict or a list with each instruction."""
    count = pickle_scan.MAX_INSTRUCTIONS // 50
    Path("wide.pkl").write_bytes(b"(" + b"}" * count + b"l.")
    tracemalloc.start()
    with pytest.raises(WeightsError, match="holds"):
        pickles.read("wide.pkl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400 * count


def test_every_beginning_of_a_good_file_is_refused():
    good = hostile.generator(hostile.tensor(hostile.stored(hostile.legacy())))
    assert pickles.parse(good, Path("x")).networks["G_ema"].variables["p0"].shape == (2,)
    for length in range(len(good)):
        with pytest.raises(WeightsError):
            pickles.parse(good[:length], Path("x"))


def fuzz(seed, count):
    """Read mutated files in a process of its own, with a limit on memory; what was found."""
    command = [sys.executable, "-m", "tests.support.fuzz_pickles", "--seed", str(seed), "--count", str(count)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
    return json.loads(process.stdout.splitlines()[-1])


def check(summary, count):
    assert summary["files"] == count
    assert summary["unexpected"] == []
    assert summary["events"] == [], "something in a file was run"
    assert summary["refused"] > count // 2 and summary["read"] > 0
    assert len(summary["sentences"]) > 20


def test_mutated_files():
    check(fuzz(0, 3000), 3000)


@pytest.mark.slow
def test_a_few_hundred_thousand_mutated_files():
    check(fuzz(1, 300_000), 300_000)
