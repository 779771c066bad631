// Own photo: upload it, watch the search for its styles, then go on with what was found.
import { choice, element, fileButton, group, row, slider } from './dom.js';
import { paintReply, plot } from './pixels.js';

export function photoTab(app, panel) {
  const { model, transport, about } = app;
  let upload = null;
  let running = false;
  let left = false; // steps are left to continue with
  let space = 'w+';
  let steps = 500;
  let losses = [];

  const size = { width: about.resolution, height: about.resolution };
  const target = element('canvas', { ...size, role: 'img', 'aria-label': 'Your photo, as the search sees it' });
  const found = element('canvas', { ...size, role: 'img', 'aria-label': 'What the generator draws' });
  const curve = element('canvas', { class: 'plot', role: 'img', 'aria-label': 'Loss by step' });
  const note = element('p', { class: 'hint' }, 'PNG, JPEG or WebP, at most 20 MB. The square in the middle is taken.');
  const result = element('p', { class: 'result' });

  const choose = fileButton('Choose a photo, or drop it here', async (file) => {
    try {
      const answer = await transport.upload(file);
      upload = answer.upload;
      note.textContent = answer.note;
      left = false;
      begin(false);
    } catch (error) {
      app.say(error.message);
    }
  });
  const start = element('button', { type: 'button', onclick: () => begin(false) }, 'Start');
  const stop = element('button', { type: 'button', onclick: () => transport.stop() }, 'Stop');
  const more = element('button', { type: 'button', onclick: () => begin(true) }, 'Continue');
  const explore = element('button', { type: 'button', onclick: () => app.open('explore') }, 'Explore it');
  explore.disabled = true;

  function begin(continued) {
    if (!continued) losses = [];
    running = true;
    sync();
    app.say(continued ? 'The search goes on.' : 'Looking for the most similar image first.');
    const label = about.classes ? { label: model.state.label ?? 0 } : {};
    transport.begin('project', { upload, steps, space, continue: continued, ...label }, (reply) => {
      if (reply.type === 'target') return paintReply(target, reply);
      if (reply.type === 'error') {
        running = false;
        return sync();
      }
      for (const loss of reply.losses) losses.push([losses.length + 1, loss]);
      plot(curve, { loss: losses }, { logarithmic: true });
      paintReply(found, reply);
      if (reply.type === 'step') result.textContent = `step ${reply.step} of ${steps}`;
      if (reply.type === 'projected') {
        running = false;
        left = reply.left;
        model.replace(reply.state);
        explore.disabled = false;
        result.textContent = `${reply.step} steps; PSNR ${reply.psnr === null ? 'infinite' : `${reply.psnr.toFixed(1)} dB`}`;
        app.say(`The search has stopped after ${reply.step} steps.`);
        sync();
      }
    });
  }

  function sync() {
    start.disabled = running || upload === null;
    stop.disabled = !running;
    more.disabled = running || !left;
  }

  panel.append(
    element('div', { class: 'column image pair' },
      element('div', {}, element('h2', {}, 'Photo'), element('div', { class: 'frame' }, target)),
      element('div', {}, element('h2', {}, 'Found'), element('div', { class: 'frame' }, found))),
    element('div', { class: 'column' },
      group('Photo', choose, note),
      group('Search',
        choice('Space', { 'w+': 'w+: closest', w: 'w: best to edit' }, space, (value) => (space = value)),
        slider('Steps', { min: 50, max: 2000, step: 50, value: steps }, (value) => (steps = value)),
        row(start, stop, more, explore), result, curve)));
  sync();
  return {};
}
