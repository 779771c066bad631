// Images of replies on canvases.

/** Image `i` of a reply, to be painted: raw numbers of 1 to 4 channels, or a file that the browser decodes. */
export function pixelsOf(reply, i = 0) {
  const bytes = reply.parts[i];
  if (reply.coding !== 'raw') return createImageBitmap(new Blob([bytes], { type: `image/${reply.coding}` }));
  const [height, width, channels] = reply.shape;
  const data = new Uint8ClampedArray(4 * height * width);
  const hasAlpha = channels % 2 === 0;
  const colors = channels - hasAlpha;
  for (let p = 0; p < height * width; p++) {
    for (let c = 0; c < 3; c++) data[4 * p + c] = bytes[channels * p + (colors === 1 ? 0 : c)];
    data[4 * p + 3] = hasAlpha ? bytes[channels * p + colors] : 255;
  }
  return new ImageData(data, width, height);
}

/** Paint on a canvas, which takes the image's size. */
export function paint(canvas, pixels) {
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  const context = canvas.getContext('2d');
  if (pixels instanceof ImageData) context.putImageData(pixels, 0, 0);
  else context.drawImage(pixels, 0, 0);
}

/** Paint a reply's image, unless a later one has been painted meanwhile. */
export async function paintReply(canvas, reply, i = 0) {
  const order = (canvas.asked = (canvas.asked ?? 0) + 1);
  const pixels = await pixelsOf(reply, i);
  if ((canvas.painted ?? 0) < order) {
    canvas.painted = order;
    paint(canvas, pixels);
  }
}

const CURVE_COLORS = ['#4a7fd6', '#d6614a', '#3f9a63', '#9a5fc0', '#b08a2e', '#3a9aa8', '#c0507f'];

/** Draw curves {name: [[x, y], ...]} with their ranges and names. */
export function plot(canvas, curves, { logarithmic = false } = {}) {
  const scale = window.devicePixelRatio || 1;
  const width = (canvas.width = Math.max(1, canvas.clientWidth * scale));
  const height = (canvas.height = Math.max(1, canvas.clientHeight * scale));
  const context = canvas.getContext('2d');
  const text = getComputedStyle(canvas).color;
  const value = (y) => (logarithmic ? Math.log10(Math.max(y, 1e-9)) : y);
  const names = Object.keys(curves).filter((name) => curves[name].length);
  const points = names.flatMap((name) => curves[name].filter(([, y]) => y !== null));
  if (!points.length) return;
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => value(y));
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const pad = 16 * scale;
  const place = ([x, y]) => [
    pad + ((x - left) / (right - left || 1)) * (width - 2 * pad),
    height - pad - ((value(y) - low) / (high - low || 1)) * (height - 3 * pad),
  ];
  context.font = `${11 * scale}px system-ui, sans-serif`;
  context.lineWidth = 1.5 * scale;
  let at = pad;
  names.forEach((name, i) => {
    context.strokeStyle = context.fillStyle = CURVE_COLORS[i % CURVE_COLORS.length];
    context.beginPath();
    for (const point of curves[name]) if (point[1] !== null) context.lineTo(...place(point));
    context.stroke();
    context.fillText(name, at, 12 * scale);
    at += context.measureText(name).width + 12 * scale;
  });
  context.fillStyle = text;
  const shown = (y) => (logarithmic ? 10 ** y : y).toPrecision(3);
  context.fillText(shown(high), 2 * scale, 2 * pad);
  context.fillText(shown(low), 2 * scale, height - pad);
  context.textAlign = 'right';
  context.fillText(String(right), width - 2 * scale, height - 3 * scale);
}
