// The steps of a generator in WebGPU: a compute kernel for each kind of step, on images of four channels a vector.

const IMAGES = `
@group(0) @binding(0) var<storage, read_write> target_: array<vec4f>;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read> styles: array<vec4f>; // of all layers; the first number is the noise's factor
@group(0) @binding(4) var<uniform> p: Parameters;
`;

// Each thread computes four pixels of a row, four channels.
const CONVOLVE = `
struct Parameters {
  rows: u32, columns: u32, inputs: u32, channels: u32, // channels and inputs in vectors of four
  kh: u32, kw: u32, size: i32, factors: i32, // side of the source; first vector of the factors, or -1
  top: i32, left: i32, stride: u32, result: u32, // first pixel that is read; pixels a row of the target
  row: u32, column: u32, // first pixel that is written
}
${IMAGES}
fn pixel_at(y: i32, x: i32, c: u32) -> vec4f {
  if (x < 0 || x >= p.size) { return vec4f(); }
  let value = source[u32(y * p.size + x) * p.inputs + c];
  if (p.factors < 0) { return value; }
  return value * styles[u32(p.factors) + c];
}

@compute @workgroup_size(4, 4, 8) fn main(@builtin(global_invocation_id) id: vec3u) {
  let x = id.x * 4u;
  if (x >= p.columns || id.y >= p.rows || id.z >= p.channels) { return; }
  var sums = array<vec4f, 4>();
  for (var i = 0u; i < p.kh; i++) {
    let y = i32(id.y + i) + p.top;
    if (y < 0 || y >= p.size) { continue; }
    for (var j = 0u; j < p.kw; j++) {
      let column = i32(x + j) + p.left;
      for (var c = 0u; c < p.inputs; c++) {
        let tap = ((i * p.kw + j) * p.inputs + c) * 4u * p.channels + id.z;
        let w = mat4x4f(weight[tap], weight[tap + p.channels], weight[tap + 2u * p.channels], weight[tap + 3u * p.channels]);
        for (var k = 0; k < 4; k++) { sums[k] += w * pixel_at(y, column + k, c); }
      }
    }
  }
  for (var k = 0u; k < 4u; k++) {
    if (x + k >= p.columns) { return; }
    let pixel = (id.y * p.stride + p.row) * p.result + (x + k) * p.stride + p.column;
    target_[pixel * p.channels + id.z] = sums[k];
  }
}`;

const FILTER = `
struct Parameters { size: i32, result: u32, channels: u32, before: i32, taps: vec4f }
${IMAGES}
@compute @workgroup_size(8, 8, 4) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.result || id.y >= p.result || id.z >= p.channels) { return; }
  var sum = vec4f();
  for (var i = 0; i < 4; i++) {
    let y = i32(id.y) + i - p.before;
    if (y < 0 || y >= p.size) { continue; }
    for (var j = 0; j < 4; j++) {
      let x = i32(id.x) + j - p.before;
      if (x < 0 || x >= p.size) { continue; }
      sum += p.taps[i] * p.taps[j] * source[u32(y * p.size + x) * p.channels + id.z];
    }
  }
  target_[(id.y * p.result + id.x) * p.channels + id.z] = sum;
}`;

// The source is the noise map, four pixels a vector; the weight is the bias and the strengths.
const ACTIVATE = `
struct Parameters { pixels: u32, channels: u32, factors: i32, gain: f32, slope: f32 }
${IMAGES}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < p.pixels * p.channels; i += 64u * groups.x) {
    let pixel = i / p.channels;
    let c = i % p.channels;
    var x = target_[i];
    if (p.factors >= 0) { x *= styles[u32(p.factors) + c]; }
    x += source[pixel / 4u][pixel % 4u] * styles[0].x * weight[p.channels + c] + weight[c];
    target_[i] = select(x * p.slope, x, x >= vec4f()) * p.gain;
  }
}`;

// Each workgroup normalizes four channels.
const NORMALIZE = `
struct Parameters { pixels: u32, channels: u32, scale: u32, shift: u32, epsilon: f32 }
${IMAGES}
var<workgroup> sums: array<vec4f, 256>;

fn total(thread: u32, value: vec4f) -> vec4f {
  sums[thread] = value;
  workgroupBarrier();
  for (var reach = 128u; reach > 0u; reach >>= 1u) {
    if (thread < reach) { sums[thread] += sums[thread + reach]; }
    workgroupBarrier();
  }
  let sum = sums[0];
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let c = group.x;
  var sum = vec4f();
  for (var i = thread; i < p.pixels; i += 256u) { sum += target_[i * p.channels + c]; }
  let mean = total(thread, sum) / f32(p.pixels);
  var squares = vec4f();
  for (var i = thread; i < p.pixels; i += 256u) {
    let distance = target_[i * p.channels + c] - mean;
    squares += distance * distance;
  }
  let factor = styles[p.scale + c] / sqrt(total(thread, squares) / f32(p.pixels) + p.epsilon);
  for (var i = thread; i < p.pixels; i += 256u) {
    target_[i * p.channels + c] = (target_[i * p.channels + c] - mean) * factor + styles[p.shift + c];
  }
}`;

