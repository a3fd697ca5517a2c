// The dialog that shows why a hit was found: query and hit, each under its heat map.

import { api, collectionPath } from "./api.js";
import { $, clock } from "./dom.js";

// query: {file} or {item}, with the second that is compared; hit: as the search answered it
export async function why(collection, query, seconds, hit, hitSeconds) {
  let body = { item: query.item?.id, seconds, hit: hit.id, hit_seconds: hitSeconds };
  if (query.file) {
    body = new FormData();
    body.append("seconds", seconds);
    body.append("hit", hit.id);
    body.append("hit_seconds", hitSeconds);
    body.append("file", query.file);
  }
  const told = await api("POST", collectionPath(collection, "/explain"), body);
  $("why-query").src = told.query.overlay;
  $("why-hit").src = told.hit.overlay;
  $("why-name").textContent = hit.kind === "video" ? `${hit.name} at ${clock(hitSeconds)}` : hit.name;
  const dialog = $("why");
  $("why-close").onclick = () => dialog.close();
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  dialog.showModal();
}
