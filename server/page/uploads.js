// Files on their way into the collection: sent two at a time, videos followed until their job ends.

import { api, collectionPath, upload } from "./api.js";
import { $, bar, counted, el } from "./dom.js";

const AT_ONCE = 2;
const LOOK_EVERY_MS = 700;
const SHOW_AFTER_MS = 300;

let page;
let changed; // called when the library has new items
const rows = []; // {name, state: waiting|sending|reading|done|cancelled|bad, words, share, file, collection, job}
let sending = 0;
let looking = null;
let showing = null;

export function prepareUploads(thePage, onChange) {
  page = thePage;
  changed = onChange;
  $("uploads-clear").onclick = () => {
    for (let i = rows.length - 1; i >= 0; i -= 1) if (finished(rows[i])) rows.splice(i, 1)[0].node.remove();
    summarise();
  };
  addEventListener("beforeunload", (event) => {
    if (rows.some((row) => row.state === "waiting" || row.state === "sending")) event.preventDefault();
  });
}

export function takeUploads(files) {
  const collection = page.collection.name;
  for (const file of files) add({ name: file.name, state: "waiting", words: "Waiting", share: 0, file, collection });
  next();
}

// Jobs that an earlier visit of this page started.
export async function watchJobs() {
  const { data } = await api("GET", "/v1/jobs?limit=1000");
  const active = data.filter((job) => job.state === "queued" || job.state === "running");
  for (const job of active.reverse()) {
    if (job.collection !== page.collection.name || rows.some((row) => row.job === job.id)) continue;
    add({ name: job.name ?? "A video", state: "reading", share: 0, collection: job.collection, job: job.id, words: "Reading" });
  }
  follow();
}

function add(row) {
  row.told = el("span", { class: "state" });
  row.bar = bar(row.share);
  // Stays the same node however often the row is drawn, so that a press on it is not lost.
  row.cancel = el("button", { type: "button", class: "plain", "aria-label": `Cancel ${row.name}`, onclick: () => page.attempt(() => cancel(row)) }, "Cancel");
  row.node = el("li", {}, el("span", { class: "name", title: row.name }, row.name), row.told, row.cancel, row.bar);
  rows.push(row);
  $("uploads").append(row.node);
  draw(row);
}

function draw(row) {
  const old = row.bar;
  row.node.className = row.state;
  row.told.textContent = row.words;
  row.cancel.hidden = row.state !== "reading";
  row.bar = bar(row.share);
  row.bar.hidden = finished(row);
  old.replaceWith(row.bar);
  summarise();
}

function change(row, changes) {
  Object.assign(row, changes);
  draw(row);
}

function finished(row) {
  return ["done", "cancelled", "bad"].includes(row.state);
}

function summarise() {
  const left = rows.filter((row) => !finished(row)).length;
  const bad = rows.filter((row) => row.state === "bad").length;
  const parts = [left ? `${counted(left, "file", "files")} on the way` : "All files are through"];
  if (bad) parts.push(`${counted(bad, "file", "files")} could not be added`);
  $("uploads-summary").textContent = `${parts.join(", ")}.`;
  $("uploads-box").hidden = rows.length === 0;
}

function next() {
  while (sending < AT_ONCE) {
    const row = rows.find((candidate) => candidate.state === "waiting");
    if (!row) return;
    sending += 1;
    send(row).finally(() => {
      sending -= 1;
      next();
    });
  }
}

async function send(row) {
  change(row, { state: "sending", words: "Sending" });
  const form = new FormData();
  form.append("file", row.file, row.name);
  row.file = null;
  try {
    const { status, body } = await upload(collectionPath(row.collection, "/items"), form, (share) =>
      change(row, { share, words: share < 1 ? `Sending, ${Math.round(share * 100)} %` : "Reading" }));
    if (status === 202) {
      change(row, { state: "reading", words: "Waiting for its turn", share: 0, job: body.job.id });
      follow();
    } else {
      change(row, { state: "done", words: status === 200 ? "Was here already" : "Added" });
      through();
    }
  } catch (error) {
    change(row, { state: "bad", words: error.message });
  }
}

// Looks after all jobs until none is left.
function follow() {
  if (looking || !rows.some((row) => row.state === "reading")) return;
  looking = setTimeout(async () => {
    await Promise.all(rows.filter((row) => row.state === "reading").map(look));
    looking = null;
    follow();
  }, LOOK_EVERY_MS);
}

async function cancel(row) {
  await api("DELETE", `/v1/jobs/${row.job}`);
  change(row, { state: "cancelled", words: "Cancelled" });
}

async function look(row) {
  try {
    const job = await api("GET", `/v1/jobs/${row.job}`);
    if (row.state !== "reading") return; // cancelled while it was asked for
    const { done, total } = job.progress;
    if (job.state === "running") {
      change(row, { words: total ? `Reading, ${done} of ${total} frames` : "Reading", share: total ? done / total : 0 });
    } else if (job.state === "succeeded") {
      change(row, { state: "done", words: "Added" });
      through();
    } else if (job.state === "cancelled") {
      change(row, { state: "cancelled", words: "Cancelled" });
    } else if (job.state !== "queued") {
      change(row, { state: "bad", words: job.error ?? "It failed." });
    }
  } catch (error) {
    if (error.status === 404) change(row, { state: "bad", words: error.message });
  }
}

// Something new can be found. Many files in a row are shown together.
function through() {
  showing ??= setTimeout(() => {
    showing = null;
    page.attempt(async () => {
      await page.refresh();
      if (page.view === "library") await changed();
    });
  }, SHOW_AFTER_MS);
}
