"""The bounds within which untrusted files are read, all in one place."""

MAX_JSON = 8 * 2**20  # bytes of a JSON text: configurations have 4 kB, manifests of a million images some 100 kB
MAX_LABELS = 2**28  # bytes of a file of labels: ImageNet's 1.3 million take 45 MB as dataset.json
MAX_DEPTH = 32  # of JSON within JSON; a configuration has 3
MAX_DIGITS = 40  # of a whole number: 128 bits have 39
MAX_MEMBERS = 10_000  # arrays of an npz file or tensors of a safetensors file; a generator of 1024 pixels has some 150
MAX_DIMENSIONS = 8  # of an array
MAX_NUMBERS = 2**48  # of an array on disk, which may be larger than memory
MAX_HEADER = 8 * 2**20  # bytes of a safetensors header; one of 10,000 tensors has about 1 MB
MAX_ARRAY_HEADER = 4096  # bytes of an npy header, which numpy pads to a multiple of 64; that of a plain array has 118

# What an archive may unpack to: this much in any case, or so many times the size of its file. Deflate packs up to 1,032
# times; float32 weights pack hardly at all, and styles that repeat one w in every layer some 20 times.
FREE_UNPACKED = 128 * 2**20
MAX_RATIO = 32

# An image in a zip may not unpack to both more than so many bytes and more than so many times its packed size.
BOMB_BYTES, BOMB_RATIO = 2**26, 100

# Pixels of an image for each byte of its file, of images of more than so many pixels. A blank one of 1 bit a pixel,
# which packs best, has 8,256 as PNG; more are a header without an image.
MAX_PIXELS_PER_BYTE, FREE_PIXELS = 10_000, 2**22


def unpacked_bound(file_size: int) -> int:
    """Bytes that an archive of this size may unpack to."""
    return max(FREE_UNPACKED, MAX_RATIO * file_size)
