"""Pickles as other people's programs write them: with the names of classes that are not here."""

import io
import pickle

from tests import original

TF_NETWORK = ("dnnlib.tflib.network", "Network")


class Writer(pickle._Pickler):
    """Python's own pickler in Python, but for the names that it writes."""

    NAMES = {original.Network: TF_NETWORK}

    def save_global(self, obj, name=None):
        module, name = self.NAMES.get(obj) or (pickle.whichmodule(obj, name or obj.__qualname__), obj.__qualname__)
        module = module.replace("numpy._core", "numpy.core")  # as before numpy 2
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch = {**pickle._Pickler.dispatch, type(len): save_global, type(io): save_global}

    def save_type(self, obj):
        self.save_global(obj)

    dispatch[type] = save_type


def dumps(value, protocol=4):
    """A pickle of plain values, arrays and ``original.Network``."""
    file = io.BytesIO()
    Writer(file, protocol).dump(value)
    return file.getvalue()
