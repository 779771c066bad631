"""The original implementation's numbers (``tests/references/networks``) and its variable names in terms of ours."""

import math
from typing import Any

import numpy as np

from stylegen.config import Config, DataConfig, DiscriminatorConfig, GeneratorConfig, ScheduleConfig
from tests.support.paths import REFERENCES

FOLDER = REFERENCES / "networks"


class Reference:
    """One stored network: inputs, outputs and weights by the names in the file, weights also as our parameter trees."""

    def __init__(self, name: str):
        self.arrays = dict(np.load(FOLDER / f"{name}.npz"))
        labels = "in/labels" in self.arrays
        self.config = (
            Config(
                resolution=16,
                num_classes=3,
                data=DataConfig(source="images"),
                generator=GeneratorConfig(z_dim=32, w_dim=32, mapping_layers=3, channel_base=512, channel_max=32),
                discriminator=DiscriminatorConfig(channel_base=512, channel_max=32),
            )
            if labels
            else Config(
                resolution=32,
                data=DataConfig(source="images"),
                generator=GeneratorConfig(z_dim=64, w_dim=64, mapping_layers=4, channel_base=1024, channel_max=64),
                discriminator=DiscriminatorConfig(channel_base=1024, channel_max=64),
            )
        )
        self.labels = self.arrays["in/labels"] if labels else None

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def images(self, name: str) -> np.ndarray:
        """An array of images [N, C, H, W] as NHWC."""
        return self[name].transpose(0, 2, 3, 1)

    def stage(self, lod: str) -> tuple[int, float]:
        """(resolution, alpha) of a lod."""
        value = float(lod)
        return self.config.resolution // 2 ** math.floor(value), 1 - (value - math.floor(value))

    def lods(self) -> list[str]:
        return sorted({name.split("/")[1][3:] for name in self.arrays if name.startswith("in/lod")}, key=float)

    def generator_paths(self, prefix: str = "vars/G/") -> dict[str, tuple[str, ...]]:
        """The original's name of every trained variable of the generator, and our path to it."""
        paths: dict[str, tuple[str, ...]] = {}
        for full in self.arrays:
            if not full.startswith("vars/G/G_"):
                continue
            name = full.removeprefix("vars/G/")
            network, *rest = name.split("/")
            if rest[0].startswith("noise"):
                continue
            path = (
                self._mapping_path(rest) if network == "G_mapping" else ("synthesis", "blocks", *self._block_path(rest))
            )
            paths[prefix + name] = path
        return paths

    def _mapping_path(self, rest: list[str]) -> tuple[str, ...]:
        if rest[0] == "LabelConcat":
            return ("mapping", "label_embedding", "weight")
        return ("mapping", "dense", rest[0].lower(), rest[1])

    def _block_path(self, rest: list[str]) -> tuple[str, ...]:
        if rest[0].startswith("ToRGB_lod"):
            return (f"b{self.config.resolution // 2 ** int(rest[0][9:])}", "torgb", rest[1])
        block, layer, *parameter = f"b{rest[0].split('x')[0]}", rest[1], *rest[2:]
        if parameter == ["const"]:
            return (block, "const")
        index = "0" if layer in ("Const", "Conv0_up") else "1"
        tail = {
            "weight": (f"conv{index}", "weight"),
            "bias": (f"act{index}", "bias"),
            "Noise/weight": (f"act{index}", "noise", "noise_strength"),
            "StyleMod/weight": (f"act{index}", "adain", "affine", "weight"),
            "StyleMod/bias": (f"act{index}", "adain", "affine", "bias"),
        }["/".join(parameter)]
        return (block, *tail)

    def discriminator_paths(self, prefix: str = "vars/D/") -> dict[str, tuple[str, ...]]:
        """The original's name of every variable of the discriminator, and our path to it."""
        paths: dict[str, tuple[str, ...]] = {}
        for full in self.arrays:
            if not full.startswith("vars/D/"):
                continue
            name = full.removeprefix("vars/D/")
            first, *rest = name.split("/")
            if first.startswith("FromRGB_lod"):
                path = (f"b{self.config.resolution // 2 ** int(first[11:])}", "fromrgb", rest[0])
            else:
                block, layer = f"b{first.split('x')[0]}", rest[0].lower()
                if layer == "conv1_down":
                    path = (block, "conv1", "weight") if rest[1] == "weight" else (block, "bias1")
                else:
                    path = (block, layer, rest[1])
            paths[prefix + name] = ("blocks", *path)
        return paths

    def convert(self, name: str, value: np.ndarray) -> np.ndarray:
        """A weight (or its gradient) of the original in our layout."""
        if name.endswith("Const/const"):
            return value.transpose(0, 2, 3, 1)
        if name.endswith("4x4/Dense0/weight"):
            channels = value.shape[0] // 16
            return value.reshape(channels, 4, 4, -1).transpose(1, 2, 0, 3).reshape(value.shape)
        return value

    def params(self, paths: dict[str, tuple[str, ...]]) -> dict:
        tree: dict = {}
        for name, path in paths.items():
            put(tree, path, self.convert(name, self[name]))
        return tree

    def noise_const(self) -> dict:
        tree: dict = {}
        for name, value in self.arrays.items():
            if name.startswith("vars/G/G_synthesis/noise"):
                layer = int(name.removeprefix("vars/G/G_synthesis/noise"))
                path = ("synthesis", "blocks", f"b{4 * 2 ** (layer // 2)}", f"act{layer % 2}", "noise", "noise_const")
                put(tree, path, value.transpose(0, 2, 3, 1))
        return tree


