// Style transfer: a content, up to four styles; alpha and weights are live.
import { maskBrush } from './brush.js';
import { choice, element, fileButton, group, row, slider } from './dom.js';
import { paintReply } from './pixels.js';

const MAX_STYLES = 4;
const REST_MS = 200;
const MASK_SIDE = 96;

export function styleTab(app, panel) {
  const { model, transport } = app;
  let content = null; // {upload} or {state}
  let styles = []; // {picture, weight, address}
  let alpha = 1;
  let color = 'none';
  let busy = false;
  let wanted = null;
  let timer;

  const canvas = element('canvas', { width: 128, height: 128, role: 'img', 'aria-label': 'The content in these styles' });
  const hint = 'Paint where the first style goes; with two styles the second goes elsewhere. Weights do not count then.';
  const brush = maskBrush(MASK_SIDE, { hint, say: app.say, changed: () => draw(false) });
  const frame = element('div', { class: 'frame smooth' }, canvas, brush.canvas);
  const contentNote = element('p', { class: 'hint' }, 'No content is chosen.');
  const list = element('div', { class: 'styles' });

  async function take(file, then) {
    try {
      const answer = await transport.upload(file);
      then({ upload: answer.upload }, URL.createObjectURL(file), `${answer.width}x${answer.height} pixels`);
    } catch (error) {
      app.say(error.message);
    }
  }

  const setContent = (picture, text) => {
    content = picture;
    contentNote.textContent = text;
    draw(false);
  };
  const own = element('button', { type: 'button', onclick: () => setContent({ state: model.state }, 'The image shown in Explore.') }, 'The image of Explore');
  const chooseContent = fileButton('Choose a photo', (file) => take(file, (picture, address, size) => {
    URL.revokeObjectURL(address);
    setContent(picture, size);
  }));

  function addStyle(picture, address) {
    if (styles.length >= MAX_STYLES) return app.say(`At most ${MAX_STYLES} styles.`);
    styles.push({ picture, weight: 1, address });
    syncStyles();
  }
  const chooseStyle = fileButton('Add a style', (file) => take(file, addStyle));
  const ownStyle = element('button', { type: 'button', onclick: () => {
    const copy = element('canvas', { width: app.view.canvas.width, height: app.view.canvas.height });
    copy.getContext('2d').drawImage(app.view.canvas, 0, 0);
    copy.toBlob((blob) => addStyle({ state: model.state }, URL.createObjectURL(blob)));
  } }, 'The image of Explore');

  function syncStyles() {
    list.replaceChildren(...styles.map((style, i) => element('div', { class: 'style-row' },
      element('img', { src: style.address, alt: `Style ${i + 1}` }),
      slider(`Weight ${i + 1}`, { min: 0, max: 1, step: 0.01, value: style.weight, text: (x) => x.toFixed(2) }, (value, moving) => {
        style.weight = value;
        draw(moving);
      }),
      element('button', { type: 'button', 'aria-label': `Remove style ${i + 1}`, onclick: () => {
        URL.revokeObjectURL(style.address);
        styles.splice(i, 1);
        syncStyles();
      } }, '×'))));
    draw(false);
  }

  /** Draw the newest wish when the one under way is done; coarse while something moves. */
  async function draw(moving) {
    clearTimeout(timer);
    if (content === null || !styles.length) return;
    wanted = { moving };
    if (moving) timer = setTimeout(() => draw(false), REST_MS);
    if (busy) return;
    busy = true;
    while (wanted) {
      const now = wanted;
      wanted = null;
      const weights = styles.map((style) => style.weight);
      const reply = await transport.ask('style', {
        content, styles: styles.map((style) => style.picture), weights, alpha, color, mask: brush.value(), moving: now.moving });
      if (reply !== null) await paintReply(canvas, reply);
    }
    busy = false;
  }

  panel.append(
    element('div', { class: 'column image' }, frame),
    element('div', { class: 'column' },
      group('Content', row(own, chooseContent), contentNote),
      group('Styles', list, row(chooseStyle, ownStyle)),
      group('Transfer',
        slider('Alpha', { min: 0, max: 1, step: 0.01, value: alpha, text: (x) => x.toFixed(2) }, (value, moving) => {
          alpha = value;
          draw(moving);
        }),
        choice('Colors', { none: 'of the styles', coral: 'kept: matched before', luminance: 'kept: lightness alone' }, color, (value) => {
          color = value;
          draw(false);
        })),
      brush.tools));
  return {};
}
