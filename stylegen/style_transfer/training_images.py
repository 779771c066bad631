"""What the style networks are trained on: crops of drawn rooms, drawn textures, photographs and styles. Numpy only."""

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from stylegen.data import imaging
from stylegen.data.toy import bedrooms
from stylegen.io.image_listing import NoImagesError, list_images
from stylegen.paths import expanded
from stylegen.style_transfer import StyleError, textures
from stylegen.style_transfer.config import DataConfig

# Photographs in scikit-image's wheel that anyone may use for anything, with what its documentation states of each.
PUBLIC_DOMAIN = {
    "astronaut.png": "NASA, public domain",
    "brick.png": "CC0Textures, CC0",
    "camera.png": "Lav Varshney, CC0",
    "chelsea.png": "Stefan van der Walt, CC0",
    "coffee.png": "Rachel Michetti, CC0",
    "grass.png": "CC0Textures, CC0",
    "gravel.png": "CC0Textures, CC0",
    "hubble_deep_field.jpg": "NASA, public domain",
    "rocket.jpg": "SpaceX, public domain",
}
# How often a crop is of a room, a texture, a photograph, a style; for an encoder and a decoder, and the small network.
PAIR_CONTENTS, PAIR_STYLES = (0.4, 0.25, 0.35, 0.0), (0.1, 0.65, 0.25, 0.4)
CONTENTS, STYLES = (0.0, 0.1, 0.7, 0.2), (0.0, 0.35, 0.15, 0.5)
FITTING = (0.0, 0.25, 0.5, 0.25)  # of what a decoder is fitted to
_NAMES = ("auto", "none", "scikit-image")  # of DataConfig.photographs that are no folders
_SMALLEST = 64  # pixels a side of a photograph that is of use


@dataclass(frozen=True)
class ImagePool:
    """Images by kind, uint8 [h, w, 3] each."""

    rooms: list[np.ndarray]
    textures: list[np.ndarray]
    photographs: list[np.ndarray]
    styles: list[np.ndarray] = field(default_factory=list)  # paintings and whatever else is drawn, never a content

    @property
    def num_classes(self) -> int:
        """Number of images that differ enough to be distinguished: all but the rooms."""
        return len(self.textures) + len(self.photographs) + len(self.styles)

    @functools.cached_property
    def photographs_hash(self) -> str:
        """Another one if the photographs or their order are others; rooms and textures follow from the settings."""
        digest = hashlib.sha256()
        for image in (*self.photographs, *self.styles):
            digest.update(str(image.shape).encode() + np.ascontiguousarray(image).tobytes())
        return digest.hexdigest()[:16]

    def draw(self, rng: np.random.Generator, n: int, size: int, zoom: float, shares: tuple[float, ...]) -> "Crops":
        """Draw ``n`` random crops of ``size`` pixels; kinds without images leave their share to the others."""
        kinds = [self.rooms, self.textures, self.photographs, self.styles]
        weights = np.array([share * bool(kind) for share, kind in zip(shares, kinds, strict=True)])
        images, labels = np.empty((n, size, size, 3), np.uint8), np.empty(n, np.int32)
        for i in range(n):
            kind = rng.choice(len(kinds), p=weights / weights.sum())
            which = int(rng.integers(len(kinds[kind])))
            images[i] = _jitter_color(rng, _random_crop(rng, kinds[kind][which], size, zoom))
            labels[i] = which + sum(map(len, kinds[1:kind])) if kind else -1
        return Crops(images, labels)


