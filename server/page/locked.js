// The dialog that plays two items side by side, locked where they show the same: one leads, the other follows.

import { $, clock, el, span } from "./dom.js";

const APART_SECONDS = 0.15; // a follower further off than this is put right
const STILL_EVERY_MS = 250;

let sides = []; // two of {item, medium}; medium is a video, or an image of what this browser cannot play
let stretch = null; // the shared stretch that locks them: as a segment of the report
let lead = 0; // 0 or 1: which side leads
let drawn = [0, 0]; // when each side's still was last asked for, in ms

// items: two of the report's; segments: the stretches they share, perhaps none; begin with the first one
export function compare(items, segments, words) {
  const whole = {
    query_start_seconds: 0, query_end_seconds: items[0].duration_seconds,
    start_seconds: 0, end_seconds: items[1].duration_seconds, speed: 1, mirrored: false,
  };
  const stretches = segments.length ? segments : [whole];
  [stretch] = stretches;
  $("compare-words").textContent = words;
  sides = items.map((item, i) => ({ item, medium: item.kind === "video" ? video(item, i) : picture(item) }));
  sides.forEach((side, i) => {
    $(`compare-${i}`).replaceChildren(side.medium, el("figcaption", { title: side.item.uri }, side.item.name));
    $(`compare-lead-${i}`).nextElementSibling.textContent = side.item.name;
  });
  const isVideo = items.every((item) => item.kind === "video");
  $("compare-controls").hidden = !isVideo;
  $("compare-stretches").hidden = !isVideo;
  $("compare-stretches").replaceChildren(...stretches.map((each) => el("button", {
    type: "button", onclick: () => lock(each),
  }, `${span(each.query_start_seconds, each.query_end_seconds)} = ${span(each.start_seconds, each.end_seconds)}`)));
  const dialog = $("compare");
  dialog.onclose = stop;
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  dialog.showModal();
  leads(0);
  lock(stretch);
}

export function prepareCompare() {
  $("compare-close").onclick = () => $("compare").close();
  $("compare-play").onclick = () => (leader().paused ? leader().play().catch(() => {}) : leader().pause());
  $("compare-seek").oninput = () => seek(Number($("compare-seek").value));
  for (const side of [0, 1]) $(`compare-lead-${side}`).onchange = () => leads(side);
}

function stop() {
  for (const { medium } of sides) {
    medium.onerror = null;
    medium.pause?.();
    medium.removeAttribute("src");
    medium.load?.();
  }
  sides = [];
  for (const side of [0, 1]) $(`compare-${side}`).replaceChildren();
}

function leader() {
  return sides[lead].medium;
}

// The second of one side at which it shows what the other one shows at `seconds`.
function across(from, seconds) {
  const { query_start_seconds: here, start_seconds: there, speed } = stretch;
  const found = from === 0 ? there + (seconds - here) * speed : here + (seconds - there) / speed;
  return Math.min(Math.max(0, found), sides[1 - from].item.duration_seconds);
}

function beginOf(side) {
  return side === 0 ? stretch.query_start_seconds : stretch.start_seconds;
}

function lock(each) {
  stretch = each;
  sides[1].medium.classList.toggle("mirrored", each.mirrored);
  leads(lead);
  seek(beginOf(lead));
}

function leads(side) {
  const playing = sides.some(({ medium }) => medium.paused === false);
  lead = side;
  $(`compare-lead-${side}`).checked = true;
  sides.forEach(({ medium }, i) => {
    if (medium.tagName !== "VIDEO") return;
    medium.controls = i === lead;
    medium.playbackRate = (i === 0 ? 1 : stretch.speed) / (lead === 0 ? 1 : stretch.speed);
  });
  const seek = $("compare-seek");
  seek.min = beginOf(lead);
  seek.max = lead === 0 ? stretch.query_end_seconds : stretch.end_seconds;
  if (playing) leader().play?.().catch(() => {});
  $("compare-play").disabled = leader().tagName !== "VIDEO";
  told();
}

function seek(seconds) {
  if (leader().tagName === "VIDEO") leader().currentTime = seconds;
  else draw(lead, seconds);
  told(seconds);
  follow(seconds);
}

// Puts the follower where the leader is.
function follow(seconds = leader().currentTime) {
  const { medium } = sides[1 - lead];
  const wanted = across(lead, seconds);
  if (medium.tagName !== "VIDEO") draw(1 - lead, wanted);
  else if (Math.abs(medium.currentTime - wanted) > APART_SECONDS) medium.currentTime = wanted;
}

function told(seconds = leader().currentTime ?? beginOf(lead)) {
  $("compare-seek").value = seconds;
  const times = lead === 0 ? [seconds, across(0, seconds)] : [across(1, seconds), seconds];
  $("compare-seek").setAttribute("aria-valuetext", times.map(clock).join(" and "));
  $("compare-time").textContent = times.map(clock).join(" = ");
  $("compare-play").textContent = leader().paused === false ? "Pause both" : "Play both";
}

function video(item, side) {
  const medium = el("video", { muted: true, playsInline: true, preload: "auto", "aria-label": item.name });
  const whenLeading = (work) => () => sides[lead]?.medium === medium && work();
  const other = () => sides[1 - lead].medium;
  medium.onplay = whenLeading(() => { follow(); other().play?.().catch(() => {}); told(); });
  medium.onpause = whenLeading(() => { other().pause?.(); follow(); told(); });
  medium.onseeking = medium.onseeked = medium.ontimeupdate = whenLeading(() => { follow(); told(); });
  medium.onratechange = whenLeading(() => {
    const mine = side === 0 ? 1 : stretch.speed;
    other().playbackRate = (medium.playbackRate * (side === 0 ? stretch.speed : 1)) / mine;
  });
  medium.onloadedmetadata = () => { medium.currentTime = side === lead ? beginOf(side) : across(lead, leader().currentTime ?? beginOf(lead)); };
  medium.onerror = () => unplayable(side);
  medium.src = item.media_url;
  return medium;
}

function picture(item) {
  const medium = el("img", { alt: item.name, draggable: false });
  medium.onerror = () => { medium.onerror = null; medium.src = `${item.thumbnail_url}?size=1280&exact=true`; };
  medium.src = item.media_url;
  return medium;
}

// The browser knows not every format the server knows: then the server draws the frames, and the other side leads.
function unplayable(side) {
  if (!sides[side]) return;
  const { item, medium } = sides[side];
  const still = el("img", { alt: `${item.name}, drawn by the server`, draggable: false });
  still.classList.toggle("mirrored", medium.classList.contains("mirrored"));
  medium.replaceWith(still);
  sides[side] = { item, medium: still };
  drawn[side] = 0;
  draw(side, beginOf(side));
  leads(sides[1 - side].medium.tagName === "VIDEO" ? 1 - side : side);
}

function draw(side, seconds) {
  const now = Date.now();
  if (now - drawn[side] < STILL_EVERY_MS) return;
  drawn[side] = now;
  sides[side].medium.src = `${sides[side].item.thumbnail_url}?seconds=${seconds.toFixed(2)}&size=640&exact=true`;
}
