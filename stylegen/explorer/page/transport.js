// Messages to the generator and its replies. Of questions of one type only the newest is answered.

/** A reply's frame: four bytes with the header's length, the header as JSON, and its parts. */
export function decodeFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const reply = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  reply.parts = reply.sizes.map((size) => {
    const part = new Uint8Array(buffer, at, size);
    at += size;
    return part;
  });
  return reply;
}

/** What all ways of talking to the generator share; `post(message)` sends, and says whether it could. */
export class Transport {
  constructor() {
    this.lastId = 0;
    this.asked = new Map(); // by type: the question that waits for its answer
    this.jobs = new Map(); // by id: who listens to a job's replies
    this.onerror = () => {};
    this.onopen = () => {};
    this.onclose = () => {};
  }

  /** Ask, and get the reply; null if a newer question of the type was asked, or an error came back. */
  ask(type, fields = {}) {
    const id = ++this.lastId;
    this.asked.get(type)?.resolve(null);
    return new Promise((resolve) => {
      this.asked.set(type, { id, resolve });
      if (!this.post({ type, id, ...fields })) resolve(null);
    });
  }

  /** Begin a job; `listen(reply)` gets each of its replies, an error too. */
  begin(type, fields, listen) {
    const id = ++this.lastId;
    this.jobs.clear();
    this.jobs.set(id, listen);
    if (!this.post({ type, id, ...fields })) this.abandon();
  }

  stop() {
    this.post({ type: 'stop' });
  }

  receive(reply) {
    if (reply.type === 'error') this.onerror(reply.message);
    const job = this.jobs.get(reply.id);
    if (job) return job(reply);
    for (const [type, question] of this.asked) {
      if (question.id === reply.id) {
        this.asked.delete(type);
        question.resolve(reply.type === 'error' ? null : reply);
      }
    }
  }

  /** The connection is gone: nothing that waits will be answered. */
  abandon() {
    for (const question of this.asked.values()) question.resolve(null);
    this.asked.clear();
    for (const listen of this.jobs.values()) listen({ type: 'error', message: 'The connection was lost.' });
    this.jobs.clear();
  }
}

const RETRY_MS = 2000;

/** Messages over a WebSocket, which is opened again when it is lost. */
export class Socket extends Transport {
  open() {
    const socket = (this.socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/messages`));
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.onopen();
    socket.onmessage = (event) => this.receive(decodeFrame(event.data));
    socket.onclose = () => {
      this.abandon();
      this.onclose();
      setTimeout(() => this.open(), RETRY_MS);
    };
  }

  post(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  async upload(file) {
    const response = await fetch('upload', { method: 'POST', body: file });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.message);
    return answer;
  }
}
