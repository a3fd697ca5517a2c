"use strict";
const report = JSON.parse(document.getElementById("data").textContent);
const words = {
  exact: "the same bytes", copy: "a copy", subclip: "the left one lies within the right one",
  intro: "the same intro", credits: "the same credits", overlap: "a shared stretch",
  same_file: "one file under two names", other_colours: "the same thing in other colours",
  same_place: "the same place, with something else in it", same_form: "the same form or page with other content",
  another_view: "the same thing, seen from elsewhere", undecided: "could not be decided",
};
const ways = { letterbox: "with bars or a border", crop: "cropped", mirrored: "mirrored", turned: "turned", overlay: "with something laid over it" };

function el(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

function side(id, start) {
  const item = report.items[id];
  const medium = item.kind === "video"
    ? el("video", { controls: true, muted: true, preload: "metadata", playsInline: true })
    : el("img", { alt: item.name, loading: "lazy" });
  medium.src = report.sources[id] + (item.kind === "video" ? `#t=${start.toFixed(2)}` : "");
  const facts = `${item.width} x ${item.height}, ${(item.size_bytes / 1e6).toFixed(2)} MB`
    + (item.kind === "video" ? `, ${clock(item.duration_seconds)}` : "");
  return [medium, el("div", {}, medium, el("p", { className: "name", title: item.uri }, item.name),
    el("p", { className: "quiet" }, facts))];
}

// Whichever player was touched last leads; the other one follows: the same moment of the shared stretch, at its speed.
function lock(players, segment) {
  const speeds = [1, segment.speed];
  const starts = [segment.query_start_seconds, segment.start_seconds];
  let lead = 0;
  const there = () => starts[1 - lead]
    + (players[lead].currentTime - starts[lead]) * speeds[1 - lead] / speeds[lead];
  const follow = () => {
    const follower = players[1 - lead];
    if (Math.abs(follower.currentTime - there()) > 0.15) follower.currentTime = Math.max(0, there());
  };
  players.forEach((player, i) => {
    const leading = (work) => () => { if (i === lead) work(players[1 - i]); };
    player.onpointerdown = player.onfocus = player.onkeydown = () => { lead = i; };
    player.onplay = leading((other) => { follow(); other.play().catch(() => {}); });
    player.onpause = leading((other) => { other.pause(); follow(); });
    player.onseeking = player.onseeked = player.ontimeupdate = leading(follow);
    player.onratechange = leading((other) => { other.playbackRate = player.playbackRate * speeds[1 - i] / speeds[i]; });
  });
  players[1].playbackRate = speeds[1] * players[0].playbackRate;
}

function pairBox(pair) {
  const first = pair.segments[0] ?? { query_start_seconds: 0, start_seconds: 0, speed: 1 };
  const [left, leftBox] = side(pair.a, first.query_start_seconds);
  const [right, rightBox] = side(pair.b, first.start_seconds);
  const turn = (segment) => right.classList.toggle("flipped", segment.mirrored || pair.variant === "mirrored");
  turn(first);
  const isVideo = left.tagName === "VIDEO" && right.tagName === "VIDEO";
  const go = (segment) => {
    turn(segment);
    lock([left, right], segment);
    left.currentTime = segment.query_start_seconds;
  };
  if (isVideo) lock([left, right], first);
  const acts = el("div", {});
  if (isVideo) for (const segment of pair.segments.length ? pair.segments : [{ ...first, whole: true }]) {
    const speed = segment.speed === 1 ? "" : `, ${segment.speed.toFixed(2)} times as fast`;
    const here = `${clock(segment.query_start_seconds)}–${clock(segment.query_end_seconds)}`;
    const there = `${clock(segment.start_seconds)}–${clock(segment.end_seconds)}`;
    const text = segment.whole ? "Play both" : `${here} = ${there}${speed}`;
    acts.append(el("button", { onclick: () => { go(segment); left.play().catch(() => {}); } }, text));
  }
  const box = el("section", { className: "pair" });
  if (report.dismiss_url) {
    acts.append(el("button", { onclick: (event) => dismiss(pair, box, event.target) }, "Not a duplicate"));
  }
  const way = pair.variant && ways[pair.variant] ? `, ${ways[pair.variant]}` : "";
  box.append(el("p", {}, `${words[pair.kind]}${way}`), el("div", { className: "sides" }, leftBox, rightBox), acts);
  return box;
}

// Says that the pair is none; the same button takes it back.
async function dismiss(pair, box, button) {
  const isGone = box.classList.contains("gone");
  const body = JSON.stringify({ a: pair.a, b: pair.b });
  const headers = { "content-type": "application/json" };
  const told = isGone
    ? fetch(`${report.dismiss_url}?${new URLSearchParams({ a: pair.a, b: pair.b })}`, { method: "DELETE" })
    : fetch(report.dismiss_url, { method: "POST", headers, body });
  const answer = await told.catch(() => null);
  if (!answer?.ok) button.textContent = "The server did not take it; try again";
  else button.textContent = box.classList.toggle("gone") ? "Dismissed; undo" : "Not a duplicate";
}

const main = document.getElementById("main");
report.groups.forEach((group, i) => main.append(
  el("h2", {}, `Group ${i + 1}: ${group.items.length} items`),
  el("p", {}, `Best: ${report.items[group.best].name} (${group.reason})`), ...group.pairs.map(pairBox)));
if (report.shared.length) main.append(el("h2", {}, "Shared, but no duplicates"), ...report.shared.map(pairBox));
document.getElementById("summary").textContent =
  `${report.groups.length} groups of duplicates, ${report.shared.length} pairs that are no duplicates, `
  + `in “${report.collection}”.`
  + (report.dismissed_pairs ? ` ${report.dismissed_pairs} dismissed pairs are left out.` : "")
  + (report.unseen_pairs ? ` ${report.unseen_pairs} pairs could not be looked at.` : "");
