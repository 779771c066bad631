// What a generator computes, without saying where: the mapping network, the style of each layer, and the list of steps
// that wasm.js and gpu.js carry out. Images are [rows, columns, channels]; channels are padded with zeros to a multiple
// of eight. Equations and names are those of stylegen/networks.

import { readSafetensors } from './safetensors.js';

const SLOPE = 0.2, EPSILON = 1e-8, ROOT2 = Math.SQRT2;

/** Channels as the steps have them. */
const padded = (channels) => (channels + 7) & ~7;

export class Generator {
  /** @param bytes a file that stylegen.runs.load.save_generator wrote, as Uint8Array */
  constructor(bytes) {
    const { tensors, metadata } = readSafetensors(bytes);
    const config = JSON.parse(metadata.config), stage = JSON.parse(metadata.stage);
    this.settings = config.generator;
    this.tensors = tensors;
    this.resolution = stage.resolution;
    this.alpha = stage.alpha;
    this.channels = config.image_channels;
    this.classes = config.num_classes;
    this.zSize = this.settings.z_dim;
    this.wSize = this.settings.w_dim;
    this.layers = 2 * Math.log2(this.resolution) - 2;
    this.mean = tensors.w_avg.data;
    this.styles = []; // functions of (styles, numbers) that fill in a part of the numbers
    this.numbers = 0; // of all styles together
    this.steps = [];
    this.buffers = {}; // floats by name
    this.demodulates = this.settings.block === 'demod';
    if (this.demodulates) this.addStyleGAN2();
    else this.addStyleGAN();
    this.mappingLayers = this.readMapping();
    const parts = this.steps.flatMap((step) => step.parts ?? []);
    // Multiplications of an image's convolutions, which take most of the time where it is long.
    this.work = parts.reduce((sum, { weight, rows, columns }) => sum + rows * columns * weight.data.length, 0);
  }

  weight(name) {
    return this.tensors[`params.${name}`];
  }

  // The mapping network.

  readMapping() {
    const { mapping_layers: count, mapping_lr_multiplier: rate } = this.settings;
    const gain = this.demodulates ? 1 : ROOT2;
    return Array.from({ length: count }, (_, i) => {
      const { shape: [inputs, outputs], data } = this.weight(`mapping.dense.dense${i}.weight`);
      const scale = (gain / Math.sqrt(inputs)) * rate;
      const bias = this.weight(`mapping.dense.dense${i}.bias`).data.map((x) => x * rate);
      return { inputs, outputs, bias, weight: data.map((x) => x * scale) };
    });
  }

  /** The style w of a latent and of a class, which is null where there are none. */
  mapping(z, label) {
    const norm = this.settings.normalize_z ? normalized : (x) => x;
    const parts = [Float32Array.from(z)];
    if (this.classes) parts.push(this.embedding(label));
    let x = this.demodulates ? joined(parts.map(norm)) : norm(joined(parts));
    const gain = this.demodulates ? ROOT2 : 1;
    for (const { inputs, outputs, bias, weight } of this.mappingLayers) {
      x = affine(x, weight, bias, inputs, outputs).map((y) => (y >= 0 ? y : SLOPE * y) * gain);
    }
    return x;
  }

  embedding(label) {
    const { shape: [classes, size], data } = this.weight('mapping.label_embedding.weight');
    const row = data.slice(label * size, (label + 1) * size);
    if (!this.demodulates) return row; // its gain is sqrt(classes), which the equalized learning rate divides by
    const { data: bias } = this.weight('mapping.label_embedding.bias');
    return row.map((x, i) => x / Math.sqrt(classes) + bias[i]);
  }

  // The steps.

  /** A new place for a style's numbers, as its first index. */
  place(channels) {
    const first = this.numbers;
    this.numbers += padded(channels);
    return first;
  }

