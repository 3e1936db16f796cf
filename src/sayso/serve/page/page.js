// The page's frame: which screen the address names, the list of screens, the drawer of a narrow window.
//
// The chat stays in the document while another screen is shown, so that a reply goes on. Every other screen is a module
// `NAME.js` with `open(view, place, signal)`, which fills `view`; `signal` is aborted when the screen is left.

import { begin, closeChat, openChat } from "./chat.js";
import { all, find, icon, make, problem } from "./dom.js";
import { drawer } from "./drawer.js";
import { addressOf, here, link } from "./place.js";
import { Refused } from "./server.js";

// The screens in the order of the list: name in the address, title, icon.
const SCREENS = [
  ["chat", "Chat", "chat"],
  ["rate", "Rate", "rate"],
  ["watch", "Watch", "watch"],
  ["diagnose", "Diagnose", "diagnose"],
  ["runs", "Runs", "runs"],
  ["models", "Models", "models"],
];

const STYLES = { models: ["runs", "models"] }; // of a screen with other style sheets than its own

let shown = null; // {name, controller} of the open screen

async function route() {
  const place = here();
  const entry = SCREENS.find(([name]) => name === place.screen);
  shown?.controller.abort();
  shown = { name: place.screen, controller: new AbortController() };
  drawer(false);
  mark(place.screen);
  const chat = place.screen === "chat";
  document.body.dataset.screen = place.screen;
  for (const [id, visible] of [["chat", chat], ["view", !chat], ["model", chat], ["tune", chat], ["title", !chat]]) find(`#${id}`).hidden = !visible;
  if (chat) return openChat(Number(place.parts[0]) || null);
  closeChat();
  document.title = `sayso: ${entry?.[1] ?? "not found"}`;
  find("#title").textContent = entry?.[1] ?? "Not found";
  const view = make("div", { class: `screen ${place.screen}` });
  find("#view").replaceChildren(view);
  find("#view").scrollTop = 0;
  if (!entry) return view.append(make("p", {}, `There is no screen “${place.screen}”. `, link("Go to the chat.", "chat")));
  await fill(view, place, shown.controller.signal);
}

async function fill(view, place, signal) {
  view.setAttribute("aria-busy", "true");
  try {
    const [screen] = await Promise.all([import(`./${place.screen}.js`), ...(STYLES[place.screen] ?? [place.screen]).map(styled)]);
    if (!signal.aborted) await screen.open(view, place, signal);
  } catch (error) {
    if (signal.aborted) return;
    view.replaceChildren(problem(error, route));
    if (!(error instanceof Refused)) throw error;
  } finally {
    view.removeAttribute("aria-busy");
  }
}

// Load a style sheet once.
function styled(name) {
  const href = `/page/${name}.css`;
  if (find(`link[href="${href}"]`)) return null;
  const link = make("link", { rel: "stylesheet", href });
  document.head.append(link);
  return new Promise((resolve, reject) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", () => {
      link.remove();
      reject(new Refused("The server cannot be reached. Is it running?", 0));
    });
  });
}

function mark(name) {
  for (const link of all("#screens a")) {
    if (link.dataset.screen === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

find("#screens").replaceChildren(...SCREENS.map(([name, title, symbol]) =>
  make("li", {}, make("a", { href: addressOf(name), "data-screen": name }, icon(symbol), title))));
window.addEventListener("hashchange", route);
begin().then((known) => known && route());
