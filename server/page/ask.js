// One small dialog that asks: yes or no, or for a name. -> true or the name, or null when the person declines.

import { $ } from "./dom.js";

export function ask({ title, words, yes, entry = false, danger = false }) {
  const dialog = $("ask");
  const name = $("ask-name");
  $("ask-title").textContent = title;
  $("ask-words").textContent = words;
  $("ask-yes").textContent = yes;
  $("ask-yes").classList.toggle("warn", danger);
  $("ask-entry").hidden = !entry;
  name.required = entry;
  name.disabled = !entry;
  name.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  (entry ? name : $("ask-yes")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "yes" ? (entry ? name.value : true) : null),
      { once: true },
    );
  });
}
