"""Mutated files of every kind: read, or refused with one of our errors, within one GiB and five seconds each."""

import json
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

KINDS = ("safetensors", "npz", "config", "image")


def fuzzed(count: int, seconds: float, seed: int) -> dict[str, dict]:
    words = [*KINDS, "--count", str(count), "--seconds", str(seconds), "--seed", str(seed)]
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.fuzz_files", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(summaries: dict[str, dict], least: int) -> None:
    for kind in KINDS:
        summary = summaries[kind]
        assert summary["unexpected"] == [], kind
        assert summary["files"] >= least and summary["slowest"] < 5, (kind, summary)
        # Mutations that refuse all, or none, would test nothing.
        assert summary["read"] > 0 and summary["refused"] > 0 and len(summary["sentences"]) >= 8, (kind, summary)


def test_a_few_hundred():
    check(fuzzed(300, 60, seed=1), 300)


@pytest.mark.slow
def test_a_hundred_thousand_or_as_many_as_two_minutes_allow():
    check(fuzzed(100_000, 27, seed=2), 3000)
