// Requests to the server: JSON calls, streams of events, files to save. A refusal is an error with the server's sentence.

import { copyOf, find, make, question } from "./dom.js";

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export async function ask(method, path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  const key = sessionStorage.getItem("sayso-key");
  // A header holds bytes: encode as UTF-8, as other clients do.
  if (key) headers.Authorization = `Bearer ${String.fromCharCode(...new TextEncoder().encode(key))}`;
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server cannot be reached. Is it running?", 0);
  }
  if (response.status === 401) {
    await askForKey();
    return ask(method, path, body, signal);
  }
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    throw new Refused(told?.error?.message ?? `The server answered ${response.status}.`, response.status);
  }
  return response;
}

export async function call(method, path, body, signal) {
  const response = await ask(method, path, body, signal);
  return response.status === 204 ? null : response.json();
}

export const get = (path, signal) => call("GET", path, undefined, signal);

let keyAsked = null;
function askForKey() {
  keyAsked ??= question(copyOf("key")).then((dialog) => {
    sessionStorage.setItem("sayso-key", find("#key-value", dialog).value);
    keyAsked = null;
  });
  return keyAsked;
}

// The events of a stream as [name, data], however the bytes are split.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    for (let end; (end = held.indexOf("\n\n")) >= 0; held = held.slice(end + 2)) {
      const lines = held.slice(0, end).split("\n");
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
      if (data) yield [name, JSON.parse(data)];
    }
  }
}

const EVERYTHING = { has: () => true, size: Infinity };

// Whether one of some topics is among those that changed, or may be: a reader that has just connected (no topics) cannot know
// what changed since it read.
export const concerns = (topics, names) => !topics.size || names.some((name) => topics.has(name));

// Call `act` with the topics that changed, as a set, until `signal` is aborted. A hidden tab does not listen, and counts
// everything as changed when it is shown again, as after a lost connection.
export async function follow(act, signal) {
  for (let again = false; !signal.aborted; again = true) {
    await visible(signal);
    const hidden = new AbortController();
    const hide = () => document.hidden && hidden.abort();
    document.addEventListener("visibilitychange", hide);
    try {
      const response = await ask("GET", "/api/changes", undefined, AbortSignal.any([signal, hidden.signal]));
      if (again) act(EVERYTHING);
      for await (const [name, topics] of events(response)) {
        if (name === "changed") act(new Set(topics)); // an empty set: from now on, nothing is missed; see `concerns`
      }
    } catch {
      // the connection was lost or given up: begin again
    } finally {
      document.removeEventListener("visibilitychange", hide);
    }
    if (!signal.aborted && !hidden.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

const PAUSE = 1500; // milliseconds between two looks

// Call `act` when one of some topics may have changed, at most every PAUSE milliseconds. If it fails, the next change tries again.
export function changes(names, act, signal) {
  let busy = false, due = false;
  async function look() {
    due = busy;
    if (busy) return;
    busy = true;
    try {
      await act();
    } catch (error) {
      if (!signal.aborted) console.info(error.message);
    }
    setTimeout(() => {
      busy = false;
      if (due && !signal.aborted) look();
    }, PAUSE);
  }
  follow((topics) => concerns(topics, names) && look(), signal);
}

function visible(signal) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
    look();
  });
}

// Save a response of the server, or text, as a file.
export async function save(name, content) {
  const blob = typeof content === "string" ? new Blob([content]) : await content.blob();
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}
