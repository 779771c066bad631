"""The built-in networks of style transfer: a small encoder, trained here, and its decoder.

Hardware: two processor cores.
    python train_style.py --config configs/style_transfer.py --run.dir runs/style
Hours: 0.65 (39 min), measured on two EPYC cores that other programs used as well, 2026-11-22; scikit-image was
installed, nine of whose photographs, in the public domain, were among the images.
Result: content loss 1.6, style loss 3.7 at the end; the README's images and docs/quality.md. Colors and fine texture
carry over, coarse strokes do not.

The settings are ours, chosen for less than an hour without an accelerator: three resolutions instead of the four of
VGG-19, a quarter of its channels, squares of 64 pixels, learning rates ten times the paper's and more.
"""

from stylegen.style_transfer.config import StyleConfig


def get_config() -> StyleConfig:
    return StyleConfig()
