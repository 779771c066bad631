"""Archives as other programs write them: CIFAR-10's, and TFRecords of the original StyleGAN."""

import io
import pickle
import struct
import tarfile

import numpy as np


def records(count, seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.integers(0, 10, (count, 1)), rng.integers(0, 256, (count, 3072))], 1).astype(np.uint8)


def make_archive(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def python_archive(folder, **changed):
    """As the University of Toronto distributes it: dicts with the fields of its files, pickled by protocol 2."""
    files = {}
    for i, name in enumerate(
        ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
    ):
        table = records(4, i)
        fields = {
            "batch_label": f"batch {i}",
            "labels": table[:, 0].tolist(),
            "data": np.ascontiguousarray(table[:, 1:]),
            "filenames": [f"image_{j}.png" for j in range(4)],
            **changed,
        }
        files[f"cifar-10-batches-py/{name}"] = pickle.dumps(fields, protocol=2)
    files["cifar-10-batches-py/batches.meta"] = pickle.dumps({"num_cases_per_batch": 10_000}, protocol=2)
    return make_archive(folder / "cifar-10-python.tar.gz", files)


def crc32c(data):
    """CRC-32C bit by bit (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 * (crc & 1))
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def write_records(path, images):
    from tensorflow_datasets.proto import tf_example_pb2

    with path.open("wb") as file:
        for image in images:
            example = tf_example_pb2.Example()
            planes = image.transpose(2, 0, 1)
            example.features.feature["shape"].int64_list.value.extend(planes.shape)
            example.features.feature["data"].bytes_list.value.append(planes.tobytes())
            data = example.SerializeToString()
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data)))