const ENLARGE = `
struct Parameters { size: i32, channels: u32, smooth_: u32 }
${IMAGES}
fn at(y: i32, x: i32, c: u32) -> vec4f {
  if (y < 0 || x < 0 || y >= p.size || x >= p.size) { return vec4f(); }
  return source[u32(y * p.size + x) * p.channels + c];
}

@compute @workgroup_size(8, 8, 2) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (i32(id.x) >= 2 * p.size || i32(id.y) >= 2 * p.size || id.z >= p.channels) { return; }
  let y = i32(id.y / 2u);
  let x = i32(id.x / 2u);
  var result = at(y, x, id.z);
  if (p.smooth_ == 1u) {
    let up = y + select(-1, 1, id.y % 2u == 1u);
    let side = x + select(-1, 1, id.x % 2u == 1u);
    result = 0.75 * (0.75 * result + 0.25 * at(y, side, id.z)) + 0.25 * (0.75 * at(up, x, id.z) + 0.25 * at(up, side, id.z));
  }
  target_[(id.y * u32(2 * p.size) + id.x) * p.channels + id.z] = result;
}`;

const BLEND = `
struct Parameters { count: u32, own_share: f32, other_share: f32 }
${IMAGES}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < p.count; i += 64u * groups.x) {
    target_[i] = target_[i] * p.own_share + source[i] * p.other_share;
  }
}`;

const KERNELS = { convolve: CONVOLVE, filter: FILTER, activate: ACTIVATE, normalize: NORMALIZE, enlarge: ENLARGE, blend: BLEND };
const STYLES_START = 8; // numbers of the styles buffer that come before the styles themselves
const MAX_GROUPS = 4096; // workgroups of kernels that go through an image in strides

function requestAdapter() {
  return navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
}

/** Whether there is a GPU, and not a program that computes in its place. */
export async function hasGpu() {
  const info = (await requestAdapter())?.info;
  return Boolean(info) && !info.isFallbackAdapter && info.architecture !== 'swiftshader';
}

