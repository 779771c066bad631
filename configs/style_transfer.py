"""The built-in networks of style transfer: a small encoder, trained here, and its decoder.

Hardware: two processor cores.
    python train_style.py --config configs/style_transfer.py --run.dir runs/style
Hours: to be measured.
Result: to be measured.
"""

from stylegen.style_transfer.config import StyleConfig


def get_config() -> StyleConfig:
    return StyleConfig()
