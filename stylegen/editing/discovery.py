"""Find directions in the space of styles, without labels or with them.

Principal components of w: Härkönen et al. 2020 (GANSpace), Sec. 3. Closed-form factorization of the layers' affines:
Shen and Zhou 2021 (SeFa), Eq. 5 to 8. A linear probe: Shen et al. 2020 (InterFaceGAN), Sec. 3.
"""

import csv
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stylegen import sampling
from stylegen.editing.directions import Direction, Directions, EditError
from stylegen.io.progress import counted
from stylegen.metrics.separability import fit_logistic
from stylegen.networks.generator import Generator
from stylegen.paths import expanded
from stylegen.projection.result import fingerprint
from stylegen.untrusted import json_text, shown

SAMPLES = 10_000  # of w, for its spread and its principal components
RIDGE = 1e-2  # weight of the squared length of a ridge regression's slope, for w of unit variance
TEST_EVERY = 5  # every fifth sample judges the probe


def find_directions(
    G: Generator,
    count: int = 10,
    *,
    method: Literal["pca", "sefa"] = "pca",
    layers: Sequence[int] | None = None,
    labels: int | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Directions:
    """Directions in which images change, found without labels: ``move`` goes along them.

    Args:
        G: the generator.
        count: number of directions.
        method: pca takes the principal components of w (GANSpace), sefa the eigenvectors of the layers' affines (SeFa).
        layers: layers that the directions act on, 0 being the coarsest; None is all.
        labels: class whose w are sampled, for a generator with classes.
        samples: random w, which give the directions their unit: one standard deviation of w.
        seed: of these.

    Raises:
        EditError: an unknown method, a layer that does not exist, or more directions than there can be.
        SamplingError: a class that does not fit.
    """
    if method not in ("pca", "sefa"):
        raise EditError(f"method = {method!r}: must be pca or sefa.")
    used = list(range(G.num_ws)) if layers is None else list(layers)
    if outside := [layer for layer in used if not 0 <= layer < G.num_ws]:
        raise EditError(f"layer {outside[0]} does not exist: there are {G.num_ws}, 0 to {G.num_ws - 1}.")
    w = sampling.sample_w(G, samples, seed, labels)
    entries = principal_components(w, count, used) if method == "pca" else factorized(G, w, count, used)
    return Directions(tuple(entries), fingerprint(G))


def principal_components(w: np.ndarray, count: int, layers: Sequence[int], name: str = "pca{}") -> list[Direction]:
    """The principal components of w [n, w_dim], those of the greatest variance first (GANSpace).

    Args:
        w: random ones.
        count: of directions.
        layers: that they are to act on; the components are the same for all.
        name: of the directions, with {} for their numbers.

    Raises:
        EditError: more than there can be.
    """
    _check_count(count, min(w.shape[1], len(w) - 1))
    variances, vectors = np.linalg.eigh(np.cov(w.astype(np.float64), rowvar=False))
    share = variances / variances.sum()
    order = np.argsort(variances)[::-1][:count]
    return [
        _direction(name.format(i), vectors[:, k], w, layers, {"method": "pca", "share_of_variance": float(share[k])})
        for i, k in enumerate(order)
    ]


def factorized(G: Generator, w: np.ndarray, count: int, layers: Sequence[int], name: str = "sefa{}") -> list[Direction]:
    """The directions of w that change the styles of some layers most: eigenvectors of AᵀA of their affines A (SeFa).

    The affines' rows are taken as they are: the paper's formula; its authors' code brings them to unit length first.

    Args:
        G: the generator.
        w: random ones, for their spread along each direction.
        count: of directions.
        layers: whose affines are factorized, and that the directions act on.
        name: of the directions, with {} for their numbers.

    Raises:
        EditError: more than there can be.
    """
    _check_count(count, G.w_dim)
    affines = np.concatenate([style_affine(G, layer) for layer in layers], axis=1).astype(np.float64)
    values, vectors = np.linalg.eigh(affines @ affines.T)
    order = np.argsort(values)[::-1][:count]
    return [
        _direction(name.format(i), vectors[:, k], w, layers, {"method": "sefa", "eigenvalue": float(values[k])})
        for i, k in enumerate(order)
    ]


def style_affine(G: Generator, layer: int) -> np.ndarray:
    """The weight [w_dim, ...] by which w becomes the style of a layer, as the network applies it."""
    block, half = divmod(layer, 2)
    blocks, r = G.params["synthesis"]["blocks"], 4 * 2**block
    if G.config.generator.block == "adain":
        affines = [blocks[f"b{r}"][f"act{half}"]["adain"]["affine"]]
    elif half == 0:
        affines = [blocks[f"b{r}"]["conv1"]["affine"]]
    else:  # StyleGAN2: that of ToRGB is also that of the next block's first convolution
        affines = [blocks[f"b{r}"]["torgb"]["affine"]]
        affines += [blocks[f"b{2 * r}"]["conv0"]["affine"]] if 2 * r <= G.resolution else []
    weight = np.concatenate([np.asarray(affine["weight"]) for affine in affines], axis=1)
    return weight / np.sqrt(len(weight))  # the equalized learning rate's gain


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear probe of w."""

    direction: Direction
    quality: float  # on held-out samples: accuracy (yes or no), or R² (numbers)
    baseline: float  # quality of always predicting the more frequent class, or the mean
    kind: str  # accuracy or R²


def attribute_direction(w: np.ndarray, scores: np.ndarray, layers: Sequence[int], name: str) -> Probe:
    """The direction along which an attribute grows, by a linear probe of w.

    Logistic regression where the scores are two different numbers, ridge regression otherwise. Every fifth sample is
    left out of the fit and judges it.

    Args:
        w: [n, w_dim].
        scores: [n].
        layers: that the direction is to act on.
        name: of the direction.

    Raises:
        EditError: too few scores, one that is not finite, all alike, or those that judge the probe all alike.
    """
    scores = np.asarray(scores, np.float64)
    if scores.shape != (len(w),) or len(w) < 4 * TEST_EVERY:
        raise EditError(
            f"attribute {name}: {counted(scores.size, 'score')} for {counted(len(w), 'style')}; give one each, at "
            "least 20."
        )
    if not np.isfinite(scores).all():
        raise EditError(f"attribute {name}: some scores are not finite numbers.")
    test = np.arange(len(w)) % TEST_EVERY == 0
    values = np.unique(scores)
    if len(values) == 1 or len(np.unique(scores[~test])) == 1:
        raise EditError(f"attribute {name}: all scores are {values[0]:g}, so there is nothing to tell apart.")
    binary = len(values) == 2
    if not binary and len(np.unique(scores[test])) == 1:
        raise EditError(
            f"attribute {name}: every {TEST_EVERY}th score judges the probe, and all of these are {scores[test][0]:g}, "
            "so its R² would mean nothing; give more scores, or the same in another order."
        )
    mean, spread = w.mean(axis=0, dtype=np.float64), w.std(axis=0, dtype=np.float64) + 1e-12
    x = (w - mean) / spread
    y = (scores == values[1]).astype(np.float64) if binary else scores
    slope, offset = (fit_logistic if binary else _fit_ridge)(x[~test], y[~test])
    predicted, kind = x[test] @ slope + offset, "accuracy" if binary else "R²"
    if binary:
        quality = float(np.mean((predicted > 0) == (y[test] > 0.5)))
        baseline = float(max(np.mean(y[test]), 1 - np.mean(y[test])))
    else:
        quality = 1 - float(np.mean(np.square(predicted - y[test])) / np.var(y[test]))
        baseline = 0.0
    about = {"method": "probe", kind: quality, "baseline": baseline, "samples": len(w)}
    return Probe(_direction(name, slope / spread, w, layers, about, keep_sign=True), quality, baseline, kind)


def _fit_ridge(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    centered = y - y.mean()
    slope = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ centered)
    return slope, float(y.mean() - x.mean(axis=0) @ slope)


def _direction(
    name: str, vector: np.ndarray, w: np.ndarray, layers: Sequence[int], about: dict[str, Any], keep_sign: bool = False
) -> Direction:
    """A direction of the length of one standard deviation of w along it."""
    unit = vector / np.linalg.norm(vector)
    if not keep_sign and unit[np.argmax(np.abs(unit))] < 0:
        unit = -unit  # an eigenvector has no sign of its own
    std = float((w.astype(np.float64) @ unit).std())
    return Direction(name, (unit * std).astype(np.float32), tuple(layers), {**about, "deviation": std})


def _check_count(count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise EditError(f"{counted(count, 'direction')}: there can be 1 to {most}.")


def read_scores(path: str | os.PathLike[str]) -> tuple[list[int], dict[str, np.ndarray]]:
    """Scores of seeds from a table: the seeds [n], and [n] numbers by attribute.

    A .csv has a header; its first column is ``seed``, or ``image`` with names as sample writes them (seed0042.png). A
    .json is a list of such rows as objects, or an object of such objects (or of single numbers) by seed or image.

    Raises:
        EditError: the file cannot be read, or a row makes no sense; the message names it.
    """
    path = expanded(path)
    try:
        if path.suffix.lower() == ".json":
            rows = _json_rows(json_text.read(path))
        else:
            rows = _csv_rows(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise EditError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, csv.Error, TypeError, AttributeError) as error:
        raise EditError(f"{path}: neither a table of scores as CSV nor as JSON: {error}.") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise EditError(f"{path}: has no rows of scores.")
    key = next((name for name in ("seed", "image") if name in rows[0]), None)
    attributes = [name for name in rows[0] if name != key]
    if key is None or not attributes:
        raise EditError(
            f"{path}: needs a column seed or image, and one of scores; it has {', '.join(map(str, rows[0]))}."
        )
    seeds, table = [], []
    for number, row in enumerate(rows, start=1):
        try:
            seeds.append(_seed_of(str(row[key])))
            table.append([_finite(row[name]) for name in attributes])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            is_now = f"row {number} is {shown(dict(row))}"
            raise EditError(f"{path}: {is_now}; wanted a seed (or seed0042.png) and finite numbers.") from error
    return seeds, dict(zip(attributes, np.array(table).T, strict=True))


def _csv_rows(text: str) -> list[dict[str, Any]]:
    """Rows by the names of the columns; ValueError where two have one name, of which one would be lost."""
    reader = csv.DictReader(text.splitlines())
    names = list(reader.fieldnames or [])
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two columns are named {twice[0]!r}")
    return list(reader)


def _json_rows(tree: Any) -> list[dict[str, Any]]:
    if isinstance(tree, dict):
        entries = [(key, value if isinstance(value, dict) else {"score": value}) for key, value in tree.items()]
        return [{"seed": key, **value} for key, value in entries]
    return [dict(row) for row in tree]


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _seed_of(text: str) -> int:
    match = re.fullmatch(r"\s*(?:seed)?([0-9]{1,10})(?:\.\w+)?\s*", Path(text).name)
    if match is None:
        raise ValueError(text)
    return int(match[1])
