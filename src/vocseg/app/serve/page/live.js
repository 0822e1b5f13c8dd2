// The camera's buttons: take a picture, or show masks of what it sees.

import * as camera from "./camera.js";
import { complain, explain, say } from "./messages.js";
import { byId, jpeg, show } from "./page.js";
import { begin, predict, segment, setShown, showAnswer } from "./segment.js";
import * as stage from "./stage.js";

const SIDE = 640; // longer side of a frame of live masks

let isLive = false;

async function start(open = camera.open) {
  begin();
  mark(false);
  complain("");
  enable(false); // a camera that is opening has no picture yet
  try {
    await open();
  } catch (error) {
    enable(true);
    if (error.name === "AbortError") return; // an image has come in the meantime
    end();
    return complain(error.message);
  }
  enable(true);
  camera.watchEnd(() => {
    stop();
    complain("The camera was switched off.");
  });
  begin(); // an image may have come in the meantime
  bar(true);
  show(byId("progress"), false);
  show(byId("result"), false);
  stage.showVideo();
  show(byId("turn"), (await camera.count()) > 1);
  byId("shoot").focus();
  say("The camera is on. Its image stays in this browser until you take a picture or switch on live masks.");
}

/** Switch the camera off; the last frame of live masks stays. */
export function stop() {
  if (camera.isOpen()) end();
}

function end() {
  const hadFocus = byId("shooting").contains(document.activeElement);
  begin();
  mark(false);
  camera.close();
  bar(false);
  if (!byId("video").hidden) stage.clear();
  if (hadFocus) byId("camera").focus();
  say("The camera is off.");
}

function enable(on) {
  for (const id of ["camera", "shoot", "live", "turn", "stop"]) byId(id).disabled = !on;
}

function bar(isOpen) {
  show(byId("shooting"), isOpen);
  show(byId("camera"), !isOpen);
  show(byId("choose"), !isOpen);
}

function mark(on) {
  isLive = on;
  byId("live").setAttribute("aria-pressed", String(on));
  byId("rate").textContent = "";
}

async function shoot() {
  const blob = await jpeg(camera.grab());
  stop();
  await segment(blob, `camera-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.jpg`);
}

/** Segment frames one after another; what the camera sees meanwhile is skipped. */
async function live() {
  if (isLive) {
    begin();
    mark(false);
    show(byId("result"), false);
    stage.showVideo();
    say("Live masks are off.");
    return;
  }
  const { signal } = begin();
  mark(true);
  say("Live masks are on.");
  try {
    let last = performance.now(), mean = 0;
    while (!signal.aborted) {
      await new Promise(requestAnimationFrame); // none comes while the tab is hidden
      await step(signal);
      const now = performance.now();
      mean += (now - last - mean) * (mean ? 0.2 : 1);
      last = now;
      byId("rate").textContent = `${(1000 / mean).toFixed(1)} masks a second`;
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    mark(false);
    explain(error, "the camera’s image", live);
  }
}

async function step(signal) {
  const frame = camera.grab(SIDE);
  const blob = await jpeg(frame, 0.85);
  const answer = await predict(blob, signal);
  signal.throwIfAborted();
  stage.showPhoto(frame, frame.width, frame.height);
  showAnswer(answer, frame, true);
  setShown(blob, "camera.jpg");
  byId("facts").textContent = `${frame.width} × ${frame.height} pixels. Network ${Math.round(answer.time_ms.network ?? 0)} ms.`;
}

export function listen() {
  byId("camera").onclick = () => start();
  byId("turn").onclick = () => start(camera.turn);
  byId("shoot").onclick = shoot;
  byId("live").onclick = live;
  byId("stop").onclick = stop;
}
