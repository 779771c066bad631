"""A first run of compiled programs."""

import jax
import numpy as np

from stylegen.runtime import sharding
from stylegen.training.state import abstract_state, blank_state
from stylegen.training.warmup import warm_up
from tests.support.configs import tiny_config

CONFIG = tiny_config(schedule={"total_kimg": 1})


def shapes(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def test_a_blank_state_has_the_shapes_of_a_state():
    assert shapes(blank_state(CONFIG)) == shapes(abstract_state(CONFIG))


def test_programs_are_run_with_the_arguments_of_training():
    calls = []

    def program(state, images, labels, alpha, learning_rate):
        calls.append((images.shape, images.dtype, labels.shape, float(alpha), float(learning_rate)))
        return state, {}

    warm_up(CONFIG, sharding.make_mesh(CONFIG), [program, program], 4, 16)
    assert calls == [((16, 4, 4, 3), np.uint8, (16,), 1.0, 0.0)] * 2


def test_accelerators_are_left_alone(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    warm_up(CONFIG, None, [None], 4, 16)  # would fail if it called the program
