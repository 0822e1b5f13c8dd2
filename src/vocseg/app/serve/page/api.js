// Requests to the server that this page comes from: token, waiting while it is busy, errors in words.

const TRIES = 6;
const KEY = "vocseg-token";
let token = sessionStorage.getItem(KEY) ?? "";
let asking = null;

/** An answer that is an error, with its HTTP status; 0 if there was none. */
export class Refusal extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/**
 * Return the answer to a request. `onWait(seconds)` is called each second while the server is busy (429, 503).
 * Throws Refusal, and AbortError when `signal` aborts.
 */
export async function ask(path, { signal, onWait = () => {}, ...options } = {}) {
  let busy = 0;
  for (;;) {
    const sent = token;
    const response = await send(path, { ...options, signal });
    if (response.ok) return response;
    const seconds = Number(response.headers.get("Retry-After"));
    if ([429, 503].includes(response.status) && seconds > 0 && ++busy < TRIES) {
      await wait(seconds, signal, onWait);
    } else if (response.status === 401) {
      if (token === sent) await (asking ??= askForToken(sent !== "").finally(() => (asking = null)));
      signal?.throwIfAborted();
    } else {
      throw new Refusal(await message(response), response.status);
    }
  }
}

async function send(path, options) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const why = navigator.onLine ? "It may have been stopped." : "This computer is offline.";
    throw new Refusal(`The server does not answer. ${why}`);
  }
}

async function message(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `the server answered with status ${response.status}`;
  }
}

async function wait(seconds, signal, onWait) {
  for (let left = Math.ceil(seconds); left > 0; left--) {
    onWait(left);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    signal?.throwIfAborted();
  }
}

/** Show the field for the token, and resolve when one was given. */
function askForToken(wrong) {
  const dialog = document.querySelector("#token");
  const field = dialog.querySelector("input");
  dialog.querySelector(".wrong").textContent = wrong ? "The server does not accept this token." : "";
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.querySelector("#token-cancel").onclick = () => dialog.close();
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      dialog.close("given");
    };
    dialog.onclose = () => {
      if (dialog.returnValue !== "given") return reject(new Refusal("This server needs a token.", 401));
      token = field.value.trim();
      sessionStorage.setItem(KEY, token);
      field.value = "";
      resolve();
    };
  });
}
