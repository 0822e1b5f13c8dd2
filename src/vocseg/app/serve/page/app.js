// The page: ways for an image to come in, the controls of the view, downloads.

import { ask } from "./api.js";
import * as classes from "./classes.js";
import { drawable } from "./decode.js";
import * as live from "./live.js";
import { complain, explain, say } from "./messages.js";
import { byId, save, show, stem } from "./page.js";
import { post, segment, sendSmaller, setLimits, shown } from "./segment.js";
import * as stage from "./stage.js";

// ---- images

async function take(files) {
  if (!files.length) return;
  const [file] = files;
  live.stop();
  await segment(file, file.name || "pasted.png");
  if (files.length > 1) say(`${byId("status").textContent} One image at a time: the first of ${files.length} is shown.`);
}

async function takeSample(name) {
  live.stop();
  try {
    await segment(await (await ask(`samples/${name}`)).blob(), name);
  } catch (error) {
    explain(error, name, () => takeSample(name));
  }
}

function listenForFiles() {
  byId("choose").onclick = byId("empty").onclick = () => byId("file").click();
  byId("file").onchange = async ({ target }) => {
    const files = [...target.files];
    target.value = ""; // so that the same file can be chosen again
    await take(files);
  };
  for (const button of byId("samples").querySelectorAll("button")) button.onclick = () => takeSample(button.dataset.name);
  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input")) return;
    if (event.clipboardData.files.length) take([...event.clipboardData.files]);
    else complain("The clipboard holds no image.");
  });
  byId("smaller").onclick = sendSmaller;
}

function listenForDrops() {
  let inside = 0; // dragenter and dragleave come for every element
  const mark = (count) => {
    inside = count;
    document.body.classList.toggle("dropping", inside > 0);
  };
  document.addEventListener("dragenter", () => mark(inside + 1));
  document.addEventListener("dragleave", () => mark(inside - 1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(0);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
    else complain("What was dropped is not a file. Save the image first, or copy and paste it.");
  });
}

// ---- view and downloads

function listenForView() {
  const repaint = () => stage.setAlpha(classes.alpha);
  const setOpacity = () => {
    const { value } = byId("opacity");
    byId("opacity-value").textContent = `${value} %`;
    stage.setOpacity(value / 100);
  };
  classes.watch(repaint);
  stage.watchClass(classes.mark);
  byId("opacity").oninput = setOpacity;
  byId("compare").onchange = ({ target }) => stage.compare(target.checked);
  byId("all").onclick = () => classes.setAll(true);
  byId("none").onclick = () => classes.setAll(false);
  for (const button of byId("downloads").querySelectorAll("button")) button.onclick = () => download(button.dataset.format);
  repaint();
  setOpacity();
  stage.compare(byId("compare").checked); // some browsers keep it when the page is loaded again
}

const ENDINGS = { mask: ".png", overlay: "-overlay.png", cutout: "-cutout.png", coco: ".coco.json", labelme: ".json" };

async function download(format) {
  const { blob, name } = shown();
  const file = stem(name) + ENDINGS[format];
  say(`Preparing ${file} …`);
  try {
    // The overlay is what is on the screen, at the image's size; all else is the server's.
    const content = format === "overlay" ? stage.composed(await drawable(blob)) : (await post(blob, { format, name })).blob();
    save(await content, file);
    say(`${file} is saved.`);
  } catch (error) {
    explain(error, name, () => download(format));
  }
}

// ---- the model

async function describeModel() {
  try {
    tell(await (await ask("v1/model")).json());
  } catch (error) {
    const again = () => {
      complain("");
      describeModel();
    };
    complain(error.message, { again });
  }
}

function tell(model) {
  const names = model.classes.map(({ name }) => name);
  const objects = names.filter((name) => !classes.isBackground(name));
  const known = `${objects.length} ${objects.length === 1 ? "class" : "classes"}${objects.length < names.length ? " and background" : ""}`;
  setLimits(model.limits);
  byId("model").textContent = model.name;
  byId("known").textContent = `It knows ${known}. Anything else becomes background, or what it resembles.`;
  byId("names").querySelector("summary").textContent = `The ${known}`;
  byId("names").querySelector("p").textContent = names.join(", ");
  show(byId("names"), true);
  for (const line of document.querySelectorAll(".bundled")) show(line, model.name === "vocseg-s");
}

listenForFiles();
listenForDrops();
listenForView();
live.listen();
describeModel();
