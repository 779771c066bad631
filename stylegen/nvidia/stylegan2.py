"""StyleGAN2's networks in our form, from TensorFlow's pickles and from PyTorch's (StyleGAN2-ADA and after).

Both scale weights at run time as here, so that only layouts differ: PyTorch's are OIHW and have the 1 of the styles'
scale in the affine's bias, and its up-convolutions' kernels are mirrored, for it transposes the convolution.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegen.config import Config
from stylegen.formats import WeightsError
from stylegen.networks.layers import width_at
from stylegen.nvidia.pickles import PickledFile, PickledNetwork, count
from stylegen.nvidia.settings import config_of, number, optional_number, require, require_equal, summary, width_settings
from stylegen.nvidia.weight_table import Imported, Report, Weight, match

TF_KINDS, TORCH_KINDS = ("G_main",), ("Generator",)
FILTER = np.outer((1, 3, 3, 1), (1, 3, 3, 1)) / 64
LABEL_LAYERS = 8  # of the discriminator's mapping network
_RESNET = "the discriminator is a residual one here"
_SKIP = "the generator is a sum of images here"


def convert(file: PickledFile) -> Imported:
    """The networks of a StyleGAN2 pickle, its settings as a Config.

    Raises:
        WeightsError: a setting cannot be represented (it is named), or a variable is not what the settings say (both
            sides are listed).
    """
    source, report = str(file.path), Report()
    best = file.networks.get("G_ema") or file.networks["G"]
    d = file.networks.get("D")
    settings, d_settings = _settings(best), _settings(d) if d else None
    config = _config(best, settings, d_settings, source)
    trees: dict[str, dict[str, np.ndarray]] = {}
    for part in (part for part in ("G_ema", "G") if part in file.networks):
        network = file.networks[part]
        if _config(network, _settings(network), d_settings, source) != config:
            raise WeightsError(f"{source}: G and the averaged G have different settings.")
        mean = "dlatent_avg" if network.form == "tensorflow" else "mapping.w_avg"
        table = [Weight(mean, (config.generator.w_dim,), "w_avg", optional=True)]
        table += generator_weights(config, network.form)
        trees[part] = _match(network, table, f"{source}, {part}", report)
    d_tree = _match(d, discriminator_weights(config, d.form), f"{source}, D", report) if d else None
    g_ema = trees.get("G_ema", trees.get("G", {}))
    noise = {name: array for name, array in g_ema.items() if name.endswith("noise_const")}
    for tree in trees.values():
        for name in noise:
            tree.pop(name)
    average = [tree.pop("w_avg", None) for tree in trees.values()][0]
    _add_remarks(report, file, settings, average)
    return Imported(
        config=config,
        g=trees.get("G", g_ema),
        g_ema=g_ema,
        d=d_tree,
        noise_const=noise,
        w_avg=average,
        resolution=config.resolution,
        alpha=1.0,
        report=report,
    )


# What PyTorch's settings are called in TensorFlow's terms, which ``_config`` reads; widths are counted differently.
_TORCH_NAMES = {
    "z_dim": "latent_size",
    "c_dim": "label_size",
    "w_dim": "dlatent_size",
    "img_resolution": "resolution",
    "img_channels": "num_channels",
    "channel_max": "fmap_max",
    "resample_filter": "resample_kernel",
    "mbstd_num_channels": "mbstd_num_features",
}
_TORCH_MAPPING = {"num_layers": "mapping_layers", "layer_features": "mapping_fmaps", "lr_multiplier": "mapping_lrmul"}


def _settings(network: PickledNetwork) -> dict[str, Any]:
    """A network's settings, those of its components included, in TensorFlow's terms."""
    settings = dict(network.settings)
    if network.form == "tensorflow":
        for part in network.components.values():
            settings |= part.settings
        return settings
    mapping = _table(settings.pop("mapping_kwargs", None))
    for name in ("synthesis_kwargs", "block_kwargs", "epilogue_kwargs", "block_kwargs"):
        settings |= _table(settings.pop(name, None))  # those of the synthesis network may hold those of its blocks
    renamed = {_TORCH_NAMES.get(name, name): value for name, value in settings.items()}
    if "channel_base" in renamed:
        renamed["fmap_base"] = number(network.kind, renamed, "channel_base", 32768) / 2
    for name, value in mapping.items():
        if value is not None:
            renamed[_TORCH_MAPPING.get(name, f"mapping_{name}")] = value
    return renamed


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _config(network: PickledNetwork, g: dict[str, Any], d: dict[str, Any] | None, source: str) -> Config:
    _check(g, f"{source}, G", "skip")
    if "synthesis.input.freqs" in network.variables:
        raise WeightsError(
            f"{source}: StyleGAN3's alias-free generator, which is another network; StyleGAN2's is read."
        )
    resolution, classes = number(source, g, "resolution", 1024, 4), number(source, g, "label_size", 0)
    channels = number(source, g, "num_channels", 3, 1)
    has_labels = "mapping/LabelConcat/weight" in network.variables
    if has_labels:
        raise WeightsError(f"{source}: its setting label_size = {classes}: labels of the first StyleGAN2 are not read.")
    if d is not None:
        _check(d, f"{source}, D", "resnet")
        pairs = (("resolution", 1024, resolution), ("label_size", 0, classes), ("num_channels", 3, channels))
        require_equal(source, d, pairs)
        require(source, d, "mapping_layers", (LABEL_LAYERS,), "the discriminator's mapping network has eight layers")
    d_settings = d or {key: g[key] for key in ("fmap_base", "fmap_max", "fmap_decay") if key in g}
    group = number(source, d_settings, "mbstd_group_size", 4, 1)
    w_dim = number(source, g, "dlatent_size", 512, 1)
    hidden = number(source, g, "mapping_fmaps", 512 if network.form == "tensorflow" else w_dim, 1)
    require(source, g, "mapping_embed_features", (w_dim,), "labels are embedded in as many features as w has")
    beta = "dlatent_avg_beta" if "dlatent_avg_beta" in g else "mapping_w_avg_beta"
    return config_of(
        source,
        g,
        block="demod",
        sizes=(resolution, channels, classes),
        group=group,
        hidden=hidden,
        w_avg_beta=optional_number(source, g, beta, 0.995),
        style_mixing_prob=optional_number(source, g, "style_mixing_prob", 0.9),
        g_widths=_widths(g, source),
        d_widths=_widths(d_settings, source),
    )


def _widths(settings: dict[str, Any], source: str) -> dict[str, Any]:
    require(source, settings, "fmap_min", (1,), "there is no least width here")
    return width_settings(source, settings, 16384.0)


def _check(settings: dict[str, Any], source: str, architecture: str) -> None:
    require(source, settings, "architecture", (architecture,), _SKIP if architecture == "skip" else _RESNET)
    for name in ("nonlinearity", "mapping_nonlinearity", "activation", "mapping_activation"):
        require(source, settings, name, ("lrelu",), "activations are leaky ReLUs here")
    require(source, settings, "resample_kernel", ([1, 3, 3, 1],), "images are resized with this filter here")
    require(source, settings, "mbstd_num_features", (1,), "the minibatch standard deviation is one feature here")
    require(source, settings, "use_wscale", (True,), "weights are scaled at run time here")
    require(source, settings, "normalize_latents", (True, False), "it is a truth value")
    require(source, settings, "use_noise", (True, False), "it is a truth value")


def _match(network: PickledNetwork, weights: list[Weight], source: str, report: Report) -> dict[str, np.ndarray]:
    """Our parameters and constant noise by path."""
    variables = dict(network.variables)
    for name in [name for name in variables if name.rpartition(".")[2] == "resample_filter"]:
        taps = variables.pop(name)
        if taps.shape != FILTER.shape or not np.allclose(taps, FILTER):
            raise WeightsError(f"{source}: {name} is another filter than that of [1, 3, 3, 1], which is the one here.")
    tree = match(weights, variables, source, ("lod", "synthesis/lod", "pl_mean"))
    part = source.rpartition(", ")[2]
    report.mapped += [f"{part} {w.theirs} {list(w.shape)} -> {w.ours}" for w in weights if w.ours in tree]
    return tree


class _Table:
    """Collects the weights of a network under its names in both frameworks."""

    def __init__(self, form: str):
        self.is_torch, self.weights = form == "torch", list[Weight]()

    def add(self, torch: str, tf: str, ours: str, kind: str, *size: int) -> None:
        """An array, by its names in PyTorch and TensorFlow, its kind and sizes (inputs first)."""
        shape, convert = (torch_layout if self.is_torch else _tensorflow)(kind, size)
        self.weights.append(Weight(torch if self.is_torch else tf, shape, ours, convert))

    def layer(self, torch: str, tf: str, ours: str, kind: str, *size: int) -> None:
        """A weight and its bias."""
        self.add(f"{torch}.weight", f"{tf}/weight", f"{ours}.weight", kind, *size)
        self.add(f"{torch}.bias", f"{tf}/bias", f"{ours}.bias", "bias", size[1])


def torch_layout(kind: str, size: Sequence[int]) -> tuple[tuple[int, ...], Any]:
    """PyTorch's shape of a kind of array, and its conversion."""
    first, second, kernel = (*size, 0, 0, 0)[:3]
    if kind == "const":
        return (first, 4, 4), lambda x: x.transpose(1, 2, 0)[None]
    if kind == "noise":
        return (first, first), lambda x: x[None, :, :, None]
    if kind == "shift":  # the bias of a style's affine
        return (first,), lambda x: x - 1
    if kind == "dense":
        return (second, first), np.transpose
    if kind == "flat":
        return (second, first), lambda x: _rows(x.T)
    if kind == "conv":
        return (second, first, kernel, kernel), lambda x: x.transpose(2, 3, 1, 0)
    if kind == "up":
        return (second, first, kernel, kernel), lambda x: x[:, :, ::-1, ::-1].transpose(2, 3, 1, 0)
    return tuple(size), lambda x: x  # biases and strengths


