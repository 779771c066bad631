"""The original StyleGAN's networks in our form: names, layouts and settings of the TensorFlow code.

Their arrays are NCHW and HWIO with the same run-time scaling of weights, so most are taken as they are. The exceptions
are the constant (NCHW); the rows of the discriminator's first dense layer, which sees its features flattened as NCHW;
and the kernels of fused up-convolutions, from 128 pixels up. Those are mirrored: a transposed convolution with a kernel
is a convolution of the enlarged image with the mirrored one. Fused down-convolutions need nothing.
``docs/design_notes.md`` has the table of settings.
"""

import functools
import math
from typing import Any

import numpy as np

from stylegen.config import Config
from stylegen.formats import WeightsError
from stylegen.networks.layers import RELU_GAIN, width_at
from stylegen.nvidia.pickles import PickledFile, PickledNetwork, count
from stylegen.nvidia.settings import config_of, number, optional_number, require, require_equal, summary, width_settings
from stylegen.nvidia.weight_table import Imported, Report, Weight, match, unscaled

G_KINDS, D_KINDS = ("G_style",), ("D_basic",)
FUSED_FROM = 128  # pixels of the larger side, where fused_scale is "auto"
FMAP_BASE = 8192.0  # their default
THEIR_NAMES = {"G": "G", "D": "D", "G_ema": "Gs"}
_ONLY_LRELU = "activations are leaky ReLUs here"


def convert(file: PickledFile) -> Imported:
    """The networks of a StyleGAN pickle, its settings as a Config.

    Raises:
        WeightsError: a setting cannot be represented (it is named), or a variable is not what the settings say (both
            sides are listed).
    """
    source = str(file.path)
    report = Report()
    best = file.networks["G_ema"]
    settings = _generator_settings(best, f"{source}, Gs")
    d = file.networks.get("D")
    d_settings = dict(d.settings) if d else None
    config = _config(settings, d_settings, source)
    resolution, alpha = _stage(config, best, source)
    is_grown = (resolution, alpha) == (config.resolution, 1)
    trees: dict[str, dict[str, np.ndarray]] = {}
    noises: dict[str, dict[str, np.ndarray]] = {}
    for part in (part for part in ("G_ema", "G") if part in file.networks):
        name = THEIR_NAMES[part]
        part_settings = _generator_settings(file.networks[part], f"{source}, {name}")
        if _config(part_settings, d_settings, source) != config:
            raise WeightsError(
                f"{source}: G and Gs have different settings: {summary(part_settings)}; and {summary(settings)}."
            )
        trees[part], noises[part] = _generator(
            config, part_settings, file.networks[part], f"{source}, {name}", report, is_grown
        )
    d_tree = _discriminator(config, d_settings or {}, d, f"{source}, D", report, is_grown) if d else None
    average = [tree.pop("w_avg", None) for tree in trees.values()][0]
    _add_remarks(report, file, settings, noises, average, d is None, config)
    return Imported(
        config=config,
        g=trees.get("G", trees["G_ema"]),
        g_ema=trees["G_ema"],
        d=d_tree,
        noise_const=noises["G_ema"],
        w_avg=average,
        resolution=resolution,
        alpha=alpha,
        report=report,
    )


def _generator_settings(network: PickledNetwork, source: str) -> dict[str, Any]:
    """The settings of the network and its two components together; a component's own come first."""
    if network.kind not in G_KINDS:
        raise WeightsError(f"{source}: is built by {network.kind!r}; StyleGAN's generator is built by G_style.")
    settings = dict(network.settings)
    for name, component in network.components.items():
        expected = {"mapping": "G_mapping", "synthesis": "G_synthesis"}.get(name)
        if component.kind != expected:
            raise WeightsError(
                f"{source}: has the component {name!r}, built by {component.kind!r}, which StyleGAN has not."
            )
        settings |= component.settings
    sizes = [
        component.settings["dlatent_size"]
        for component in network.components.values()
        if "dlatent_size" in component.settings
    ]
    if any(size != sizes[0] for size in sizes):
        raise WeightsError(f"{source}: its setting dlatent_size is {summary({'': sizes})} in its two components.")
    return settings


