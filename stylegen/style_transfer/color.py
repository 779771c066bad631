"""Keeping the content's colors: CORAL on the style before a transfer, or the lightness alone after it. Numpy."""

import numpy as np

# ITU-R BT.601 luma, as in JPEG.
_LUMA = np.array([0.299, 0.587, 0.114])


def coral(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The style with the content's mean color and covariance of colors, so that a transfer changes texture alone.

    Correlation alignment (Sun, Feng and Saenko 2016) as style transfer uses it: each channel is brought to mean 0 and
    variance 1 (divisor n - 1), whitened by the symmetric square root of its scatter plus the identity, colored by that
    of the other image, and given its means and standard deviations. Here both scatters are divided by their numbers of
    pixels. pytorch-AdaIN does not, so that its result has another contrast where the two differ in size.

    Args:
        style: uint8 [h, w, 3].
        content: uint8 [h', w', 3].

    Returns:
        uint8 [h, w, 3].
    """
    x, y = (image.reshape(-1, 3).astype(np.float64) / 255 for image in (style, content))
    result = coral_floats(x, y)
    return np.clip(np.rint(result * 255), 0, 255).astype(np.uint8).reshape(style.shape)


def coral_floats(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """``coral`` of float colors [n, 3] and [m, 3], not rounded."""
    x, _, _ = _standardize(style)
    y, mean, std = _standardize(content)
    whiten, recolor = np.linalg.inv(_root(x)), _root(y)
    return x @ (recolor @ whiten).T * std + mean


def _standardize(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, std = colors.mean(axis=0), colors.std(axis=0, ddof=1)
    std = np.maximum(std, 1e-6)  # a channel of one value stays where it is
    return (colors - mean) / std, mean, std


def _root(colors: np.ndarray) -> np.ndarray:
    """The symmetric square root of the scatter matrix plus the identity, by the number of pixels."""
    values, vectors = np.linalg.eigh((colors.T @ colors + np.eye(3)) / len(colors))
    return (vectors * np.sqrt(values)) @ vectors.T


def with_luminance(content: np.ndarray, result: np.ndarray) -> np.ndarray:
    """The result's luma with the content's color differences: uint8 [h, w, 3] both, of one size.

    Adding the same number to red, green and blue changes the luma alone.
    """
    change = result.astype(np.float32) @ _LUMA.astype(np.float32) - content.astype(np.float32) @ _LUMA.astype(
        np.float32
    )
    return np.clip(np.rint(content + change[..., None]), 0, 255).astype(np.uint8)
