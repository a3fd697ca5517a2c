// The Duplicates view: starts the search for copies, shows how far it is, and what it found, pair by pair.

import { api, collectionPath } from "./api.js";
import { $, bar, bytes, clock, counted, el, span } from "./dom.js";
import { findView } from "./find.js";
import { compare, prepareCompare } from "./locked.js";

const LOOK_EVERY_MS = 600;
const AT_ONCE = 30; // groups, and other pairs, drawn at a time
const STAGES = { candidates: "Looking for candidates", align: "Comparing times", look: "Comparing pictures" };
const WAYS = {
  same: "encoded again", letterbox: "with bars or a border", crop: "cropped", mirrored: "mirrored", turned: "turned",
  overlay: "with something laid over it",
};
const SHARES = { intro: "the same intro", credits: "the same credits", overlap: "a stretch in common" };
const ALIKE = {
  same_file: "One file under two names", other_colours: "The same thing in other colours: no copy",
  same_place: "The same place, with something else in it: no copy", same_form: "The same form or page with other content: no copy",
  another_view: "The same thing, seen from elsewhere: no copy", undecided: "Could not be decided: the files would be needed to tell",
};

let page;
let watched = null; // the job that is looked after
let timer = null;
let report = null;
let dismissed = new Map(); // "a b" -> the pair, as the server remembers it

export const duplicatesView = {
  prepare(thePage) {
    page = thePage;
    prepareCompare();
    $("duplicates-start").onclick = () => page.attempt(start);
    $("duplicates-cancel").onclick = () => page.attempt(cancel);
  },

  changed() {
    clearTimeout(timer);
    report = watched = timer = null;
    for (const list of ["groups", "shared", "dismissed"]) $(list).replaceChildren();
    draw();
  },

  // The search under way, or else what the newest one found.
  async shown() {
    const { data } = await api("GET", here());
    const [newest] = data;
    if (newest && (newest.state === "queued" || newest.state === "running")) watch(newest);
    const done = data.find((job) => job.state === "succeeded");
    if (done && !(watched && report)) await read(done);
    else if (!done) await readDismissed();
    draw();
  },

  // A file dropped here is looked for.
  async take(files) {
    page.go("find");
    await findView.take(files);
  },
};

function here(rest = "") {
  return collectionPath(page.collection.name, `/duplicates${rest}`);
}

async function start() {
  page.quiet();
  watch((await api("POST", here())).job);
}

// That it has ended is noticed as every end is.
async function cancel() {
  await api("DELETE", `/v1/jobs/${watched.id}`);
}

function watch(job) {
  watched = job;
  draw();
  clearTimeout(timer);
  timer = setTimeout(() => page.attempt(() => look(job.id)), LOOK_EVERY_MS);
}

async function look(id) {
  const job = await api("GET", `/v1/jobs/${id}`);
  if (watched?.id !== id) return;
  if (job.state === "queued" || job.state === "running") {
    watch(job);
    return;
  }
  watched = null;
  if (job.state === "succeeded") await read(job);
  draw();
  if (job.error) $("duplicates-state").textContent = job.error;
}

async function read(job) {
  const name = page.collection.name;
  const [found] = await Promise.all([api("GET", job.result_url), readDismissed()]);
  if (page.collection.name !== name) return;
  report = { ...found, at: job.updated_at };
  fill($("groups"), report.groups, group);
  fill($("shared"), report.shared, pairCard);
}

async function readDismissed() {
  const { data } = await api("GET", here("/dismiss"));
  dismissed = new Map(data.map((pair) => [key(pair.a.id, pair.b.id), pair]));
  $("dismissed").replaceChildren(...data.map(dismissedRow));
}

function key(a, b) {
  return [a, b].sort().join(" ");
}

function draw() {
  const { done = 0, total = 0 } = watched?.progress ?? {};
  $("duplicates-start").disabled = watched !== null;
  $("duplicates-cancel").hidden = watched === null;
  $("duplicates-bar").replaceChildren(...(watched ? [bar(total ? done / total : 0)] : []));
  $("shared-box").hidden = !report?.shared.length;
  $("dismissed-box").hidden = dismissed.size === 0;
  $("dismissed-count").textContent = `${counted(dismissed.size, "pair", "pairs")} you said are no duplicates`;
  $("duplicates-state").textContent = watched
    ? watched.state === "queued" ? "Waiting for its turn" : working(done, total)
    : report ? summary() : "Finds copies: encoded again, cropped, mirrored, framed by bars, or a clip within a film. Nothing is deleted.";
}

function working(done, total) {
  const stage = STAGES[watched.stage] ?? "Beginning";
  return total ? `${stage}: ${Math.floor((100 * done) / total)} % of all is done` : stage;
}

function summary() {
  const found = report.groups.length ? counted(report.groups.length, "group of duplicates", "groups of duplicates") : "No duplicates";
  const others = report.shared.length ? `, ${counted(report.shared.length, "pair", "pairs")} that are no duplicates` : "";
  const unseen = report.unseen_pairs ? `, ${counted(report.unseen_pairs, "pair", "pairs")} could not be looked at` : "";
  return `${found}${others}${unseen}. Looked for on ${new Date(report.at).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" })}.`;
}

