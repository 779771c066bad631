"""The original StyleGAN as a small program of its own, in numpy, with the layouts and operations of its public code.

Written from the recipe of its constants to check imports against: NCHW, kernels HWIO, up-convolutions fused as
transposed convolutions with the padded and summed kernel. It makes networks with random weights, none of them zero,
and runs them.
"""

import math

import numpy as np

RELU = math.sqrt(2)  # gain of a layer before a leaky ReLU
G_DEFAULTS = {
    "label_size": 0,
    "latent_size": 512,
    "dlatent_size": 512,
    "mapping_layers": 8,
    "mapping_fmaps": 512,
    "mapping_lrmul": 0.01,
    "normalize_latents": True,
    "num_channels": 3,
    "resolution": 1024,
    "fmap_base": 8192,
    "fmap_decay": 1.0,
    "fmap_max": 512,
    "use_noise": True,
    "use_wscale": True,
    "fused_scale": "auto",
    "structure": "auto",
}
D_DEFAULTS = {
    "label_size": 0,
    "num_channels": 1,
    "resolution": 32,
    "fmap_base": 8192,
    "fmap_decay": 1.0,
    "fmap_max": 512,
    "use_wscale": True,
    "mbstd_group_size": 4,
    "fused_scale": "auto",
    "structure": "auto",
}


class Network:
    """What is pickled: the class's name is that of the original, its contents a plain state."""

    def __init__(self, name, function, settings, variables, components=None, version=3):
        self.state = {
            "version": version,
            "name": name,
            "static_kwargs": settings,
            "components": components or {},
            "build_module_src": "raise SystemExit('this text must not run')",
            "build_func_name": function,
            "variables": list(variables.items()),
        }

    def __getstate__(self):
        return self.state

    def variables(self):
        """All variables by name, those of components with their prefix."""
        variables = dict(self.state["variables"])
        for part, network in self.state["components"].items():
            variables |= {f"{part}/{name}": value for name, value in network.variables().items()}
        return variables


def widths(settings, resolution):
    stage = int(math.log2(resolution)) - 1
    return min(int(settings["fmap_base"] / 2.0 ** (stage * settings["fmap_decay"])), settings["fmap_max"])


def resolutions(settings):
    return [2**i for i in range(2, int(math.log2(settings["resolution"])) + 1)]


class Drawer:
    """Draws variables; weights that are not scaled at run time are drawn as small as if they were."""

    def __init__(self, settings, seed, lrmul=1.0):
        self.rng, self.settings, self.variables, self.lrmul = np.random.default_rng(seed), settings, {}, lrmul

    def weight(self, name, shape, gain=RELU, lrmul=1.0):
        scale = 1.0 if self.settings["use_wscale"] else gain / math.sqrt(math.prod(shape[:-1]))
        self.variables[f"{name}/weight"] = self.normal(shape, scale / lrmul)
        self.variables[f"{name}/bias"] = self.normal(shape[-1:], 0.3 / lrmul)

    def normal(self, shape, scale=1.0):
        return (scale * self.rng.standard_normal(shape)).astype(np.float32)


