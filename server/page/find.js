// The Find view: a file (or an item of the library) goes in, the places where it was seen come out.

import { api, collectionPath, ofKind } from "./api.js";
import { $, bar, clock, counted, el, span } from "./dom.js";
import { play } from "./player.js";
import { why } from "./why.js";

const LIMIT = 24;
const LEAST_SURE = 0.5; // confidence of a segment that is shown as the same footage
const FIRST_PART_SECONDS = 60; // of a long clip that is searched without being asked

let page;
let query = null; // {file} or {item, seconds}
let wished = {}; // what the last search was told beside the query
let asked = {}; // the wish of the search that is answered on the page
let cursor = null; // of the answer's next page
let running = null; // AbortController of the search under way
let address = null; // object URL of the preview

export const findView = {
  prepare(thePage) {
    page = thePage;
    $("query-choose").onclick = () => $("query-file").click();
    $("query-file").onchange = (event) => {
      const files = [...event.target.files];
      event.target.value = "";
      if (files.length) page.attempt(() => this.take(files));
    };
    $("query-again").onclick = clear;
    $("query-part").onsubmit = (event) => {
      event.preventDefault();
      page.attempt(() => search(part()));
    };
    $("hits-more").onclick = () => page.attempt(more);
    $("query-kind").onchange = () => page.attempt(() => search(wished));
    $("query-frame").onclick = () => {
      const video = $("query-preview").firstElementChild;
      page.attempt(() => search({ target: "frame", start_seconds: video.currentTime }));
    };
  },

  // Another collection: the same question again, if there is one.
  changed() {
    if (query?.item) clear();
    else empty();
  },

  async shown() {
    invite();
    if (query && !running && !$("hits").childElementCount) await search(part());
  },

  async take([file]) {
    page.quiet();
    query = { file };
    preview(file.name, URL.createObjectURL(file), file.type);
    await search(await firstPart());
  },
};

// Searches for what looks like an item; seconds: the moment of a video, or null for the whole.
export async function findSimilar(item, seconds = null) {
  query = { item, seconds };
  page.quiet();
  page.go("find");
  const at = seconds === null ? "" : `?seconds=${seconds.toFixed(3)}`;
  preview(seconds === null ? item.name : `${item.name} at ${clock(seconds)}`, `${item.thumbnail_url}${at}`, "image/jpeg");
  await page.attempt(() => search(seconds === null ? {} : { target: "frame", start_seconds: seconds }));
}

function clear() {
  running?.abort();
  query = null;
  $("query").hidden = true;
  $("query-preview").replaceChildren();
  empty();
  page.quiet();
  invite();
  $("query-choose").focus();
}

function invite() {
  const empty = page.collection.items === 0;
  $("query-zone").hidden = query !== null;
  $("welcome").hidden = !empty;
  const name = page.collection.name;
  $("index-command").textContent = name === "default" ? "vicmae index FOLDER" : `vicmae index FOLDER -c ${name}`;
}

function preview(name, url, type) {
  if (address) URL.revokeObjectURL(address);
  address = url.startsWith("blob:") ? url : null;
  const isVideo = type.startsWith("video/");
  const medium = isVideo
    ? el("video", { controls: true, muted: true, playsInline: true, preload: "auto" })
    : el("img", { alt: "What you are looking for", draggable: false });
  medium.onerror = () => {
    $("query-part").hidden = true;
    medium.replaceWith(el("p", { class: "quiet" }, "This browser cannot show the file, the server may well read it."));
  };
  medium.src = url;
  $("query-preview").replaceChildren(medium);
  $("query-name").textContent = name;
  $("query-part").hidden = !isVideo;
  $("query-start").value = $("query-end").value = "";
  $("query").hidden = false;
  $("query-zone").hidden = true;
}

