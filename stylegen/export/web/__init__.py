"""A generator as a web page that needs no server: weights, arithmetic and controls in one HTML file.

``page`` puts the page together. Its program is in plain JavaScript modules beside it, without a build step of their
own: ``random`` (seeds), ``safetensors``, ``generator`` (what is computed), ``wasm`` with ``kernel.wat`` and ``gpu`` (by
what), ``studio`` (from the controls to styles), ``video`` and ``app``. ``build`` compiles the kernel.
"""