export class GpuNetwork {
  /** @param generator a Generator  @returns the network, or null where the browser has no WebGPU for it */
  static async create(generator) {
    const adapter = await requestAdapter();
    if (!adapter) return null;
    const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
    const device = await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } });
    for (const kind of ['validation', 'out-of-memory']) device.pushErrorScope(kind);
    const network = new GpuNetwork(generator, device);
    await network.draw(new Float32Array(generator.numbers), 0);
    const errors = [await device.popErrorScope(), await device.popErrorScope()];
    return errors.some((error) => error !== null) ? null : network;
  }

  constructor(generator, device) {
    this.generator = generator;
    this.device = device;
    this.pipelines = {};
    this.layout = this.bindings();
    for (const [kind, code] of Object.entries(KERNELS)) this.pipelines[kind] = this.pipeline(code);
    const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
    const buffer = (bytes, usage) => device.createBuffer({ size: Math.max(bytes, 16), usage });
    this.images = {};
    for (const [name, floats] of Object.entries(generator.buffers)) {
      this.images[name] = buffer(4 * floats, STORAGE | COPY_SRC | COPY_DST);
    }
    this.styles = buffer(4 * (STYLES_START + generator.numbers), STORAGE | COPY_DST);
    this.nothing = buffer(16, STORAGE);
    this.bytes = 4 * generator.resolution ** 2 * 8;
    this.result = buffer(this.bytes, COPY_DST | MAP_READ);
    this.dispatches = [];
    this.last = Promise.resolve();
    for (const step of generator.steps) this[step.kind](step);
  }

  bindings() {
    const types = ['storage', 'read-only-storage', 'read-only-storage', 'read-only-storage', 'uniform'];
    const entries = types.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }));
    return this.device.createBindGroupLayout({ entries });
  }

  pipeline(code) {
    const layout = this.device.createPipelineLayout({ bindGroupLayouts: [this.layout] });
    const module = this.device.createShaderModule({ code });
    return this.device.createComputePipeline({ layout, compute: { module, entryPoint: 'main' } });
  }

  /** Numbers of a step, put on the device once. */
  put(numbers) {
    const size = Math.max(16, numbers.byteLength);
    const buffer = this.device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
    this.device.queue.writeBuffer(buffer, 0, numbers);
    return buffer;
  }

  /** Parameters in the order of the kernel's struct: whole numbers, and floats as {float}. */
  uniform(parameters) {
    const view = new DataView(new ArrayBuffer(64));
    parameters.forEach((value, i) => (typeof value === 'number' ? view.setInt32(4 * i, value, true)
      : view.setFloat32(4 * i, value.float, true)));
    const buffer = this.device.createBuffer({ size: 64, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    this.device.queue.writeBuffer(buffer, 0, view.buffer);
    return buffer;
  }

  add(kind, parameters, groups, { target, source = this.nothing, weight = this.nothing }) {
    const buffers = [target, source, weight, this.styles, this.uniform(parameters)];
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const bindings = this.device.createBindGroup({ layout: this.layout, entries });
    this.dispatches.push({ pipeline: this.pipelines[kind], bindings, groups });
  }

  constant({ to, numbers }) {
    const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = this.device.createBuffer({ size: numbers.byteLength, usage });
    this.device.queue.writeBuffer(buffer, 0, numbers);
    this.start = { from: buffer, to: this.images[to], bytes: numbers.byteLength };
  }

  convolve({ from, to, size, result, stride, factors, inputs, channels, parts }) {
    for (const { weight, rows, columns, top, left, row, column } of parts) {
      this.add('convolve',
        [rows, columns, inputs / 4, channels / 4, weight.kh, weight.kw, size, place(factors), top, left, stride, result, row, column],
        [Math.ceil(columns / 16), Math.ceil(rows / 4), Math.ceil(channels / 32)],
        { target: this.images[to], source: this.images[from], weight: this.put(weight.data) });
      weight.data = null; // it is on the device now
    }
  }

  filter({ from, to, size, result, channels, taps, before }) {
    const four = [...taps, 0].slice(0, 4).map((float) => ({ float }));
    this.add('filter', [size, result, channels / 4, before, ...four],
      [Math.ceil(result / 8), Math.ceil(result / 8), Math.ceil(channels / 16)],
      { target: this.images[to], source: this.images[from] });
  }

  activate({ on, size, channels, bias, noise, factors, gain, slope }) {
    const both = new Float32Array(2 * channels);
    both.set(bias);
    if (noise) both.set(noise.strength, channels);
    this.add('activate', [size * size, channels / 4, place(factors), { float: gain }, { float: slope }],
      [strides((size * size * channels) / 4)],
      { target: this.images[on], source: this.put(noise ? noise.map : new Float32Array(size * size)), weight: this.put(both) });
  }

  normalize({ on, size, channels, scale, shift, epsilon }) {
    this.add('normalize', [size * size, channels / 4, place(scale), place(shift), { float: epsilon }], [channels / 4],
      { target: this.images[on] });
  }

  enlarge({ from, to, size, channels, smooth }) {
    this.add('enlarge', [size, channels / 4, Number(smooth)], [Math.ceil(size / 4), Math.ceil(size / 4), Math.ceil(channels / 8)],
      { target: this.images[to], source: this.images[from] });
  }

  blend({ on, other, size, channels, ownShare, otherShare }) {
    const count = (size * size * channels) / 4;
    this.add('blend', [count, { float: ownShare }, { float: otherShare }], [strides(count)],
      { target: this.images[on], source: this.images[other] });
  }

  /** Draw an image, as WasmNetwork does; one after the other. */
  draw(numbers, noise) {
    this.last = this.last.then(() => this.run(numbers, noise));
    return this.last;
  }

  async run(numbers, noise) {
    const { device, start } = this, all = new Float32Array(STYLES_START + numbers.length);
    all[0] = noise;
    all.set(numbers, STYLES_START);
    device.queue.writeBuffer(this.styles, 0, all);
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(start.from, 0, start.to, 0, start.bytes);
    const pass = encoder.beginComputePass();
    for (const { pipeline, bindings, groups } of this.dispatches) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindings);
      pass.dispatchWorkgroups(...groups);
    }
    pass.end();
    encoder.copyBufferToBuffer(this.images[this.generator.output], 0, this.result, 0, this.bytes);
    device.queue.submit([encoder.finish()]);
    await this.result.mapAsync(GPUMapMode.READ);
    const image = new Float32Array(this.result.getMappedRange().slice(0));
    this.result.unmap();
    return image;
  }
}

/** Place of a style's numbers in the styles buffer, in vectors; -1 is none. */
function place(first) {
  return first === null ? -1 : (STYLES_START + first) / 4;
}

function strides(vectors) {
  return Math.min(Math.ceil(vectors / 64), MAX_GROUPS);
}
