// The Library view: what the collection holds, page by page; adding files, and removing them.

import { api, collectionPath, ofKind } from "./api.js";
import { ask } from "./ask.js";
import { $, clock, el } from "./dom.js";
import { findSimilar } from "./find.js";
import { play } from "./player.js";
import { prepareUploads, takeUploads, watchJobs } from "./uploads.js";

const PAGE = 48;

let page;
let cursor = null;

export const libraryView = {
  prepare(thePage) {
    page = thePage;
    prepareUploads(page, reload);
    $("add-choose").onclick = () => $("add-files").click();
    $("add-files").onchange = (event) => {
      const files = [...event.target.files];
      event.target.value = "";
      if (files.length) this.take(files);
    };
    $("items-kind").onchange = () => {
      $("items").replaceChildren();
      page.attempt(reload);
    };
    $("items-more").onclick = () => page.attempt(more);
    $("drop-collection").onclick = () => page.attempt(dropCollection);
  },

  changed() {
    $("items").replaceChildren();
  },

  async shown() {
    $("drop-collection").hidden = page.collection.name === "default";
    await reload();
    await watchJobs();
  },

  take(files) {
    page.quiet();
    takeUploads(files);
  },
};

// From the newest item on, as many as were shown before.
async function reload() {
  const shown = Math.max(PAGE, $("items").childElementCount);
  const answer = await listed({ limit: Math.min(shown, 1000) });
  $("items").replaceChildren(...answer.data.map(card));
  turned(answer);
}

async function more() {
  const answer = await listed({ limit: PAGE, cursor });
  const [first] = answer.data.map(card);
  $("items").append(...answer.data.map(card));
  turned(answer);
  first?.querySelector("button")?.focus();
}

// A page of items of the chosen kind.
function listed(wish) {
  const filter = ofKind($("items-kind").value);
  const query = new URLSearchParams(filter ? { ...wish, filter: JSON.stringify(filter) } : wish);
  return api("GET", collectionPath(page.collection.name, `/items?${query}`));
}

function turned(answer) {
  cursor = answer.next_cursor;
  $("items-more").hidden = cursor === null;
  $("items-none").hidden = $("items").childElementCount > 0 || $("items-kind").value !== "";
}

function card(item) {
  const isVideo = item.kind === "video";
  const label = `${isVideo ? "Play" : "Show"} ${item.name}`;
  const open = () => play(page.collection.name, item.id, [], findSimilar);
  return el("li", { class: "card" },
    el("button", { type: "button", class: "shot", "aria-label": label, onclick: () => page.attempt(open) },
      el("img", { src: `${item.thumbnail_url}?seconds=${middle(item)}`, alt: "", loading: "lazy", draggable: false }),
      isVideo ? el("span", { class: "stamp" }, clock(item.duration_seconds)) : null,
    ),
    el("div", { class: "card-words" },
      el("p", { class: "card-name", title: item.name }, item.name),
      el("div", { class: "card-acts" },
        el("button", { type: "button", class: "plain", onclick: () => findSimilar(item) }, "Find similar"),
        el("button", {
          type: "button", class: "plain danger", "aria-label": `Delete ${item.name}`,
          onclick: () => page.attempt(() => remove(item)),
        }, "Delete"),
      ),
    ),
  );
}

// The first frame of a film is often black.
function middle(item) {
  return (item.duration_seconds / 3).toFixed(1);
}

async function remove(item) {
  const uploaded = item.uri.startsWith("upload:");
  const sure = await ask({
    title: `Delete “${item.name}”?`,
    words: uploaded
      ? "It can no longer be found, and the uploaded copy is deleted."
      : "It can no longer be found. The file itself stays where it is.",
    yes: "Delete",
    danger: true,
  });
  if (!sure) return;
  await api("DELETE", collectionPath(page.collection.name, `/items/${encodeURIComponent(item.id)}`));
  await page.refresh();
  await reload();
}

async function dropCollection() {
  const { name, items } = page.collection;
  const sure = await ask({
    title: `Delete the collection “${name}”?`,
    words: `Its ${items} items can no longer be found, and uploaded copies are deleted. Indexed files stay where they are.`,
    yes: "Delete",
    danger: true,
  });
  if (!sure) return;
  await api("DELETE", collectionPath(name));
  page.go("library", "default");
}