// A long list, a part at a time, and a button for the next part at its end.
function fill(list, values, node) {
  list.replaceChildren();
  const next = (from) => {
    const added = values.slice(from, from + AT_ONCE).map(node);
    list.append(...added);
    if (from + AT_ONCE < values.length) {
      const more = el("li", { class: "centre" }, el("button", { type: "button", onclick: () => {
        more.remove();
        next(from + AT_ONCE);
      } }, `Show more (${(values.length - from - AT_ONCE).toLocaleString("en")} left)`));
      list.append(more);
    }
    if (from) added[0]?.querySelector("button")?.focus();
  };
  next(0);
}

function group({ items, pairs, best, reason }) {
  const strip = items.length < 3 ? null : el("ul", { class: "strip", "aria-label": "Items of this group" },
    ...items.map((id) => el("li", {}, thumbnail(report.items[id], report.items[id].duration_seconds / 3), report.items[id].name)));
  return el("li", { class: "group" }, el("h2", {}, counted(items.length, "item", "items")),
    best ? el("p", { class: "quiet" }, `Best: ${report.items[best].name} (${reason})`) : null, strip,
    el("ul", { class: "pairs" }, ...pairs.map(pairCard)));
}

function thumbnail(item, seconds) {
  return el("img", { src: `${item.thumbnail_url}?seconds=${seconds.toFixed(2)}`, alt: "", loading: "lazy", draggable: false });
}

function pairCard(pair) {
  const items = [report.items[pair.a], report.items[pair.b]];
  const box = el("li", { class: "duplicate" });
  const [best] = pair.segments;
  const middles = best
    ? [(best.query_start_seconds + best.query_end_seconds) / 2, (best.start_seconds + best.end_seconds) / 2]
    : items.map((item) => item.duration_seconds / 3);
  const open = () => compare(items, pair.segments.map((each) => ({ ...each, mirrored: isMirrored(pair, each) })), words(pair));
  box.append(
    el("button", { type: "button", class: "sides", onclick: open, "aria-label": `Compare ${items[0].name} and ${items[1].name}` },
      ...items.map((item, i) => el("span", { class: "shot" }, thumbnail(item, middles[i])))),
    el("div", { class: "sides" }, ...items.map(facts)),
    el("p", {}, words(pair)),
    el("div", { class: "card-acts" },
      el("button", { type: "button", onclick: open }, items[0].kind === "video" ? "Play side by side" : "See side by side"),
      el("button", { type: "button", class: "plain dismiss" })),
  );
  mark(box, pair);
  return box;
}

function facts(item) {
  const length = item.kind === "video" ? `, ${clock(item.duration_seconds)}` : "";
  return el("div", { class: "facts-of" }, el("p", { class: "card-name", title: item.uri }, item.name),
    el("p", { class: "quiet" }, `${item.width} × ${item.height}, ${bytes(item.size_bytes)}${length}`));
}

function isMirrored(pair, segment) {
  return segment.mirrored || pair.variant === "mirrored";
}

// What kind of copy it is, in words.
function words(pair) {
  const [best] = pair.segments;
  if (pair.kind === "exact") return "The same file, byte for byte";
  if (ALIKE[pair.kind]) return ALIKE[pair.kind];
  const way = WAYS[pair.variant] ?? WAYS.same;
  if (report.items[pair.a].kind === "image") return `A copy, ${way}`;
  const here = span(best.query_start_seconds, best.query_end_seconds);
  const there = span(best.start_seconds, best.end_seconds);
  const speed = best.speed === 1 ? "" : `, running ${best.speed.toFixed(2)} times as fast`;
  if (pair.kind === "copy") return `A copy, ${way}${speed}`;
  if (pair.kind === "subclip") return `The first is ${there} of the second, ${way}${speed}`;
  return `They share ${SHARES[pair.kind]}: ${here} = ${there}${speed}`;
}

// Draws a pair as the server remembers it: dismissed or not.
function mark(box, pair) {
  const isDismissed = dismissed.has(key(pair.a, pair.b));
  const button = box.querySelector(".dismiss");
  box.classList.toggle("gone", isDismissed);
  button.textContent = isDismissed ? "Undo: they may be duplicates" : "Not a duplicate";
  button.onclick = () => page.attempt(async () => {
    button.disabled = true;
    try {
      if (isDismissed) await undo(pair.a, pair.b);
      else await api("POST", here("/dismiss"), { a: pair.a, b: pair.b });
      await readDismissed();
      mark(box, pair);
      draw();
    } finally {
      button.disabled = false;
      button.focus();
    }
  });
}

function undo(a, b) {
  return api("DELETE", here(`/dismiss?${new URLSearchParams({ a, b })}`));
}

function dismissedRow({ a, b }) {
  return el("li", { class: "row" }, el("span", {}, `${a.name} and ${b.name}`),
    el("button", {
      type: "button", class: "plain", "aria-label": `Undo for ${a.name} and ${b.name}`,
      onclick: () => page.attempt(async () => {
        await undo(a.id, b.id);
        await readDismissed();
        if (report) {
          fill($("groups"), report.groups, group);
          fill($("shared"), report.shared, pairCard);
        }
        draw();
        $("dismissed-box").querySelector("button, summary")?.focus();
      }),
    }, "Undo"));
}
