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
