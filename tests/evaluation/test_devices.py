"""Features and generated images are the same on one device and on two."""

import subprocess
import sys

from tests.support.devices import with_devices
from tests.support.paths import ROOT

PROGRAM = """
import dataclasses
import jax, numpy as np
import stylegen
from stylegen.evaluation.generated_set import Drawing, GeneratedSet
from stylegen.metrics import extractors
from stylegen.pretrained import vgg16

vgg16.STAGES = tuple(tuple(c // 16 for c in stage) for stage in vgg16.STAGES)
vgg16.FEATURES, vgg16.RANDOM_FEATURES, extractors.BATCH = 16, 8, 4
assert jax.device_count() == 2
two = extractors.open_extractor("random_vgg")
one = dataclasses.replace(two, devices=jax.devices()[:1])
images = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), np.uint8)
assert two.batch == 8 and one.batch == 4
assert len(two._run(images[:8])["features"].addressable_shards) == 2
np.testing.assert_allclose(two(images), one(images), rtol=1e-4, atol=1e-5)

drawn = GeneratedSet(stylegen.load("toy_bedrooms"), Drawing()).read(np.arange(5))
from stylegen import sampling
expected = sampling.sample(stylegen.load("toy_bedrooms"), range(5), noise="random")
assert np.abs(np.asarray(drawn).astype(int) - expected).max() <= 1
print("alike")
"""


def test_one_and_two_devices():
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=with_devices(2),
        capture_output=True,
        text=True,
    )
    assert process.stdout.strip() == "alike", process.stderr