def _config(g: dict[str, Any], d: dict[str, Any] | None, source: str) -> Config:
    """The original's settings, with its defaults, as ours."""
    _check_settings(g, f"{source}, G")
    resolution = number(source, g, "resolution", 1024, 4)
    classes, channels = number(source, g, "label_size", 0), number(source, g, "num_channels", 3, 1)
    if d is not None:
        _check_settings(d, f"{source}, D")
        # Their discriminator's defaults are those of a network for digits.
        pairs = (("resolution", 32, resolution), ("label_size", 0, classes), ("num_channels", 1, channels))
        require_equal(source, d, pairs)
    d_settings = d or {key: g[key] for key in ("fmap_base", "fmap_max", "fmap_decay") if key in g}
    group = max(number(source, d_settings, "mbstd_group_size", 4), 1)
    hidden = number(source, g, "mapping_fmaps", 512, 1)
    return config_of(
        source,
        g,
        block="adain",
        sizes=(resolution, channels, classes),
        group=group,
        hidden=hidden,
        w_avg_beta=optional_number(source, g, "dlatent_avg_beta", 0.995),
        style_mixing_prob=optional_number(source, g, "style_mixing_prob", 0.9),
        g_widths=width_settings(source, g, FMAP_BASE),
        d_widths=width_settings(source, d_settings, FMAP_BASE),
    )


def _check_settings(settings: dict[str, Any], source: str) -> None:
    """Refuse settings that our networks cannot represent."""
    for name in ("nonlinearity", "mapping_nonlinearity"):
        require(source, settings, name, ("lrelu",), _ONLY_LRELU)
    require(source, settings, "use_styles", (True,), "every layer has a style here")
    require(source, settings, "const_input_layer", (True,), "the synthesis network begins with a constant here")
    require(source, settings, "use_pixel_norm", (False,), "there is no pixel norm in the synthesis network here")
    require(source, settings, "use_instance_norm", (True,), "styles follow an instance norm here")
    require(source, settings, "mbstd_num_features", (1,), "the minibatch standard deviation is one feature here")
    require(source, settings, "fused_scale", (True, False, "auto"), "it says where convolutions are fused")
    require(
        source, settings, "structure", ("auto", "fixed", "linear", "recursive"), "it says how layers are put together"
    )
    for name in ("use_wscale", "use_noise", "normalize_latents"):
        require(source, settings, name, (True, False), "it is a truth value")
    taps = settings.get("blur_filter", [1, 2, 1])
    plain = isinstance(taps, list) and len(taps) == 3 and all(type(tap) in (int, float) for tap in taps)
    plain = plain and all(abs(tap) < 2**31 for tap in taps)
    if not plain or not taps[0] or not np.allclose(np.divide(taps, taps[0]), (1, 2, 1)):
        shown = summary({"blur_filter =": taps})
        raise WeightsError(f"{source}: its setting {shown} cannot be represented: it is [1, 2, 1] here.")


def _stage(config: Config, network: PickledNetwork, source: str) -> tuple[int, float]:
    """(resolution, alpha) of the lod that the network was saved at."""
    variables = _by_component(network)
    array = variables.get("lod", variables.get("synthesis/lod", np.zeros(())))
    lod = float(array) if array.shape == () and array.dtype.kind in "fiu" else math.nan
    most = len(config.resolutions) - 1
    if not 0 <= lod <= most:
        raise WeightsError(
            f"{source}: its variable lod is {lod:g}; {config.resolution} pixels have lods from 0 to {most}."
        )
    return config.resolution >> math.floor(lod), 1 - (lod - math.floor(lod))


def _scaled(settings: dict[str, Any], gain: float) -> Any:
    """How a weight is converted as for scale: not at all, or, with use_wscale False, to one that is scaled."""
    if settings.get("use_wscale", True):
        return lambda weight: weight
    return lambda weight: unscaled(weight, gain, math.prod(weight.shape[:-1]))


def _mirrored(weight: np.ndarray) -> np.ndarray:
    return weight[::-1, ::-1]


def _is_fused(settings: dict[str, Any], resolution: int) -> bool:
    fused = settings.get("fused_scale", "auto")
    return resolution >= FUSED_FROM if fused == "auto" else bool(fused)


