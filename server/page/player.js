// The dialog that shows one item: a video from the second that was found, or a picture, large.

import { api, collectionPath } from "./api.js";
import { $, bytes, clock, el, span } from "./dom.js";

let stop = () => {};

// moments: [{start_seconds, end_seconds}], the first one is where to begin. onSimilar(item, seconds or null)
export async function play(collection, itemId, moments, onSimilar) {
  const item = await api("GET", collectionPath(collection, `/items/${encodeURIComponent(itemId)}`));
  const begin = moments[0]?.start_seconds ?? 0;
  $("player-name").textContent = item.name;
  $("player-note").hidden = true;
  $("player-original").href = item.media_url;
  const medium = item.mime.startsWith("video/") ? videoOf(item, begin) : pictureOf(item, begin);
  $("player-stage").replaceChildren(medium);
  showMoments(item, medium, moments);
  showFacts(item);
  $("player-similar").onclick = () => {
    const playing = $("player-stage").firstElementChild;
    close();
    onSimilar(item, playing.tagName === "VIDEO" ? playing.currentTime : item.kind === "video" ? begin : null);
  };
  $("player-close").onclick = close;
  const dialog = $("player");
  dialog.onclose = () => stop();
  dialog.onclick = (event) => { if (event.target === dialog) close(); };
  dialog.showModal();
}

function close() {
  $("player").close();
}

function videoOf(item, begin) {
  const video = el("video", { controls: true, playsInline: true, preload: "auto" });
  video.addEventListener("loadedmetadata", () => { video.currentTime = begin; }, { once: true });
  video.addEventListener("seeked", () => video.play().catch(() => {}), { once: true });
  video.addEventListener("error", () => still(item, begin,
    `This browser cannot play the file; the frame at ${clock(begin)} is shown instead.`), { once: true });
  video.src = item.media_url;
  stop = () => {
    video.pause();
    video.removeAttribute("src");
    video.load();
    $("player-stage").replaceChildren();
  };
  return video;
}

function pictureOf(item, begin) {
  const image = el("img", { alt: item.name, draggable: false });
  image.addEventListener("error", () => still(item, begin,
    "This browser cannot show the file itself; a converted picture is shown instead."), { once: true });
  image.src = item.media_url;
  stop = () => $("player-stage").replaceChildren();
  return image;
}

// The browser knows not every format the server knows: then the server draws the frame.
function still(item, second, note) {
  if (!$("player").open) return;
  const image = el("img", { alt: `${item.name} at ${clock(second)}`, draggable: false });
  image.src = `${item.thumbnail_url}?seconds=${second.toFixed(3)}&size=1280&exact=true`;
  $("player-stage").replaceChildren(image);
  $("player-note").textContent = note;
  $("player-note").hidden = false;
}

function showMoments(item, medium, moments) {
  const jump = (second) => {
    if (medium.isConnected && medium.tagName === "VIDEO") {
      medium.currentTime = second;
      medium.play().catch(() => {});
    } else still(item, second, `The frame at ${clock(second)}.`);
  };
  const chips = moments.map(({ start_seconds, end_seconds }) =>
    el("button", { type: "button", onclick: () => jump(start_seconds) }, span(start_seconds, end_seconds)),
  );
  $("player-moments").hidden = item.kind !== "video" || !chips.length;
  $("player-moments").replaceChildren(el("span", { class: "quiet" }, "Moments:"), ...chips);
}

function showFacts(item) {
  const facts = {
    Size: `${item.width} × ${item.height}, ${bytes(item.size_bytes)}`,
    Length: item.kind === "video" ? clock(item.duration_seconds) : null,
    Source: item.uri.startsWith("upload:") ? "uploaded" : item.uri,
    ...item.metadata,
  };
  const rows = Object.entries(facts).filter(([, value]) => value !== null);
  $("player-facts").replaceChildren(
    ...rows.flatMap(([name, value]) => [
      el("dt", {}, name),
      el("dd", {}, typeof value === "string" ? value : JSON.stringify(value)),
    ]),
  );
}
