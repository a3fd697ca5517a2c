// Talks to the server. Every failure becomes a Problem whose message is a sentence for the person at the page.

import { ask } from "./ask.js";
import { keyHeader, rememberKey } from "./key.js";

export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const SILENT = "The server does not answer. Is it still running?";

export async function api(method, path, body, signal) {
  const request = { method, signal, headers: { ...keyHeader() } };
  if (body instanceof FormData) request.body = body;
  else if (body !== undefined) {
    request.body = JSON.stringify(body);
    request.headers["content-type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(SILENT);
  }
  const text = await response.text();
  if (response.status === 401 && (await askedForKey(request.headers.authorization))) return api(method, path, body, signal);
  if (!response.ok) throw problemOf(response.status, text);
  return text ? JSON.parse(text) : null;
}

// Like api("POST", …), but tells how much of the body has left: onProgress(share from 0 to 1).
export function upload(path, form, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(keyHeader())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => reject(new Problem(SILENT));
    request.onload = () => {
      if (request.status >= 400) reject(problemOf(request.status, request.responseText));
      else resolve({ status: request.status, body: JSON.parse(request.responseText) });
    };
    request.send(form);
  });
}

let asking = null; // many requests may find out at once that a key is needed; the person is asked once

// Asks for the key. -> whether there is another one now than the one that was sent.
async function askedForKey(sent) {
  if (keyHeader().authorization !== sent) return true;
  asking ??= ask({
    title: sent ? "That key is not known here" : "A key is needed",
    words: "This server asks for a key. It is kept until you close this tab.",
    yes: "Go on",
    secret: true,
  });
  const key = await asking;
  asking = null;
  if (key) rememberKey(key);
  return Boolean(key);
}

// The filter that lets through one kind of item, image or video; null for every kind.
export function ofKind(kind) {
  return kind ? { must: [{ key: "kind", match: { value: kind } }] } : null;
}

export function collectionPath(name, rest = "") {
  return `/v1/collections/${encodeURIComponent(name)}${rest}`;
}

function problemOf(status, text) {
  try {
    const { detail, title } = JSON.parse(text);
    return new Problem(detail || title, status);
  } catch {
    return new Problem(`The server answered with status ${status}.`, status);
  }
}