  /** The numbers of all layers for styles, an array of one w for each layer. */
  styleNumbers(ws) {
    const numbers = new Float32Array(this.numbers);
    for (const style of this.styles) style(ws, numbers);
    return numbers;
  }

  /** The affine of a layer's w; `use(y, numbers)` puts its results where they belong. */
  addAffine(name, layer, use) {
    const { shape: [inputs, outputs], data } = this.weight(`${name}.weight`);
    const scale = 1 / Math.sqrt(inputs), weight = data.map((x) => x * scale), { data: bias } = this.weight(`${name}.bias`);
    this.styles.push((ws, numbers) => use(affine(ws[layer], weight, bias, inputs, outputs), numbers));
  }

  addStep(step) {
    this.steps.push(step);
    const { to, on, result, size, channels } = step;
    const side = result ?? size;
    this.buffers[to ?? on] = Math.max(this.buffers[to ?? on] ?? 0, side * side * channels);
  }

  resolutions() {
    return Array.from({ length: Math.log2(this.resolution) - 1 }, (_, i) => 4 << i);
  }

  addConstant(to, { shape, data }) {
    const channels = padded(shape[3]);
    const numbers = new Float32Array(16 * channels);
    for (let i = 0; i < 16; i++) numbers.set(data.subarray(i * shape[3], (i + 1) * shape[3]), i * channels);
    this.addStep({ kind: 'constant', to, size: 4, channels, numbers });
  }

  /** A convolution with parts that may each fill some places of the result, `stride` apart. */
  addConvolution(from, to, size, result, parts, { stride = 1, factors = null } = {}) {
    const { inputs, channels } = parts[0].weight;
    this.addStep({ kind: 'convolve', from, to, size, result, stride, factors, inputs, channels, parts });
  }

  addSameConvolution(from, to, size, weight, factors = null) {
    const around = -(weight.kh >> 1);
    const part = { weight, rows: size, columns: size, top: around, left: around, row: 0, column: 0 };
    this.addConvolution(from, to, size, size, [part], { factors });
  }

  addActivation(on, size, channels, { bias, noise = null, factors = null, gain = 1, slope = SLOPE }) {
    this.addStep({ kind: 'activate', on, size, channels, bias: widened(bias, channels), noise, factors, gain, slope });
  }

  /** The noise of a layer, whose strength is one number or one for each channel. */
  noise(name, channels) {
    if (!this.settings.use_noise) return null;
    const { data } = this.weight(`${name}.noise.noise_strength`);
    const strength = data.length === 1 ? new Float32Array(channels).fill(data[0]) : widened(data, channels);
    return { strength, map: this.tensors[`noise_const.${name}.noise.noise_const`].data };
  }

  addStyleGAN() {
    const fading = this.alpha < 1 && this.resolution > 4;
    let [x, y] = ['a', 'b'];
    for (const r of this.resolutions()) {
      const block = `synthesis.blocks.b${r}`, layer = 2 * Math.log2(r) - 4;
      if (r === 4) this.addConstant(x, this.weight(`${block}.const`));
      else {
        const parts = phases(this.weight(`${block}.conv0.weight`), r / 2), { channels } = parts[0].weight;
        this.addConvolution(x, y, r / 2, r, parts, { stride: 2 });
        this.addStep({ kind: 'filter', from: y, to: x, size: r, result: r, channels, taps: [0.25, 0.5, 0.25], before: 1 });
      }
      this.addStyledActivation(`${block}.act0`, x, r, layer);
      this.addSameConvolution(x, y, r, kernel(this.weight(`${block}.conv1.weight`), ROOT2));
      this.addStyledActivation(`${block}.act1`, y, r, layer + 1);
      if (fading && 2 * r === this.resolution) {
        this.addImage(block, y, 'small', r);
        this.addStep({ kind: 'enlarge', from: 'small', to: 'old', size: r, result: 2 * r, channels: 8, smooth: false });
      }
      if (r === this.resolution) this.addImage(block, y, 'image', r);
      [x, y] = [y, x];
    }
    if (fading) this.addBlend('image', 'old', this.resolution, this.alpha, 1 - this.alpha);
    this.output = 'image';
  }

