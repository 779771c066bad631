// Path: keyframes, played at once and saved as a video.
import { choice, download, element, group, row, slider } from './dom.js';
import { described } from './model.js';
import { paintReply } from './pixels.js';

const MAX_KEYFRAMES = 32;
const MAX_FRAMES = 5000;
const TYPES = { mp4: 'video/mp4', gif: 'image/gif', webp: 'image/webp' };

export function pathTab(app, panel) {
  const { model, transport, about } = app;
  let keyframes = [];
  let easing = 'smooth';
  let frames = 30;
  let at = 0;
  let playing = false;
  let busy = false;
  let saving = false;

  const canvas = element('canvas', { width: about.resolution, height: about.resolution, role: 'img', 'aria-label': 'The path' });
  const strip = element('ol', { class: 'strip' });
  const loop = element('input', { id: 'loop', type: 'checkbox', onchange: () => sync() });
  const segments = () => (loop.checked ? keyframes.length : keyframes.length - 1);
  const path = () => ({ keyframes, easing, loop: loop.checked });

  const place = slider('Place', { min: 0, max: 1, step: 0.01, value: 0, text: (x) => x.toFixed(2) }, (value) => {
    pause();
    draw(value);
  });
  const play = element('button', { type: 'button', onclick: () => (playing ? pause() : start()) }, 'Play');
  const add = element('button', { type: 'button', onclick: addKeyframe }, 'Add the image shown in Explore');
  const clear = element('button', { type: 'button', onclick: () => ((keyframes = []), sync()) }, 'Clear');
  const fps = slider('Frames a second', { min: 5, max: 60, step: 1, value: 30 }, () => sync());
  const format = choice('Format', { mp4: 'mp4', gif: 'gif', webp: 'webp' }, 'mp4', () => {});
  const save = element('button', { type: 'button', onclick: saveVideo }, 'Save video');
  const progress = element('progress', { max: 1, value: 0, hidden: true, 'aria-label': 'Frames written' });

  async function addKeyframe() {
    if (keyframes.length >= MAX_KEYFRAMES) return app.say(`A path has at most ${MAX_KEYFRAMES} keyframes.`);
    keyframes = [...keyframes, model.state];
    await sync();
  }

  function move(i, by) {
    const [one] = keyframes.splice(i, 1);
    if (by !== null) keyframes.splice(Math.min(Math.max(i + by, 0), keyframes.length), 0, one);
    keyframes = [...keyframes];
    sync();
  }

  async function sync() {
    const enough = keyframes.length > 1;
    play.disabled = save.disabled = !enough || saving;
    place.input.disabled = !enough;
    place.input.max = Math.max(segments(), 1);
    const canvases = keyframes.map(() => element('canvas', { width: about.resolution, height: about.resolution }));
    strip.replaceChildren(...keyframes.map((state, i) => element('li', {},
      element('button', { type: 'button', class: 'thumbnail', 'aria-label': `Keyframe ${i + 1}: ${described(state)}; show it in Explore`,
        onclick: () => (model.replace(state), app.open('explore')) }, canvases[i]),
      row(
        element('button', { type: 'button', 'aria-label': `Keyframe ${i + 1} earlier`, onclick: () => move(i, -1) }, '←'),
        element('button', { type: 'button', 'aria-label': `Keyframe ${i + 1} later`, onclick: () => move(i, 1) }, '→'),
        element('button', { type: 'button', 'aria-label': `Remove keyframe ${i + 1}`, onclick: () => move(i, null) }, '×')))));
    if (!keyframes.length) return pause();
    const reply = await transport.ask('images', { states: keyframes });
    if (reply !== null) canvases.forEach((one, i) => paintReply(one, reply, i));
    if (enough) draw(Math.min(at, segments()));
    else pause();
  }

  async function draw(place_) {
    at = place_;
    place.set(at);
    if (busy) return;
    busy = true;
    for (let drawn = null; drawn !== at; ) {
      drawn = at;
      const reply = await transport.ask('frame', { ...path(), at });
      if (reply === null) break;
      await paintReply(canvas, reply);
    }
    busy = false;
  }

  function start() {
    if (saving || segments() < 1) return;
    playing = true;
    play.textContent = 'Pause';
    let last = performance.now();
    const tick = (now) => {
      if (!playing) return;
      if (!busy) {
        let next = at + ((now - last) / 1000) * (+fps.input.value / frames);
        last = now;
        if (next >= segments()) {
          next = loop.checked ? next % segments() : segments();
          if (!loop.checked) pause();
        }
        draw(next);
      }
      requestAnimationFrame(tick);
    };
    if (at >= segments()) at = 0;
    requestAnimationFrame(tick);
  }

  function pause() {
    playing = false;
    play.textContent = 'Play';
  }

  function saveVideo() {
    const total = segments() * frames + (loop.checked ? 0 : 1);
    if (total > MAX_FRAMES) return app.say(`${total} frames are too many; at most ${MAX_FRAMES}.`);
    pause();
    setSaving(true);
    transport.begin('video', { ...path(), frames, fps: +fps.input.value, format: format.select.value }, (reply) => {
      if (reply.frame) {
        progress.value = reply.frame / reply.frames;
        return;
      }
      setSaving(false);
      if (reply.done) {
        download(reply.parts[0], `path.${reply.format}`, TYPES[reply.format]);
        app.say(`${reply.frames} frames are saved.`);
      }
    });
  }

  function setSaving(now) {
    saving = now;
    progress.hidden = !now;
    progress.value = 0;
    stop.hidden = !now;
    play.disabled = save.disabled = now || keyframes.length < 2;
  }

  const stop = element('button', { type: 'button', hidden: true, onclick: () => transport.stop() }, 'Stop');
  panel.append(
    element('div', { class: 'column image' }, element('div', { class: 'frame' }, canvas), place, row(play)),
    element('div', { class: 'column' },
      group('Keyframes', strip, row(add, clear)),
      group('Between them',
        choice('Easing', { smooth: 'stop at each', linear: 'constant speed', curve: 'curved, without a stop' }, easing, (value) => {
          easing = value;
          sync();
        }),
        slider('Frames', { min: 2, max: 240, step: 1, value: frames }, (value) => (frames = value)),
        element('div', { class: 'slider' }, element('label', { for: 'loop' }, 'Loop'), loop)),
      group('Video', fps, format, row(save, stop), progress)));
  sync();
  return { hide: pause };
}