// A clip is searched whole, a long one by its first minute: {start_seconds, end_seconds} as far as known.
async function firstPart() {
  const video = $("query-preview").firstElementChild;
  if (video?.tagName !== "VIDEO") return {};
  await new Promise((resolve) => {
    video.addEventListener("loadedmetadata", resolve, { once: true });
    video.addEventListener("error", resolve, { once: true });
    if (video.readyState) resolve();
  });
  if (!Number.isFinite(video.duration)) return {};
  $("query-start").value = "0";
  $("query-end").value = Math.min(video.duration, FIRST_PART_SECONDS).toFixed(1);
  return video.duration > FIRST_PART_SECONDS ? part() : {};
}

function part() {
  if (query?.item) return query.seconds === null ? {} : { target: "frame", start_seconds: query.seconds };
  const wish = {};
  if ($("query-start").value !== "") wish.start_seconds = Number($("query-start").value);
  if ($("query-end").value !== "") wish.end_seconds = Number($("query-end").value);
  return wish;
}

function empty() {
  cursor = null;
  $("hits").replaceChildren();
  $("hits-more").hidden = true;
}

async function search(wish) {
  wished = wish;
  page.quiet();
  empty();
  $("query-state").textContent = "Looking…";
  try {
    const answer = await answered(wish, {});
    asked = { ...wish, target: answer.plan.target };
    showHits(answer);
  } catch (error) {
    if (error.name !== "AbortError") $("query-state").textContent = "Nothing was searched.";
    throw error;
  }
}

// The next page of the answer that is shown, as the collection was when its first page was made.
async function more() {
  page.quiet();
  $("hits-more").disabled = true;
  try {
    const before = $("hits").childElementCount;
    append(await answered(wished, { cursor }));
    $("query-state").textContent = `${counted($("hits").childElementCount, "item", "items")}, best first`;
    $("hits").children[before]?.querySelector("button")?.focus();
  } finally {
    $("hits-more").disabled = false;
  }
}

// What the server answers to the query, told `wish` and `turn`; whatever is still running is given up.
async function answered(wish, turn) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const filter = ofKind($("query-kind").value);
  let body = { item: query.item?.id, limit: LIMIT, filter, ...wish, ...turn };
  if (query.file) {
    body = new FormData();
    body.append("limit", LIMIT);
    if (filter) body.append("filter", JSON.stringify(filter));
    for (const [name, value] of Object.entries({ ...wish, ...turn })) body.append(name, value);
    body.append("file", query.file);
  }
  try {
    return await api("POST", collectionPath(page.collection.name, "/search"), body, signal);
  } finally {
    if (running?.signal === signal) running = null;
  }
}

function showHits(answer) {
  const { data, timing, plan } = answer;
  const took = (Object.values(timing).reduce((sum, part) => sum + part, 0) / 1000).toFixed(2);
  const what = plan.target === "clip" ? "clip" : "picture";
  $("query-state").textContent = data.length
    ? `${verdict(answer, what)} (${took} s)`
    : "Nothing to compare with: the collection holds nothing else.";
  if (plan.note) $("query-state").textContent += `. ${plan.note}`;
  append(answer);
}

// Whether any of the hits is what was looked for; where nothing was looked at, only how many there are.
function verdict({ found, data }, what) {
  if (found === false) return `Not found: nothing that was looked at is this ${what}. These look alike`;
  const same = data.filter((hit) => hit.confidence !== null && hit.confidence >= 0.5).length;
  if (!found || !same) return `${counted(data.length, "item", "items")} most like this ${what}, best first`;
  const others = same < data.length ? ". The others only look alike" : "";
  return `Found in ${counted(same, "item", "items")}${others}`;
}

function append({ data, plan, next_cursor }) {
  cursor = next_cursor;
  $("hits").append(...data.map((hit) => card(hit, plan.target === "clip")));
  $("hits-more").hidden = cursor === null;
}

