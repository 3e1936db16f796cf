// The address of what is shown: `#/SCREEN/PART?name=value`. Every screen keeps what it shows in it, so that a link leads
// back to the same view.

import { make } from "./dom.js";

// Return the place of an address: {screen, parts, query}. `#12` is the conversation 12 of the chat.
function placeOf(hash) {
  const text = hash.replace(/^#\/?/, "");
  if (/^\d+$/.test(text)) return { screen: "chat", parts: [text], query: new URLSearchParams() };
  const [path, query = ""] = text.split("?");
  const [screen, ...parts] = path.split("/").filter(Boolean).map(decoded);
  return { screen: screen ?? "chat", parts, query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const here = () => placeOf(location.hash);

// Return the address of a place; query values that are empty are left out.
export function addressOf(screen, parts = [], query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const asked = new URLSearchParams(kept).toString();
  return `#/${[screen, ...parts].map(encodeURIComponent).join("/")}` + (asked && `?${asked}`);
}

// A link to a place of the page.
export const link = (text, ...place) => make("a", { href: addressOf(...place) }, text);

export const visit = (...place) => (location.hash = addressOf(...place));

// The parts of a screen: their titles by name, the current one, the address of each.
export const tabs = (label, titles, current, address, ...more) => make("nav", { class: "tabs", "aria-label": label },
  Object.entries(titles).map(([name, title]) => make("a", { href: address(name), "aria-current": name === current && "page" }, title)), more);

// Change values of the query without a new entry in the history; the screen is not opened again.
export function keepQuery(changes) {
  const { screen, parts, query } = here();
  history.replaceState(null, "", addressOf(screen, parts, { ...Object.fromEntries(query), ...changes }));
}
