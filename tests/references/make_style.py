"""Compute the numbers of PyTorch that tests/style_transfer/test_reference_style.py compares with.

    python -m venv ENV
    ENV/bin/pip install torch numpy
    ENV/bin/python tests/references/make_style.py

The networks are those of pytorch-AdaIN as facts about its layers describe them (VGG-19 to relu4_1 with a leading 1x1
convolution, reflection padding and pools that round up; the decoder its mirror), made of torch's own modules, and those
of torchvision's VGG-19 with reflection and such pools. All weights are random and drawn from seeds (``inputs.py``);
nothing is downloaded. Writes tests/references/style/torch.npz. Takes a minute.
"""

import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.references import inputs

OUT = Path(__file__).with_name("style")
# Odd sizes, so that the pools have something to round.
CONTENT = {"seed": 11, "n": 2, "height": 41, "width": 54}
STYLE = {"seed": 12, "n": 2, "height": 48, "width": 37, "roughness": 2.0}
RELUS = (3, 10, 17, 30)  # of the list of layers: relu1_1, relu2_1, relu3_1, relu4_1


def normalised_vgg() -> nn.Sequential:
    """The layers of vgg_normalised.pth up to relu4_1, at the places that its state dict names."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    channels = 3
    for i, stage in enumerate(((64, 64), (128, 128), (256,) * 4, (512,))):
        if i:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        for out in stage:
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, out, 3), nn.ReLU()]
            channels = out
    return nn.Sequential(*layers)


def plain_vgg() -> nn.Sequential:
    """torchvision's layers up to relu4_1, at the places that its state dict names, but with reflection."""
    layers: list[nn.Module] = []
    channels = 3
    for i, stage in enumerate(((64, 64), (128, 128), (256,) * 4, (512,))):
        if i:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        for out in stage:
            layers += [nn.Conv2d(channels, out, 3, padding=1, padding_mode="reflect"), nn.ReLU()]
            channels = out
    return nn.Sequential(*layers)


def mirrored_decoder() -> nn.Sequential:
    """The layers of decoder.pth."""
    layers: list[nn.Module] = []
    channels = 512
    for i, stage in enumerate(((256,), (256, 256, 256, 128), (128, 64), (64, 3))):
        if i:
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        for out in stage:
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, out, 3), nn.ReLU()]
            channels = out
    return nn.Sequential(*layers[:-1])


def filled(network: nn.Module, prefix: str = "") -> nn.Module:
    """The network with random weights, drawn by the names of its own with a prefix."""
    shapes = {prefix + name: tuple(value.shape) for name, value in network.state_dict().items()}
    drawn = {name.removeprefix(prefix): torch.from_numpy(x) for name, x in inputs.tensors(shapes).items()}
    network.load_state_dict(drawn)
    return network.eval()


def maps(network: nn.Sequential, x: torch.Tensor, layers: tuple[int, ...]) -> list[torch.Tensor]:
    outputs = []
    for i, layer in enumerate(network):
        x = layer(x)
        if i in layers:
            outputs.append(x)
        if i == layers[-1]:
            break
    return outputs


def image_tensor(of: dict) -> torch.Tensor:
    return torch.from_numpy(inputs.images(**of).transpose(0, 3, 1, 2).copy()).float() / 255


def mean_std(x: torch.Tensor, unbiased: bool, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    flat = x.flatten(2)
    return flat.mean(2)[..., None, None], (flat.var(2, unbiased=unbiased) + epsilon).sqrt()[..., None, None]


def port_adain(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """As pytorch-AdaIN: n - 1 and epsilon on both sides."""
    (mean, std), (wanted_mean, wanted_std) = (mean_std(x, True, 1e-5) for x in (content, style))
    return (content - mean) / std * wanted_std + wanted_mean


def authors_adain(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """As the authors' Lua code: the content through batch normalization, the style's plain deviation, n in both."""
    mean, std = mean_std(style, False, 0.0)
    n, c = content.shape[:2]
    flat = content.reshape(1, n * c, *content.shape[2:])
    normal = nn.functional.batch_norm(flat, None, None, training=True, eps=1e-5).reshape(content.shape)
    return normal * std + mean


def port_coral(style: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    """The color transfer of [3, n] to the colors of [3, m], with the matrix roots by singular values.

    Its scatter matrices are sums, not means, so it is right for images of equally many pixels alone.
    """

    def normal(x):
        mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
        return (x - mean) / std, mean, std

    def root(x):
        u, d, v = torch.svd(x)
        return u @ d.sqrt().diag() @ v.t()

    (x, _, _), (y, mean, std) = normal(style), normal(content)
    eye = torch.eye(3)
    return root(y @ y.t() + eye) @ torch.inverse(root(x @ x.t() + eye)) @ x * std + mean


def losses(result: list, target: torch.Tensor, styles: list) -> tuple[float, float]:
    """Content and style loss as pytorch-AdaIN has them."""
    mse = nn.functional.mse_loss
    style = 0.0
    for a, b in zip(result, styles, strict=True):
        (m, s), (wanted_m, wanted_s) = mean_std(a, True, 1e-5), mean_std(b, True, 1e-5)
        style += float(mse(m, wanted_m) + mse(s, wanted_s))
    return float(mse(result[-1], target)), style


@torch.inference_mode()
def main() -> None:
    outputs: dict[str, np.ndarray] = {}
    vgg, decoder = filled(normalised_vgg()), filled(mirrored_decoder(), "decoder.")
    content, style = image_tensor(CONTENT), image_tensor(STYLE)
    content_maps, style_maps = (maps(vgg, x, RELUS) for x in (content, style))
    for i, x in enumerate(content_maps):
        # Of the large maps a part that has all channels, all borders and the middle.
        outputs[f"relu{i + 1}_1"] = (x if i == 3 else x[:, :, :: 2 ** (3 - i), :: 2 ** (3 - i)])[:1, ::4].numpy()
        outputs[f"relu{i + 1}_1_shape"] = np.array(x.shape)
    port, authors = (f(content_maps[-1], style_maps[-1]) for f in (port_adain, authors_adain))
    outputs |= {"port_adain": port[:, ::8].numpy(), "authors_adain": authors[:, ::8].numpy()}
    result = decoder(port)
    outputs["decoded"] = result.numpy()
    outputs["losses"] = np.array(losses(maps(vgg, result, RELUS), port, style_maps))
    outputs["coral"] = port_coral(style[0].flatten(1), content[0].flatten(1)[:, : 48 * 37]).numpy()[:, ::7]

    other = filled(plain_vgg(), "features.")
    mean, std = (torch.tensor(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    outputs["torchvision"] = other((content[:1] - mean) / std)[:, ::4].numpy()
    outputs["versions"] = np.array([f"{name} {importlib.metadata.version(name)}" for name in ("torch",)])
    OUT.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(OUT / "torch.npz", **outputs)
    for name, value in outputs.items():
        print(name, value if value.size < 5 else value.shape)


if __name__ == "__main__":
    main()
