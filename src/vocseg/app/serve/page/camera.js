// The camera: its stream, and frames of it.

const video = document.getElementById("video");
let facing = "environment";

export function isOpen() {
  return video.srcObject !== null;
}

/** Open a camera; throws an Error whose message says in words why not. */
export async function open() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("The browser gives a camera only to pages of this computer (localhost) or with https.");
  }
  try {
    const wanted = { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 960 } };
    const stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    close(); // one that was opened in the meantime
    video.srcObject = stream;
  } catch (error) {
    throw new Error(REASONS[error.name] ?? `The camera cannot be used: ${error.message}`);
  }
  await video.play();
}

const REASONS = {
  NotAllowedError: "The browser does not let this page use the camera. Allow it in the address bar.",
  NotFoundError: "There is no camera.",
  NotReadableError: "The camera is used by another program.",
};

export function close() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

/** Open the camera of the other side. */
export async function turn() {
  facing = facing === "environment" ? "user" : "environment";
  close();
  await open();
}

/** How many cameras there are. */
export async function count() {
  return (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput").length;
}

/** Return the current frame as a canvas, its longer side at most `longest` pixels. */
export function grab(longest = Infinity) {
  const { videoWidth: width, videoHeight: height } = video;
  const scale = Math.min(1, longest / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Call `listener()` if the camera ends by itself. */
export function watchEnd(listener) {
  for (const track of video.srcObject.getVideoTracks()) track.onended = listener;
}
