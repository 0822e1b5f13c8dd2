// Small helpers of the page.

export const byId = (id) => document.getElementById(id);

export function show(element, visible) {
  element.hidden = !visible;
}

/** Format a share, 0 to 1, as percent. */
export function percent(share) {
  return share > 0 && share < 0.001 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`;
}

/** Format a number of bytes. */
export function megabytes(bytes) {
  return `${Number((bytes / 1e6).toPrecision(bytes < 1e5 ? 1 : 3))} MB`;
}

/** Return the name of a file without its suffix. */
export function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "image";
}

/** Return an OffscreenCanvas as a JPEG file. */
export function jpeg(canvas, quality = 0.95) {
  return canvas.convertToBlob({ type: "image/jpeg", quality });
}

/** Offer a file for download. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
