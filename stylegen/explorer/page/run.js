// Run: checkpoints, samples over time, losses, metrics and the doctor's sentences, refreshed while it trains.
import { element, group, slider } from './dom.js';
import { hasOwnStyles } from './model.js';
import { paintReply, plot } from './pixels.js';

const REFRESH_MS = 5000;

export function runTab(app, panel) {
  const { transport } = app;
  let seen = 0;
  let timer = null;
  let about = null;

  const title = element('h2', {});
  const image = element('canvas', { width: 64, height: 64, role: 'img', 'aria-label': 'Samples of the same seeds' });
  const losses = element('canvas', { class: 'plot', role: 'img', 'aria-label': 'Losses by kimg' });
  const scores = element('canvas', { class: 'plot', role: 'img', 'aria-label': 'Scores of real and generated images by kimg' });
  const metrics = element('div', { class: 'metrics' });
  const doctor = element('ul', { class: 'doctor' });
  const shown = (list) => (i) => (list()[i] === undefined ? 'none' : `${list()[i]} kimg`);
  const grids = slider('Samples at', { min: 0, max: 0, step: 1, value: 0, text: shown(() => about?.grids ?? []) }, (i) => showGrid(i));
  const checkpoints = slider('Checkpoint', { min: 0, max: 0, step: 1, value: 0, text: shown(() => about?.checkpoints ?? []) },
    (i, moving) => !moving && load(about.checkpoints[i]));

  async function showGrid(i) {
    const reply = await transport.ask('grid', { kimg: about.grids[i] });
    if (reply !== null) await paintReply(image, { ...reply, coding: 'png' });
  }

  async function load(kimg) {
    app.say(`Loading the checkpoint at ${kimg} kimg.`);
    const reply = await transport.ask('checkpoint', { kimg });
    if (reply === null) return;
    app.begin(reply);
    const note = hasOwnStyles(app.model.state)
      ? ' Styles of a photo or a drag, such as those shown, fit the checkpoint that they were found with.'
      : '';
    app.say(`Everything shows the generator at ${kimg} kimg now.${note}`);
  }

  function follow(slider_, list, before) {
    const atEnd = before === undefined || +slider_.input.value === before - 1;
    slider_.input.max = Math.max(list.length - 1, 0);
    slider_.input.disabled = list.length < 2;
    slider_.set(atEnd ? list.length - 1 : +slider_.input.value);
    return atEnd;
  }

  /** Curves by shorter names; those that the run has. */
  const chosen = (names) =>
    Object.fromEntries(Object.entries(names).filter(([, name]) => about.curves[name]).map(([short, name]) => [short, about.curves[name]]));

  async function refresh() {
    const reply = await transport.ask('run', { seen });
    if (reply?.about) {
      const before = about;
      seen = reply.version;
      about = reply.about;
      title.textContent = `${about.name} at ${about.kimg} kimg`;
      if (follow(grids, about.grids, before?.grids.length) && about.grids.length) showGrid(about.grids.length - 1);
      follow(checkpoints, about.checkpoints, before?.checkpoints.length);
      const now = about.checkpoints.indexOf(app.about.kimg);
      if (before === null && now >= 0) checkpoints.set(now);
      plot(losses, chosen({ G: 'Loss/G/loss', D: 'Loss/D/loss', R1: 'Loss/r1_penalty' }));
      plot(scores, chosen({ 'real scores': 'Loss/scores/real', 'fake scores': 'Loss/scores/fake', augment: 'Progress/augment' }));
      metrics.replaceChildren(...Object.entries(about.metrics).map(([name, points]) => {
        const canvas = element('canvas', { class: 'plot', role: 'img', 'aria-label': `${name} by kimg, now ${points.at(-1)?.[1]}` });
        requestAnimationFrame(() => plot(canvas, { [name]: points }));
        return canvas;
      }));
      if (!metrics.children.length) metrics.textContent = 'None were measured; evaluate measures some.';
      doctor.replaceChildren(...about.doctor.map((sentence) => element('li', {}, sentence)));
      if (!about.doctor.length) doctor.append(element('li', {}, 'The doctor has said nothing.'));
    }
    timer = setTimeout(refresh, REFRESH_MS);
  }

  panel.append(
    element('div', { class: 'column image' }, title, element('div', { class: 'frame' }, image), grids),
    element('div', { class: 'column' },
      group('Generator', checkpoints, element('p', { class: 'hint' }, 'All other tabs show this checkpoint.')),
      group('Losses', losses, scores), group('Metrics', metrics), group('Doctor', doctor)));
  return {
    show: () => {
      if (timer === null) refresh();
    },
    hide: () => {
      clearTimeout(timer);
      timer = null;
    },
  };
}
