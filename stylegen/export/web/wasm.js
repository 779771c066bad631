// The steps of a generator in WebAssembly: convolutions by the kernel, the rest in JavaScript on the kernel's memory.

const PAGE = 65536; // bytes

export class WasmNetwork {
  /** @param generator a Generator  @param code the kernel, kernel.wasm */
  static async create(generator, code) {
    const { instance } = await WebAssembly.instantiate(code, {});
    return new WasmNetwork(generator, instance.exports);
  }

  constructor(generator, { memory, convolve }) {
    this.generator = generator;
    this.memory = memory;
    this.kernel = convolve;
    this.top = 64; // first free byte
    this.buffers = {};
    for (const [name, floats] of Object.entries(generator.buffers)) this.buffers[name] = this.reserve(floats);
    const convolutions = generator.steps.filter(({ kind }) => kind === 'convolve');
    // An image with a border of one pixel, and room behind it.
    this.border = this.reserve(Math.max(...convolutions.map(({ size, inputs }) => (size + 2) ** 2 * inputs)));
    for (const { parts } of convolutions) for (const { weight } of parts) this.store(weight);
    const filters = generator.steps.filter(({ kind }) => kind === 'filter');
    this.between = new Float32Array(Math.max(0, ...filters.map((s) => s.result * s.size * s.channels)));
  }

  /** Reserve memory; the address is returned. */
  reserve(floats) {
    const address = this.top;
    this.top += (floats * 4 + 63) & ~63;
    const missing = Math.ceil((this.top - this.memory.buffer.byteLength) / PAGE);
    if (missing > 0) this.memory.grow(missing);
    return address;
  }

  store(weight) {
    weight.address = this.reserve(weight.data.length);
    this.view(weight.address, weight.data.length).set(weight.data);
    weight.data = null; // it is in the memory now
  }

  view(address, floats) {
    return new Float32Array(this.memory.buffer, address, floats);
  }

  /** The buffer of a step's image of `size` pixels a side. */
  image(name, size, channels) {
    return this.view(this.buffers[name], size * size * channels);
  }

  /** Draw an image: Float32Array [r, r, 8], of which the first channels are the image's.
   *  @param numbers generator.styleNumbers(ws)  @param noise factor of the noise */
  async draw(numbers, noise) {
    for (const step of this.generator.steps) this[step.kind](step, numbers, noise);
    return this.image(this.generator.output, this.generator.resolution, 8).slice();
  }

  constant({ to, size, channels, numbers }) {
    this.image(to, size, channels).set(numbers);
  }

  convolve({ from, to, size, result, stride, factors, inputs, channels, parts }, numbers) {
    const row = (size + 2) * inputs;
    this.pad(this.image(from, size, inputs), size, inputs, factors === null ? null : numbers.subarray(factors));
    for (const part of parts) {
      const { weight, rows, columns } = part;
      const first = this.border + 4 * ((part.top + 1) * row + (part.left + 1) * inputs);
      const out = this.buffers[to] + 4 * (part.row * result + part.column) * channels;
      this.kernel(first, weight.address, out, rows, columns, inputs, channels, weight.kh, weight.kw,
        4 * row, 4 * stride * channels, 4 * stride * result * channels);
    }
  }

  /** Copy an image, times a factor for each channel, to where it has a border of zeros. */
  pad(image, size, channels, factors) {
    const row = size * channels, wide = row + 2 * channels, padded = this.view(this.border, (size + 2) * wide);
    padded.fill(0);
    for (let y = 0; y < size; y++) {
      const line = image.subarray(y * row, (y + 1) * row), at = (y + 1) * wide + channels;
      if (factors === null) padded.set(line, at);
      else for (let x = 0; x < row; x += channels) {
        for (let c = 0; c < channels; c++) padded[at + x + c] = line[x + c] * factors[c];
      }
    }
  }

  /** A filter along both axes; `before` zeros are in front of the image, and as many as needed behind it. */
  filter({ from, to, size, result, channels, taps, before }) {
    const source = this.image(from, size, channels), target = this.image(to, result, channels), { between } = this;
    const row = size * channels;
    between.fill(0, 0, result * row);
    for (let y = 0; y < result; y++) taps.forEach((tap, i) => {
      const line = (y + i - before) * row;
      if (line < 0 || line >= size * row) return;
      for (let k = 0, at = y * row; k < row; k++) between[at + k] += tap * source[line + k];
    });
    target.fill(0);
    for (let y = 0; y < result; y++) for (let x = 0; x < result; x++) taps.forEach((tap, i) => {
      const column = x + i - before;
      if (column < 0 || column >= size) return;
      const read = y * row + column * channels, write = (y * result + x) * channels;
      for (let c = 0; c < channels; c++) target[write + c] += tap * between[read + c];
    });
  }

  activate({ on, size, channels, bias, noise, factors, gain, slope }, numbers, factor) {
    const x = this.image(on, size, channels);
    for (let p = 0, at = 0; p < size * size; p++) {
      const add = noise === null ? 0 : noise.map[p] * factor;
      for (let c = 0; c < channels; c++, at++) {
        const scaled = factors === null ? x[at] : x[at] * numbers[factors + c];
        const value = noise === null ? scaled + bias[c] : scaled + add * noise.strength[c] + bias[c];
        x[at] = (value >= 0 ? value : slope * value) * gain;
      }
    }
  }

  normalize({ on, size, channels, scale, shift, epsilon }, numbers) {
    const x = this.image(on, size, channels), pixels = size * size;
    const mean = new Float64Array(channels), square = new Float64Array(channels);
    for (let at = 0; at < x.length; ) for (let c = 0; c < channels; c++) mean[c] += x[at++];
    for (let c = 0; c < channels; c++) mean[c] /= pixels;
    for (let at = 0; at < x.length; ) for (let c = 0; c < channels; c++) square[c] += (x[at++] - mean[c]) ** 2;
    const factor = square.map((sum, c) => numbers[scale + c] / Math.sqrt(sum / pixels + epsilon));
    for (let at = 0; at < x.length; ) {
      for (let c = 0; c < channels; c++, at++) x[at] = (x[at] - mean[c]) * factor[c] + numbers[shift + c];
    }
  }

  /** Twice the size: the nearest pixel, or (smooth) 3/4 of it and 1/4 of the next nearest along each axis. */
  enlarge({ from, to, size, channels, smooth }) {
    const source = this.image(from, size, channels), target = this.image(to, 2 * size, channels);
    const at = (y, x, c) => (y < 0 || x < 0 || y >= size || x >= size ? 0 : source[(y * size + x) * channels + c]);
    for (let y = 0, write = 0; y < 2 * size; y++) for (let x = 0; x < 2 * size; x++) {
      const i = y >> 1, j = x >> 1, up = y & 1 ? i + 1 : i - 1, side = x & 1 ? j + 1 : j - 1;
      for (let c = 0; c < channels; c++) {
        target[write++] = smooth
          ? 0.75 * (0.75 * at(i, j, c) + 0.25 * at(i, side, c)) + 0.25 * (0.75 * at(up, j, c) + 0.25 * at(up, side, c))
          : at(i, j, c);
      }
    }
  }

  blend({ on, other, size, channels, ownShare, otherShare }) {
    const x = this.image(on, size, channels), y = this.image(other, size, channels);
    for (let i = 0; i < x.length; i++) x[i] = x[i] * ownShare + y[i] * otherShare;
  }
}
