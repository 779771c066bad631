"""The built-in network of style transfer: small, VGG-16 up to relu3_1 with a decoder that rebuilds images.

Hardware: one processor core.
    python studies/style_data.py --out data/style
    python train_style.py --config configs/style_transfer.py --data.photographs data/style --run.dir runs/style
Hours: 0.4, 2026-11-28. Result: docs/style_transfer.md.

VGG-16 comes with the extra `perceptual`. A decoder for it: --encoder.network vgg16.
"""

from stylegen.style_transfer.config import StyleConfig


def get_config() -> StyleConfig:
    return StyleConfig()
