"""A zoo of hostile pickles: what each asks for, and the words by which it is to be refused.

Written by hand, byte for byte, so that none of what they name need exist. ``WITNESS`` is a file that appears in the
working directory if one of them runs.
"""

import io
import struct
import zipfile

WITNESS = "ran_by_a_pickle"
TOUCH = f"touch {WITNESS}"


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def raw(value):
    return b"B" + struct.pack("<I", len(value)) + value


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def call(module, attribute, *arguments):
    return name(module, attribute) + b"(" + b"".join(arguments) + b"tR"


def number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def tuple_of(*values):
    return b"(" + b"".join(values) + b"t"


def dtype(code="f4"):
    call_of_dtype = call("numpy", "dtype", text(code), b"\x89", b"\x88")
    return call_of_dtype + tuple_of(b"K\x03", text("<"), b"NNN", b"J\xff\xff\xff\xff" * 2, b"K\x00") + b"b"


def array(shape=(2,), data=bytes(8), kind=None, first=(0,)):
    """A numpy array as protocol 2 writes it, but for lies; instructions that give its data are a list of one."""
    reconstructed = call(
        "numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), tuple_of(*map(number, first)), raw(b"b")
    )
    content = data[0] if isinstance(data, list) else raw(data)
    return reconstructed + tuple_of(b"K\x01", tuple_of(*map(number, shape)), kind or dtype(), b"\x89", content) + b"b"


def network(settings=b"}", variables=b"]", components=b"}", version=b"K\x03"):
    """A TensorFlow network as a pickle has it."""
    pairs = [("version", version), ("name", text("G")), ("static_kwargs", settings), ("components", components)]
    pairs += [("build_module_src", text(TOUCH)), ("build_func_name", text("G_style")), ("variables", variables)]
    state = b"}(" + b"".join(text(key) + value for key, value in pairs) + b"u"
    return name("dnnlib.tflib.network", "Network") + b")\x81" + state + b"b"


def laughs(depth=60, leaf=b"K\x01", pack=b"\x86"):
    """A value that holds the one before it twice, and so on: 2^depth leaves to those who walk it."""
    built = leaf
    for i in range(depth):
        built += b"q" + bytes([i]) + b"h" + bytes([i]) + pack
    return built


def settings_laughs():
    return b"}" + text("fmap_base") + laughs() + b"s"


def component_laughs(depth=40):
    """Networks whose two components are one and the same, and so on."""
    built = network()
    for i in range(depth):
        pair = b"}(" + text("mapping") + b"h" + bytes([i]) + text("synthesis") + b"h" + bytes([i]) + b"u"
        # The network below is put into the memo, taken off the stack, and held by the next.
        built += b"q" + bytes([i]) + b"0" + network(components=pair)
    return built


def module(modules=b"}", parameters=b"}", kind=None):
    """A PyTorch module of NVIDIA's as a pickle has it."""
    state = b"}(" + text("_parameters") + parameters + text("_buffers") + b"}" + text("_modules") + modules + b"u"
    meta = b"}(" + text("type") + text("class") + text("version") + b"K\x06" + text("module_src") + text(TOUCH)
    meta += text("class_name") + (kind or text("Generator")) + text("state") + state + b"u"
    return call("torch_utils.persistence", "_reconstruct_persistent_obj", meta)


def module_laughs(depth=24):
    built = module()
    for i in range(depth):
        pair = b"}(" + text("a") + b"h" + bytes([i]) + text("b") + b"h" + bytes([i]) + b"u"
        built += b"q" + bytes([i]) + b"0" + module(pair)
    return b"}" + text("G_ema") + built + b"s"


def stored(inner):
    return call("torch.storage", "_load_from_bytes", raw(inner))


def tensor(storage, size=2, stride=1, offset=0):
    arguments = (storage, number(offset), tuple_of(number(size)), tuple_of(number(stride)), b"\x89")
    return call("torch._utils", "_rebuild_tensor_v2", *arguments, call("collections", "OrderedDict"))


def legacy(numel=2, data=bytes(8), pid=None, stated=None):
    """A storage as torch.save wrote it before its zip archives."""
    head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03."
    head += b"\x80\x02}" + text("little_endian") + b"\x88s."
    pid = pid or tuple_of(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(numel), b"N")
    stated = numel if stated is None else stated
    return head + b"\x80\x02" + pid + b"Q." + b"\x80\x02]" + text("0") + b"a." + struct.pack("<q", stated) + data