class Reference2(Reference):
    """StyleGAN2's stored network, whose names are those of a PyTorch state dict."""

    def __init__(self) -> None:
        self.arrays = dict(np.load(FOLDER / "stylegan2_32.npz"))
        self.config = Config(
            resolution=32,
            data=DataConfig(source="images"),
            generator=GeneratorConfig(
                block="demod", z_dim=64, w_dim=64, mapping_layers=4, channel_base=1024, channel_max=64
            ),
            discriminator=DiscriminatorConfig(channel_base=1024, channel_max=64),
            schedule=ScheduleConfig(start_resolution=32),
        )
        self.labels = None

    def _trained(self, network: str) -> list[str]:
        names = [name.removeprefix(f"vars/{network}/") for name in self.arrays if name.startswith(f"vars/{network}/")]
        return [name for name in names if name.rpartition(".")[2] not in ("resample_filter", "noise_const", "w_avg")]

    def generator_paths(self, prefix: str = "vars/G/") -> dict[str, tuple[str, ...]]:
        return {prefix + name: self._generator_path(name) for name in self._trained("G")}

    def _generator_path(self, name: str) -> tuple[str, ...]:
        network, block, *rest = name.split(".")
        if network == "mapping":
            return ("mapping", "dense", block.replace("fc", "dense"), *rest)
        if rest[0] in ("conv0", "conv1") and rest[1] in ("bias", "noise_strength"):
            tail = ("bias",) if rest[1] == "bias" else ("noise", "noise_strength")
            rest = [rest[0].replace("conv", "act"), *tail]
        return ("synthesis", "blocks", block, *rest)

    def discriminator_paths(self, prefix: str = "vars/D/") -> dict[str, tuple[str, ...]]:
        layers = {"fc": "dense0", "out": "dense1"}
        return {
            prefix + name: ("blocks", *(layers.get(part, part) for part in name.split(".")))
            for name in self._trained("D")
        }

    def convert(self, name: str, value: np.ndarray) -> np.ndarray:
        """A weight of theirs in our layout; theirs have the 1 of the scale in the affine's bias."""
        if name.endswith("affine.bias"):
            return value - 1
        if name.endswith("b4.const"):
            return value.transpose(1, 2, 0)[None]
        if name.endswith("b4.fc.weight"):
            channels = value.shape[1] // 16
            return value.reshape(-1, channels, 4, 4).transpose(2, 3, 1, 0).reshape(16 * channels, -1)
        if value.ndim == 2:
            return value.T
        if value.ndim == 4:
            # Transposed convolutions, which enlarge, turn the weight over.
            turned = value[:, :, ::-1, ::-1] if name.startswith("vars/G/") and ".conv0." in name else value
            return turned.transpose(2, 3, 1, 0)
        return value

    def noise_const(self) -> dict:
        tree: dict = {}
        for name, value in self.arrays.items():
            if name.endswith("noise_const"):
                _, block, layer, _ = name.removeprefix("vars/G/").split(".")
                path = ("synthesis", "blocks", block, layer.replace("conv", "act"), "noise", "noise_const")
                put(tree, path, value[None, :, :, None])
        return tree


def put(tree: dict, path: tuple[str, ...], value: np.ndarray) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def get(tree: dict, path: tuple[str, ...]) -> np.ndarray:
    for key in path:
        tree = tree[key]
    return np.asarray(tree)


def block_mean(images: np.ndarray, resolution: int) -> np.ndarray:
    """NHWC images reduced to a resolution by means of squares: undoes nearest-neighbor upsampling exactly enough."""
    n, size, _, c = images.shape
    f = size // resolution
    return images.reshape(n, resolution, f, resolution, f, c).mean((2, 4))


def check_norms(ref: Any, prefix: str, paths: dict[str, tuple[str, ...]], gradients: Any, tolerance: float) -> float:
    """The norm of every gradient is the stored one, whose names begin with ``prefix``; of others there are none.

    Activations within rounding of a leaky ReLU's kink take either slope, in the original's float32 as in ours. A
    float64 run of this code differs from the original's numbers by up to 3e-5 of the whole gradient's norm, which is
    2 % of the smallest norms; no float32 run can be asked to be nearer. Returns this allowance.
    """
    names = [name for name in ref.arrays if name.startswith(prefix)]
    assert len(names) == len(paths)
    rounding = 3e-5 * math.hypot(*(float(ref[name]) for name in names))
    for name in names:
        ours = np.linalg.norm(get(gradients, paths[name.removeprefix(prefix)]).astype(np.float64))
        assert abs(ours - ref[name]) <= tolerance * ref[name] + rounding, (name, ours, ref[name])
    return rounding
