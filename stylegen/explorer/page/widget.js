// The page in a notebook: messages go through the widget's comm.
import { mount } from './app.js';
import { Transport } from './transport.js';

class Comm extends Transport {
  constructor(model) {
    super();
    this.model = model;
    this.uploads = new Map();
    this.lastUpload = 0;
    this.listen = (content, buffers) => {
      if (content.type === 'uploaded') {
        const { done, failed } = this.uploads.get(content.id) ?? {};
        this.uploads.delete(content.id);
        if (content.message) failed?.(new Error(content.message));
        else done?.(content);
        return;
      }
      const parts = buffers.map((buffer) => new Uint8Array(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, buffer.byteLength));
      this.receive({ ...content, parts });
    };
  }

  open() {
    this.model.on('msg:custom', this.listen);
    this.onopen();
  }

  close() {
    this.model.off('msg:custom', this.listen);
    this.abandon();
  }

  post(message) {
    this.model.send(message);
    return true;
  }

  async upload(file) {
    const id = ++this.lastUpload;
    const data = await file.arrayBuffer();
    return new Promise((done, failed) => {
      this.uploads.set(id, { done, failed });
      this.model.send({ type: 'upload', id }, undefined, [data]);
    });
  }
}

export function render({ model, el }) {
  const transport = new Comm(model);
  let told = JSON.stringify(model.get('state'));
  const app = mount(el, transport, {
    address: false,
    state: model.get('state'),
    onstate: (state) => {
      told = JSON.stringify(state);
      model.set('state', state);
      model.save_changes();
    },
  });
  const changed = () => {
    if (JSON.stringify(model.get('state')) !== told) app.model.replace(model.get('state'));
  };
  model.on('change:state', changed);
  return () => {
    model.off('change:state', changed);
    transport.close();
  };
}
