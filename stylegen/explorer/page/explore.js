// Explore: a wall of seeds, one large image, and all that changes it.
import { choice, download, element, group, row, slider } from './dom.js';
import { described, key, valueOf } from './model.js';
import { paintReply } from './pixels.js';

const WALL = 16;
const CHILDREN = 8;
const KEPT = 24; // images in the history
const MAX_SEED = 2 ** 32 - 1;

export function exploreTab(app, panel) {
  const { model, transport, about } = app;
  const layers = new Set(); // chosen, to mix into
  let firstSeed = 0;
  let dragged = null; // the state of a thumbnail that is dragged

  // What a click on a thumbnail does.
  let action = 'show';
  const actions = { show: 'Show it', mix: 'Mix it into the chosen layers', parent: 'Make children with it' };
  const actionChoice = choice('Click', actions, action, (next) => (action = next));

  function thumbnail(state) {
    const canvas = element('canvas', { width: about.resolution, height: about.resolution });
    const button = element(
      'button',
      { type: 'button', class: 'thumbnail', draggable: 'true', 'aria-label': `Image of ${described(state)}` },
      canvas,
    );
    button.state = state;
    button.addEventListener('click', (event) => use(state, event.altKey ? 'mix' : event.shiftKey ? 'parent' : action));
    button.addEventListener('dragstart', (event) => {
      dragged = state;
      event.dataTransfer.setData('text/plain', described(state));
      event.dataTransfer.effectAllowed = 'copy';
    });
    return button;
  }

  function use(state, how) {
    if (how === 'mix') mix(state, [...layers]);
    else if (how === 'parent') children(state);
    else model.replace(state);
  }

  /** Take layers of an image into the one that is shown. */
  async function mix(state, into) {
    if (!into.length) return app.say('Choose layers first, then the image to mix into them.');
    const plain = !state.ws && !state.mix && !state.directions;
    const taken = { ...model.state.mix };
    if (plain) for (const layer of into) taken[layer] = valueOf(state, 'seed');
    else {
      const reply = await transport.ask('layer', { state: { ...state, psi: 1, cutoff: null } });
      if (reply === null) return;
      for (const layer of into) taken[layer] = reply.styles[layer];
    }
    model.change({ mix: taken });
    app.say(`Layers ${into.join(', ')} from ${described(state)}.`);
  }

  async function fill(container, states) {
    const buttons = states.map(thumbnail);
    container.replaceChildren(...buttons);
    mark();
    const reply = await transport.ask('images', { states });
    if (reply !== null) buttons.forEach((button, i) => paintReply(button.firstChild, reply, i));
    return reply !== null;
  }

  // Left: the wall, children, history.
  const wall = element('div', { class: 'thumbnails wall' });
  const childrenBox = element('div', { class: 'thumbnails children' });
  const historyBox = element('div', { class: 'thumbnails history' });

  function showWall(first) {
    firstSeed = Math.min(Math.max(first, 0), MAX_SEED - WALL + 1);
    const common = {};
    for (const name of ['psi', 'cutoff', 'label']) if (name in model.state) common[name] = model.state[name];
    return fill(wall, Array.from({ length: WALL }, (_, i) => ({ ...common, ...(firstSeed + i && { seed: firstSeed + i }) })));
  }

  async function children(other) {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const reply = await transport.ask('children', { a: model.state, b: other, count: CHILDREN, seed });
    if (reply === null) return;
    const buttons = reply.states.map(thumbnail);
    childrenBox.replaceChildren(...buttons);
    buttons.forEach((button, i) => paintReply(button.firstChild, reply, i));
    app.say(`${CHILDREN} children of the image and ${described(other)}.`);
  }

  function keep({ state }) {
    const last = historyBox.firstChild;
    if (model.before !== null || (last && key(last.state) === key(state))) return;
    const button = thumbnail(state);
    button.firstChild.width = app.view.canvas.width;
    button.firstChild.height = app.view.canvas.height;
    button.firstChild.getContext('2d').drawImage(app.view.canvas, 0, 0);
    historyBox.prepend(button);
    while (historyBox.children.length > KEPT) historyBox.lastChild.remove();
  }

  function mark() {
    const shown = key(model.state);
    for (const button of panel.querySelectorAll('.thumbnail')) {
      button.setAttribute('aria-pressed', String(key(button.state) === shown));
    }
  }

  const seeds = element('div', { class: 'row' },
    element('button', { type: 'button', onclick: () => showWall(firstSeed - WALL) }, 'Before'),
    element('button', { type: 'button', onclick: () => showWall(firstSeed + WALL) }, 'More'),
    element('button', { type: 'button', onclick: () => showWall(Math.floor(Math.random() * 1e6)) }, 'Elsewhere'));
  const left = element('div', { class: 'column' },
    group('Seeds', actionChoice, wall, seeds),
    group('Children', element('p', { class: 'hint' }, 'Shift-click an image: children of it and the one shown.'), childrenBox),
    group('History', historyBox));

  // Middle: the image.
  const { canvas } = app.view;
  const frame = element('div', { class: 'frame', tabindex: '0', role: 'application',
    'aria-label': 'The image. Arrow keys change the seed: left and right by 1, up and down by 10.' });
  frame.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10 }[event.key];
    if (!step) return;
    event.preventDefault();
    setSeed(valueOf(model.state, 'seed') + step);
  });
  const timing = element('span', { class: 'timing', 'aria-hidden': 'true' });

  function setSeed(seed) {
    if (!Number.isFinite(seed)) return;
    model.change({ seed: Math.min(Math.max(Math.round(seed), 0), MAX_SEED), ws: null, mix: {} });
  }

  const undo = element('button', { type: 'button', onclick: () => model.undo() }, 'Undo');
  const redo = element('button', { type: 'button', onclick: () => model.redo() }, 'Redo');
  const save = element('button', { type: 'button', onclick: savePng }, 'Save PNG');
  const saveState = element('button', { type: 'button', onclick: () => {
    download(JSON.stringify(model.state, null, 1), 'explored.json', 'application/json');
  } }, 'Save state');
  const saveNpz = element('button', { type: 'button', title: 'for sample --from and edit --from', onclick: async () => {
    const reply = await transport.ask('npz', { state: model.state });
    if (reply !== null) download(reply.parts[0], 'explored.npz', 'application/octet-stream');
  } }, 'Save .npz');
  const stateFile = element('input', { type: 'file', accept: '.json,application/json', hidden: true, onchange: async () => {
    const [file] = stateFile.files;
    stateFile.value = '';
    try {
      model.replace(JSON.parse(await file.text()));
    } catch {
      app.say('This file holds no state.');
    }
  } });
  const openState = element('button', { type: 'button', onclick: () => stateFile.click() }, 'Open state');
  const copy = element('button', { type: 'button', onclick: async () => {
    await navigator.clipboard.writeText(location.href);
    app.say('The address is copied: it shows this image.');
  } }, 'Copy address');

  function savePng() {
    // From the canvas, which holds what was sent: to the byte the generator's, except for premultiplied alpha.
    canvas.toBlob(async (blob) => download(await blob.arrayBuffer(), `seed${valueOf(model.state, 'seed')}.png`, 'image/png'));
  }

  const smooth = element('button', { type: 'button', 'aria-pressed': 'false', onclick: () => {
    smooth.setAttribute('aria-pressed', String(app.root.classList.toggle('smooth')));
  } }, 'Smooth');
  const middle = element('div', { class: 'column image' }, frame, timing, row(undo, redo, smooth, save, saveState, openState, saveNpz, app.hasAddress ? copy : null), stateFile);

  // Right: what changes it.
  const seedInput = element('input', { id: 'seed', type: 'number', min: 0, max: MAX_SEED, step: 1, value: 0 });
  seedInput.addEventListener('input', () => seedInput.value !== '' && setSeed(+seedInput.value));
  const two = (x) => x.toFixed(2);
  const psi = slider('Truncation psi', { min: -1, max: 1.5, step: 0.01, value: 0.7, text: two }, (value, moving) => model.change({ psi: value }, moving));
  const cutoff = slider('Layers truncated', { min: 0, max: about.layers, step: 1, value: about.layers,
    text: (x) => (x === about.layers ? 'all' : String(x)) },
  (value, moving) => model.change({ cutoff: value === about.layers ? null : value }, moving));
  const label = about.classes
    ? slider('Class', { min: 0, max: about.classes - 1, step: 1, value: 0 }, (value, moving) => model.change({ label: value }, moving))
    : null;
  const noise = about.noise
    ? choice('Noise', { const: 'own', random: 'of the seed', none: 'none' }, 'const', (value) => model.change({ noise: value }))
    : null;
  const strength = about.noise
    ? slider('Noise strength', { min: 0, max: 3, step: 0.01, value: 1, text: two }, (value, moving) => model.change({ noise_strength: value }, moving))
    : null;

  const cells = Array.from({ length: about.layers }, (_, layer) => {
    const cell = element('button', { type: 'button', class: 'layer', 'aria-pressed': 'false', 'data-layer': layer }, String(layer));
    cell.addEventListener('click', () => {
      if (!layers.delete(layer)) layers.add(layer);
      sync(model.state);
    });
    cell.addEventListener('dragover', (event) => {
      if (dragged === null) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = 'copy';
      cell.classList.add('over');
    });
    cell.addEventListener('dragleave', () => cell.classList.remove('over'));
    cell.addEventListener('drop', (event) => {
      event.preventDefault();
      cell.classList.remove('over');
      if (dragged !== null) mix(dragged, layers.has(layer) ? [...layers] : [layer]);
      dragged = null;
    });
    return cell;
  });
  const unmix = element('button', { type: 'button', onclick: () => model.change({ mix: {} }) }, 'Own layers again');

  const sliders = new Map();
  const names = JSON.parse(localStorageGet(`names-${about.fingerprint}`) ?? '{}');
  const groups = new Map();
  for (const direction of about.directions) {
    const range = direction.layers.length === about.layers ? 'all layers'
      : `layers ${direction.layers[0]} to ${direction.layers.at(-1)}`;
    const one = slider(names[direction.name] ?? direction.name, { min: -4, max: 4, step: 0.05, value: 0, text: two },
      (value, moving) => model.change({ directions: { ...model.state.directions, [direction.name]: value } }, moving));
    one.firstChild.title = 'Double-click, or F2 on the slider, to give it a name';
    one.input.addEventListener('keydown', (event) => event.key === 'F2' && rename(direction.name, one.firstChild));
    one.firstChild.addEventListener('dblclick', () => rename(direction.name, one.firstChild));
    sliders.set(direction.name, one);
    groups.set(range, [...(groups.get(range) ?? []), one]);
  }

  function rename(name, node) {
    const input = element('input', { type: 'text', maxlength: 40, value: node.textContent, 'aria-label': `Name of ${name}` });
    const done = () => {
      node.textContent = names[name] = input.value.trim() || name;
      localStorageSet(`names-${about.fingerprint}`, JSON.stringify(names));
    };
    input.addEventListener('blur', done);
    input.addEventListener('keydown', (event) => event.key === 'Enter' && input.blur());
    node.replaceChildren(input);
    input.focus();
    input.select();
  }

  const reset = element('button', { type: 'button', onclick: () => model.change({ directions: {} }) }, 'All to 0');
  const right = element('div', { class: 'column' },
    group('Sampling', element('div', { class: 'slider' }, element('label', { for: 'seed' }, 'Seed'), seedInput), psi, cutoff, label, noise, strength),
    group('Style mixing', element('p', { class: 'hint' }, 'Drag an image onto a layer. Coarse layers are on the left.'),
      element('div', { class: 'layers' }, ...cells), row(unmix)),
    ...[...groups].map(([range, all]) => group(`Directions: ${range}`, ...all)), row(reset));

  panel.append(left, middle, right);

  function sync(state) {
    if (document.activeElement !== seedInput) seedInput.value = valueOf(state, 'seed');
    psi.set(valueOf(state, 'psi'));
    cutoff.set(valueOf(state, 'cutoff') ?? about.layers);
    label?.set(valueOf(state, 'label') ?? 0);
    noise?.set(valueOf(state, 'noise'));
    strength?.set(valueOf(state, 'noise_strength'));
    for (const [name, one] of sliders) one.set(state.directions?.[name] ?? 0);
    cells.forEach((cell, layer) => {
      const source = state.mix?.[layer];
      cell.setAttribute('aria-pressed', String(layers.has(layer)));
      cell.classList.toggle('mixed', source !== undefined);
      const from = source === undefined ? 'its own' : typeof source === 'number' ? `from seed ${source}` : 'from another image';
      cell.setAttribute('aria-label', `Layer ${layer}, ${from}`);
      cell.title = from;
    });
    undo.disabled = !model.past.length;
    redo.disabled = !model.future.length;
    mark();
  }

  model.listen(sync);
  app.view.onshown = (shown) => {
    timing.textContent = `${shown.ms.toFixed(0)} ms`;
    keep(shown);
    app.root.dataset.shown = key(shown.state);
  };
  showWall(0);
  return {
    show: () => {
      frame.append(canvas);
      sync(model.state);
    },
  };
}

// Not there in some notebooks and private windows.
function localStorageGet(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function localStorageSet(name, text) {
  try {
    localStorage.setItem(name, text);
  } catch {
    // names last as long as the page then
  }
}
