"""Arbitrary style transfer with adaptive instance normalization (Huang and Belongie 2017).

``model`` has the encoder and decoder (the built-in ones, or VGG-19 with its decoder). ``stylize`` gives an image the
style of others, ``video`` a video. ``train`` is the loop of ``train_style.py``. Images are uint8 [h, w, 3] outside and
float RGB in [0, 1] inside, as the VGG that style transfer uses was trained; the rest of the package has [-1, 1].
"""


class StyleError(ValueError):
    """A transfer or a training cannot be done as asked; the message says why and what would do."""