def _generator(
    config: Config, settings: dict[str, Any], network: PickledNetwork, source: str, report: Report, is_grown: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters and constant noise by our paths."""
    variables = _by_component(network)
    average = Weight("dlatent_avg", (config.generator.w_dim,), "w_avg", optional=True)
    weights = [average, *generator_weights(config, settings, is_grown)]
    noise = noise_weights(config) if config.generator.use_noise else []
    ignored = ("lod", "synthesis/lod", "mapping/lod")
    tree = match([*weights, *noise], variables, source, ignored)
    _add_mapped(report, source.rpartition(", ")[2], [*weights, *noise], variables)
    inputs = {w.ours: tree.pop(w.ours) for w in noise}
    return tree, inputs


def _by_component(network: PickledNetwork) -> dict[str, np.ndarray]:
    """Variables by component; in files without components their names begin with that of the network."""
    renamed = {"G_synthesis/": "synthesis/", "G_mapping/": "mapping/"}
    variables: dict[str, np.ndarray] = {}
    for name, array in network.variables.items():
        for old, new in renamed.items():
            name = new + name.removeprefix(old) if name.startswith(old) else name
        variables[name.removesuffix(":0")] = array
    return variables


def _add_mapped(report: Report, part: str, weights: list[Weight], variables: dict[str, np.ndarray]) -> None:
    for w in weights:
        if w.theirs in variables:
            report.mapped.append(f"{part} {w.theirs} {list(w.shape)} -> {w.ours}")
        else:
            report.remarks.append(f"{part} {w.theirs} is not in the file; {w.ours} is zero")


def generator_weights(config: Config, settings: dict[str, Any], is_grown: bool = True) -> list[Weight]:
    """All parameters of the generator, from the original's variables.

    A network that is put together in a "fixed" way has ToRGB at full resolution alone, enough when it is whole.
    """
    weights = _mapping_weights(config, settings)
    for lod, resolution in enumerate(reversed(config.resolutions)):
        weights += _block_weights(config, settings, resolution)
        block, linear = f"synthesis.blocks.b{resolution}", _scaled(settings, 1.0)
        rgb, optional = f"synthesis/ToRGB_lod{lod}", is_grown and lod > 0
        shape = (1, 1, width_at(config.generator, resolution), config.image_channels)
        weights.append(Weight(f"{rgb}/weight", shape, f"{block}.torgb.weight", linear, optional))
        weights.append(Weight(f"{rgb}/bias", shape[3:], f"{block}.torgb.bias", optional=optional))
    return weights


def _mapping_weights(config: Config, settings: dict[str, Any]) -> list[Weight]:
    g, relu = config.generator, _scaled(settings, RELU_GAIN)
    weights: list[Weight] = []
    if config.num_classes:
        embedding = (config.num_classes, g.z_dim)
        weights.append(Weight("mapping/LabelConcat/weight", embedding, "mapping.label_embedding.weight"))
    inputs = g.z_dim * (2 if config.num_classes else 1)
    sizes = [inputs, *[g.mapping_width or g.w_dim] * (g.mapping_layers - 1), g.w_dim]
    for i in range(g.mapping_layers):
        name, ours = f"mapping/Dense{i}", f"mapping.dense.dense{i}"
        weights.append(Weight(f"{name}/weight", (sizes[i], sizes[i + 1]), f"{ours}.weight", relu))
        weights.append(Weight(f"{name}/bias", (sizes[i + 1],), f"{ours}.bias"))
    return weights


def _block_weights(config: Config, settings: dict[str, Any], resolution: int) -> list[Weight]:
    """Those of a block of the synthesis network, but for ToRGB."""
    g = config.generator
    relu, linear = _scaled(settings, RELU_GAIN), _scaled(settings, 1.0)
    channels, before = width_at(g, resolution), width_at(g, resolution // 2)
    name, block = f"synthesis/{resolution}x{resolution}", f"synthesis.blocks.b{resolution}"
    weights: list[Weight] = []
    if resolution == 4:
        layers, const = ("Const", "Conv"), (1, channels, 4, 4)
        weights.append(Weight(f"{name}/Const/const", const, f"{block}.const", lambda x: x.transpose(0, 2, 3, 1)))
    else:
        layers, kernel = ("Conv0_up", "Conv1"), (3, 3, before, channels)
        up = functools.partial(_up, scaled=relu, mirrored=_is_fused(settings, resolution))
        weights.append(Weight(f"{name}/Conv0_up/weight", kernel, f"{block}.conv0.weight", up))
    weights.append(Weight(f"{name}/{layers[1]}/weight", (3, 3, channels, channels), f"{block}.conv1.weight", relu))
    for i, layer in enumerate(layers):
        act, style_size = f"{block}.act{i}", 2 * channels
        weights.append(Weight(f"{name}/{layer}/bias", (channels,), f"{act}.bias"))
        style = f"{name}/{layer}/StyleMod"
        weights.append(Weight(f"{style}/weight", (g.w_dim, style_size), f"{act}.adain.affine.weight", linear))
        weights.append(Weight(f"{style}/bias", (style_size,), f"{act}.adain.affine.bias"))
        if g.use_noise:
            weights.append(Weight(f"{name}/{layer}/Noise/weight", (channels,), f"{act}.noise.noise_strength"))
    return weights


def _up(weight: np.ndarray, scaled: Any, mirrored: bool) -> np.ndarray:
    weight = scaled(weight)
    return _mirrored(weight) if mirrored else weight


def noise_weights(config: Config) -> list[Weight]:
    """The constant noise inputs, two at each resolution."""
    return [
        Weight(
            f"synthesis/noise{2 * i + layer}",
            (1, 1, resolution, resolution),
            f"synthesis.blocks.b{resolution}.act{layer}.noise.noise_const",
            lambda x: x.transpose(0, 2, 3, 1),
        )
        for i, resolution in enumerate(config.resolutions)
        for layer in (0, 1)
    ]


def _discriminator(
    config: Config, settings: dict[str, Any], network: PickledNetwork, source: str, report: Report, is_grown: bool
) -> dict[str, np.ndarray]:
    if network.kind not in D_KINDS:
        raise WeightsError(f"{source}: is built by {network.kind!r}; StyleGAN's discriminator is built by D_basic.")
    weights = discriminator_weights(config, settings, is_grown)
    variables = {name.removesuffix(":0"): array for name, array in network.variables.items()}
    tree = match(weights, variables, source, ("lod",))
    _add_mapped(report, "D", weights, variables)
    return tree


def discriminator_weights(config: Config, settings: dict[str, Any], is_grown: bool = True) -> list[Weight]:
    """All parameters of the discriminator, from the original's variables; FromRGB as ToRGB in ``generator_weights``."""
    d = config.discriminator
    relu, linear = _scaled(settings, RELU_GAIN), _scaled(settings, 1.0)
    weights: list[Weight] = []

    def layer(name: str, ours: str, shape: tuple[int, ...], convert: Any = relu, optional: bool = False) -> None:
        weights.append(Weight(f"{name}/weight", shape, f"{ours}.weight", convert, optional))
        bias = ours.replace(".conv1", ".bias1") if ours.endswith(".conv1") else f"{ours}.bias"
        weights.append(Weight(f"{name}/bias", shape[-1:], bias, optional=optional))

    for lod, resolution in enumerate(reversed(config.resolutions)):
        channels, after = width_at(d, resolution), width_at(d, resolution // 2)
        block, name = f"blocks.b{resolution}", f"{resolution}x{resolution}"
        rgb = (1, 1, config.image_channels, channels)
        layer(f"FromRGB_lod{lod}", f"{block}.fromrgb", rgb, optional=is_grown and lod > 0)
        if resolution > 4:
            layer(f"{name}/Conv0", f"{block}.conv0", (3, 3, channels, channels))
            layer(f"{name}/Conv1_down", f"{block}.conv1", (3, 3, channels, after))
            continue
        has_std = number("D", settings, "mbstd_group_size", 4) > 1
        with_std = functools.partial(_with_std, settings=settings, scaled=relu)
        inputs = channels + 1 if has_std else channels
        layer("4x4/Conv", f"{block}.conv", (3, 3, inputs, channels), relu if has_std else with_std)
        rows = functools.partial(_rows, scaled=relu)
        layer("4x4/Dense0", f"{block}.dense0", (16 * channels, channels), rows)
        layer("4x4/Dense1", f"{block}.dense1", (channels, max(config.num_classes, 1)), linear)
    return weights


def _with_std(weight: np.ndarray, settings: dict[str, Any], scaled: Any) -> np.ndarray:
    """A convolution without minibatch standard deviation as one that ignores it; more inputs mean a smaller scale."""
    channels = weight.shape[2]
    padded = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 0)))
    if settings.get("use_wscale", True):
        return padded * math.sqrt((channels + 1) / channels)
    return scaled(padded)


