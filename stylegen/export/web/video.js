// Frames to a WebM video: the browser's own encoder, and the container around what it gives.

const CODEC = { name: 'V_VP8', id: 'vp8' };
const MIN_SIDE = 256; // pixels: smaller images are enlarged by whole factors, for players and for the encoder
const KEYFRAMES = 30; // frames from one that stands by itself to the next

/** Encode `count` frames; `frame(i)` gives the ImageData of each, `progress(i)` hears of it.
 *  @returns a Blob, or null where the browser has no encoder for it */
export async function encodeVideo(count, rate, size, frame, progress) {
  const side = size * Math.max(1, Math.ceil(MIN_SIDE / size));
  const settings = { codec: CODEC.id, width: side, height: side, bitrate: 40 * side * side, framerate: rate };
  if (!globalThis.VideoEncoder || !(await VideoEncoder.isConfigSupported(settings)).supported) return null;
  const blocks = [];
  let failure = null;
  const encoder = new VideoEncoder({
    output: (chunk) => {
      const data = new Uint8Array(chunk.byteLength);
      chunk.copyTo(data);
      blocks.push({ data, key: chunk.type === 'key', time: Math.round(chunk.timestamp / 1000) });
    },
    error: (error) => { failure = error; },
  });
  encoder.configure(settings);
  const small = new OffscreenCanvas(size, size), large = new OffscreenCanvas(side, side), context = large.getContext('2d');
  context.imageSmoothingEnabled = false;
  for (let i = 0; i < count && !failure; i++) {
    small.getContext('2d').putImageData(await frame(i), 0, 0);
    context.fillStyle = 'white'; // behind transparent images
    context.fillRect(0, 0, side, side);
    context.drawImage(small, 0, 0, side, side);
    const picture = new VideoFrame(large, { timestamp: Math.round((i * 1e6) / rate) });
    encoder.encode(picture, { keyFrame: i % KEYFRAMES === 0 });
    picture.close();
    progress(i);
    while (encoder.encodeQueueSize > 8) await new Promise((resolve) => setTimeout(resolve));
  }
  if (!failure) await encoder.flush();
  if (failure) throw failure;
  return new Blob([webm(blocks, side, (count / rate) * 1000)], { type: 'video/webm' });
}

// The container, Matroska's EBML: an element is its identifier, its length and its content.

function element(id, content) {
  const body = content instanceof Uint8Array ? content : bytes(...content), { length } = body;
  const head = id > 0xffffff ? [id >>> 24, id >>> 16, id >>> 8, id] : id > 0xffff ? [id >>> 16, id >>> 8, id]
    : id > 0xff ? [id >>> 8, id] : [id];
  return bytes(Uint8Array.from(head), Uint8Array.of(0x10 | (length >>> 24), length >>> 16, length >>> 8, length), body);
}

function bytes(...parts) {
  const result = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  parts.reduce((at, part) => (result.set(part, at), at + part.length), 0);
  return result;
}

const whole = (id, value) => element(id, Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
const text = (id, value) => element(id, new TextEncoder().encode(value));

function float(id, value) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return element(id, new Uint8Array(view.buffer));
}

function webm(blocks, side, duration) {
  const header = element(0x1a45dfa3, [
    whole(0x4286, 1), whole(0x42f7, 1), whole(0x42f2, 4), whole(0x42f3, 8), text(0x4282, 'webm'), whole(0x4287, 2), whole(0x4285, 2),
  ]);
  const info = element(0x1549a966, [
    whole(0x2ad7b1, 1000000), float(0x4489, duration), text(0x4d80, 'stylegen'), text(0x5741, 'stylegen'),
  ]);
  const size = element(0xe0, [whole(0xb0, side), whole(0xba, side)]);
  const track = element(0xae, [whole(0xd7, 1), whole(0x73c5, 1), whole(0x83, 1), text(0x86, CODEC.name), size]);
  const clusters = [];
  for (const block of blocks) {
    if (block.key) clusters.push({ time: block.time, parts: [whole(0xe7, block.time)] });
    const { time, parts } = clusters.at(-1), since = block.time - time;
    const head = Uint8Array.of(0x81, since >>> 8, since, block.key ? 0x80 : 0);
    parts.push(element(0xa3, [head, block.data]));
  }
  const content = [info, element(0x1654ae6b, [track]), ...clusters.map(({ parts }) => element(0x1f43b675, parts))];
  return bytes(header, element(0x18538067, content));
}
