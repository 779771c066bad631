// A safetensors file: 8 bytes of length, a header in JSON, and the numbers.

/** Tensors by name ({shape, data}, data as Float32Array) and the metadata of a file. */
export function readSafetensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const { __metadata__: metadata, ...header } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    const part = bytes.slice(start + begin, start + end).buffer; // a copy, which begins at a multiple of 4
    tensors[name] = { shape, data: dtype === 'F16' ? fromHalf(new Uint16Array(part)) : new Float32Array(part) };
  }
  return { tensors, metadata };
}

/** Half-precision numbers, given as their bits, in single precision. */
function fromHalf(bits) {
  return Float32Array.from(bits, (h) => {
    const exponent = (h >> 10) & 31, fraction = h & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    return h & 0x8000 ? -size : size;
  });
}
