// A mask over an image, painted with the pointer or with keys.
import { element, group, row, slider } from './dom.js';

const PAINTED = [255, 80, 60, 110]; // red, green, blue and alpha of a square
const RING = [[0, 0, 0, 255], [255, 255, 255, 255]]; // around the place where keys paint: seen on any image
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/**
 * A mask of `side` squares a side: `canvas` goes over the image, into its frame, and `tools` beside it.
 * @param {number} side
 * @param {{hint: string, say: function(string), changed?: function()}} options what the mask is for, who speaks, and
 *   who is called when something was painted
 */
export function maskBrush(side, { hint, say, changed = () => {} }) {
  const canvas = element('canvas', { class: 'mask', width: side, height: side, role: 'application',
    'aria-label': 'Mask. Arrow keys move the brush, Space paints, Shift and Space erase, Escape ends.' });
  const cells = new Uint8Array(side * side);
  const context = canvas.getContext('2d');
  let radius = 0.08 * side;
  let at = [side / 2, side / 2]; // x and y of the brush, by keys
  let pressed = false; // the pointer

  const far = (u, v, [x, y]) => Math.hypot(u + 0.5 - x, v + 0.5 - y);

  function show() {
    const image = context.createImageData(side, side);
    const ring = document.activeElement === canvas;
    for (let i = 0; i < cells.length; i++) {
      const [u, v] = [i % side, Math.floor(i / side)];
      if (ring && Math.abs(far(u, v, at) - radius) < 0.6) image.data.set(RING[(u + v) % 2], 4 * i);
      else if (cells[i]) image.data.set(PAINTED, 4 * i);
    }
    context.putImageData(image, 0, 0);
  }

  function stroke(erases) {
    cells.forEach((_, i) => {
      if (far(i % side, Math.floor(i / side), at) <= radius) cells[i] = erases ? 0 : 1;
    });
    show();
  }

  function strokeAt(event) {
    const box = canvas.getBoundingClientRect();
    at = [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
    stroke(event.shiftKey);
  }

  function move([dx, dy]) {
    const step = Math.max(1, Math.round(radius / 2));
    at = [at[0] + dx * step, at[1] + dy * step].map((x) => Math.min(Math.max(x, 0.5), side - 0.5));
    show();
  }

  const percent = (x) => `${Math.round((100 * x) / side)} %`;
  const isPainted = () => cells[Math.floor(at[1]) * side + Math.floor(at[0])] === 1;

  canvas.addEventListener('pointerdown', (event) => {
    pressed = true;
    canvas.setPointerCapture(event.pointerId);
    strokeAt(event);
  });
  canvas.addEventListener('pointermove', (event) => pressed && strokeAt(event));
  canvas.addEventListener('pointerup', () => {
    pressed = false;
    changed();
  });
  canvas.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      setPainting(false);
      paint.focus();
    }
    const paints = event.key === ' ' || event.key === 'Enter';
    if (!paints && !(event.key in ARROWS)) return;
    event.preventDefault();
    if (paints) {
      stroke(event.shiftKey);
      changed();
    } else move(ARROWS[event.key]);
    say(`${percent(at[0])} from the left, ${percent(at[1])} from the top: ${isPainted() ? 'painted' : 'not painted'}.`);
  });
  for (const type of ['focus', 'blur']) canvas.addEventListener(type, show);

  const paint = element('button', { type: 'button', 'aria-pressed': 'false', onclick: () => {
    setPainting(!brush.painting);
    if (brush.painting) canvas.focus();
  } }, 'Paint');

  function setPainting(now) {
    brush.painting = now;
    paint.setAttribute('aria-pressed', String(now));
    canvas.parentElement.classList.toggle('painting', now);
    if (now) canvas.tabIndex = 0;
    else canvas.removeAttribute('tabindex');
  }

  function every(change) {
    cells.forEach((cell, i) => (cells[i] = change(cell)));
    show();
    changed();
  }

  const brush = {
    canvas,
    painting: false,
    stop: () => setPainting(false),
    tools: group('Mask', element('p', { class: 'hint' }, `${hint} Shift erases. By keys: arrows, Space.`),
      row(paint, element('button', { type: 'button', onclick: () => every(() => 0) }, 'Clear'),
        element('button', { type: 'button', onclick: () => every((cell) => 1 - cell) }, 'Invert')),
      slider('Brush', { min: 0.02, max: 0.4, step: 0.01, value: 0.08, text: (x) => `${Math.round(100 * x)} %` }, (share) => {
        radius = side * share;
        show();
      })),
    /** As the messages have it; null where nothing is painted. */
    value: () => {
      if (!cells.some(Boolean)) return null;
      let bits = '';
      for (let i = 0; i < cells.length; i += 8) {
        let byte = 0;
        for (let k = 0; k < 8; k++) byte = byte * 2 + (cells[i + k] ?? 0);
        bits += String.fromCharCode(byte);
      }
      return { width: side, height: side, bits: btoa(bits) };
    },
  };
  return brush;
}
