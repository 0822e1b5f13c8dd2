// A mask: the class id of every pixel, from COCO's run lengths, so that no id is guessed from a color.

const NOTHING = 255;

/** Unpack run lengths from COCO's string (rleFrString in maskApi.c). */
export function unpack(text) {
  const counts = [];
  for (let place = 0; place < text.length; ) {
    let value = 0, shift = 0, bits;
    do {
      bits = text.charCodeAt(place++) - 48;
      value |= (bits & 0x1f) << shift;
      shift += 5;
    } while (bits & 0x20);
    if (bits & 0x10) value |= -1 << shift;
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  return counts;
}

export class Mask {
  /** `answer`: of /v1/predict?polygons=rle. Ids are kept column by column, as run lengths are, to be filled fast. */
  constructor(answer) {
    [this.height, this.width] = answer.size;
    this.classes = answer.classes;
    this.ids = new Uint8Array(this.height * this.width).fill(NOTHING);
    for (const { id, counts } of answer.rle) {
      let place = 0, inside = false;
      for (const count of unpack(counts)) {
        if (inside) this.ids.fill(id, place, place + count);
        place += count;
        inside = !inside;
      }
    }
    this.small = null;
  }

  /** Return the class of a pixel: its entry in the answer's `classes`. */
  at(x, y) {
    const id = this.ids[clamp(x, this.width) * this.height + clamp(y, this.height)];
    return this.classes.find((found) => found.id === id);
  }

  /** Return the ids at the size of a canvas, row by row. */
  sampled(width, height) {
    if (this.small?.width === width && this.small.height === height) return this.small.ids;
    const ids = new Uint8Array(width * height);
    for (let x = 0; x < width; x++) {
      const column = Math.floor(((x + 0.5) * this.width) / width) * this.height;
      for (let y = 0; y < height; y++) {
        ids[y * width + x] = this.ids[column + Math.floor(((y + 0.5) * this.height) / height)];
      }
    }
    this.small = { width, height, ids };
    return ids;
  }

  /**
   * Paint the mask over a canvas, with outlines. `alpha(found)`: opacity of a class, 0 to 1; an outline has the larger
   * one of its two sides.
   */
  paint(canvas, alpha) {
    const { width, height } = canvas;
    const ids = this.sampled(width, height);
    const colors = new Uint32Array(256), alphas = new Uint8Array(256);
    for (const found of this.classes) {
      alphas[found.id] = Math.round(255 * alpha(found));
      colors[found.id] = packed(found.color, alphas[found.id]);
    }
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const out = new Uint32Array(image.data.buffer);
    const line = Math.max(1, Math.round(Math.max(width, height) / 700));
    for (let y = 0, place = 0; y < height; y++) {
      const below = y + line < height ? line * width : 0;
      for (let x = 0; x < width; x++, place++) {
        const id = ids[place];
        const right = ids[x + line < width ? place + line : place], under = ids[place + below];
        const edge = right !== id ? right : under;
        out[place] = edge === id ? colors[id] : (Math.max(alphas[id], alphas[edge]) << 24) | 0xffffff;
      }
    }
    context.putImageData(image, 0, 0);
  }
}

function clamp(value, size) {
  return Math.min(size - 1, Math.max(0, Math.floor(value)));
}

/** Return a color "#rrggbb" as a pixel of a canvas: alpha, blue, green, red from the highest byte. */
function packed(color, alpha) {
  const rgb = parseInt(color.slice(1), 16);
  return ((alpha << 24) | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}
