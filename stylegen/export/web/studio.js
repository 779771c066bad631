// From what the page is set to, to an image: seeds, truncation, mixing, directions, walks.

import { latent } from './random.js';

const MAX_STYLES = 512; // that are kept, by seed and class

/** What an image depends on, and nothing else. */
export const START = {
  seed: 0, // whole number from 0 to 2^32 - 1
  label: 0, // class
  psi: 0.7, // truncation; 1 is none
  cutoff: null, // layers that are truncated, from the coarsest; null is all
  noise: 1, // factor of the constant noise
  mix: {}, // seeds of single layers
  moves: {}, // strengths of directions by their number, in standard deviations
};

export class Studio {
  constructor(generator, network, sliders) {
    this.generator = generator;
    this.network = network;
    this.sliders = sliders; // {name, layers, vector} each
    this.known = new Map();
  }

  /** The w of a seed, before truncation. */
  style(seed, label) {
    const key = `${seed} ${label}`;
    if (!this.known.has(key)) {
      if (this.known.size >= MAX_STYLES) this.known.delete(this.known.keys().next().value);
      this.known.set(key, this.generator.mapping(latent(seed, this.generator.zSize), label));
    }
    return this.known.get(key);
  }

  /** The w of every layer. */
  styles({ seed, label, psi, cutoff, mix, moves }) {
    const { layers, mean } = this.generator;
    return Array.from({ length: layers }, (_, layer) => {
      const w = this.style(mix[layer] ?? seed, label);
      const truncated = layer < (cutoff ?? layers) ? w.map((v, i) => mean[i] * (1 - psi) + v * psi) : w.slice();
      this.sliders.forEach((slider, number) => {
        const strength = moves[number] ?? 0;
        if (strength && slider.layers.includes(layer)) slider.vector.forEach((v, i) => (truncated[i] += strength * v));
      });
      return truncated;
    });
  }

  /** The image of styles, as ImageData. */
  async draw(ws, noise) {
    const { generator, network } = this;
    return picture(await network.draw(generator.styleNumbers(ws), noise), generator.resolution, generator.channels);
  }

  /** The image of a state. */
  async show(state) {
    return this.draw(this.styles(state), state.noise);
  }

  /** The styles between two states' at a place from 0 to 1 in a walk, which goes straight from each to the next. */
  between(keyframes, loop, t) {
    const parts = loop ? keyframes.length : keyframes.length - 1, place = Math.min(t, 1) * parts;
    const first = Math.min(Math.floor(place), parts - 1), share = place - first;
    const [a, b] = [keyframes[first], keyframes[(first + 1) % keyframes.length]].map((state) => this.styles(state));
    const noise = keyframes[0].noise; // noise that changes would flicker
    return { noise, ws: a.map((w, layer) => w.map((v, i) => v * (1 - share) + b[layer][i] * share)) };
  }
}

/** Numbers around [-1, 1], eight a pixel, as a picture: grey, grey and alpha, RGB, or RGBA. */
function picture(image, size, channels) {
  const pixels = new Uint8ClampedArray(4 * size * size).fill(255), color = channels > 2;
  for (let p = 0; p < size * size; p++) {
    // Truncated as stylegen does it; the array itself would round.
    const level = (c) => Math.trunc(Math.min(255, Math.max(0, image[8 * p + c] * 127.5 + 128)));
    for (let c = 0; c < 3; c++) pixels[4 * p + c] = level(color ? c : 0);
    if (channels % 2 === 0) pixels[4 * p + 3] = level(channels - 1);
  }
  return new ImageData(pixels, size, size);
}

/** A state from text of the address, or null where it is none. */
export function parseState(text, generator, sliders) {
  let given;
  try {
    given = JSON.parse(decodeURIComponent(text));
  } catch {
    return null;
  }
  if (typeof given !== 'object' || given === null) return null;
  const within = (value, low, high, whole) => (
    typeof value === 'number' && value >= low && value <= high && (!whole || Number.isInteger(value)));
  const some = (tree, count, low, high, whole) => Object.fromEntries(Object.entries(tree ?? {}).filter(([key, value]) => (
    within(Number(key), 0, count - 1, true) && within(value, low, high, whole))));
  const state = structuredClone(START);
  if (within(given.seed, 0, 2 ** 32 - 1, true)) state.seed = given.seed;
  if (within(given.label, 0, generator.classes - 1, true)) state.label = given.label;
  if (within(given.psi, -1, 1.5, false)) state.psi = given.psi;
  if (within(given.cutoff, 0, generator.layers, true)) state.cutoff = given.cutoff;
  if (within(given.noise, 0, 3, false)) state.noise = given.noise;
  state.mix = some(given.mix, generator.layers, 0, 2 ** 32 - 1, true);
  state.moves = some(given.moves, sliders.length, -5, 5, false);
  return state;
}
