// The image with its mask: opacity, before and after, and the name of the class under the pointer.

import { show } from "./page.js";

const LONGEST = 2048; // pixels of a side of the canvases; larger images are drawn smaller, ids stay exact
const TINY = 256; // pixels of a side below which pixels are shown as squares
const STEP = 0.02; // of the image's side, for an arrow key

const [stage, empty, frame, view, photo, overlay, video, divider, tip, probe] =
  ["stage", "empty", "frame", "view", "photo", "overlay", "video", "divider", "tip", "probe"].map((id) => document.getElementById(id));
const spoken = document.querySelector("#spoken");
let mask = null;
let pointer = null; // where the pointer is, as shares of width and height
let point = { x: 0.5, y: 0.5 }; // where the arrow keys are
let alpha = () => 1;
let onClass = () => {};

/** Show an image (anything that a canvas draws), without a mask. */
export function showPhoto(image, width, height) {
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  for (const canvas of [photo, overlay]) {
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
  }
  photo.getContext("2d").drawImage(image, 0, 0, photo.width, photo.height);
  mask = null;
  fit(width, height);
  show(video, false);
  show(empty, false);
  show(frame, true);
  name();
}

/** Show the camera's own image. */
export function showVideo() {
  mask = null;
  for (const canvas of [photo, overlay]) canvas.width = canvas.height = 1;
  fit(video.videoWidth, video.videoHeight);
  show(video, true);
  show(empty, false);
  show(frame, true);
  name();
}

/** Show nothing. */
export function clear() {
  mask = null;
  show(frame, false);
  show(empty, true);
}

function fit(width, height) {
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.setProperty("--ratio", width / height);
  frame.classList.toggle("tiny", Math.max(width, height) < TINY);
}

/** Show a mask over the image. `label`: what a screen reader says of it. */
export function showMask(next, label) {
  mask = next;
  view.setAttribute("aria-label", label);
  paint();
  name();
}

/** Set the opacity of each class, 0 to 1, by a function of its entry in the answer. */
export function setAlpha(next) {
  alpha = next;
  paint();
}

function paint() {
  if (mask) mask.paint(overlay, alpha);
}

export function setOpacity(share) {
  overlay.style.opacity = share;
}

/** Call `listener(found)` with the class under the pointer, or null. */
export function watchClass(listener) {
  onClass = listener;
}

/** Switch the slider between the image before (left) and after (right). */
export function compare(on) {
  for (const element of [divider, ...frame.querySelectorAll(".before, .after")]) show(element, on);
  clip();
}

function clip() {
  overlay.style.clipPath = divider.hidden ? "" : `inset(0 0 0 ${divider.value}%)`;
}

/** Return a PNG file of what is shown, at the size of the image; `image` may be null. */
export function composed(image) {
  const { width, height } = mask;
  const canvas = new OffscreenCanvas(width, height), layer = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (image) context.drawImage(image, 0, 0, width, height);
  mask.paint(layer, alpha);
  context.globalAlpha = Number(overlay.style.opacity);
  const left = divider.hidden ? 0 : Math.round((width * divider.value) / 100);
  if (left < width) context.drawImage(layer, left, 0, width - left, height, left, 0, width - left, height);
  return canvas.convertToBlob({ type: "image/png" });
}

/** Show the name of the class under the pointer, or at the point of the arrow keys. */
function name() {
  const place = pointer ?? (document.activeElement === view && !probe.hidden ? point : null);
  const found = place && mask ? mask.at(place.x * mask.width, place.y * mask.height) : null;
  show(tip, Boolean(found));
  onClass(found ?? null);
  if (!found) return null;
  tip.querySelector(".swatch").style.background = found.color;
  tip.lastElementChild.textContent = found.name;
  tip.style.left = `${place.x * 100}%`;
  tip.style.top = `${place.y * 100}%`;
  tip.classList.toggle("left", place.x > 0.55);
  tip.classList.toggle("above", place.y > 0.8);
  return found;
}

function follow(event) {
  const box = view.getBoundingClientRect();
  pointer = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  show(probe, false);
  name();
}

function leave() {
  pointer = null;
  name();
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function walk(event) {
  const step = ARROWS[event.key];
  if (!step || !mask) return;
  event.preventDefault();
  const far = event.shiftKey ? 5 * STEP : STEP;
  const inside = (value) => Math.min(0.999, Math.max(0, value));
  point = { x: inside(point.x + step[0] * far), y: inside(point.y + step[1] * far) };
  pointer = null;
  probe.style.left = `${point.x * 100}%`;
  probe.style.top = `${point.y * 100}%`;
  show(probe, true);
  const found = name();
  if (found && spoken.textContent !== found.name) spoken.textContent = found.name;
}

view.addEventListener("pointermove", follow);
view.addEventListener("pointerdown", follow);
view.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
view.addEventListener("keydown", walk);
view.addEventListener("blur", () => {
  show(probe, false);
  leave();
});
divider.addEventListener("input", clip);
stage.addEventListener("dragstart", (event) => event.preventDefault());