def make_generator(settings, seed, lod=0.0):
    """A G_style network; ``settings`` are those that differ from the defaults."""
    s = {**G_DEFAULTS, **settings}
    mapping, synthesis = Drawer(s, seed), Drawer(s, seed + 1)
    size = s["latent_size"]
    if s["label_size"]:
        mapping.variables["LabelConcat/weight"] = mapping.normal((s["label_size"], size))
        size *= 2
    for i in range(s["mapping_layers"]):
        out = s["dlatent_size"] if i == s["mapping_layers"] - 1 else s["mapping_fmaps"]
        mapping.weight(f"Dense{i}", (size, out), lrmul=s["mapping_lrmul"])
        size = out
    synthesis.variables["lod"] = np.float32(lod)
    layers = 2 * len(resolutions(s))
    if s["use_noise"]:
        for i in range(layers):
            side = resolutions(s)[i // 2]
            synthesis.variables[f"noise{i}"] = synthesis.normal((1, 1, side, side))
    for r in resolutions(s):
        _block(synthesis, s, r)
    components = {
        "synthesis": Network("G_synthesis", "G_synthesis", settings, synthesis.variables),
        "mapping": Network("G_mapping", "G_mapping", {"dlatent_broadcast": layers, **settings}, mapping.variables),
    }
    top = {"lod": np.float32(lod), "dlatent_avg": mapping.normal((s["dlatent_size"],))}
    return Network("G", "G_style", settings, top, components)


def _block(drawer, s, r):
    channels, before = widths(s, r), widths(s, r // 2)
    names = ("Const", "Conv") if r == 4 else ("Conv0_up", "Conv1")
    for i, layer in enumerate(names):
        name = f"{r}x{r}/{layer}"
        if layer == "Const":
            drawer.variables[f"{name}/const"] = drawer.normal((1, channels, 4, 4))
            drawer.variables[f"{name}/bias"] = drawer.normal((channels,), 0.3)
        else:
            drawer.weight(name, (3, 3, before if i == 0 else channels, channels))
        if s["use_noise"]:
            drawer.variables[f"{name}/Noise/weight"] = drawer.normal((channels,), 0.3)
        drawer.weight(f"{name}/StyleMod", (s["dlatent_size"], 2 * channels), gain=1.0)
    lod = int(math.log2(s["resolution"] // r))
    if lod == 0 or s["structure"] != "fixed":
        drawer.weight(f"ToRGB_lod{lod}", (1, 1, channels, s["num_channels"]), gain=1.0)


def make_discriminator(settings, seed):
    """A D_basic network."""
    s = {**D_DEFAULTS, **settings}
    drawer = Drawer(s, seed)
    drawer.variables["lod"] = np.float32(0)
    for r in reversed(resolutions(s)):
        channels, after = widths(s, r), widths(s, r // 2)
        lod = int(math.log2(s["resolution"] // r))
        if lod == 0 or s["structure"] != "fixed":
            drawer.weight(f"FromRGB_lod{lod}", (1, 1, s["num_channels"], channels))
        if r > 4:
            drawer.weight(f"{r}x{r}/Conv0", (3, 3, channels, channels))
            drawer.weight(f"{r}x{r}/Conv1_down", (3, 3, channels, after))
    extra = 1 if s["mbstd_group_size"] > 1 else 0
    drawer.weight("4x4/Conv", (3, 3, channels + extra, channels))
    drawer.weight("4x4/Dense0", (16 * channels, channels))
    drawer.weight("4x4/Dense1", (channels, max(s["label_size"], 1)), gain=1.0)
    return Network("D", "D_basic", settings, drawer.variables)


def _coefficient(s, weight, gain, lrmul=1.0):
    return gain / math.sqrt(math.prod(weight.shape[:-1])) * lrmul if s["use_wscale"] else lrmul


def _dense(s, v, name, x, gain=RELU, lrmul=1.0):
    weight = v[f"{name}/weight"].astype(np.float64)
    return x.reshape(len(x), -1) @ (weight * _coefficient(s, weight, gain, lrmul)) + v[f"{name}/bias"] * lrmul


def _lrelu(x):
    return np.where(x > 0, x, 0.2 * x)


def _taps(x, kernel, stride, pad):
    n, _, h, w = x.shape
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    size = kernel.shape[0]
    rows, columns = ((side + 2 * pad - size) // stride + 1 for side in (h, w))
    total = np.zeros((n, kernel.shape[3], rows, columns))
    for a in range(size):
        for b in range(size):
            part = x[:, :, a : a + stride * rows : stride, b : b + stride * columns : stride]
            total += np.einsum("nchw,co->nohw", part, kernel[a, b])
    return total


def _conv(s, v, name, x, gain=RELU):
    weight = v[f"{name}/weight"].astype(np.float64)
    return _taps(x, weight * _coefficient(s, weight, gain), 1, weight.shape[0] // 2)


def _four(kernel):
    """The 3x3 kernel padded by 1 and summed at four places: 4x4."""
    padded = np.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
    return padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]


def _is_fused(s, side):
    return s["fused_scale"] if isinstance(s["fused_scale"], bool) else side >= 128


def _up_conv(s, v, name, x):
    weight = v[f"{name}/weight"].astype(np.float64)
    weight = weight * _coefficient(s, weight, math.sqrt(2))
    n, _, h, w = x.shape
    if not _is_fused(s, 2 * h):
        return _taps(x.repeat(2, 2).repeat(2, 3), weight, 1, 1)
    kernel = _four(weight)
    out = np.zeros((n, weight.shape[3], 2 * h + 2, 2 * w + 2))
    for a in range(4):
        for b in range(4):
            out[:, :, a : a + 2 * h : 2, b : b + 2 * w : 2] += np.einsum("nchw,co->nohw", x, kernel[a, b])
    return out[:, :, 1:-1, 1:-1]


def _down_conv(s, v, name, x):
    weight = v[f"{name}/weight"].astype(np.float64)
    weight = weight * _coefficient(s, weight, math.sqrt(2))
    if _is_fused(s, x.shape[2]):
        return _taps(x, _four(weight) * 0.25, 2, 1)
    y = _taps(x, weight, 1, 1)
    return y.reshape(*y.shape[:2], y.shape[2] // 2, 2, -1, 2).mean((3, 5))


def _blur(x):
    taps = np.outer((1, 2, 1), (1, 2, 1)) / 16
    h, w = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return sum(taps[a, b] * padded[:, :, a : a + h, b : b + w] for a in range(3) for b in range(3))


def run_mapping(network, z, labels=None):
    """w [N, dlatent_size]."""
    s, v = {**G_DEFAULTS, **network.state["static_kwargs"]}, network.variables()
    x = z if labels is None else np.concatenate([z, labels @ v["mapping/LabelConcat/weight"]], axis=1)
    if s["normalize_latents"]:
        x = x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-8)
    for i in range(s["mapping_layers"]):
        x = _lrelu(_dense(s, v, f"mapping/Dense{i}", x, lrmul=s["mapping_lrmul"]))
    return x


def run_synthesis(network, w, lod=0.0):
    """Images [N, H, W, C] with the constant noise, of the resolution of the lod."""
    s, v = {**G_DEFAULTS, **network.state["static_kwargs"]}, network.variables()
    x, images = None, {}
    last = s["resolution"] >> int(lod)
    for index, r in enumerate(r for r in resolutions(s) if r <= last):
        for i, layer in enumerate(("Const", "Conv") if r == 4 else ("Conv0_up", "Conv1")):
            name = f"synthesis/{r}x{r}/{layer}"
            if layer == "Const":
                x = np.repeat(v[f"{name}/const"].astype(np.float64), len(w), axis=0)
            else:
                x = _blur(_up_conv(s, v, name, x)) if layer == "Conv0_up" else _conv(s, v, name, x)
            x = _epilogue(s, v, name, x, w, 2 * index + i)
        rgb = f"synthesis/ToRGB_lod{int(math.log2(s['resolution'] // r))}"
        if f"{rgb}/weight" in v:
            images[r] = _conv(s, v, rgb, x, 1.0) + v[f"{rgb}/bias"][:, None, None]
    image, old = images[last], lod - int(lod)
    if old:
        image = image + (images[last // 2].repeat(2, 2).repeat(2, 3) - image) * old
    return image.transpose(0, 2, 3, 1)


def _epilogue(s, v, name, x, w, layer):
    if s["use_noise"]:
        x = x + v[f"synthesis/noise{layer}"] * v[f"{name}/Noise/weight"][:, None, None]
    x = _lrelu(x + v[f"{name}/bias"][:, None, None])
    x = x - x.mean((2, 3), keepdims=True)
    x = x / np.sqrt(np.mean(x**2, (2, 3), keepdims=True) + 1e-8)
    style = _dense(s, v, f"{name}/StyleMod", w, 1.0).reshape(len(w), 2, -1, 1, 1)
    return x * (style[:, 0] + 1) + style[:, 1]


def run_discriminator(network, images, labels=None):
    """Scores [N] of images [N, H, W, C] at full resolution; groups are those of the original, strided."""
    s, v = {**D_DEFAULTS, **network.state["static_kwargs"]}, network.variables()
    x = _lrelu(_conv(s, v, "FromRGB_lod0", images.transpose(0, 3, 1, 2)) + v["FromRGB_lod0/bias"][:, None, None])
    for r in reversed(resolutions(s)[1:]):
        name = f"{r}x{r}"
        x = _lrelu(_conv(s, v, f"{name}/Conv0", x) + v[f"{name}/Conv0/bias"][:, None, None])
        x = _down_conv(s, v, f"{name}/Conv1_down", _blur(x)) + v[f"{name}/Conv1_down/bias"][:, None, None]
        x = _lrelu(x)
    group = min(s["mbstd_group_size"], len(x))
    if s["mbstd_group_size"] > 1:
        y = x.reshape(group, -1, *x.shape[1:])
        std = np.sqrt(((y - y.mean(0)) ** 2).mean(0) + 1e-8).mean((1, 2, 3))
        x = np.concatenate([x, np.broadcast_to(np.tile(std, group)[:, None, None, None], (len(x), 1, 4, 4))], 1)
    x = _lrelu(_conv(s, v, "4x4/Conv", x) + v["4x4/Conv/bias"][:, None, None])
    scores = _dense(s, v, "4x4/Dense1", _lrelu(_dense(s, v, "4x4/Dense0", x)), 1.0)
    return scores[:, 0] if labels is None else np.sum(scores * labels, axis=1)
