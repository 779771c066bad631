// Elements with less typing, and the few that every tab uses.

/** An element: `element('button', {class: 'x', onclick: f, disabled: true}, 'text', child, ...)`. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Buttons and other small things in a row. */
export const row = (...children) => element('div', { class: 'row' }, ...children);

/** A group with a title. */
export const group = (title, ...children) =>
  element('fieldset', {}, element('legend', {}, title), ...children);

let labels = 0;

/** A labeled slider with its value beside it; `changed(value, moving)`. `set(value)` moves it without a call. */
export function slider(name, { min, max, step, value, text = (x) => String(x) }, changed) {
  const id = `slider-${++labels}`;
  const input = element('input', { id, type: 'range', min, max, step, value });
  const shown = element('span', { class: 'value', 'aria-hidden': 'true' });
  const node = element('div', { class: 'slider' }, element('label', { for: id }, name), input, shown);
  const show = () => {
    shown.textContent = text(+input.value);
    input.setAttribute('aria-valuetext', shown.textContent);
  };
  input.addEventListener('input', () => (show(), changed(+input.value, true)));
  input.addEventListener('change', () => changed(+input.value, false));
  node.set = (next) => {
    input.value = next;
    show();
  };
  node.input = input;
  show();
  return node;
}

/** A labeled choice of {value: text}; `changed(value)`. */
export function choice(name, options, value, changed) {
  const id = `choice-${++labels}`;
  const select = element('select', { id, onchange: () => changed(select.value) });
  for (const [key, text] of Object.entries(options)) select.append(element('option', { value: key }, text));
  select.value = value;
  const node = element('div', { class: 'slider' }, element('label', { for: id }, name), select);
  node.set = (next) => (select.value = next);
  node.select = select;
  return node;
}

/** Let the browser save bytes as a file. */
export function download(bytes, name, type) {
  const address = URL.createObjectURL(new Blob([bytes], { type }));
  const link = element('a', { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** A button that opens a choice of image files, and takes files that are dropped on it; `chosen(file)`. */
export function fileButton(text, chosen) {
  const input = element('input', { type: 'file', accept: 'image/png,image/jpeg,image/webp', hidden: true });
  const button = element('button', { type: 'button', class: 'file', onclick: () => input.click() }, text);
  const take = (files) => files.length && chosen(files[0]);
  input.addEventListener('change', () => {
    take(input.files);
    input.value = '';
  });
  button.addEventListener('dragover', (event) => event.preventDefault());
  button.addEventListener('drop', (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  return element('span', { class: 'file-button' }, button, input);
}

/** A brush for a mask over an image: a canvas of `side` squares that is painted with the pointer. */
export function maskBrush(side, changed) {
  const canvas = element('canvas', { class: 'mask', width: side, height: side, 'aria-label': 'Mask: paint where' });
  const cells = new Uint8Array(side * side);
  const context = canvas.getContext('2d');
  let on = false;
  let radius = side / 12;
  const show = () => {
    const image = context.createImageData(side, side);
    for (let i = 0; i < cells.length; i++) image.data.set([255, 80, 60, cells[i] ? 110 : 0], 4 * i);
    context.putImageData(image, 0, 0);
  };
  const stroke = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
    for (let v = 0; v < side; v++) {
      for (let u = 0; u < side; u++) {
        if ((u + 0.5 - x) ** 2 + (v + 0.5 - y) ** 2 <= radius ** 2) cells[v * side + u] = event.shiftKey ? 0 : 1;
      }
    }
    show();
  };
  canvas.addEventListener('pointerdown', (event) => {
    on = true;
    canvas.setPointerCapture(event.pointerId);
    stroke(event);
  });
  canvas.addEventListener('pointermove', (event) => on && stroke(event));
  canvas.addEventListener('pointerup', () => {
    on = false;
    changed();
  });
  return {
    canvas,
    clear: () => (cells.fill(0), show(), changed()),
    invert: () => (cells.forEach((cell, i) => (cells[i] = 1 - cell)), show(), changed()),
    size: (share) => (radius = side * share),
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
}
