"""States of the explorer: to JSON and back, and what is refused."""

import json
import math

import numpy as np
import pytest

from stylegen.errors import StylegenError
from stylegen.explorer.state import Shape, State, decode, encode, from_json

SHAPE = Shape(6, 16, 0, frozenset({"pca0", "coarse 1"}))
CLASSES = Shape(6, 16, 3, frozenset())
WS = encode(np.linspace(-3, 3, 96).reshape(6, 16))
ROW = encode(np.linspace(-3, 3, 16))


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"seed": 2**32 - 1},
        {"psi": -1.5, "cutoff": 0, "seed": 4},
        {"ws": WS, "psi": 1.0},
        {"mix": {"0": 7, "5": ROW}},
        {"directions": {"pca0": -3.25, "coarse 1": 2.0}},
        {"noise": "random", "noise_strength": 0.5},
    ],
)
def test_a_state_is_its_json(tree):
    assert from_json(json.loads(json.dumps(tree)), SHAPE).to_json() == tree


def test_what_is_as_in_a_new_state_is_left_out():
    tree = {"seed": 0, "psi": 0.7, "cutoff": None, "mix": {}, "directions": {"pca0": 0}, "noise": "const"}
    assert from_json(tree, SHAPE) == State() and State().to_json() == {}


def test_styles_lose_nothing_that_is_seen():
    ws = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
    again = decode(encode(ws), "ws", (6, 16))
    np.testing.assert_allclose(again, ws, rtol=2**-11)
    np.testing.assert_array_equal(decode(encode(again), "ws", (6, 16)), again)
    assert np.isfinite(decode(encode(ws * 1e9), "ws", (6, 16))).all()
    assert len(encode(np.zeros((18, 512)))) < 25_000  # an address may have so many letters


@pytest.mark.parametrize(
    "tree, words",
    [
        ([], "wanted a JSON object"),
        ({"sed": 1}, "a state has no sed; it has cutoff"),
        ({"seed": -1}, "seed is -1; wanted a whole number from 0 to 4,294,967,295"),
        ({"seed": 1.0}, "seed is 1.0"),
        ({"seed": True}, "seed is True"),
        ({"psi": math.nan}, "psi is nan"),
        ({"psi": 11}, "psi is 11"),
        ({"psi": "1"}, "psi is 1"),
        ({"cutoff": 7}, "cutoff is 7"),
        ({"label": 0}, "this generator has no classes"),
        ({"ws": WS[:-4]}, "wanted base64 of 96 numbers"),
        ({"ws": "!" * len(WS)}, "ws: not base64"),
        ({"ws": encode(np.full((6, 16), 1))[:-4] + "AHw="}, "ws"),
        ({"mix": {"6": 1}}, "a layer of mix is 6"),
        ({"mix": {"x": 1}}, "a layer of mix is -1"),
        ({"mix": {"1": [1]}}, "mix of layer 1 is"),
        ({"mix": {"1": "AAAA"}}, "mix of layer 1 is AAAA"),
        ({"directions": {"up": 1}}, "there is no direction up"),
        ({"directions": {"pca0": math.inf}}, "direction pca0 is inf"),
        ({"directions": [1]}, "directions are"),
        ({"noise": "loud"}, "noise is loud; wanted one of"),
        ({"noise": ["const"]}, "noise is"),
        ({"noise_strength": -1}, "noise_strength is -1"),
    ],
)
def test_what_is_no_state_is_a_sentence(tree, words):
    with pytest.raises(StylegenError, match=words) as caught:
        from_json(tree, SHAPE)
    assert len(str(caught.value)) < 300


def test_styles_that_are_not_finite_are_refused():
    numbers = np.zeros((6, 16), "<f2")
    numbers[2, 3] = np.inf
    import base64

    with pytest.raises(StylegenError, match="not finite"):
        from_json({"ws": base64.urlsafe_b64encode(numbers.tobytes()).decode()}, SHAPE)


def test_classes():
    assert from_json({"label": 2}, CLASSES).label == 2
    with pytest.raises(StylegenError, match="label is 3; wanted a whole number from 0 to 2"):
        from_json({"label": 3}, CLASSES)
