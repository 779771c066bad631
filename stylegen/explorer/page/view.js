// The image of the state: one request is under way at a time, and the newest state is the next.
import { paintReply } from './pixels.js';

const REST_MS = 120; // without a movement, before an image is drawn without loss

export class View {
  constructor(transport, model) {
    this.transport = transport;
    this.canvas = document.createElement('canvas');
    this.busy = false;
    this.wanted = null;
    this.onshown = () => {};
    this.onpainted = () => {};
    model.listen((state, moving) => this.show(state, moving));
  }

  /** Show a state as soon as the one under way is done. */
  show(state, moving) {
    this.wanted = { state, moving, since: performance.now() };
    clearTimeout(this.timer);
    if (moving) this.timer = setTimeout(() => this.show(state, false), REST_MS);
    if (!this.busy) this.next();
  }

  async next() {
    this.busy = true;
    while (this.wanted) {
      const { state, moving, since } = this.wanted;
      this.wanted = null;
      const reply = await this.transport.ask('image', { state, moving });
      if (reply === null) continue;
      await paintReply(this.canvas, reply);
      this.shown = state;
      this.onpainted();
      this.onshown({ state, ms: performance.now() - since });
    }
    this.busy = false;
  }
}
