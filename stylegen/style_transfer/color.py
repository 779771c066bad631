"""Keeping the content's colours: CORAL on the style before a transfer, or the lightness alone after it. Numpy."""

import numpy as np

# ITU-R BT.601 luma, as in JPEG.
_LUMA = np.array([0.299, 0.587, 0.114])


def coral(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The style with the content's mean colour and covariance of colours, so that a transfer changes texture alone.

    Correlation alignment (Sun, Feng and Saenko 2016) as style transfer uses it: each channel is brought to mean 0 and
    variance 1 (divisor n - 1), whitened by the symmetric square root of its scatter plus the identity, coloured by that
    of the other picture, and given its means and deviations. Here both scatters are divided by their numbers of pixels;
    pytorch-AdaIN does not, so that its result has another contrast where the two differ in size.

    Args:
        style: uint8 [h, w, 3].
        content: uint8 [h', w', 3].

    Returns:
        uint8 [h, w, 3].
    """
    x, y = (picture.reshape(-1, 3).astype(np.float64) / 255 for picture in (style, content))
    result = coral_floats(x, y)
    return np.clip(np.rint(result * 255), 0, 255).astype(np.uint8).reshape(style.shape)


def coral_floats(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """``coral`` of float colours [n, 3] and [m, 3], not rounded."""
    x, _, _ = _standardised(style)
    y, mean, std = _standardised(content)
    whiten, colour = np.linalg.inv(_root(x)), _root(y)
    return x @ (colour @ whiten).T * std + mean


def _standardised(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, std = colours.mean(axis=0), colours.std(axis=0, ddof=1)
    std = np.maximum(std, 1e-6)  # a channel of one value stays where it is
    return (colours - mean) / std, mean, std


def _root(colours: np.ndarray) -> np.ndarray:
    """The symmetric square root of the scatter matrix plus the identity, by the number of pixels."""
    values, vectors = np.linalg.eigh((colours.T @ colours + np.eye(3)) / len(colours))
    return (vectors * np.sqrt(values)) @ vectors.T


def with_luminance(content: np.ndarray, result: np.ndarray) -> np.ndarray:
    """The result's luma with the content's colour differences: uint8 [h, w, 3] both, of one size.

    Adding the same number to red, green and blue changes the luma alone.
    """
    change = result.astype(np.float32) @ _LUMA.astype(np.float32) - content.astype(np.float32) @ _LUMA.astype(
        np.float32
    )
    return np.clip(np.rint(content + change[..., None]), 0, 255).astype(np.uint8)