def generator(*tensors):
    """A file of PyTorch's with these parameters."""
    parameters = b"}(" + b"".join(text(f"p{i}") + value for i, value in enumerate(tensors)) + b"u"
    return b"\x80\x02}" + text("G_ema") + module(parameters=parameters) + b"s."


def archive(pickle, compression=zipfile.ZIP_STORED, **entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped:
        zipped.writestr("archive/data.pkl", pickle)
        for key, content in entries.items():
            zipped.writestr("archive/data/0" if key == "numbers" else f"archive/{key}", content)
    return file.getvalue()


def zip_storage(numel=2, key="0"):
    return tuple_of(text("storage"), name("torch", "FloatStorage"), text(key), text("cpu"), number(numel)) + b"Q"


def _names():
    """Calls of what can do harm: all are refused by their names."""
    command = text(TOUCH)
    calls = {
        ("os", "system"): [command],
        ("posix", "system"): [command],
        ("nt", "system"): [command],
        ("subprocess", "Popen"): [command],
        ("builtins", "eval"): [text(f"open('{WITNESS}', 'w').close()")],
        ("builtins", "exec"): [text(f"open('{WITNESS}', 'w').close()")],
        ("__builtin__", "eval"): [text(f"open('{WITNESS}', 'w').close()")],
        ("builtins", "__import__"): [text("os")],
        ("builtins", "open"): [text(WITNESS), text("w")],
        ("builtins", "getattr"): [text("x"), text("__class__")],
        ("importlib", "import_module"): [text("this")],
        ("operator", "attrgetter"): [text("system")],
        ("functools", "partial"): [text("x")],
        ("pickle", "loads"): [raw(b"cos\nsystem\n.")],
        ("runpy", "_run_code"): [command],
        ("shutil", "rmtree"): [text(WITNESS)],
        ("codecs", "decode"): [text("x")],
        ("numpy", "load"): [text(WITNESS)],
        ("numpy.testing._private.utils", "runstring"): [command, b"}"],
        ("torch", "load"): [text(WITNESS)],
        ("torch.serialization", "load"): [text(WITNESS)],
        ("torch.hub", "load"): [text(WITNESS)],
        ("torch._utils", "_import_dotted_name"): [text("os.system")],
        ("torch.nn.modules.module", "_load"): [text(WITNESS)],
        ("training.misc", "load_pkl"): [text(WITNESS)],
        ("dnnlib.util", "call_func_by_name"): [text("os.system")],
        ("dnnlib.tflib.network", "Network.run"): [command],
        ("numpy", "core.multiarray.os.system"): [command],
        ("numpy.core.multiarray", "_reconstruct.__globals__"): [],
    }
    return {f"call {m}.{n}": (call(m, n, *arguments) + b".", f"{m}.{n}") for (m, n), arguments in calls.items()}


def _forms():
    """The ways to make a call, all of os.system."""
    line = f"S'{TOUCH}'\n".encode()
    system = name("os", "system")
    chain = call("builtins", "getattr", call("builtins", "__import__", text("os")), text("system"))
    with_state = name("dnnlib.tflib.network", "Network") + b")\x81}" + text("__setstate__") + system + b"sb"
    return {
        "STACK_GLOBAL": (b"\x80\x04" + text("os") + text("system") + b"\x93" + text(TOUCH) + b"\x85R.", "os.system"),
        "INST": (b"(" + line + b"ios\nsystem\n.", "os.system"),
        "OBJ": (b"(" + system + line + b"o.", "os.system"),
        "NEWOBJ": (system + text(TOUCH) + b"\x85\x81.", "os.system"),
        "NEWOBJ_EX": (b"\x80\x04" + system + text(TOUCH) + b"\x85}\x92.", "os.system"),
        "getattr chain": (chain + text(TOUCH) + b"\x85R.", "builtins.getattr"),
        "getattr of STACK_GLOBAL": (b"\x80\x04" + text("os") + text("path.os.system") + b"\x93.", "os.path.os.system"),
        "a name made of a call": (call("builtins", "getattr") + text("system") + b"\x93.", "builtins.getattr"),
        "a name of bytes": (b"\x80\x04" + raw(b"os") + text("system") + b"\x93.", "asks for the name"),
        "a text is called": (text("system") + text(TOUCH) + b"\x85R.", "asks to call 'system'"),
        "a call's result is called": (
            call("collections", "OrderedDict") + b")R.",
            r"asks to call collections.OrderedDict\(",
        ),
        "arguments that are no tuple": (
            name("collections", "OrderedDict") + text("x") + b"R.",
            "with 'x' instead of a tuple",
        ),
        "BUILD with __setstate__": (with_state + b".", "os.system"),
        "BUILD of a text": (text("x") + b"}b.", "changes a value that cannot change"),
        "BUILD of a list": (b"]}b.", "asks to change a list"),
        "BUILD twice": (network() + b"}b.", "sets the state of dnnlib.tflib.network.Network twice"),
        "copyreg": (call("copyreg", "_reconstructor", system, name("builtins", "object"), b"N") + b".", "os.system"),
        "inside a network": (network(variables=b"](" + call("os", "system", text(TOUCH)) + b"e") + b".", "os.system"),
        "beside a network": (b"(" + network() + call("os", "system", text(TOUCH)) + b"0t.", "os.system"),
        "after a frame": (b"\x80\x04\x95" + struct.pack("<Q", 8) + b"cos\nsystem\n)R.", "os.system"),
    }


def _memory():
    """What asks for more than there is."""
    huge = 2**40
    deep = tuple_of(b")" + b"\x85" * 100_000)
    return {
        "memo entry 2^32": (b"\x80\x04Nr\xff\xff\xff\xff.", "memo entry 4,294,967,295"),
        "memo entry in digits": (b"Np999999999\n.", "memo entry 999,999,999"),
        "memo entry in a million digits": (b"Np" + b"9" * 1_000_000 + b"\n.", "memo entry that is no number"),
        "no memo entry": (b"h\x07.", "memo entry 7, which is not there"),
        "numpy.ndarray, called": (b"cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.", r"numpy.ndarray\(2147483647\)"),
        "numpy.ndarray, reconstructed": (
            array(first=(huge,)) + b".",
            rf"asks numpy.ndarray for an array of shape \({huge}\)",
        ),
        "numpy.ndarray, by its state": (
            array(shape=(huge, 2)) + b".",
            rf"asks numpy.ndarray for float32 \({huge}, 2\)",
        ),
        "numpy.ndarray, negative": (array(shape=(-1,)) + b".", r"the shape \(-1\), which is none"),
        "numpy.ndarray, many axes": (array(shape=(1,) * 99, data=bytes(4)) + b".", "which is none"),
        "a product of sizes": (array(shape=(2**31, 2**31, 2**31)) + b".", "asks numpy.ndarray for float32"),
        "an array of objects": (array(kind=dtype("O8"), data=[b"]"]) + b".", r"dtype \('O8', False, True\)"),
        "an array of texts": (array(kind=dtype(f"S{huge}")) + b".", rf"dtype \('S{huge}'"),
        "a record dtype": (array(kind=dtype("f4,O8")) + b".", r"dtype \('f4,O8'"),
        "a scalar of 2^31 bytes": (
            call("numpy.core.multiarray", "scalar", dtype("V2147483647"), raw(b"")) + b".",
            "V2147483647",
        ),
        "bytearray": (call("builtins", "bytearray", number(huge)) + b".", rf"asks builtins.bytearray for \({huge}\)"),
        "bytes of a codec": (call("_codecs", "encode", text("x"), text("zip")) + b".", "asks _codecs.encode for"),
        "BINBYTES8": (b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.", "asks for 1,152,921,504,606,846,976 bytes"),
        "BYTEARRAY8": (b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.", "bytes .BYTEARRAY8. where 2 are left"),
        "BINUNICODE8": (b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x.", "bytes .BINUNICODE8."),
        "BINUNICODE": (b"X\xff\xff\xff\xffx.", "asks for 4,294,967,295 bytes"),
        "BINSTRING": (b"T\xff\xff\xff\xffx.", "asks for -1 bytes"),
        "LONG4": (b"\x8b\xff\xff\xff\x7fx.", "asks for 2,147,483,647 bytes"),
        "LONG4 negative": (b"\x8b\xff\xff\xff\xffx.", "asks for -1 bytes"),
        "LONG1": (b"\x8a\xff" + b"\x7f" * 255 + b".", "asks for a number of 255 bytes"),
        "LONG": (b"L" + b"9" * 1_000_000 + b"L\n.", "asks for a number of 1,000,001 bytes"),
        "FRAME": (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.", "bytes .FRAME. where 2 are left"),
        "nested tuples": (deep + b".", "nests values more than 200 deep"),
        "nested lists": (b"(" * 100_000 + b"l" * 100_000 + b".", "begins more than 200 lists within each other"),
        "a list in itself": (b"]q\x00h\x00a.", "changes a value after another one holds it"),
        "two lists in each other": (b"]q\x00]q\x01h\x00aa.", "changes a value after another one holds it"),
        "a dict in itself": (b"}q\x00" + text("x") + b"h\x00s.", "changes a value after another one holds it"),
        "a tuple for a key": (b"}" + tuple_of(b"K\x01") + b"K\x01s.", "a dict or a set with a tuple for a key"),
        "keys that collide": (
            b"}" + number(2**61 - 1) + b"K\x01s.",
            "a dict or a set with 2305843009213693951 for a key",
        ),
        "a float for a key": (b"}G" + bytes(8) + b"K\x01s.", "a dict or a set with 0.0 for a key"),
        "laughs": (b"\x80\x02" + laughs() + b".", r"holds \(\(a tuple, a tuple\), \(a tuple, a tuple\)\)"),
        "laughs in settings": (network(settings=settings_laughs()) + b".", "the settings of a network go on and on"),
        "laughs in components": (component_laughs() + b".", "components within components without end"),
        "laughs in modules": (module_laughs() + b".", "components within components without end"),
        "a network in itself": (
            name("dnnlib.tflib.network", "Network")
            + b")\x81q\x00}"
            + text("components")
            + b"}"
            + text("x")
            + b"h\x00ssb.",
            "changes a value after another one holds it",
        ),
    }


def _shared():
    """The same bytes under many arrays."""
    content = b"q\x00".join((text("\0" * 4096), b""))
    arrays = [array((1024,), data=[b"h\x00" if i else content]) for i in range(40)]
    bytes_of_storage = raw(legacy(1024, bytes(4096))) + b"q\x01"
    storages = [call("torch.storage", "_load_from_bytes", b"h\x01" if i else bytes_of_storage) for i in range(40)]
    return {
        "one text under many arrays": (
            b"\x80\x02(" + b"".join(arrays) + b"t.",
            "its arrays are more than 16 times as large as the file",
        ),
        "one long name of many variables": (
            b"\x80\x02" + network(variables=b"](" + text("x" * 5000) + array() + b"\x86e") + b".",
            "has a name of 5,000 letters, xxx",
        ),
        "one long name of many classes": (
            name("training.networks", "X" + "x" * 5000) + b".",
            "asks for training.networks.X",
        ),
        "laughs for a class's name": (
            b"}" + text("G_ema") + module(kind=laughs()) + b"s.",
            "has a persistent object of",
        ),
        "one file under many storages": (
            generator(*(tensor(storage) for storage in storages)),
            "its tensors are more than 16 times as large as the file",
        ),
    }


def _machine():
    """What is beside the pickle, and what is no pickle."""
    return {
        "EXT1": (b"\x82\x01.", "number 1 of Python's extension registry .EXT1."),
        "EXT2": (b"\x83\x01\x01.", "number 257 of Python's extension registry"),
        "EXT4": (b"\x84\xff\xff\xff\x7f.", "number 2147483647 of Python's extension registry"),
        "PERSID": (b"Pos.system\n.", "asks for data beside the pickle: 'os.system'"),
        "BINPERSID": (text("x") + b"Q.", "asks for data beside the pickle: 'x'"),
        "NEXT_BUFFER": (b"\x80\x05\x97.", "asks for data outside the file .NEXT_BUFFER."),
        "READONLY_BUFFER": (b"\x80\x05N\x98.", "asks for data outside the file .READONLY_BUFFER."),
        "protocol 255": (b"\x80\xffN.", "protocol 255, which is none"),
        "no instruction": (b"\xffN.", "has 0xff, which is no instruction"),
        "nothing": (b"", "it is empty"),
        "no end": (b"N", "ends in the middle of a pickle"),
        "an empty stack": (b".", "stops with 0 values"),
        "two values": (b"NN.", "stops with 2 values"),
        "an open mark": (b"N(.", "stops with 1 values"),
        "POP of nothing": (b"0.", "takes a value from an empty stack"),
        "POP of a mark": (b"(0.", "takes away a mark"),
        "POP_MARK of nothing": (b"1.", "ends a list that was not begun"),
        "TUPLE of nothing": (b"t.", "ends a list that was not begun"),
        "APPENDS to nothing": (b"(Ne.", "takes a value from an empty stack"),
        "through a mark": (b"N(R.", "takes a value from an empty stack"),
        "keys without values": (b"}(Nu.", "sets keys without values"),
        "a dict of one": (b"(Nd.", "keys without values .DICT."),
        "an object of nothing": (b"(o.", "makes an object of nothing"),
        "APPEND to a dict": (b"}Na.", "asks to change a dict .APPEND."),
        "SETITEM of a list": (b"]NNs.", "asks to change a list .SETITEM."),
        "APPEND to a tuple": (b")Na.", "asks to change a tuple .APPEND."),
        "text that is none": (b"X\x01\x00\x00\x00\xff.", "damaged text or number"),
        "number that is none": (b"Ix\n.", "damaged text or number"),
        "escapes": (name("os\x1b[2J\x07", "system") + b".", r"asks for os\\x1b\[2J\\x07\.system"),
        "a name of a million letters": (name("o" * 1_000_000, "s") + b".", "asks for ooo"),
        "a plain value": (b"\x80\x04K\x01.", "holds 1; NVIDIA's files hold"),
        "text": (b"hello, this is a file of text", "cannot be read as a pickle"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be read as a pickle|stops with|holds"),
    }


def _torch():
    """What hides in tensors."""
    evil = call("os", "system", text(TOUCH)) + b"."
    of_type, plain = ("torch._tensor", "_rebuild_from_type_v2"), name("torch", "Tensor")
    head = legacy()[: legacy().index(b"little_endian") + 16]
    shared = b"q\x14".join((stored(legacy(numel=4096, data=bytes(16384))), b""))
    many = [tensor(b"h\x14" if i else shared, 4096) for i in range(40)]
    bomb = archive(b"N" * 10_000_000 + b".", zipfile.ZIP_DEFLATED)
    return {
        "torch.load within": (generator(tensor(stored(head + evil))), "os.system"),
        "code as a storage": (generator(tensor(stored(legacy(pid=call("os", "system", text(TOUCH)))))), "os.system"),
        "a storage within a storage": (
            generator(tensor(stored(legacy(pid=stored(legacy()))))),
            "asks for torch.storage._load_from_bytes",
        ),
        "code in a zip": (archive(evil), "os.system"),
        "code in a zip within": (generator(tensor(stored(archive(evil)))), "os.system"),
        "code for a type": (
            generator(call(*of_type, name("os", "system"), plain, b")", b"}")),
            "os.system",
        ),
        "another function for a type": (
            generator(call(*of_type, name("torch", "Size"), plain, b")", b"}")),
            "asks for a tensor made by torch.Size",
        ),
        "a storage of a text": (generator(tensor(text("x"))), "a tensor without a storage; it has 'x'"),
        "bytes of a text": (
            generator(tensor(call("torch.storage", "_load_from_bytes", text("x")))),
            "_load_from_bytes for",
        ),
        "a storage too large": (
            generator(tensor(stored(legacy(numel=2**40)))),
            "its storages are larger than the file",
        ),
        "a storage of less than it says": (generator(tensor(stored(legacy(numel=3)))), "ends too early|larger than"),
        "a storage of another size": (generator(tensor(stored(legacy(stated=1)))), "has not the size that is stated"),
        "a persistent id of another kind": (
            generator(tensor(stored(legacy(pid=tuple_of(text("x")))))),
            "asks for a storage by",
        ),
        "a tensor beyond its storage": (generator(tensor(stored(legacy()), size=3)), "does not fit its storage"),
        "a tensor before its storage": (generator(tensor(stored(legacy()), offset=-1)), "does not fit its storage"),
        "a tensor of one number, 2^40 times": (
            generator(tensor(stored(legacy()), size=2**40, stride=0)),
            "does not fit its storage",
        ),
        "a negative stride": (generator(tensor(stored(legacy()), stride=-1)), "does not fit its storage"),
        "many tensors of one storage": (generator(*many), "more than 16 times as large as the file"),
        "a zip bomb": (bomb, "data.pkl is compressed"),
        "a zip bomb within": (generator(tensor(stored(bomb))), "data.pkl is compressed"),
        "a zip of nothing": (archive(b"N.", **{"constants.pkl": b""}), "a TorchScript program, which is code"),
        "a zip that is cut": (archive(b"N.")[:40], "no state dict that can be read"),
        "a zip without its storage": (archive(tensor(zip_storage(key="9")) + b"."), "KeyError"),
        "a zip's storage too large": (
            archive(tensor(zip_storage(2**40)) + b".", numbers=bytes(8)),
            "its storages are larger than the file",
        ),
        "a zip's path": (archive(tensor(zip_storage(key="../../../etc/passwd")) + b"."), "KeyError"),
        "big-endian": (archive(b"N.", byteorder=b"big"), "big-endian"),
    }


def zoo():
    """Name: (content, pattern of the sentence that refuses it)."""
    return {**_names(), **_forms(), **_memory(), **_shared(), **_machine(), **_torch()}
