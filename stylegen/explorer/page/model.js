// The state of the page: the image that is shown, its history, and the address that holds it.

const KEPT = 100; // steps that can be undone

/** The state of the image, as the messages have it. Listeners get (state, moving). */
export class Model {
  constructor() {
    this.state = {};
    this.past = [];
    this.future = [];
    this.listeners = [];
    this.before = null; // the state before a movement that is under way
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  /** Change fields of the state. While something moves, nothing goes into the history. */
  change(fields, moving = false) {
    this.replace({ ...this.state, ...fields }, moving);
  }

  /** Another state altogether. */
  replace(state, moving = false) {
    this.before ??= this.state;
    this.state = tidied(state);
    if (!moving) {
      if (key(this.before) !== key(this.state)) {
        this.past = [...this.past.slice(1 - KEPT), this.before];
        this.future = [];
      }
      this.before = null;
    }
    this.tell(moving);
  }

  /** Take a state from an address or a file, without a step in the history. */
  load(state) {
    this.state = tidied(state);
    this.before = null;
    this.tell(false);
  }

  undo() {
    this.step(this.past, this.future);
  }

  redo() {
    this.step(this.future, this.past);
  }

  step(from, to) {
    if (!from.length) return;
    to.push(this.state);
    this.state = from.pop();
    this.tell(false);
  }

  tell(moving) {
    for (const listener of this.listeners) listener(this.state, moving);
  }
}

const DEFAULTS = { seed: 0, psi: 0.7, cutoff: null, label: null, ws: null, noise: 'const', noise_strength: 1 };

/** What differs from a new state: addresses are short. */
export function tidied(state) {
  const kept = {};
  for (const [name, value] of Object.entries(state)) {
    if (value === undefined || value === DEFAULTS[name]) continue;
    if (name === 'mix' || name === 'directions') {
      const entries = Object.entries(value).filter(([, x]) => name === 'mix' || x !== 0);
      if (entries.length) kept[name] = Object.fromEntries(entries);
    } else kept[name] = value;
  }
  return kept;
}

export const key = (state) => JSON.stringify(state, Object.keys({ ...state, ...state.mix, ...state.directions }).sort());

/** The value of a field, its default if it is not there. */
export const valueOf = (state, name) => state[name] ?? DEFAULTS[name];

/** Whether a state has styles that were found with one generator: no seed gives them in another one. */
export const hasOwnStyles = (state) =>
  Boolean(state.ws) || Object.values(state.mix ?? {}).some((source) => typeof source === 'string');

/** A state in words, for labels. */
export function described(state) {
  const base = state.ws ? 'own styles' : `seed ${valueOf(state, 'seed')}`;
  const more = [state.mix && 'mixed', state.directions && 'moved'].filter(Boolean);
  return [base, ...more].join(', ');
}

/** The tab and the state of an address; null where there is none, or it is no address of ours. */
export function fromAddress(hash) {
  const [tab, text] = hash.replace(/^#/, '').split('/');
  try {
    const state = text ? JSON.parse(decodeURIComponent(text)) : {};
    return tab && state && typeof state === 'object' && !Array.isArray(state) ? { tab, state } : null;
  } catch {
    return null;
  }
}

export const toAddress = (tab, state) => `#${tab}/${encodeURIComponent(JSON.stringify(state))}`;
