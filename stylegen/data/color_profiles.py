"""ICC profiles: the colors of an image that carries one, as sRGB, which is what networks are trained on."""

import functools
import io
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageCms

Color = Literal["srgb", "as-is"]  # convert by the profile, or take the numbers as they are
_SPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}  # of a profile that fits a mode


def to_srgb(image: Image.Image) -> Image.Image:
    """The image with its colors converted to sRGB by its ICC profile, and without the profile.

    An image without a profile, with a damaged one, or with one of another color space comes back as it is. So does one
    whose profile means sRGB, bit for bit. Gray by a profile of its own and CMYK become RGB.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    has_alpha = image.has_transparency_data
    if image.mode == "P":
        image = image.convert("RGBA" if has_alpha else "RGB")
    if image.mode == "LA":
        alpha = image.getchannel("A")
        gray = _converted(image.getchannel("L"), profile)
        return image if gray is None else Image.merge("RGBA", (*gray.split(), alpha))
    converted = _converted(image, profile)
    return image if converted is None else converted


def _converted(image: Image.Image, profile: bytes) -> Image.Image | None:
    transform = _transform(profile, image.mode)
    return None if transform is None else _applied(image, transform)


def _applied(image: Image.Image, transform: Any) -> Image.Image:
    result = ImageCms.applyTransform(image, transform)
    assert result is not None  # None is of transforms in place
    return result


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> Any:
    """From a profile to sRGB; None if there is nothing to convert."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode not in _SPACES or source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        target = "RGBA" if mode == "RGBA" else "RGB"
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            target,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if _changes_nothing(transform, mode) else transform
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):  # a damaged profile
        return None


def _changes_nothing(transform: Any, mode: str) -> bool:
    """Whether a transform of RGB is the identity up to rounding: there are many profiles of sRGB."""
    if mode == "CMYK":
        return False
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, -1, 3)
    probe = Image.fromarray(colors).convert(mode) if mode != "L" else Image.fromarray(levels[None])
    expected = np.asarray(probe.convert("RGB")).astype(int)
    converted = np.asarray(_applied(probe, transform).convert("RGB"))
    return int(np.abs(converted - expected).max()) <= 1
