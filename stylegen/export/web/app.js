// The page: its controls, and the loop that draws what they say. The newest state is drawn, none in between waits.

import { Generator } from './generator.js';
import { GpuNetwork, hasGpu } from './gpu.js';
import { START, Studio, parseState } from './studio.js';
import { encodeVideo } from './video.js';
import { WasmNetwork } from './wasm.js';

const RATE = 30; // frames a second of videos
const WALL = 16; // images at once
const MUCH = 3e8; // multiplications of an image from which WebGPU is tried: WebAssembly takes some 20 ms for so many
const FAST = 100; // ms of an image in WebGPU that need no comparison with WebAssembly
const MAX_UNDO = 50;

const $ = (id) => document.getElementById(id);
const say = (text) => { $('status').textContent = text; };
const fromBase64 = (text) => (
  Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));

class Page {
  constructor(about, weights, kernel) {
    this.about = about;
    this.kernel = kernel;
    this.weights = weights;
    this.networks = {};
    this.undo = [];
    this.keyframes = [];
    this.chosen = new Set(); // layers to mix
    this.firstSeed = 0;
    this.playing = null;
    this.still = matchMedia('(prefers-reduced-motion: reduce)');
  }

  async start() {
    const network = await this.engine('wasm');
    const { generator } = network;
    this.studio = new Studio(generator, network, this.about.sliders);
    this.state = parseState(location.hash.slice(1), generator, this.about.sliders) ?? { ...structuredClone(START), psi: this.about.psi };
    $('about').textContent = this.about.summary;
    if (generator.resolution > 128) $('view').dataset.large = '';
    this.build(generator);
    this.listen();
    document.querySelector('main').hidden = false;
    say('Drawing …');
    await breath();
    await this.chooseEngine();
    await this.refresh();
    await this.drawWall();
    document.documentElement.dataset.ready = 'true'; // for tests
  }

  // Which arithmetic.

  async engine(kind) {
    if (!(kind in this.networks)) {
      const generator = new Generator(this.weights);
      this.networks[kind] = kind === 'gpu' ? await GpuNetwork.create(generator) : await WasmNetwork.create(generator, this.kernel);
    }
    return this.networks[kind];
  }

  /** Offer WebGPU where there is one, and take it where there is much to compute and it is not slower. */
  async chooseEngine() {
    if (!navigator.gpu) return;
    $('engine').append(new Option('WebGPU', 'gpu'));
    if (this.studio.generator.work < MUCH || !(await hasGpu()) || !(await this.useEngine('gpu'))) return;
    const time = await this.time();
    if (time < FAST) return;
    await this.useEngine('wasm');
    if ((await this.time()) > time) await this.useEngine('gpu');
  }

  /** Milliseconds of an image, the best of three: the first one may wait for something else. */
  async time() {
    const times = [];
    while (times.length < 3 && Math.min(...times) > FAST / 10) {
      const before = performance.now();
      await this.studio.show(this.state);
      times.push(performance.now() - before);
      await breath();
    }
    return Math.min(...times);
  }

  /** Compute by this from now on; whether that is possible is returned. */
  async useEngine(kind) {
    const network = await this.engine(kind).catch(() => null);
    if (network) this.studio.network = network;
    else {
      $('engine').querySelector('[value=gpu]').disabled = true;
      say('This browser has no WebGPU for this generator; WebAssembly goes on.');
    }
    $('engine').value = this.studio.network instanceof GpuNetwork ? 'gpu' : 'wasm';
    return network !== null;
  }

  // Drawing.

  /** Draw the newest state; calls while one is drawn come together. */
  refresh() {
    this.wanted = true;
    $('view').ariaBusy = 'true';
    this.drawing ??= this.drawAll().finally(() => {
      this.drawing = null;
      $('view').ariaBusy = 'false';
    });
    return this.drawing;
  }

  async drawAll() {
    while (this.wanted) {
      await breath(); // for input that waits: it may change what is to be drawn
      this.wanted = false;
      const before = performance.now();
      try {
        this.paint($('view'), await this.studio.show(this.state));
        say(`${(performance.now() - before).toFixed(1)} ms`);
      } catch (error) { // a GPU can be lost at any time
        if ($('engine').value === 'wasm') throw error;
        await this.useEngine('wasm');
        this.wanted = true;
      }
    }
  }