@dataclass(frozen=True)
class Crops:
    """uint8 [n, size, size, 3] and the number of the image that each is of, [n]; -1 for rooms, which are much alike."""

    images: np.ndarray
    labels: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Both."""
        return self.images, self.labels


def _random_crop(rng: np.random.Generator, image: np.ndarray, size: int, zoom: float) -> np.ndarray:
    """A random square of ``size`` to ``zoom`` times that, made smaller with antialiasing, mirrored at random."""
    largest = max(size, min(*image.shape[:2], size * zoom))
    side = rng.uniform(size, largest)
    height, width = image.shape[:2]
    top, left = rng.uniform(0, max(height - side, 0)), rng.uniform(0, max(width - side, 0))
    box = (left, top, min(left + side, width), min(top + side, height))
    crop = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box))
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def _jitter_color(rng: np.random.Generator, crop: np.ndarray) -> np.ndarray:
    """Channels exchanged in a third of all cases, contrast and brightness changed a little in all."""
    if rng.random() < 1 / 3:
        crop = crop[:, :, rng.permutation(3)]
    contrast, brightness = rng.uniform(0.7, 1.15), rng.uniform(-20, 20)
    return np.clip((crop.astype(np.float32) - 128) * contrast + 128 + brightness, 0, 255).astype(np.uint8)


def open_pool(config: DataConfig, say: Callable[[str], None] | None = None) -> ImagePool:
    """Draw the rooms and textures and read the photographs; ``say`` is told of files among them that are no images.

    Raises:
        StyleError: the photographs are not there or cannot be read.
    """
    rooms = list(bedrooms.render(range(config.rooms), config.side, config.seed)) if config.rooms else []
    drawn = [textures.texture(i, config.side, config.seed) for i in range(config.textures)]
    photographs = [read(path) for path in photograph_files(config.photographs, say)]
    return ImagePool(rooms, drawn, photographs, [read(path) for path in style_files(config.photographs, say)])


def resolved(photographs: str) -> str:
    """What ``auto`` means on this machine; anything else as it is."""
    if photographs != "auto":
        return photographs
    return "scikit-image" if _scikit_image() else "none"


def photograph_files(photographs: str, say: Callable[[str], None] | None = None) -> list[Path]:
    """Files of the photographs that ``DataConfig.photographs`` names; ``say`` is told of others in the folder.

    Raises:
        StyleError: there are none.
    """
    photographs = resolved(photographs)
    if photographs == "none":
        return []
    if photographs == "scikit-image":
        images = _scikit_image()
        if images is None:
            raise StyleError(
                "data.photographs = 'scikit-image': that package is not here; pip install scikit-image, or train "
                "without photographs: --data.photographs none."
            )
        return [images / name for name in PUBLIC_DOMAIN if (images / name).is_file()]
    folder = expanded(photographs)
    if not folder.is_dir():
        raise StyleError(f"data.photographs = {photographs!r}: there is no such folder.")
    return _images_in(folder / "content" if (folder / "content").is_dir() else folder, say)


def style_files(photographs: str, say: Callable[[str], None] | None = None) -> list[Path]:
    """Files of the styles in ``style/`` of the folder that ``DataConfig.photographs`` names, if there is one."""
    folder = expanded(photographs) / "style"
    return _images_in(folder, say) if photographs not in _NAMES and folder.is_dir() else []


def _images_in(folder: Path, say: Callable[[str], None] | None) -> list[Path]:
    try:
        listing = list_images(folder)
    except NoImagesError as error:
        raise StyleError(f"data.photographs: {error}") from error
    if say is not None and listing.note:
        say(listing.note)
    return listing.files


def _scikit_image() -> Path | None:
    """The folder of its images; the package itself is not imported."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "data"


def read(path: Path, smallest: int = _SMALLEST, channels: int = 3, color: imaging.Color = "srgb") -> np.ndarray:
    """An image file as uint8 [h, w, channels]: RGB, transparency laid on white, or with 4 channels RGB and alpha.

    Its ICC profile is converted to sRGB, or left out with ``color`` as-is.

    Raises:
        StyleError: it is no image, has too many pixels, or a side of less than ``smallest``.
    """
    try:
        image = np.asarray(imaging.decode_file(path, channels, color))
    except OSError as error:
        raise StyleError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except imaging.UnreadableImageError as error:
        raise StyleError(f"{path}: not an image that can be used: {str(error).rstrip('.')}.") from error
    if min(image.shape[:2]) < smallest:
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise StyleError(f"{path}: {size} pixels are too few; at least {smallest} a side are needed.")
    return image


def ahead(draw: Iterator[Crops]) -> Iterator[Crops]:
    """The same crops, the next ones drawn while these are used."""
    with ThreadPoolExecutor(1, thread_name_prefix="crops") as executor:
        waiting = executor.submit(next, draw, None)
        while (crops := waiting.result()) is not None:
            waiting = executor.submit(next, draw, None)
            yield crops
