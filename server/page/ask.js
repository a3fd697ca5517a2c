// One small dialog that asks: yes or no, for a name (entry), or for a key (secret).
// -> true, the name or the key; null when the person declines.

import { $ } from "./dom.js";

export function ask({ title, words, yes, entry = false, secret = false, danger = false }) {
  const dialog = $("ask");
  const name = $(secret ? "ask-key" : "ask-name");
  $("ask-title").textContent = title;
  $("ask-words").textContent = words;
  $("ask-yes").textContent = yes;
  $("ask-yes").classList.toggle("warn", danger);
  $("ask-entry").hidden = !entry;
  $("ask-secret").hidden = !secret;
  $("ask-name").required = entry;
  $("ask-name").disabled = !entry;
  $("ask-key").disabled = !secret;
  $("ask-name").value = $("ask-key").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  (entry || secret ? name : $("ask-yes")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const answer = entry || secret ? name.value : true;
        name.value = "";
        resolve(dialog.returnValue === "yes" ? answer : null);
      },
      { once: true },
    );
  });
}
