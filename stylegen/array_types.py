"""The arrays that annotations speak of: ``Float[Array, "n h w c"]`` of jaxtyping, with the axes' names and sizes.

Tests check such annotations at every call (``tests/conftest.py``). A name stands for one size within a call.
"""

from typing import TYPE_CHECKING

import jax
import numpy as np

if TYPE_CHECKING:
    from jax import Array as Array
else:
    # Functions of jax.numpy take numpy's arrays as well.
    Array = jax.Array | np.ndarray
