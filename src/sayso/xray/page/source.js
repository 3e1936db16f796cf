// Where the numbers come from: this file itself, or the server.

import { bytes, unpack } from "./unpack.js";

const known = new Map();
const asked = { about: null };

// Say what the server is to be asked about: {model, text} or {message}; a saved page has its own numbers.
export function about(source) {
  asked.about = source;
  known.clear();
}

export const saved = () => document.querySelector("script[data-panel]") !== null;

// Return the promise of a panel; one that was asked for before is not computed again.
export function load(kind, where = {}) {
  const key = keyOf(kind, where);
  if (!known.has(key)) {
    known.set(key, fetched(kind, where, key));
    known.get(key).catch(() => known.delete(key));
  }
  return known.get(key);
}

function keyOf(kind, where) {
  const text = (value) => (typeof value === "object" && typeof value[0] === "object" ? JSON.stringify(value) : String(value));
  return `${kind}?${Object.keys(where).sort().map((name) => `${name}=${text(where[name])}`).join("&")}`;
}

async function fetched(kind, where, key) {
  if (saved()) {
    const found = document.querySelector(`script[data-panel="${CSS.escape(key)}"]`);
    if (found) return unpack(bytes(found.textContent.trim()));
    throw new Error("This saved page has no numbers for that; open the x-ray on a server to compute them.");
  }
  const secret = sessionStorage.getItem("sayso-key"), headers = { "content-type": "application/json" };
  if (secret) headers.authorization = `Bearer ${String.fromCharCode(...new TextEncoder().encode(secret))}`;
  const answer = await fetch("/api/xray", {
    method: "POST",
    headers,
    body: JSON.stringify({ ...asked.about, panel: kind, where }),
  });
  if (answer.status === 401) throw new Error("This server asks for a key: open its page, give the key there, and come back.");
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return unpack(await answer.arrayBuffer());
}
