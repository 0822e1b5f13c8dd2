// What the page tells: the status line, and the box of problems.

import { Refusal } from "./api.js";
import { byId, show } from "./page.js";

/** Say what is going on; a screen reader reads it when it is idle. */
export function say(text) {
  byId("status").textContent = text;
}

export function sayBusy(seconds) {
  say(`The server is busy; trying again in ${seconds} s …`);
}

/** Say what went wrong, with buttons for what may help: `again()`, a smaller copy. An empty text takes the box away. */
export function complain(text, { again = null, smaller = false } = {}) {
  show(byId("problem"), text !== "");
  byId("problem").querySelector("p").textContent = text;
  show(byId("again"), again !== null);
  byId("again").onclick = again;
  show(byId("smaller"), smaller);
  if (text) say("");
}

/** Say why an image could not be segmented; `again()` is offered if that may help. */
export function explain(error, name, again) {
  const status = error instanceof Refusal ? error.status : -1;
  const told = error.message.replace(/^cannot \w+ image upload: /, "").replace(/^upload\b/, "it");
  const text = status >= 400 && status !== 401 ? `Cannot segment ${name}: ${told}` : told;
  const mayHelp = [0, 401, 408, 429].includes(status) || status >= 500;
  complain(text.replace(/\.?$/, "."), { again: mayHelp ? again : null, smaller: status === 413 });
}