  addStyledActivation(name, on, size, layer) {
    const { data: bias } = this.weight(`${name}.bias`), count = bias.length, channels = padded(count);
    const scale = this.place(count), shift = this.place(count);
    this.addAffine(`${name}.adain.affine`, layer, (y, numbers) => {
      for (let i = 0; i < count; i++) numbers[scale + i] = y[i] + 1;
      numbers.set(y.subarray(count), shift);
    });
    this.addActivation(on, size, channels, { bias, noise: this.noise(name, channels) });
    this.addStep({ kind: 'normalize', on, size, channels, scale, shift, epsilon: EPSILON });
  }

  /** ToRGB of a block, with the factors of its style where it has one. */
  addImage(block, from, to, size, factors = null) {
    this.addSameConvolution(from, to, size, kernel(this.weight(`${block}.torgb.weight`), 1), factors);
    this.addActivation(to, size, 8, { bias: this.weight(`${block}.torgb.bias`).data, slope: 1 });
  }

  addBlend(on, other, size, ownShare, otherShare) {
    this.addStep({ kind: 'blend', on, other, size, channels: 8, ownShare, otherShare });
  }

  addStyleGAN2() {
    let [x, y] = ['a', 'b'], [image, spare] = ['image', 'other'];
    for (const r of this.resolutions()) {
      const block = `synthesis.blocks.b${r}`, layer = 2 * Math.log2(r) - 4;
      if (r === 4) this.addConstant(x, this.weight(`${block}.const`));
      else {
        const parts = spread(this.weight(`${block}.conv0.weight`), r / 2), { channels } = parts[0].weight;
        const style = this.addModulation(`${block}.conv0`, layer - 1, true);
        this.addConvolution(x, y, r / 2, r + 1, parts, { stride: 2, factors: style.before });
        const taps = [0.25, 0.75, 0.75, 0.25]; // of gain 2, for the zeros between the pixels
        this.addStep({ kind: 'filter', from: y, to: x, size: r + 1, result: r, channels, taps, before: 1 });
        this.addNoisyActivation(`${block}.act0`, x, r, style.after);
      }
      const style = this.addModulation(`${block}.conv1`, layer, true);
      this.addSameConvolution(x, y, r, kernel(this.weight(`${block}.conv1.weight`), 1), style.before);
      this.addNoisyActivation(`${block}.act1`, y, r, style.after);
      const { before } = this.addModulation(`${block}.torgb`, layer + 1, false);
      if (r === 4) this.addImage(block, y, image, r, before);
      else {
        this.addStep({ kind: 'enlarge', from: image, to: spare, size: r / 2, result: r, channels: 8, smooth: true });
        this.addImage(block, y, 'new', r, before);
        // These generators do not grow; one that was made in a fade all the same has its last image by its weight.
        this.addBlend(spare, 'new', r, 1, r === this.resolution ? this.alpha : 1);
        [image, spare] = [spare, image];
      }
      [x, y] = [y, x];
    }
    this.output = image;
  }

  /** The factors of a modulated convolution: on its input, and on its output if it demodulates (StyleGAN2, Eq. 1, 3). */
  addModulation(name, layer, demodulates) {
    const { shape: [kh, kw, inputs, outputs], data } = this.weight(`${name}.weight`);
    const before = this.place(inputs);
    this.addAffine(`${name}.affine`, layer, (y, numbers) => numbers.set(y.map((x) => x + 1), before));
    if (!demodulates) return { before };
    const after = this.place(outputs), scale = 1 / (kh * kw * inputs), squares = new Float32Array(inputs * outputs);
    data.forEach((x, i) => (squares[i % squares.length] += x * x * scale));
    this.styles.push((ws, numbers) => {
      const powers = numbers.slice(before, before + inputs).map((x) => x * x);
      const sums = affine(powers, squares, new Float32Array(outputs).fill(EPSILON), inputs, outputs);
      numbers.set(sums.map((x) => 1 / Math.sqrt(x)), after);
    });
    return { before, after };
  }

