// The page as a whole: which view, which collection, files that are dropped or pasted, and messages.

import { api, collectionPath, Problem } from "./api.js";
import { ask } from "./ask.js";
import { $, counted, droppedFiles, el } from "./dom.js";
import { duplicatesView } from "./duplicates.js";
import { findView } from "./find.js";
import { libraryView } from "./library.js";

const NEW = "+ new";
const views = { find: findView, library: libraryView, duplicates: duplicatesView };

export const page = {
  collection: null, // the chosen one, as GET /v1/collections describes it
  view: "find",
  explains: false, // whether the model can say why a hit is one
  tell,
  quiet,
  go,
  refresh,
  async attempt(work) {
    try {
      return await work();
    } catch (error) {
      if (error.name !== "AbortError") tell(error);
      return undefined;
    }
  },
};

function tell(error) {
  if (!(error instanceof Problem)) console.error(error);
  const box = $("problem");
  box.firstElementChild.textContent =
    error instanceof Problem ? error.message : "Something went wrong in this page. Reload it and try again.";
  box.hidden = false;
  box.scrollIntoView({ block: "nearest" });
}

function quiet() {
  $("problem").hidden = true;
}

function go(view, collection = page.collection?.name ?? "default") {
  location.hash = `#/${view}/${collection}`;
}

// Reads the collections anew; keeps the chosen one up to date.
async function refresh() {
  const { data, damaged } = await api("GET", "/v1/collections");
  showDamaged(damaged);
  const [, wanted] = fromHash();
  const known = data.find((collection) => collection.name === wanted);
  page.collection = known ?? data.find((collection) => collection.name === "default") ?? data[0] ?? null;
  $("collection").replaceChildren(
    ...data.map((collection) => new Option(collection.name, collection.name)),
    new Option("New collection…", NEW),
  );
  if (page.collection) {
    $("collection").value = page.collection.name;
    const { images, videos } = page.collection;
    $("counts").textContent = `${counted(images, "picture", "pictures")}, ${counted(videos, "video", "videos")}`;
  }
  if (!known && wanted && !damaged.some(({ name }) => name === wanted)) tell(new Problem(`There is no collection “${wanted}”.`));
}

// Collections that are there and cannot be opened: why, what to do, and a way to be rid of them.
function showDamaged(damaged) {
  $("damaged").replaceChildren(...damaged.map(({ name, reason }) => el("li", { class: "problem" },
    el("p", {}, el("strong", {}, `The collection “${name}” cannot be opened. `), reason),
    el("button", { type: "button", class: "plain danger", onclick: () => page.attempt(() => dropDamaged(name)) }, "Delete it…"))));
  $("damaged").hidden = damaged.length === 0;
}

async function dropDamaged(name) {
  const sure = await ask({
    title: `Delete the damaged collection “${name}”?`,
    words: "What is left of it, and uploaded copies, are deleted. Indexed files stay where they are. Restore a snapshot instead if you have one.",
    yes: "Delete",
    danger: true,
  });
  if (!sure) return;
  await api("DELETE", collectionPath(name));
  await refresh();
}

function fromHash() {
  const [view, name] = location.hash.replace(/^#\/?/, "").split("/");
  return [views[view] ? view : "find", name];
}

async function show() {
  const before = page.collection?.name;
  const [view] = fromHash();
  quiet();
  await page.attempt(refresh);
  page.view = view;
  for (const name of Object.keys(views)) {
    $(name).hidden = name !== view;
    const tab = $(`tab-${name}`);
    tab.href = `#/${name}/${page.collection?.name ?? "default"}`;
    if (name === view) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  if (!page.collection) return;
  if (page.collection.name !== before) Object.values(views).forEach((each) => each.changed());
  await page.attempt(() => views[view].shown());
}

async function chooseCollection(event) {
  const name = event.target.value;
  if (name !== NEW) {
    go(page.view, name);
    return;
  }
  event.target.value = page.collection?.name ?? "";
  const answer = await ask({
    title: "New collection",
    words: "A collection holds pictures and videos that are searched together.",
    yes: "Create",
    entry: true,
  });
  if (answer) {
    await page.attempt(async () => {
      await api("PUT", collectionPath(answer));
      go("library", answer);
    });
  }
}

function take(files) {
  const taken = files.filter((file) => file.size || file.type);
  if (!taken.length) return;
  quiet();
  page.attempt(() => views[page.view].take(taken));
}

function acceptDrops() {
  let depth = 0; // dragenter and dragleave also come from every child
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dragging", depth > 0);
  };
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => holdsFiles(event) && mark(1));
  addEventListener("dragleave", (event) => holdsFiles(event) && mark(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    mark(-depth);
    if (document.querySelector("dialog[open]")) return;
    const files = await page.attempt(() => droppedFiles(event.dataTransfer));
    if (files) take(files);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length && !document.querySelector("dialog[open]")) take(files);
  });
}

async function start() {
  Object.values(views).forEach((view) => view.prepare(page));
  $("collection").addEventListener("change", chooseCollection);
  $("problem").lastElementChild.addEventListener("click", quiet);
  addEventListener("hashchange", show);
  acceptDrops();
  await show();
  const models = await page.attempt(() => api("GET", "/v1/models"));
  const [model] = models?.data ?? [];
  if (model) {
    page.explains = model.explains;
    $("model").replaceChildren(
      "Model ", el("strong", { title: `fingerprint ${model.fingerprint}` }, model.id),
      `, ${model.dim} numbers a picture, on ${model.device}`,
    );
  }
}

start();
