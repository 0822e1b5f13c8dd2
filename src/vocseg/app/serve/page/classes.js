// The list of classes in the image: areas as bars, and a switch for each.

import { byId, percent } from "./page.js";

const BACKGROUND = ["background", "_background_", "__background__"]; // as vocseg.voc.BACKGROUND_NAMES
const FADED = 0.2;

const list = byId("classes");
const rows = new Map(); // by name
const states = new Map(); // whether a class is shown, by name; kept from image to image
let spotlight = null;
let onChange = () => {};

export function isBackground(name) {
  return BACKGROUND.includes(name.toLowerCase());
}

/** Whether a class is shown; a background is not, until somebody switches it on. */
function isShown(name) {
  return states.get(name) ?? !isBackground(name);
}

/** Opacity of a class, 0 to 1: that of the others is low while one is pointed at in the list. */
export function alpha({ name }) {
  if (spotlight !== null && spotlight !== name) return isShown(name) ? FADED : 0;
  return isShown(name) || spotlight === name ? 1 : 0;
}

/** Call `listener()` when a class is switched or pointed at. */
export function watch(listener) {
  onChange = listener;
}

/** List the classes of an answer. `steady`: by id, so that rows stay where they are from frame to frame. */
export function fill(found, steady = false) {
  const sorted = steady ? [...found].sort((one, other) => one.id - other.id) : found;
  const wanted = sorted.map((entry) => {
    const row = rows.get(entry.name) ?? make(entry);
    row.querySelector("output").textContent = percent(entry.share);
    row.querySelector(".fill").style.width = `${entry.share * 100}%`;
    return row;
  });
  const focused = document.activeElement;
  if (wanted.length !== list.children.length || wanted.some((row, index) => row !== list.children[index])) {
    list.replaceChildren(...wanted);
    if (list.contains(focused)) focused.focus();
  }
}

/** Mark the row of the class under the pointer. */
export function mark(found) {
  for (const [name, row] of rows) row.classList.toggle("marked", name === found?.name);
}

/** Show or hide every class in the list. */
export function setAll(shown) {
  for (const [name, row] of rows) {
    if (!row.isConnected) continue;
    states.set(name, shown);
    row.querySelector("input").checked = shown;
  }
  onChange();
}

function make({ name, color }) {
  const row = document.createElement("li");
  row.innerHTML =
    '<label><input type="checkbox"><i class="swatch"></i><span class="name"></span><output></output></label><div class="track"><div class="fill"></div></div>';
  const box = row.querySelector("input");
  row.querySelector(".name").textContent = name;
  row.querySelector(".swatch").style.background = color;
  row.querySelector(".fill").style.background = color;
  box.checked = isShown(name);
  box.addEventListener("change", () => {
    states.set(name, box.checked);
    onChange();
  });
  const point = (next) => {
    spotlight = next;
    onChange();
  };
  row.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && point(name));
  row.addEventListener("pointerleave", () => spotlight !== null && point(null));
  rows.set(name, row);
  return row;
}
