// Drag: points of the image to where they should be.
import { maskBrush } from './brush.js';
import { element, group, row, slider } from './dom.js';
import { paintReply } from './pixels.js';

const MAX_POINTS = 8;
const SVG = 'http://www.w3.org/2000/svg';

export function dragTab(app, panel) {
  const { model, transport, about } = app;
  const side = about.resolution;
  let pairs = []; // {from: [y, x], to: [y, x]} in pixels
  let running = false;
  let before = null; // the state before the drag
  let settings = { steps: 200, learning_rate: 0.01, style_weight: 0.05 };

  const canvas = element('canvas', { width: side, height: side });
  const marks = document.createElementNS(SVG, 'svg');
  marks.setAttribute('viewBox', `-0.5 -0.5 ${side} ${side}`);
  marks.setAttribute('class', 'marks');
  const hint = 'Paint where the image may change; nothing painted is everywhere.';
  const brush = maskBrush(Math.min(side, 128), { hint, say: app.say });
  const frame = element('div', { class: 'frame', 'aria-label': 'Image with points' }, canvas, brush.canvas, marks);

  function svg(tag, attributes, parent) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    parent.append(node);
    return node;
  }

  const clipped = (x) => Math.min(Math.max(x, 0), side - 1);

  function placeOf(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientY - box.top) / box.height) * side - 0.5, ((event.clientX - box.left) / box.width) * side - 0.5].map(clipped);
  }

  function draw() {
    marks.replaceChildren();
    const radius = side / 40;
    pairs.forEach((pair, i) => {
      svg('line', { x1: pair.from[1], y1: pair.from[0], x2: pair.to[1], y2: pair.to[0] }, marks);
      for (const end of ['to', 'from']) {
        const [y, x] = pair[end];
        const node = svg('circle', { cx: x, cy: y, r: radius, class: end, tabindex: 0, role: 'slider',
          'aria-label': `${end === 'from' ? 'Point' : 'Target'} ${i + 1}`, 'aria-valuetext': `${x.toFixed(0)}, ${y.toFixed(0)}`,
          'data-pair': i, 'data-end': end }, marks);
        node.addEventListener('keydown', (event) => moveByKey(event, i, end));
      }
    });
    sync();
  }

  function moveByKey(event, i, end) {
    if (event.key === 'Delete' || event.key === 'Backspace') pairs.splice(i, 1);
    else {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      pairs[i][end] = pairs[i][end].map((x, k) => clipped(x + step[k]));
    }
    event.preventDefault();
    draw();
    marks.querySelector(`[data-pair="${i}"][data-end="${end}"]`)?.focus();
  }

  frame.addEventListener('pointerdown', (event) => {
    if (brush.painting || running) return;
    const held = event.target.dataset?.pair;
    let pair;
    let end = 'to';
    if (held !== undefined) {
      pair = pairs[+held];
      end = event.target.dataset.end;
    } else {
      if (pairs.length >= MAX_POINTS) return app.say(`At most ${MAX_POINTS} points.`);
      pair = { from: placeOf(event), to: placeOf(event) };
      pairs.push(pair);
    }
    frame.setPointerCapture(event.pointerId);
    const move = (next) => {
      pair[end] = placeOf(next);
      draw();
    };
    frame.addEventListener('pointermove', move);
    frame.addEventListener('pointerup', () => frame.removeEventListener('pointermove', move), { once: true });
    draw();
  });

  const add = element('button', { type: 'button', onclick: () => {
    if (pairs.length >= MAX_POINTS) return;
    pairs.push({ from: [side / 2, side / 2], to: [side / 2, side / 2 + 2] });
    draw();
  } }, 'Add a point');
  const clear = element('button', { type: 'button', onclick: () => ((pairs = []), draw()) }, 'Clear points');
  const start = element('button', { type: 'button', onclick: begin }, 'Start');
  const stop = element('button', { type: 'button', onclick: () => transport.stop() }, 'Stop');
  const undo = element('button', { type: 'button', onclick: () => {
    model.replace(before.state);
    pairs = before.pairs;
    before = null;
    draw();
  } }, 'Undo the drag');
  const status = element('p', { class: 'result' });

  function begin() {
    brush.stop();
    before = { state: model.state, pairs: pairs.map((pair) => ({ from: [...pair.from], to: [...pair.to] })) };
    running = true;
    sync();
    app.say('Dragging.');
    const points = pairs.map((pair) => pair.from);
    const targets = pairs.map((pair) => pair.to);
    transport.begin('drag', { state: model.state, points, targets, mask: brush.value(), ...settings }, (reply) => {
      if (reply.type === 'error') {
        running = false;
        return sync();
      }
      paintReply(canvas, reply);
      reply.points.forEach((point, i) => (pairs[i].from = point));
      draw();
      const far = Math.max(...reply.distances);
      status.textContent = `step ${reply.step}: ${far ? `${far.toFixed(1)} pixels left` : 'all points have arrived'}`;
      if (reply.done) {
        running = false;
        model.replace(reply.state);
        app.say(`The drag has ended after ${reply.step} steps. Does the image show it? The tracker can be wrong.`);
        sync();
      }
    });
  }

  function sync() {
    start.disabled = running || !pairs.length;
    stop.disabled = !running;
    undo.disabled = running || before === null;
    add.disabled = clear.disabled = running;
  }

  panel.append(
    element('div', { class: 'column image' }, frame, row(start, stop, undo), status),
    element('div', { class: 'column' },
      group('Points', element('p', { class: 'hint' }, 'Press on the image and pull to where this point should go. Arrow keys move a point, Delete removes it.'), row(add, clear)),
      brush.tools,
      group('How', slider('Steps', { min: 10, max: 1000, step: 10, value: 200 }, (value) => (settings = { ...settings, steps: value })),
        slider('Speed', { min: -3, max: -1, step: 0.05, value: -2, text: (x) => (10 ** x).toPrecision(2) }, (value) => (settings = { ...settings, learning_rate: 10 ** value })),
        slider('Stay near', { min: 0, max: 2, step: 0.01, value: 0.05, text: (x) => x.toFixed(2) }, (value) => (settings = { ...settings, style_weight: value })))));

  function copy() {
    canvas.width = app.view.canvas.width;
    canvas.height = app.view.canvas.height;
    canvas.getContext('2d').drawImage(app.view.canvas, 0, 0);
  }

  draw();
  return {
    show: () => {
      copy();
      draw();
      app.view.onpainted = () => !running && copy();
    },
  };
}