  addNoisyActivation(name, on, size, factors) {
    const { data: bias } = this.weight(`${name}.bias`), channels = padded(bias.length);
    this.addActivation(on, size, channels, { bias, noise: this.noise(name, channels), factors, gain: ROOT2 });
  }
}

// Vectors.

function joined(parts) {
  const result = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  parts.reduce((at, part) => (result.set(part, at), at + part.length), 0);
  return result;
}

/** A vector of mean square 1 (progressive growing, Sec. 4.2). */
function normalized(x) {
  const square = x.reduce((sum, v) => sum + v * v, 0) / x.length, scale = 1 / Math.sqrt(square + EPSILON);
  return x.map((v) => v * scale);
}

/** bias + x times weight [inputs, outputs]. */
function affine(x, weight, bias, inputs, outputs) {
  const y = Float32Array.from(bias);
  for (let i = 0, at = 0; i < inputs; i++) {
    const v = x[i];
    for (let j = 0; j < outputs; j++) y[j] += v * weight[at++];
  }
  return y;
}

function widened(values, channels) {
  const result = new Float32Array(channels);
  result.set(values);
  return result;
}

// Kernels. A kernel is {kh, kw, inputs, channels, data}, its channels padded.

/** A weight [kh, kw, inputs, outputs] with the scale of the equalized learning rate. */
function kernel({ shape: [kh, kw, ci, co], data }, gain) {
  const inputs = padded(ci), channels = padded(co), scale = gain / Math.sqrt(kh * kw * ci);
  const result = new Float32Array(kh * kw * inputs * channels);
  for (let t = 0, at = 0; t < kh * kw; t++) {
    for (let i = 0; i < ci; i++) {
      for (let j = 0; j < co; j++) result[(t * inputs + i) * channels + j] = data[at++] * scale;
    }
  }
  return { kh, kw, inputs, channels, data: result };
}

/** The kernel whose tap (i, j) is the sum of the taps in rows[i] and columns[j] of another one. */
function summed({ kw, inputs, channels, data }, rows, columns) {
  const size = inputs * channels, result = new Float32Array(rows.length * columns.length * size);
  rows.forEach((us, i) => columns.forEach((vs, j) => {
    const sum = result.subarray((i * columns.length + j) * size, (i * columns.length + j + 1) * size);
    for (const u of us) for (const v of vs) {
      const tap = data.subarray((u * kw + v) * size, (u * kw + v + 1) * size);
      for (let k = 0; k < size; k++) sum[k] += tap[k];
    }
  }));
  return { kh: rows.length, kw: columns.length, inputs, channels, data: result };
}

/** ops.upsample_conv: four 2x2 convolutions of the small image, one for each place in a 2x2 square. */
function phases(weight, size) {
  const whole = kernel(weight, ROOT2), taps = [[[0], [1, 2]], [[0, 1], [2]]];
  return [0, 1].flatMap((row) => [0, 1].map((column) => (
    { weight: summed(whole, taps[row], taps[column]), rows: size, columns: size, top: row - 1, left: column - 1, row, column }
  )));
}

/** fir.upsample_conv before its filter: a 3x3 convolution of an image with zeros between its pixels. */
function spread(weight, size) {
  const whole = kernel(weight, 1), taps = [[[0], [2]], [[1]]];
  return [0, 1].flatMap((row) => [0, 1].map((column) => (
    { weight: summed(whole, taps[row], taps[column]), rows: size + 1 - row, columns: size + 1 - column,
      top: row - 1, left: column - 1, row, column }
  )));
}