def _tensorflow(kind: str, size: Sequence[int]) -> tuple[tuple[int, ...], Any]:
    """TensorFlow's shape of a kind of array, and its conversion."""
    first, second, kernel = (*size, 0, 0, 0)[:3]
    if kind == "const":
        return (1, first, 4, 4), lambda x: x.transpose(0, 2, 3, 1)
    if kind == "noise":
        return (1, 1, first, first), lambda x: x.transpose(0, 2, 3, 1)
    if kind == "flat":
        return (first, second), _rows
    if kind in ("conv", "up"):
        return (kernel, kernel, first, second), lambda x: x
    return tuple(size), lambda x: x


def _rows(weight: np.ndarray) -> np.ndarray:
    """Rows by channel, height and width as rows by height, width and channel."""
    channels = weight.shape[0] // 16
    return weight.reshape(channels, 4, 4, -1).transpose(1, 2, 0, 3).reshape(weight.shape)


def generator_weights(config: Config, form: str) -> list[Weight]:
    """All parameters of the generator and its constant noise."""
    g, table = config.generator, _Table(form)
    inputs = g.z_dim
    if config.num_classes:
        inputs += g.w_dim
        table.layer(
            "mapping.embed", "mapping/LabelEmbed", "mapping.label_embedding", "dense", config.num_classes, g.w_dim
        )
    sizes = [inputs, *[g.mapping_width or g.w_dim] * (g.mapping_layers - 1), g.w_dim]
    for i in range(g.mapping_layers):
        table.layer(f"mapping.fc{i}", f"mapping/Dense{i}", f"mapping.dense.dense{i}", "dense", sizes[i], sizes[i + 1])
    for index, resolution in enumerate(config.resolutions):
        _add_block(table, config, resolution, index)
    return table.weights