  paint(canvas, image) {
    if (canvas.width !== image.width) [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext('2d', { willReadFrequently: true }).putImageData(image, 0, 0);
  }

  async drawWall() {
    const state = { ...structuredClone(START), label: this.state.label, psi: this.state.psi }, turn = (this.wallTurn = {});
    for (const [i, button] of [...$('wall').children].entries()) {
      const seed = this.firstSeed + i;
      button.dataset.seed = seed;
      button.setAttribute('aria-label', `Seed ${seed}`);
      const image = await this.studio.show({ ...state, seed });
      if (this.wallTurn !== turn) return; // another wall was asked for
      this.paint(button.firstChild, image);
      await breath(); // controls come first
    }
    this.show();
  }

  // The state.

  /** Change the state; a step that can be undone unless it goes on with the last one. */
  change(changes, kind = null) {
    if (kind === null || kind !== this.lastKind) this.undo.push(structuredClone(this.state));
    if (this.undo.length > MAX_UNDO) this.undo.shift();
    this.lastKind = kind;
    this.set({ ...this.state, ...changes });
  }

  set(state) {
    this.stop();
    this.state = state;
    this.show();
    try {
      history.replaceState(null, '', `#${encodeURIComponent(JSON.stringify(state))}`);
    } catch { /* more often than the browser allows: the address is behind until the next change */ }
    return this.refresh();
  }

  /** Bring all controls in line with the state. */
  show() {
    const { state } = this, { layers } = this.studio.generator;
    for (const [id, value] of Object.entries({ seed: state.seed, label: state.label, psi: state.psi, noise: state.noise })) {
      $(id).value = value;
    }
    $('cutoff').value = state.cutoff ?? layers;
    for (const id of ['psi', 'noise']) reading($(id), Number($(id).value).toFixed(2));
    reading($('cutoff'), state.cutoff === null ? 'all' : String(state.cutoff));
    reading($('seconds'), Number($('seconds').value).toFixed(1));
    for (const [i, input] of [...$('directions').querySelectorAll('input')].entries()) {
      input.value = state.moves[i] ?? 0;
      reading(input, Number(input.value).toFixed(1));
    }
    for (const button of $('wall').children) button.setAttribute('aria-pressed', Number(button.dataset.seed) === state.seed);
    for (const [layer, button] of [...$('layers').children].entries()) {
      const seed = state.mix[layer];
      button.setAttribute('aria-pressed', this.chosen.has(layer));
      button.toggleAttribute('data-mixed', seed !== undefined);
      button.setAttribute('aria-label', `Layer ${layer}${seed === undefined ? '' : `, from seed ${seed}`}`);
    }
    $('mix').disabled = this.chosen.size === 0;
    $('unmix').disabled = Object.keys(state.mix).length === 0;
    $('back').disabled = this.undo.length === 0;
    $('play').disabled = $('record').disabled = this.keyframes.length < 2;
    $('clear').disabled = this.keyframes.length === 0;
    $('view').setAttribute('aria-label', `Generated image of seed ${state.seed}`);
  }

  // Building and listening.

  build(generator) {
    for (let i = 0; i < WALL; i++) $('wall').append(thumbnail());
    for (let layer = 0; layer < generator.layers; layer++) {
      const button = Object.assign(document.createElement('button'), { type: 'button', textContent: layer });
      $('layers').append(button);
    }
    $('cutoff').max = generator.layers;
    $('label').max = generator.classes - 1;
    $('class-row').hidden = generator.classes === 0;
    $('noise-row').hidden = !generator.settings.use_noise;
    $('directions-part').hidden = this.about.sliders.length === 0;
    for (const [i, { name }] of this.about.sliders.entries()) $('directions').append(directionSlider(i, name));
  }

  listen() {
    const whole = (input) => Math.min(Number(input.max), Math.max(0, Math.floor(Number(input.value) || 0)));
    const seedStep = (step) => this.change({ seed: Math.min(2 ** 32 - 1, Math.max(0, this.state.seed + step)) }, 'seed');
    const on = (id, event, action) => $(id).addEventListener(event, action);
    on('view', 'keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10 }[event.key];
      if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      seedStep(step);
    });
    on('seed', 'input', (event) => { if (event.target.value !== '') this.change({ seed: whole(event.target) }, 'seed'); });
    on('label', 'change', async (event) => { await this.change({ label: whole(event.target) }); await this.drawWall(); });
    on('psi', 'input', (event) => this.change({ psi: Number(event.target.value) }, 'psi'));
    on('psi', 'change', () => this.drawWall());
    on('noise', 'input', (event) => this.change({ noise: Number(event.target.value) }, 'noise'));
    on('cutoff', 'input', (event) => {
      const layers = Number(event.target.value);
      this.change({ cutoff: layers === this.studio.generator.layers ? null : layers }, 'cutoff');
    });
    on('engine', 'change', async (event) => { if (await this.useEngine(event.target.value)) await this.refresh(); });
    on('wall', 'click', (event) => {
      const button = event.target.closest('button');
      if (button) this.change({ seed: Number(button.dataset.seed) });
    });
    const wallTo = (seed) => { this.firstSeed = Math.min(2 ** 32 - WALL, Math.max(0, seed)); return this.drawWall(); };
    on('more', 'click', () => wallTo(this.firstSeed + WALL));
    on('fewer', 'click', () => wallTo(this.firstSeed - WALL));
    on('anywhere', 'click', () => wallTo(Math.floor(Math.random() * 1e6)));
    on('layers', 'click', (event) => {
      const layer = [...$('layers').children].indexOf(event.target.closest('button'));
      if (layer < 0) return;
      if (!this.chosen.delete(layer)) this.chosen.add(layer);
      this.show();
    });
    on('mix', 'click', () => {
      const seed = whole($('mix-seed'));
      this.change({ mix: { ...this.state.mix, ...Object.fromEntries([...this.chosen].map((layer) => [layer, seed])) } });
    });
    on('unmix', 'click', () => this.change({ mix: {} }));
    on('directions', 'input', (event) => {
      const number = event.target.dataset.number;
      this.change({ moves: { ...this.state.moves, [number]: Number(event.target.value) } }, `direction ${number}`);
    });
    on('zero', 'click', () => this.change({ moves: {} }));
    on('back', 'click', () => { this.lastKind = null; this.set(this.undo.pop()); });
    on('reset', 'click', () => this.change({ ...structuredClone(START), psi: this.about.psi }));
    on('save', 'click', () => $('view').toBlob((blob) => save(blob, `seed${String(this.state.seed).padStart(4, '0')}.png`)));
    on('keyframe', 'click', () => this.addKeyframe());
    on('keyframes', 'click', (event) => {
      const place = [...$('keyframes').children].indexOf(event.target.closest('button'));
      if (place >= 0) this.change(structuredClone(this.keyframes[place]));
    });
    on('clear', 'click', () => { this.stop(); this.keyframes = []; $('keyframes').replaceChildren(); this.show(); });
    on('seconds', 'input', () => this.show());
    on('play', 'click', () => (this.playing ? this.stop() : this.play()));
    on('record', 'click', () => this.record());
    addEventListener('hashchange', () => {
      const state = parseState(location.hash.slice(1), this.studio.generator, this.about.sliders);
      if (state) this.set(state);
    });
  }