def _rows(weight: np.ndarray, scaled: Any) -> np.ndarray:
    """The rows of the first dense layer, by channel, height and width, as ours: by height, width and channel."""
    channels = weight.shape[0] // 16
    return scaled(weight.reshape(channels, 4, 4, -1).transpose(1, 2, 0, 3).reshape(weight.shape))


def _add_remarks(
    report: Report,
    file: PickledFile,
    settings: dict[str, Any],
    noises: dict[str, dict[str, np.ndarray]],
    average: np.ndarray | None,
    without_d: bool,
    config: Config,
) -> None:
    """The rest of the report."""
    for part, network in file.networks.items():
        numbers = f"{len(network.variables)} variables, {count(network.variables):,} numbers"
        report.networks.append(
            f"{THEIR_NAMES[part]}: {network.kind}, format {network.version}, {numbers}; {summary(network.settings)}"
        )
    if average is None:
        report.remarks.append("without a mean of w, do not truncate")
    if not config.generator.use_noise:
        report.remarks.append("use_noise is False: the noise inputs are zero and not used")
    is_same_noise = all(np.array_equal(array, noises["G_ema"][name]) for name, array in noises.get("G", {}).items())
    if not is_same_noise:
        report.remarks.append("the noise inputs of G, which differ from those of Gs; the latter are used for both")
    if without_d:
        report.remarks.append("the file has no discriminator; the run gets a new one")
    psi, cutoff = settings.get("truncation_psi", 0.7), settings.get("truncation_cutoff", 8)
    if psi is not None:
        how = summary({"--psi": psi} if cutoff is None else {"--psi": psi, "--cutoff": cutoff}).replace(",", "")
        report.remarks.append(f"truncation is the original's default when sampling, none here: sample with {how}")
    report.remarks += [
        f"the setting {name} = {settings[name]!r}" for name in ("randomize_noise", "dtype") if name in settings
    ]