def _add_block(table: _Table, config: Config, r: int, index: int) -> None:
    g = config.generator
    channels, before = (width_at(g, x) for x in (r, r // 2))
    torch, tf, ours = f"synthesis.b{r}", f"synthesis/{r}x{r}", f"synthesis.blocks.b{r}"
    layers = [("conv1", "conv", "4x4/Conv" if r == 4 else f"{r}x{r}/Conv1", channels, 2 * index)]
    if r == 4:
        table.add(f"{torch}.const", f"{tf}/Const/const", f"{ours}.const", "const", channels)
    else:
        layers.insert(0, ("conv0", "up", f"{r}x{r}/Conv0_up", before, 2 * index - 1))
    for name, kind, theirs, inputs, noise in layers:
        act = f"{ours}.{name.replace('conv', 'act')}"
        table.add(
            f"{torch}.{name}.weight", f"synthesis/{theirs}/weight", f"{ours}.{name}.weight", kind, inputs, channels, 3
        )
        _add_style(table, f"{torch}.{name}", f"synthesis/{theirs}", f"{ours}.{name}", g.w_dim, inputs)
        table.add(f"{torch}.{name}.bias", f"synthesis/{theirs}/bias", f"{act}.bias", "bias", channels)
        if g.use_noise:
            strength = f"{act}.noise.noise_strength"
            table.add(f"{torch}.{name}.noise_strength", f"synthesis/{theirs}/noise_strength", strength, "strength")
            const = f"{act}.noise.noise_const"
            table.add(f"{torch}.{name}.noise_const", f"synthesis/noise{noise}", const, "noise", r)
    table.layer(f"{torch}.torgb", f"{tf}/ToRGB", f"{ours}.torgb", "conv", channels, config.image_channels, 1)
    _add_style(table, f"{torch}.torgb", f"{tf}/ToRGB", f"{ours}.torgb", g.w_dim, channels)


def _add_style(table: _Table, torch: str, tf: str, ours: str, w_dim: int, channels: int) -> None:
    table.add(f"{torch}.affine.weight", f"{tf}/mod_weight", f"{ours}.affine.weight", "dense", w_dim, channels)
    table.add(f"{torch}.affine.bias", f"{tf}/mod_bias", f"{ours}.affine.bias", "shift", channels)


def discriminator_weights(config: Config, form: str) -> list[Weight]:
    """All parameters of the discriminator."""
    d, table = config.discriminator, _Table(form)
    widths = {r: width_at(d, r) for r in config.resolutions}
    for r in reversed(config.resolutions):
        torch, tf, ours = f"b{r}", f"{r}x{r}", f"blocks.b{r}"
        if r == config.resolution:
            table.layer(
                f"{torch}.fromrgb", f"{tf}/FromRGB", f"{ours}.fromrgb", "conv", config.image_channels, widths[r], 1
            )
        if r > 4:
            table.layer(f"{torch}.conv0", f"{tf}/Conv0", f"{ours}.conv0", "conv", widths[r], widths[r], 3)
            table.layer(f"{torch}.conv1", f"{tf}/Conv1_down", f"{ours}.conv1", "conv", widths[r], widths[r // 2], 3)
            skip = f"{ours}.skip.weight"
            table.add(f"{torch}.skip.weight", f"{tf}/Skip/weight", skip, "conv", widths[r], widths[r // 2], 1)
    last = widths[4]
    outputs = last if config.num_classes else 1
    table.layer("b4.conv", "4x4/Conv", "blocks.b4.conv", "conv", last + 1, last, 3)
    table.layer("b4.fc", "4x4/Dense0", "blocks.b4.dense0", "flat", 16 * last, last)
    table.layer("b4.out", "Output", "blocks.b4.dense1", "dense", last, outputs)
    if config.num_classes:
        embedding = "label_mapping.label_embedding"
        table.layer("mapping.embed", "LabelEmbed", embedding, "dense", config.num_classes, last)
        for i in range(LABEL_LAYERS):
            table.layer(f"mapping.fc{i}", f"Mapping{i}", f"label_mapping.dense.dense{i}", "dense", last, last)
    return table.weights


def _add_remarks(report: Report, file: PickledFile, settings: dict[str, Any], average: np.ndarray | None) -> None:
    for part, network in file.networks.items():
        numbers = f"{len(network.variables)} variables, {count(network.variables):,} numbers"
        report.networks.append(
            f"{part}: {network.kind}, format {network.version}, {numbers}; {summary(network.settings)}"
        )
    if average is None:
        report.remarks.append("the mean of w is not in the file; w_avg is zero, so do not truncate")
    if "D" not in file.networks:
        report.remarks.append("the file has no discriminator; the run gets a new one")
    if settings.get("conv_clamp") is not None:
        report.remarks.append(f"features are not clamped here: {summary({'conv_clamp': settings['conv_clamp']})}")
    if settings.get("num_fp16_res"):
        report.remarks.append(f"all is float32 here: {summary({'num_fp16_res': settings['num_fp16_res']})}")
