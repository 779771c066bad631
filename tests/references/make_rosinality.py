"""Makes networks/rosinality_32*: small checkpoints of rosinality's stylegan2-pytorch, and images by its code.

    git clone https://github.com/rosinality/stylegan2-pytorch checkout
    python tests/references/make_rosinality.py checkout

Needs PyTorch (2.13.0 made the files that are here; the checkout's commit was bef283a). The networks are those of the
checkout's ``model.py`` but for their widths, which are made small. Its operations are compiled for GPUs; their plain
counterparts stand in. Weights are random, none of them zero, and one step of Adam has been taken, as in a checkpoint.
"""

import argparse
import re
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

OUT = Path(__file__).parent / "networks"
SIZE, WIDTHS = 32, "4: 8, 8: 8, 16: 8, 32: 4"
SETTINGS = {"style_dim": 16, "n_mlp": 3}


def leaky(x, bias=None, negative_slope=0.2, scale=2**0.5):
    x = x if bias is None else x + bias.view(1, -1, *[1] * (x.ndim - 2))
    return F.leaky_relu(x, negative_slope) * scale


class FusedLeakyReLU(nn.Module):
    def __init__(self, channel, bias=True, negative_slope=0.2, scale=2**0.5):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channel)) if bias else None

    def forward(self, x):
        return leaky(x, self.bias)


def upfirdn2d(x, kernel, up=1, down=1, pad=(0, 0)):
    """Zeros between pixels, padding, convolution with the kernel, every ``down``-th pixel."""
    n, c, h, w = x.shape
    spread = x.new_zeros(n, c, h, up, w, up)
    spread[:, :, :, 0, :, 0] = x
    padded = F.pad(spread.view(n * c, 1, h * up, w * up), (pad[0], pad[1], pad[0], pad[1]))
    out = F.conv2d(padded, kernel.flip(0, 1)[None, None])
    out = out[:, :, ::down, ::down]
    return out.view(n, c, *out.shape[2:])


def load_model(checkout):
    """The checkout's model.py with small widths, its compiled operations replaced."""
    gradfix = types.SimpleNamespace(conv2d=F.conv2d, conv_transpose2d=F.conv_transpose2d)
    op = types.ModuleType("op")
    op.FusedLeakyReLU, op.fused_leaky_relu, op.upfirdn2d, op.conv2d_gradfix = FusedLeakyReLU, leaky, upfirdn2d, gradfix
    sys.modules["op"] = op
    text = (checkout / "model.py").read_text()
    text, count = re.subn(r"channels = \{[^}]*\}", f"channels = {{{WIDTHS}}}", text)
    assert count == 2
    module = types.ModuleType("model")
    exec(compile(text, "model.py", "exec"), module.__dict__)
    return module


def randomize(network):
    """Random numbers where a new network has zeros or ones."""
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith(("bias", "noise.weight")):
                value.add_(0.3 * torch.randn_like(value))


def main():
    torch.manual_seed(0)
    model = load_model(Path(sys.argv[1]))
    g, g_ema = model.Generator(SIZE, **SETTINGS), model.Generator(SIZE, **SETTINGS)
    d = model.Discriminator(SIZE)
    for network in (g, g_ema, d):
        randomize(network)
    optimizers = [torch.optim.Adam(network.parameters(), lr=0.002, betas=(0.0, 0.99)) for network in (g, d)]
    scores = d(g([torch.randn(4, SETTINGS["style_dim"])])[0])
    scores.mean().backward()
    for optimizer in optimizers:
        optimizer.step()
    z = torch.from_numpy(np.random.RandomState(0).randn(4, SETTINGS["style_dim"]).astype(np.float32))
    latent_avg = g_ema.mean_latent(4096)[0].detach()
    with torch.no_grad():
        draw = lambda **how: g_ema([z], randomize_noise=False, **how)  # noqa: E731
        images, ws = draw(return_latents=True)
        truncated, _ = draw(truncation=0.7, truncation_latent=latent_avg)
        silent = [torch.zeros_like(getattr(g_ema.noises, f"noise_{i}")) for i in range(g_ema.num_layers)]
        arrays = {
            "z": z,
            "ws": ws,
            "images": images,
            "images_psi0.7": truncated,
            "images_no_noise": draw(noise=silent)[0],
            "g_images_no_noise": g([z], noise=silent)[0],
            "scores": d(images),
        }
    np.savez_compressed(OUT / "rosinality_32.npz", **{name: value.numpy() for name, value in arrays.items()})
    # As train.py of the checkout saves a training, and as its convert_weight.py and most fine-tunes save a generator.
    training = {
        "g": g.state_dict(),
        "d": d.state_dict(),
        "g_ema": g_ema.state_dict(),
        "g_optim": optimizers[0].state_dict(),
        "d_optim": optimizers[1].state_dict(),
        "args": argparse.Namespace(path="data", size=SIZE, n_mlp=SETTINGS["n_mlp"], device="cuda", mixing=0.9),
        "ada_aug_p": 0,
    }
    torch.save(training, OUT / "rosinality_32.pt")
    converted = {"g_ema": g_ema.state_dict(), "latent_avg": latent_avg}
    torch.save(converted, OUT / "rosinality_32_legacy.pt", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
