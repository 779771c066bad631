"""One run on 1, then 2, then 1 device, in one part and in several: the run of one device."""

import json

import numpy as np
import pytest

from stylegen.runtime import sharding
from tests.support.configs import tiny_config
from tests.support.devices import report_of

# In a process of its own: the number of CPU devices is fixed when JAX starts. ``argv`` is the folder.
PROGRAM = """
import dataclasses, json, sys
import jax, numpy as np
from pathlib import Path
from stylegen.runs.checkpoint import load_state
from stylegen.train import Hooks, train
from tests.support.configs import tiny_config
from tests.support.hooks import LastState
from tests.test_elastic import SEGMENTS, config

class First(Hooks):
    def on_stage(self, stage, steps, programs):
        self.state = None
        def step(state, *arguments):
            if self.state is None:
                self.state = jax.device_get(dataclasses.replace(state, key=jax.random.key_data(state.key)))
            return steps["train"](state, *arguments)
        return {**steps, "train": step}

def leaves(state):
    return [np.asarray(x) for x in jax.tree.leaves(state)]

folder, report = Path(sys.argv[1]), {"restored": []}
total = SEGMENTS[-1][0]
train(config(folder / "alone", total, 1, None))
last = None
for kimg, devices, micro_batch in SEGMENTS:
    first = First()
    if last is not None:
        saved = load_state(folder / "elastic")[2]
        saved = dataclasses.replace(saved, key=jax.random.key_data(saved.key))
    train(config(folder / "elastic", kimg, devices, micro_batch), hooks=first)
    if last is not None:
        pairs = zip(leaves(saved), leaves(first.state), strict=True)
        report["restored"].append(all(np.array_equal(a, b) for a, b in pairs))
    last = kimg
print(json.dumps(report))
"""
# To so many kimg, devices, micro-batch. Steps are of 16 images.
SEGMENTS = [(0.032, 1, None), (0.048, 2, 4), (0.064, 1, 8)]


def config(folder, kimg, devices, micro_batch):
    return tiny_config(
        data={"batch": 16, "mirror": True},
        loss={"r1_gamma": 1.0},
        optimizer={"epsilon": 0.01},
        schedule={"total_kimg": kimg, "start_resolution": 8},
        run={
            "dir": str(folder),
            "tick_kimg": 0.016,
            "devices": devices,
            "micro_batch": micro_batch,
            "compilation_cache": str(folder.parent / "xla"),
        },
    )


@pytest.mark.slow
def test_a_run_goes_on_with_other_devices_and_micro_batches(tmp_path):
    """Every restored state is the saved one to the bit; the losses of its first step are those of one device to 1e-6.

    Each later step multiplies what rounding has made of the one before: 1.5e-6 one step on, in one measurement.
    """
    assert report_of(PROGRAM, tmp_path)["restored"] == [True] * 2
    alone, elastic = (
        [json.loads(line) for line in (tmp_path / name / "stats.jsonl").read_text().splitlines()]
        for name in ("alone", "elastic")
    )
    assert [line["nimg"] for line in alone] == [line["nimg"] for line in elastic] and len(alone) == 4
    for a, b in zip(alone, elastic, strict=True):
        for name in a:
            if name.startswith(("Loss/", "Progress/")):
                tolerance = 1e-6 if a["nimg"] <= 48 else 1e-5
                np.testing.assert_allclose(
                    b[name], a[name], rtol=tolerance, atol=tolerance, err_msg=f"{a['nimg']} {name}"
                )
    log = (tmp_path / "elastic" / "log.txt").read_text()
    assert "Not as before: devices 1 -> 2, micro_batch None -> 4." in log and "up to rounding" in log


def test_a_layout_is_told_from_another():
    now = {"processes": 1, "devices": 2, "device": "cpu", "micro_batch": 4}
    assert "bit for bit" in sharding.layout_change(now, now)
    text = sharding.layout_change({**now, "devices": 1}, now)
    assert text.startswith("Not as before: devices 1 -> 2.") and "to the bit; steps from here on" in text
