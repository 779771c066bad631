"""Feature extractors: batches of uint8 images in, features out, on all devices; each says what it is.

``inception`` is FID's network. ``vgg16`` is torchvision's VGG-16, and ``vgg16_conv`` its convolutions alone, which an
installed package can have. ``random_vgg`` is a smaller VGG-16 with fixed random weights: it needs no file, and suits
images that are not photographs.
"""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from stylegen.array_types import Array
from stylegen.io import files
from stylegen.io.images import MODES, layout_hint
from stylegen.metrics import MetricError
from stylegen.pretrained import inception, lpips, vgg16, weights
from stylegen.pretrained.resizing import resize
from stylegen.runtime import compilation

Name = Literal["inception", "vgg16", "vgg16_conv", "random_vgg"]
BATCH = 32  # images a device at once
CONV_SIZE = 128  # pixels of the images that vgg16_conv sees
CONV_LAYER = "relu5_3"

_TENSORFLOW = "bilinear as TensorFlow 1 (top left aligned, no antialiasing)"
_TRIANGLE = "bilinear, antialiased"


@dataclass(frozen=True, eq=False)
class Extractor:
    """A network that turns images into feature vectors."""

    name: Name
    size: int  # features
    provenance: dict[str, Any]  # what it is: weights, their hash, how images are resized
    forward: Callable[[Any, Array], dict[str, Array]]  # params and uint8 [N, h, w, 3] to features (and logits)
    params: Any
    devices: list[jax.Device] = field(default_factory=jax.local_devices)

    @property
    def batch(self) -> int:
        """Images at once, all devices together."""
        return BATCH * len(self.devices)

    def __call__(self, images: Array, output: str = "features") -> Float[np.ndarray, "n size"]:
        """Features [N, size] (or ``logits``) of uint8 [N, h, w, C], C 1 to 4 (see ``to_rgb``), any N; float32.

        Raises:
            MetricError: as ``outputs``.
        """
        return self.outputs(images, [output])[output]

    def outputs(self, images: Array, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Several outputs of one pass, by name: features [N, size], logits.

        Batches are padded to one size, so that each size of image is compiled once.

        Raises:
            MetricError: wrong images, or an output that this network has not.
        """
        check_images(images)
        if len(images) == 0:
            raise MetricError("there are no images.")
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            outputs = self._run(_padded(part, self.batch))
            for name in names:
                if name not in outputs:
                    raise MetricError(f"the extractor {self.name} has no {name}; inception has.")
                parts[name].append(np.asarray(outputs[name])[: len(part)])
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    def _run(self, images: Any) -> dict[str, Array]:
        return self._program(self._placed, jax.device_put(images, self._sharding("data")))

    def _sharding(self, *axes: str) -> NamedSharding:
        return NamedSharding(Mesh(np.array(self.devices), ("data",)), PartitionSpec(*axes))

    @functools.cached_property
    def _placed(self) -> Any:
        """The weights on all devices."""
        return jax.device_put(self.params, self._sharding())

    @functools.cached_property
    def _program(self) -> Callable[..., dict[str, Array]]:
        @compilation.at_precision("highest")
        def program(params: Any, images: Array) -> dict[str, Array]:
            return self.forward(params, to_rgb(images))

        return jax.jit(program, compiler_options=compilation.compiler_options())


def check_images(images: Any) -> None:
    """Raise MetricError unless these are uint8 [N, h, w, 1 to 4]."""
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[-1] not in MODES:
        raise MetricError(
            f"images are {images.dtype} {tuple(images.shape)}; wanted uint8 [N, h, w, C] with 1 to 4 channels"
            f"{layout_hint(images.shape)}."
        )


def to_rgb(images: Array) -> Array:
    """Images as networks see them, [N, h, w, 3]: transparency laid on white, gray repeated.

    Args:
        images: [N, h, w, 1 to 4], uint8 or floats in [-1, 1]; of 2 and 4 channels the last is alpha.
    """
    if images.shape[-1] in (2, 4):
        colors = images[..., :-1]
        if images.dtype == jnp.uint8:
            alpha = images[..., -1:].astype(jnp.float32) / 255
            images = jnp.rint(colors * alpha + 255 * (1 - alpha)).astype(jnp.uint8)
        else:
            alpha = jnp.clip((images[..., -1:] + 1) / 2, 0, 1)
            images = colors * alpha + (1 - alpha)
    return jnp.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def _padded(images: Any, size: int) -> Any:
    missing = size - len(images)
    if missing == 0:
        return images
    concatenate = np.concatenate if isinstance(images, np.ndarray) else jnp.concatenate
    return concatenate([images, images[-1:].repeat(missing, axis=0)])


def open_extractor(name: str, path: str | os.PathLike[str] | None = None) -> Extractor:
    """An extractor by name.

    Args:
        name: inception, vgg16, vgg16_conv or random_vgg. ``vgg16_conv:relu4_3`` is another layer than relu5_3.
        path: file of the weights; if None, where ``weights.download`` put them, or for vgg16_conv a package that is
            installed.

    Raises:
        MetricError: no such extractor.
        WeightsError: the weights are missing, or not those of this network.
    """
    if name.startswith("vgg16_conv:"):
        return _open_vgg16_conv(path, name.partition(":")[2])
    if name not in _OPENERS:
        raise MetricError(f"extractor {name!r}: must be one of {', '.join(_OPENERS)}.")
    if name == "random_vgg" and path is not None:
        raise MetricError(f"{path}: random_vgg takes no weights.")
    return _OPENERS[name](path)


def _open_inception(path: str | os.PathLike[str] | None) -> Extractor:
    file = weights.find("inception", path)
    params = inception.load(file)

    def forward(params: Any, images: Array) -> dict[str, Array]:
        pooled = inception.features(params, inception.preprocess(images))
        return {"features": pooled, "logits": inception.logits(params, pooled)}

    provenance = _provenance("inception", file, f"{_TENSORFLOW}, to {inception.SIZE}", "last average pool")
    return Extractor("inception", inception.FEATURES, provenance, forward, params)


def _open_vgg16(path: str | os.PathLike[str] | None) -> Extractor:
    file = weights.find("vgg16", path)
    provenance = _provenance("vgg16", file, f"{_TENSORFLOW}, to {vgg16.SIZE}", "second dense layer after its ReLU")
    return Extractor("vgg16", vgg16.FEATURES, provenance, _vgg_forward, vgg16.load(file))


def _vgg_forward(params: Any, images: Array) -> dict[str, Array]:
    return {"features": vgg16.features(params, vgg16.preprocess(images))}


def _open_vgg16_conv(path: str | os.PathLike[str] | None, layer: str = CONV_LAYER) -> Extractor:
    names = [f"relu{i + 1}_{j + 1}" for i, stage in enumerate(vgg16.STAGES) for j in range(len(stage))]
    if layer not in names:
        raise MetricError(f"layer {layer!r} of vgg16_conv: must be one of {', '.join(names)}.")
    conv, file = lpips.load_convolutions("vgg16", path)
    number = names.index(layer)
    params = {"conv": conv[: number + 1]}

    def forward(params: Any, images: Array) -> dict[str, Array]:
        x = vgg16.normalized(resize(images, CONV_SIZE, "triangle"))
        return {"features": jnp.mean(vgg16.activations(params, x)[number], axis=(1, 2))}

    provenance = {
        "extractor": "vgg16_conv",
        "weights": "the convolutions of torchvision's VGG-16",
        "weights_sha256": files.sha256(file),
        "resize": f"{_TRIANGLE}, to {CONV_SIZE}",
        "layer": f"{layer}, the mean over all places",
    }
    return Extractor("vgg16_conv", conv[number]["bias"].size, provenance, forward, params)


def _open_random(path: object) -> Extractor:
    del path
    params, digest = vgg16.random_params()

    def forward(params: Any, images: Array) -> dict[str, Array]:
        return {"features": vgg16.features(params, vgg16.random_preprocess(images), relu=False)}

    provenance = {
        "extractor": "random_vgg",
        "weights": f"random, seed {vgg16.RANDOM_SEED}",
        "weights_sha256": digest,
        "resize": f"{_TRIANGLE}, to {vgg16.RANDOM_SIZE}",
        "layer": f"second dense layer of {vgg16.RANDOM_FEATURES}, before its ReLU",
    }
    return Extractor("random_vgg", vgg16.RANDOM_FEATURES, provenance, forward, params)


def _provenance(name: str, file: Any, resize: str, layer: str) -> dict[str, Any]:
    digest = files.sha256(file)
    published = weights.is_published(name, digest)
    return {
        "extractor": name,
        "weights": weights.PUBLISHED[name].what if published else f"unknown: {file.name}",
        "weights_sha256": digest,
        "resize": resize,
        "layer": layer,
    }


_OPENERS: dict[str, Callable[[Any], Extractor]] = {
    "inception": _open_inception,
    "vgg16": _open_vgg16,
    "vgg16_conv": _open_vgg16_conv,
    "random_vgg": _open_random,
}


@dataclass(frozen=True, eq=False)
class Distance:
    """How different two images look: float [N, r, r, C] in [-1, 1] (see ``to_rgb``), twice, to [N]."""

    provenance: dict[str, Any]
    network: lpips.Network

    def __call__(self, a: Float[Array, "n h w c"], b: Float[Array, "n h w c"]) -> Float[Array, " n"]:
        return _distance(self.network, a, b)


@jax.jit
@compilation.at_precision("highest")
def _distance(network: lpips.Network, a: Array, b: Array) -> Array:
    a, b = to_rgb(a), to_rgb(b)
    return lpips.distance(network, a, b)


def open_distance(
    name: str, path: str | os.PathLike[str] | None = None, linear: str | os.PathLike[str] | None = None
) -> Distance:
    """The perceptual distance of PPL: LPIPS where both its parts are there, and otherwise something that says so.

    Args:
        name: vgg16 or alexnet; or random_vgg, which is not LPIPS but needs no weights.
        path: file of VGG-16's weights; if None, where ``weights.download`` put them, or a package that is installed.
        linear: file of the linear weights of LPIPS, likewise; if there are none, all channels count alike.

    Raises:
        MetricError: another name.
        WeightsError: weights are missing, or not those of this network.
    """
    if name == "random_vgg":
        params, digest = vgg16.random_params()
        provenance = {"distance": "random_vgg, all channels alike; not LPIPS", "weights_sha256": digest}
        return Distance(provenance, lpips.Network(params["conv"]))
    if name not in get_args(lpips.Name):
        raise MetricError(f"distance {name!r}: must be {', '.join(get_args(lpips.Name))} or random_vgg.")
    network, provenance = lpips.load(cast(lpips.Name, name), path, linear)
    return Distance(provenance, network)
