"""Checkpoints of a run: save and restore the training state, load the generator to sample from.

The only folder that imports orbax; ``checkpoint_files.py``, ``checkpoint_layout.py`` and ``checkpoint_sharing.py``
beside it do not. A run directory holds ``config.json`` and ``checkpoints/NNNNNNNNN/``, a directory for each checkpoint,
named by its nimg. It has three orbax items, written side by side and made visible by one rename:

- ``ema``: what sampling needs, the averaged generator with ``w_avg`` and the constant noise;
- ``train``: the rest of the state, needed only to resume;
- ``meta``: a JSON object that says where growing stood, and what every leaf was when written.
"""

from stylegen.runs.checkpoint.checkpointer import Checkpointer, Restored
from stylegen.runs.checkpoint.load import load_generator, load_state, read_config
from stylegen.runs.checkpoint_files import available
from stylegen.runs.checkpoint_layout import CheckpointError, Meta

__all__ = [
    "CheckpointError",
    "Checkpointer",
    "Meta",
    "Restored",
    "available",
    "load_generator",
    "load_state",
    "read_config",
]