function card(hit, isClip) {
  const open = (moments) => page.attempt(() => play(page.collection.name, hit.id, moments, findSimilar));
  const [first, ...others] = momentsOf(hit);
  const isVideo = hit.kind === "video";
  const label = isVideo ? `Play ${hit.name} from ${clock(hit.start_seconds)}` : `Show ${hit.name}`;
  return el("li", { class: "card" },
    el("button", { type: "button", class: "shot", "aria-label": label, onclick: () => open([first, ...others]) },
      el("img", { src: hit.thumbnail_url, alt: "", loading: "lazy", draggable: false }),
      isVideo ? el("span", { class: "stamp" }, span(hit.start_seconds, hit.end_seconds)) : null,
    ),
    el("div", { class: "card-words" },
      el("p", { class: "card-name", title: hit.name }, hit.name),
      score(hit),
      isClip && isVideo ? alignment(hit, open) : null,
      !isClip && others.length
        ? el("div", { class: "chips" }, el("span", { class: "quiet" }, "also at"),
          ...others.map((moment) =>
            el("button", { type: "button", onclick: () => open([moment, first, ...others.filter((o) => o !== moment)]) },
              clock(moment.start_seconds))))
        : null,
      el("div", { class: "card-acts" },
        el("button", {
          type: "button", class: "plain",
          onclick: () => findSimilar(thumbnailed(hit), isVideo ? hit.start_seconds : null),
        }, "Find similar"),
        page.explains
          ? el("button", { type: "button", class: "plain", onclick: () => page.attempt(() => explained(hit)) }, "Why?")
          : null),
    ),
  );
}

// How sure it is; of a model that was never calibrated, only how alike.
function score(hit) {
  const alike = `alike by ${hit.score.toFixed(3)}`;
  if (hit.confidence === null) return el("div", { class: "score" }, el("span", {}, alike));
  return el("div", { class: "score", title: `The chance that this is where it was seen; ${alike}` },
    bar(hit.confidence), el("span", {}, `${Math.round(100 * hit.confidence)} % sure${seen(hit)}`));
}

// Whether pictures of both were looked at, and are the same.
function seen(hit) {
  if (hit.verified === null) return "";
  if (!hit.verified) return ", not the same";
  return hit.mirrored ? ", verified, mirrored" : ", verified";
}

// Compares the frames that match best: those with which a stretch begins, or the one picture with its moment.
function explained(hit) {
  const seconds = asked.target === "clip" ? hit.segments[0].query_start_seconds : asked.start_seconds ?? 0;
  return why(page.collection.name, query, seconds, hit, hit.start_seconds);
}

// From when to when of the clip is from when to when of the video; how fast it runs, and whether it is mirrored.
function alignment(hit, open) {
  const sure = hit.segments.filter((segment) => segment.confidence === null || segment.confidence >= LEAST_SURE);
  if (!sure.length) return el("p", { class: "quiet" }, "Alike, but probably not the same footage");
  return el("ul", { class: "alignment", "aria-label": "Which part of the clip is which part of the video" },
    ...sure.map((segment) => {
      const times = `${span(segment.query_start_seconds, segment.query_end_seconds)} of the clip = `
        + span(segment.start_seconds, segment.end_seconds);
      const ways = [
        segment.speed === 1 ? null : `runs ${segment.speed.toFixed(2)} times as fast`,
        segment.mirrored ? "mirrored" : null,
        segment.inset ? "within the picture" : null,
      ].filter(Boolean).join(", ");
      return el("li", {},
        el("button", { type: "button", class: "plain", onclick: () => open([segment]) }, times),
        ways ? el("span", { class: "quiet" }, ` ${ways}`) : null);
    }));
}

// The moments of a hit in a video, the best one first.
function momentsOf(hit) {
  const best = { start_seconds: hit.start_seconds, end_seconds: hit.end_seconds };
  const apart = (segment) => Math.abs(segment.start_seconds - hit.start_seconds) > 0.25
    && !(segment.start_seconds <= hit.start_seconds && hit.start_seconds < segment.end_seconds);
  return hit.kind === "video" ? [best, ...hit.segments.filter(apart)] : [best];
}

function thumbnailed(hit) {
  return { ...hit, thumbnail_url: hit.thumbnail_url.split("?")[0] };
}