  // Walks.

  addKeyframe() {
    const button = thumbnail(), number = this.keyframes.push(structuredClone(this.state));
    button.setAttribute('aria-label', `Image ${number} of the walk`);
    const canvas = Object.assign(button.firstChild, { width: $('view').width, height: $('view').height });
    canvas.getContext('2d').drawImage($('view'), 0, 0);
    $('keyframes').append(button);
    this.show();
  }

  /** Frames of the whole walk, and the image of each. */
  walk() {
    const loop = $('loop').checked, keyframes = structuredClone(this.keyframes);
    const steps = Math.round(Number($('seconds').value) * RATE), parts = loop ? keyframes.length : keyframes.length - 1;
    const at = (i) => {
      const { ws, noise } = this.studio.between(keyframes, loop, i / (steps * parts));
      return this.studio.draw(ws, noise);
    };
    return { count: steps * parts + (loop ? 0 : 1), steps, loop, at };
  }

  /** Show the walk; where the system asks for less motion, its images alone, one a second. */
  play() {
    const { count, steps, loop, at } = this.walk(), turn = (this.playing = {}), begin = performance.now();
    $('play').setAttribute('aria-pressed', 'true');
    $('play').textContent = 'Stop';
    const next = async () => {
      if (this.playing !== turn) return;
      const seconds = (performance.now() - begin) / 1000;
      const frame = this.still.matches ? Math.floor(seconds) * steps : Math.floor(seconds * RATE);
      if (!loop && frame >= count) return void this.stop();
      const image = await at(frame % count);
      if (this.playing !== turn) return;
      this.paint($('view'), image);
      if (this.still.matches) setTimeout(next, 250);
      else requestAnimationFrame(next);
    };
    next();
  }

  stop() {
    if (!this.playing) return;
    this.playing = null;
    $('play').setAttribute('aria-pressed', 'false');
    $('play').textContent = 'Play';
    this.refresh();
  }

  async record() {
    this.stop();
    const { count, at } = this.walk(), progress = $('progress');
    Object.assign(progress, { hidden: false, max: count, value: 0 });
    $('record').disabled = true;
    try {
      const video = await encodeVideo(count, RATE, this.studio.generator.resolution, at, (i) => { progress.value = i + 1; });
      if (video) save(video, 'walk.webm');
      say(video ? `Video of ${count} frames saved.` : 'This browser has no video encoder.');
    } catch (error) {
      say(`The video could not be encoded: ${error.message}`);
    }
    progress.hidden = true;
    this.show();
  }
}

/** Let the browser do what waits, such as input and painting. */
function breath() {
  return new Promise((resolve) => setTimeout(resolve));
}

/** Write a value beside its control, and for screen readers into it. */
function reading(input, text) {
  input.parentElement.querySelector('span').textContent = text;
  input.setAttribute('aria-valuetext', text);
}

function thumbnail() {
  const button = Object.assign(document.createElement('button'), { type: 'button' });
  button.append(document.createElement('canvas'));
  return button;
}

function directionSlider(number, name) {
  const row = Object.assign(document.createElement('div'), { className: 'slider' });
  const label = Object.assign(document.createElement('label'), { htmlFor: `direction-${number}`, textContent: name });
  const input = Object.assign(document.createElement('input'), { id: label.htmlFor, type: 'range', min: -3, max: 3, step: 0.1 });
  input.dataset.number = number;
  row.append(label, input, document.createElement('span'));
  return row;
}

function save(blob, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const page = new Page(JSON.parse($('about-data').textContent), fromBase64(globalThis.WEIGHTS ?? $('weights').textContent), fromBase64($('kernel').textContent));
page.start().catch((error) => {
  say(`This browser cannot draw the images: ${error.message}`);
  throw error;
});
