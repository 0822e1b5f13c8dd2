// Image files as bitmaps, upright as the server reads them.

const ORIENTATION = 0x0112;
const HEAD = 12; // bytes of "RIFF", a length, and "WEBP"

// What brings a bitmap of w x h pixels upright, by EXIF orientation: a, b, c, d, e, f of a canvas's transform.
const TURNS = {
  2: (w) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w) => [0, -1, 1, 0, 0, w],
};

/** Return an image as a bitmap; null if this browser cannot decode it (TIFF, HEIC). */
export async function drawable(blob) {
  try {
    // Browsers turn JPEG and PNG, but not WebP.
    const turn = TURNS[await orientationOfWebp(blob).catch(() => undefined)];
    if (!turn) return await createImageBitmap(blob);
    const bitmap = await createImageBitmap(blob, { imageOrientation: "none" });
    const [a, b, c, d, e, f] = turn(bitmap.width, bitmap.height);
    const canvas = a ? new OffscreenCanvas(bitmap.width, bitmap.height) : new OffscreenCanvas(bitmap.height, bitmap.width);
    const context = canvas.getContext("2d");
    context.setTransform(a, b, c, d, e, f);
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return canvas.transferToImageBitmap();
  } catch {
    return null;
  }
}

/** Return the EXIF orientation of a WebP file; undefined if it has none, or for another file. */
async function orientationOfWebp(blob) {
  const head = new DataView(await blob.slice(0, HEAD).arrayBuffer());
  if (head.byteLength < HEAD || name(head, 0) !== "RIFF" || name(head, 8) !== "WEBP") return undefined;
  for (let place = HEAD; place + 8 <= blob.size; ) {
    const chunk = new DataView(await blob.slice(place, place + 8).arrayBuffer());
    const length = chunk.getUint32(4, true);
    if (name(chunk, 0) === "EXIF") return orientationIn(await blob.slice(place + 8, place + 8 + length).arrayBuffer());
    place += 8 + length + (length % 2);
  }
  return undefined;
}

/** Return the orientation in EXIF data, which are a TIFF file of tags. */
function orientationIn(buffer) {
  const whole = new DataView(buffer);
  const data = new DataView(buffer, name(whole, 0) === "Exif" ? 6 : 0);
  const little = name(data, 0).startsWith("II");
  const table = data.getUint32(4, little);
  for (let row = 0, rows = data.getUint16(table, little); row < rows; row++) {
    const place = table + 2 + 12 * row;
    if (data.getUint16(place, little) === ORIENTATION) return data.getUint16(place + 8, little);
  }
  return undefined;
}

function name(view, place) {
  return String.fromCharCode(...[0, 1, 2, 3].map((step) => view.getUint8(place + step)));
}
