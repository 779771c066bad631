"""Centers: class means by their definition, clusters found again, and what is kept on disk."""

import dataclasses

import jax
import numpy as np
import pytest

import stylegen
from stylegen.cli import sample
from stylegen.runs.load import save_generator
from stylegen.sampling import centers
from stylegen.sampling.centers import CenterError
from stylegen.sampling.generate import SamplingError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(centers, "_IN_MEMORY", {})
    monkeypatch.setattr(centers, "PER_CLASS", 200)
    monkeypatch.setattr(centers, "NUM_SAMPLES", 500)
    return tmp_path / "cache" / "stylegen" / "centers"


@pytest.fixture
def classes(make_generator):
    return make_generator(classes=3)


def test_class_centers_are_means(classes):
    found = centers.class_centers(classes)
    z = np.random.RandomState(0).randn(200, classes.z_dim).astype(np.float32)
    for label in range(3):
        expected = stylegen.styles(classes, z, labels=label)[:, 0].mean(axis=0)
        np.testing.assert_allclose(found[label], expected, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_truncation_towards_the_class(classes):
    z = stylegen.latents([1, 2, 3, 4], classes.z_dim)
    labels = [0, 1, 2, 1]
    whole = stylegen.styles(classes, z, labels=labels)
    found = stylegen.styles(classes, z, labels=labels, psi=0.25, cutoff=4, towards="class")
    center = centers.class_centers(classes)[labels][:, None]
    np.testing.assert_allclose(found[:, :4], center + 0.25 * (whole[:, :4] - center), atol=1e-5)
    np.testing.assert_array_equal(found[:, 4:], whole[:, 4:])
    # At psi 0 the class is left, where the mean of all classes has lost it.
    images = stylegen.sample(classes, [1, 2], labels=[0, 1], psi=0, towards="class", noise="none")
    alike = stylegen.sample(classes, [1, 2], labels=[0, 1], psi=0, noise="none")
    assert (alike[0] == alike[1]).all() and (images[0] != images[1]).any()
    np.testing.assert_array_equal(
        images[1:], stylegen.sample(classes, [9], labels=[1], psi=0, towards="class", noise="none")
    )


def test_classes_have_names_too(classes):
    named = dataclasses.replace(classes, config=dataclasses.replace(classes.config, class_names=("cat", "dog", "owl")))
    z = stylegen.latents([1, 2], classes.z_dim)
    by_number = stylegen.styles(named, z, labels=1, psi=0.5, towards="class")
    np.testing.assert_array_equal(stylegen.styles(named, z, labels="dog", psi=0.5, towards="class"), by_number)


def test_images_are_those_of_their_styles(classes):
    ws = stylegen.styles(classes, stylegen.latents([5, 6], 16), labels=2, psi=0.5, towards="class")
    expected = stylegen.synthesize(classes, ws, batch=2)
    found = stylegen.sample(classes, [5, 6], labels=2, psi=0.5, towards="class", batch=2)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_clusters_are_found_again(make_generator, monkeypatch):
    """Styles in three heaps: their means are the centers, and each style goes to that of its heap."""
    G, rng = make_generator(), np.random.default_rng(0)
    means = 10 * rng.standard_normal((3, G.w_dim))
    heaps = np.repeat(means, 200, axis=0) + 0.1 * rng.standard_normal((600, G.w_dim))
    monkeypatch.setattr(centers, "NUM_SAMPLES", 600)
    monkeypatch.setattr(centers, "_mapped", lambda *_: heaps.astype(np.float32))
    found = centers.kmeans_centers(G, 3)
    nearest = means[np.argmin(np.linalg.norm(found[:, None] - means, axis=-1), axis=1)]
    np.testing.assert_allclose(found, nearest, atol=0.05)
    assert len(np.unique(nearest, axis=0)) == 3
    monkeypatch.setattr(centers, "kmeans_centers", lambda G: found)
    chosen = centers.centers_of(G, heaps[::100].astype(np.float32), "nearest", None)
    np.testing.assert_allclose(chosen, means[[0, 0, 1, 1, 2, 2]], atol=0.05)


def test_nearest_changes_the_variety(make_generator, monkeypatch):
    G = make_generator()
    monkeypatch.setattr(centers, "NUM_CENTERS", 8)
    kmeans = centers.kmeans_centers
    monkeypatch.setattr(centers, "kmeans_centers", lambda G: kmeans(G, 8))
    z = stylegen.latents(range(40), G.z_dim)
    near, mean = (stylegen.styles(G, z, psi=0.2, towards=towards)[:, 0] for towards in ("nearest", "mean"))
    assert near.std(axis=0).mean() > 1.5 * mean.std(axis=0).mean()
    np.testing.assert_allclose(stylegen.styles(G, z, psi=1, towards="nearest"), stylegen.styles(G, z), atol=1e-5)


def test_centers_are_kept_by_the_weights(classes, cache, monkeypatch):
    first = centers.class_centers(classes)
    (path,) = cache.iterdir()
    monkeypatch.setattr(centers, "_IN_MEMORY", {})
    monkeypatch.setattr(centers, "_mapped", None)  # is not computed again
    np.testing.assert_array_equal(centers.class_centers(classes), first)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parents[1]))
    monkeypatch.setattr(centers, "PER_CLASS", 200)
    monkeypatch.setattr(centers, "_IN_MEMORY", {})
    path.write_bytes(path.read_bytes()[:100])  # damaged: computed again
    np.testing.assert_array_equal(centers.class_centers(classes), first)
    other = dataclasses.replace(classes, params=jax.tree.map(lambda x: 1.5 * x, classes.params))
    assert np.abs(centers.class_centers(other) - first).max() > 0.01
    assert len(list(cache.iterdir())) == 2


def test_what_does_not_fit(make_generator, classes, tmp_path, monkeypatch, capsys, unchecked):
    G = make_generator()
    with pytest.raises(CenterError, match="this generator has no classes; use mean or nearest"):
        stylegen.sample(G, [1], towards="class")
    with pytest.raises(CenterError, match="towards = 'median': must be mean, class or nearest"):
        stylegen.sample(G, [1], towards="median")
    with pytest.raises(SamplingError, match="psi = nan"):
        stylegen.sample(classes, [1], labels=1, psi=float("nan"), towards="class")
    with pytest.raises(CenterError, match="count = 51: must be from 1 to 50 centers"):
        centers.kmeans_centers(G, 51)
    monkeypatch.chdir(tmp_path)
    save_generator(classes, "g.safetensors")
    command = "--run g.safetensors --seeds 1,2 --labels 0,2 --psi 0.5 --psi-towards class --out out"
    assert sample.main(command.split()) == 0
    assert sample.main(f"{command} --interpolate".split()) == 2
    assert "--psi-towards class does not go with --interpolate" in capsys.readouterr().err
