// The whole page: a head with tabs, one live region, and a tab at a time.
import { element } from './dom.js';
import { dragTab } from './drag.js';
import { exploreTab } from './explore.js';
import { Model, fromAddress, toAddress } from './model.js';
import { pathTab } from './path.js';
import { photoTab } from './photo.js';
import { runTab } from './run.js';
import { styleTab } from './style.js';
import { View } from './view.js';

const TABS = {
  explore: ['Explore', exploreTab],
  path: ['Path', pathTab],
  photo: ['Own photo', photoTab],
  drag: ['Drag', dragTab],
  style: ['Style transfer', styleTab],
  run: ['Run', runTab],
};
const ADDRESS_MS = 200; // browsers allow some hundred changes of the address in half a minute

/**
 * Put the explorer into an element.
 * @param {HTMLElement} root
 * @param {Transport} transport that is not open yet
 * @param {{address: boolean, state?: object, onstate?: function}} options whether the address holds the state;
 *   else a state to begin with, and who is told of others
 */
export function mount(root, transport, options) {
  root.classList.add('stylegen-explorer');
  const name = element('span', { class: 'name' });
  const status = element('span', { class: 'status', role: 'status', 'aria-live': 'polite' });
  const tabs = element('div', { class: 'tabs', role: 'tablist', 'aria-label': 'What to do' });
  const loading = element('p', { class: 'loading' }, 'Loading the generator. The page is ready when it is there.');
  const panels = element('main', {}, loading);
  root.replaceChildren(element('header', {}, element('h1', {}, 'stylegen explorer'), name, tabs, status), panels);

  const model = new Model();
  const app = {
    root,
    transport,
    model,
    about: null,
    hasAddress: options.address,
    view: new View(transport, model),
    say: (text) => (status.textContent = text),
    open: (tab) => choose(tab),
  };
  root.app = app; // for benchmarks, and for the curious
  transport.onerror = (message) => app.say(message);

  const made = {};
  let chosen = null;

  function choose(tab) {
    if (!(tab in TABS) || (tab === 'run' && !app.about.run)) tab = 'explore';
    made[chosen]?.hide?.();
    chosen = tab;
    made[tab] ??= make(tab);
    for (const [key, { panel, button }] of Object.entries(made)) {
      panel.hidden = key !== tab;
      button.setAttribute('aria-selected', String(key === tab));
    }
    for (const button of tabs.children) {
      button.setAttribute('aria-selected', String(button.dataset.tab === tab));
      button.tabIndex = button.dataset.tab === tab ? 0 : -1;
    }
    made[tab].show?.();
    remember();
  }

  function make(tab) {
    const button = [...tabs.children].find((one) => one.dataset.tab === tab);
    const panel = element('section', { role: 'tabpanel', class: `panel panel-${tab}`, 'aria-label': TABS[tab][0] });
    panels.append(panel);
    return { panel, button, ...TABS[tab][1](app, panel) };
  }

  let timer;
  function remember() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (options.address) history.replaceState(null, '', toAddress(chosen, model.state));
      options.onstate?.(model.state);
    }, ADDRESS_MS);
  }

  model.listen(remember);
  const always = model.listeners.length; // those of tabs come after them
  tabs.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...tabs.children];
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus();
    choose(next.dataset.tab);
  });
  root.addEventListener('keydown', (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'z') return;
    if (event.target instanceof HTMLInputElement && event.target.type !== 'range') return;
    event.preventDefault();
    if (event.shiftKey) model.redo();
    else model.undo();
  });

  /** Begin anew with a generator: all tabs are made again. */
  function begin(about, tab, state) {
    app.about = about;
    loading.remove();
    name.textContent = about.name;
    for (const key of Object.keys(made)) {
      made[key].panel.remove();
      delete made[key];
    }
    model.listeners.length = always;
    app.view.onshown = () => {};
    tabs.replaceChildren();
    for (const [key, [title]] of Object.entries(TABS)) {
      if (key === 'run' && !about.run) continue;
      tabs.append(element('button', { role: 'tab', type: 'button', 'data-tab': key, onclick: () => choose(key) }, title));
    }
    chosen = null;
    choose(tab);
    model.load(state);
  }
  app.begin = (about) => begin(about, chosen, model.state);

  transport.onclose = () => app.say('The connection was lost; trying again.');
  transport.onopen = async () => {
    const about = await transport.ask('hello');
    if (about === null) return;
    const address = options.address ? fromAddress(location.hash) : null;
    app.say('');
    if (app.about === null) begin(about, address?.tab ?? 'explore', address?.state ?? options.state ?? {});
    else begin(about, chosen, model.state);
    root.dataset.ready = 'true';
  };
  if (options.address) {
    window.addEventListener('hashchange', () => {
      const address = fromAddress(location.hash);
      if (address === null || app.about === null) return;
      choose(address.tab);
      model.load(address.state);
    });
  }
  transport.open();
  return app;
}
