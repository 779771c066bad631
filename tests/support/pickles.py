"""Pickles as other people's programs write them: with the names of classes that are not here."""

import collections
import io
import pickle
import types

import numpy as np

from tests.support import hostile, original


class Storage:
    """Numbers of a tensor, pickled as the bytes of a file of torch's."""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        return load_from_bytes, (hostile.legacy(self.array.size, self.array.tobytes()),)


class Tensor:
    """A float32 tensor as PyTorch pickles it."""

    def __init__(self, array):
        self.array = np.ascontiguousarray(array, np.float32).reshape(np.shape(array))

    def __reduce__(self):
        steps = tuple(step // 4 for step in self.array.strides)
        return rebuild_tensor, (Storage(self.array), 0, self.array.shape, steps, False, collections.OrderedDict())


class Parameter(Tensor):
    """A trained one."""

    def __reduce__(self):
        return rebuild_parameter, (Tensor(self.array), True, collections.OrderedDict())


class Module:
    """A module of NVIDIA's persistent kind."""

    def __init__(self, kind, settings):
        self.kind, self.settings = kind, settings
        self.parameters, self.buffers, self.modules = {}, {}, {}

    def put(self, path, array, is_buffer=False):
        """Put an array in its place, named with dots; modules on the way are made."""
        part, _, rest = path.partition(".")
        if rest:
            self.modules.setdefault(part, Module(part, {})).put(rest, array, is_buffer)
        elif is_buffer:
            self.buffers[part] = Tensor(array)
        else:
            self.parameters[part] = Parameter(array)

    def __reduce__(self):
        state = {"training": False, "_parameters": self.parameters, "_buffers": self.buffers, "_modules": self.modules}
        state |= {"_non_persistent_buffers_set": set(), "_backward_hooks": collections.OrderedDict()}
        state |= {"_init_args": (), "_init_kwargs": self.settings}
        source = "raise SystemExit('this text must not run')"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self.kind, "state": state}
        return reconstruct, (meta,)


# These stand in a file by their names, for a reader that calls none of them.
NEVER = "a function that a file names was called"


def load_from_bytes(data):
    raise AssertionError(NEVER)


def rebuild_tensor(*arguments):
    raise AssertionError(NEVER)


def rebuild_parameter(*arguments):
    raise AssertionError(NEVER)


def reconstruct(meta):
    raise AssertionError(NEVER)


class Writer(pickle._Pickler):
    """Python's own pickler in Python, but for the names that it writes."""

    NAMES = {
        original.Network: ("dnnlib.tflib.network", "Network"),
        load_from_bytes: ("torch.storage", "_load_from_bytes"),
        rebuild_tensor: ("torch._utils", "_rebuild_tensor_v2"),
        rebuild_parameter: ("torch._utils", "_rebuild_parameter"),
        reconstruct: ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    }

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

    def save_type(self, obj):
        self.save_global(obj)

    dispatch = {**pickle._Pickler.dispatch, types.FunctionType: save_global, types.BuiltinFunctionType: save_global}
    dispatch[type] = save_type


def dumps(value, protocol=4):
    """A pickle of plain values, arrays and the classes above."""
    file = io.BytesIO()
    Writer(file, protocol).dump(value)
    return file.getvalue()
