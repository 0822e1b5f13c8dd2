// One image: send it, show its mask. One request of the page is in flight at most, downloads aside.

import { ask } from "./api.js";
import * as classes from "./classes.js";
import { drawable } from "./decode.js";
import { Mask } from "./mask.js";
import { complain, explain, say, sayBusy } from "./messages.js";
import { byId, jpeg, megabytes, percent, show, stem } from "./page.js";
import * as stage from "./stage.js";

const READ = "JPEG, PNG, WebP, GIF, BMP and TIFF are read";
const SMALLER = 4e6; // pixels of the copy of an image that is too large

let current = null; // { blob, name } of the image that is shown
let request = null; // AbortController of the request in flight
let limits = null; // of /v1/model

export function setLimits(next) {
  limits = next;
}

/** The image that is shown: { blob, name }. */
export function shown() {
  return current;
}

export function setShown(blob, name) {
  current = { blob, name };
}

/** Cancel the request in flight, and return the AbortController of the next one. */
export function begin() {
  request?.abort();
  return (request = new AbortController());
}

/** Send an image to /v1/predict; returns the server's answer. */
export function post(blob, query, options = {}) {
  const headers = { "Content-Type": blob.type || "application/octet-stream" };
  return ask(`v1/predict?${new URLSearchParams(query)}`, { method: "POST", body: blob, headers, onWait: sayBusy, ...options });
}

/** Ask for the class of every pixel. */
export async function predict(blob, signal) {
  return (await post(blob, { polygons: "rle" }, { signal })).json();
}

/** Show an image and its mask. */
export async function segment(blob, name) {
  const { signal } = begin();
  setShown(blob, name);
  complain("");
  show(byId("result"), false);
  show(byId("progress"), false);
  if (!check(blob, name)) return stage.clear();
  say(`Segmenting ${name} …`);
  show(byId("progress"), true);
  try {
    const bitmap = await drawable(blob);
    if (bitmap && !signal.aborted) stage.showPhoto(bitmap, bitmap.width, bitmap.height);
    else if (!bitmap) stage.clear();
    const start = performance.now();
    const answer = await predict(blob, signal);
    showAnswer(answer, bitmap);
    describe(answer, name, performance.now() - start);
    bitmap?.close();
  } catch (error) {
    if (error.name !== "AbortError") explain(error, name, () => segment(blob, name));
  } finally {
    if (!signal.aborted) show(byId("progress"), false);
  }
}

/** Whether an image may be sent; says why not. */
function check(blob, name) {
  if (blob.type && !blob.type.startsWith("image/")) {
    complain(`${name} is not an image (${blob.type}); ${READ}.`);
  } else if (blob.size === 0) {
    complain(`${name} is empty.`);
  } else if (limits && blob.size > limits.max_bytes) {
    complain(`${name} has ${megabytes(blob.size)}; the server takes at most ${megabytes(limits.max_bytes)}.`, { smaller: true });
  } else {
    return true;
  }
  return false;
}

/** Show an answer over its image. `steady`: rows of classes stay where they are from frame to frame. */
export function showAnswer(answer, image, steady = false) {
  const [height, width] = answer.size;
  const notes = [...answer.notes];
  if (!image || image.width !== width || image.height !== height) {
    notes.push("This browser does not show the file as the server reads it, so the mask is shown without it.");
    stage.showPhoto(new OffscreenCanvas(width, height), width, height);
  }
  const found = answer.classes.map(({ name, share }) => `${name} ${percent(share)}`).join(", ");
  stage.showMask(new Mask(answer), `Image with mask: ${found}. The arrow keys name the class at a point.`);
  classes.fill(answer.classes, steady);
  byId("notes").replaceChildren(...notes.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  show(byId("result"), true);
}

function describe(answer, name, elapsed) {
  const [height, width] = answer.size;
  const objects = answer.classes.filter((found) => !classes.isBackground(found.name));
  const found = objects.map((one) => `${one.name} ${percent(one.share)}`).join(", ") || "nothing but background";
  say(`${name}: ${found}.`);
  const times = `Network ${Math.round(answer.time_ms.network ?? 0)} ms, whole answer ${Math.round(elapsed)} ms.`;
  byId("facts").textContent = `${width} × ${height} pixels. ${times}`;
}

/** Send a copy of the current image that is small enough for the server. */
export async function sendSmaller() {
  const { blob, name } = current;
  const bitmap = await drawable(blob);
  if (!bitmap) return complain(`This browser cannot decode ${name}; make it smaller with another program.`);
  const most = Math.min(limits?.max_pixels ?? SMALLER, SMALLER);
  const longest = limits?.max_side ?? Infinity;
  const scale = Math.min(1, Math.sqrt(most / (bitmap.width * bitmap.height)), longest / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.floor(bitmap.width * scale)), Math.max(1, Math.floor(bitmap.height * scale)));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  await segment(await jpeg(canvas), `${stem(name)}-small.jpg`);
}
