"""Other frameworks' files, read without running anything in them.

``pickle_scan``, ``pickle_tree`` and ``pickle_arrays`` read pickles, ``torch_files`` what torch saves, ``keras_files``
what Keras does.
"""


class WeightsError(ValueError):
    """A file of weights cannot be used; the message says why and what would do."""
