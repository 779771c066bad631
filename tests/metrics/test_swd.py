"""SWD: its pyramid, its patches, and what it must and must not see."""

import numpy as np
import pytest

from stylegen.metrics import MetricError, swd


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def filtered(x):
    """[1, 4, 6, 4, 1]/16 along both axes of [h, w] by loops, mirrored."""
    weights = np.array([1, 4, 6, 4, 1]) / 16
    for axis in (0, 1):
        padded = np.pad(x, [(2, 2) if a == axis else (0, 0) for a in (0, 1)], mode="reflect")
        x = sum(w * np.take(padded, range(i, i + x.shape[axis]), axis=axis) for i, w in enumerate(weights))
    return x


def test_pyramid(rng):
    images = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    fine, coarse = swd.laplacian_pyramid(images, 2)
    plane = images[1, :, :, 2].astype(np.float64)
    small = filtered(plane)[::2, ::2]
    spread = np.zeros((32, 32))
    spread[::2, ::2] = small
    np.testing.assert_allclose(coarse[1, :, :, 2], small, atol=1e-3)
    np.testing.assert_allclose(fine[1, :, :, 2], plane - 4 * filtered(spread), atol=1e-3)


def test_pyramid_of_a_flat_picture():
    fine, coarse = swd.laplacian_pyramid(np.full((1, 32, 32, 1), 77, np.uint8), 2)
    np.testing.assert_allclose(coarse, 77, atol=1e-4)
    np.testing.assert_allclose(fine, 0, atol=1e-4)


def test_levels():
    assert swd.levels(256) == [256, 128, 64, 32, 16]
    assert swd.levels(16) == [16] and swd.levels(8) == [8] and swd.levels(48) == [48, 24]
    with pytest.raises(MetricError, match="4 pixels are smaller than SWD's patches of 7x7"):
        swd.levels(4)
    with pytest.raises(MetricError, match="33 pixels cannot be halved"):
        swd.levels(33)


def test_patches_are_of_the_pictures(rng):
    """Every patch is found in its picture, all places are reached, and batching does not matter."""
    images = rng.integers(0, 256, (3, 9, 9, 2), np.uint8)
    at_once, parts = swd.PatchSampler(9, 2), swd.PatchSampler(9, 2)
    at_once.update(images)
    for image in images:
        parts.update(image[None])
    patches = at_once.take(9).reshape(3, 128, 7, 7, 2)
    np.testing.assert_array_equal(patches.reshape(-1, 49, 2), parts.take(9))
    for image, cut in zip(images, patches, strict=True):
        corners = {(y, x): image[y : y + 7, x : x + 7].astype(np.float32) for y in range(3) for x in range(3)}
        matches = [[place for place, corner in corners.items() if np.array_equal(corner, patch)] for patch in cut]
        assert {place for (place,) in matches} == set(corners)


def test_distance_in_one_dimension(rng):
    """Where patches are single numbers every direction is the line itself."""
    a, b = rng.standard_normal((500, 1, 1)), rng.standard_normal((500, 1, 1)) ** 3

    def standard(x):
        x = x.ravel()
        return np.sort((x - x.mean()) / x.std())

    expected = np.abs(standard(a) - standard(b)).mean()
    assert swd.sliced_wasserstein(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(expected, rel=1e-4)


def test_invariances(rng):
    """Zero for the same patches in any order; blind to each channel's brightness and contrast, as in the paper."""
    a = rng.standard_normal((200, 49, 3)).astype(np.float32)
    assert swd.sliced_wasserstein(a, rng.permutation(a)) == pytest.approx(0, abs=1e-6)
    adjusted = a * np.array([2, 0.5, 1], np.float32) + np.array([10, 0, -5], np.float32)
    assert swd.sliced_wasserstein(a, adjusted) == pytest.approx(0, abs=1e-4)
    b = rng.standard_normal((200, 49, 3)).astype(np.float32) ** 3
    assert swd.sliced_wasserstein(a, b) == pytest.approx(swd.sliced_wasserstein(b, a), rel=1e-5)


def test_blur_is_seen_at_the_fine_levels_only(rng):
    """A blurred set differs from a sharp one where detail is, and less where it is not."""
    sharp = rng.integers(0, 256, (64, 64, 64, 1), np.uint8)
    other = rng.integers(0, 256, (64, 64, 64, 1), np.uint8)
    blurred = np.stack([filtered(x[:, :, 0].astype(float)) for x in other]).round().astype(np.uint8)[..., None]

    def distances(fakes):
        a, b = swd.PatchSampler(64, 1, seed=1), swd.PatchSampler(64, 1, seed=2)
        a.update(fakes)
        b.update(sharp)
        return swd.compare(a, b)

    same, different = distances(other), distances(blurred)
    assert list(same) == [64, 32, 16]
    assert different[64] > 4 * same[64]
    assert different[64] > 2 * different[16]


@pytest.mark.usefixtures("unchecked")
def test_refusals(rng):
    sampler = swd.PatchSampler(16, 3)
    with pytest.raises(MetricError, match=r"images are float32 .* wanted uint8 \[N, 16, 16, 3\]"):
        sampler.update(np.zeros((1, 16, 16, 3), np.float32))
    with pytest.raises(MetricError, match="patches have shapes"):
        swd.sliced_wasserstein(np.zeros((2, 49, 3)), np.zeros((3, 49, 3)))
    with pytest.raises(MetricError, match="16 and of 32 pixels cannot be compared"):
        swd.compare(sampler, swd.PatchSampler(32, 3))
