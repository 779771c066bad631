"""The built-in network of style transfer: small, trained with VGG-16 as the loss network.

Hardware: a part of two processor cores.
    python studies/style_data.py --out data/style
    python train_style.py --config configs/style_transfer.py --data.photographs data/style --run.dir runs/style
Hours and result: docs/style_transfer.md.

VGG-16 comes with the extra `perceptual`. A decoder for it: --encoder.network vgg16.
"""

from stylegen.style_transfer.config import StyleConfig


def get_config() -> StyleConfig:
    return StyleConfig()
