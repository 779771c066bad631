"""Other frameworks' files, read without running anything in them.

``pickle_scan``, ``pickle_tree`` and ``pickle_arrays`` read pickles, ``torch_files`` the files of torch,
``keras_files`` those of Keras.
"""

from stylegen.errors import StylegenError


class WeightsError(StylegenError):
    """A file of weights cannot be used; the message says why and names the fix."""
