// Where the numbers come from: this file itself, or the server.

import { bytes, unpack } from "./unpack.js";

export const saved = () => document.querySelector("script[data-panel]") !== null;

// How many rows of tokens a saved page has: 1, or 2 side by side.
export const savedSides = () => (document.querySelector('script[data-side="1"]') ? 2 : 1);

// Return a function that returns the promise of a panel; one that was asked for before is not computed again. `about` is
// what the server is asked about, as {text, model}, {message_id} or {ids, prompt, model}, or a promise of it; a saved page
// has its own numbers, by `side`.
export function source(about, side) {
  const known = new Map();
  return function load(kind, where = {}) {
    const key = keyOf(kind, where);
    if (!known.has(key)) {
      known.set(key, saved() ? found(key, side) : fetched(about, kind, where));
      known.get(key).catch(() => known.delete(key));
    }
    return known.get(key);
  };
}

function keyOf(kind, where) {
  const text = (value) => (typeof value === "object" && typeof value[0] === "object" ? JSON.stringify(value) : String(value));
  return `${kind}?${Object.keys(where).sort().map((name) => `${name}=${text(where[name])}`).join("&")}`;
}

async function found(key, side) {
  const script = document.querySelector(`script[data-side="${side}"][data-panel="${CSS.escape(key)}"]`);
  if (script) {
    const panel = unpack(bytes(script.textContent.trim()));
    if (panel.meta.problem) throw new Error(panel.meta.problem);
    return panel;
  }
  throw new Error("This saved page has no numbers for that; open the x-ray on a server to compute them.");
}

async function fetched(about, kind, where) {
  const answer = await ask("/api/xray", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...(await about), panel: kind, where }),
  });
  return unpack(await answer.arrayBuffer());
}

// Ask the server, with the key that its page was given; what it refuses is thrown.
export async function ask(path, { headers = {}, ...others } = {}) {
  const secret = sessionStorage.getItem("sayso-key");
  const given = secret ? { authorization: `Bearer ${String.fromCharCode(...new TextEncoder().encode(secret))}` } : {};
  const answer = await fetch(path, { headers: { ...headers, ...given }, ...others });
  if (answer.status === 401) throw new Error("This server asks for a key: open its page, give the key there, and come back.");
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer;
}
