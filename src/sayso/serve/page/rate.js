// The screen Rate: compare replies, write them, check what others wrote; what came of it; what an admin sets up.

import { make, question } from "./dom.js";
import { addressOf } from "./place.js";
import { results } from "./rate_results.js";
import { setup } from "./rate_setup.js";
import { work } from "./rate_task.js";
import { call } from "./server.js";

const PARTS = [["compare", "Compare"], ["write", "Write"], ["check", "Check"], ["results", "Results"], ["setup", "Set up"]];
const NAMED = { regenerated: "Regenerated replies", shown: "Candidate sets", shadow: "Shadow replies" };

export const listName = (origin) => NAMED[origin] ?? origin;

export async function open(view, place, signal) {
  const known = await call("GET", "/api/rate", undefined, signal);
  const part = PARTS.some(([name]) => name === place.parts[0]) ? place.parts[0] : "compare";
  const link = ([name, title]) => make("a", { href: addressOf("rate", [name]), "aria-current": name === part ? "page" : null }, title);
  view.append(make("nav", { class: "parts", "aria-label": "Rate" }, PARTS.map(link)));
  if (part === "results") return results(view, known, signal);
  if (part === "setup") return setup(view, known, signal);
  const who = known.annotator ?? (localStorage.getItem("sayso-annotator") || (await askName()));
  if (signal.aborted) return;
  if (!who) return view.append(make("p", { class: "nothing" }, "Your name is stored with each review, so that reviewers can be compared. ", again("Enter your name")));
  const list = place.query.get("list");
  view.append(make("div", { class: "rating" }, work({ part, who, list, known, signal, top: top(part, who, list, known) }), guidelines(known)));
}

// The line above an item: who rates, and what.
function top(part, who, list, known) {
  const kind = part === "compare" ? "pair" : "write";
  const rows = known.queue.filter((row) => row.kind === kind);
  const choose = make("select", { onchange: () => (location.hash = addressOf("rate", [part], { list: choose.value })) }, make("option", { value: "" }, "Everything"),
    rows.map(({ origin }) => make("option", { value: origin, selected: origin === list }, listName(origin))));
  const own = known.annotator ? null : again("Change");
  return make("div", { class: "bar" }, make("label", {}, "From", choose), make("p", { class: "quiet who" }, "Reviewing as ", make("b", {}, who), " ", own));
}

function again(text) {
  return make("button", { type: "button", class: "plain", onclick: async () => (await askName()) && dispatchEvent(new HashChangeEvent("hashchange")) }, text);
}

async function askName() {
  const name = make("input", { required: true, maxLength: 64, autocomplete: "name", id: "rater", value: localStorage.getItem("sayso-annotator") ?? "" });
  const dialog = make("dialog", { "aria-labelledby": "rater-title" }, make("form", { method: "dialog" },
    make("h2", { id: "rater-title" }, "Who is reviewing?"), make("label", { htmlFor: "rater" }, "Your name"), name,
    make("p", { class: "quiet" }, "It is stored with each of your reviews, and kept in this browser."),
    make("div", { class: "row" }, make("button", { class: "main", value: "yes" }, "Start"))));
  const kept = (await question(dialog)).returnValue === "yes" ? name.value.trim() : "";
  if (kept) localStorage.setItem("sayso-annotator", kept);
  return kept;
}

function guidelines(known) {
  const text = make("div", { class: "words" });
  text.innerHTML = known.guidelines.html; // made safe by the server
  const rule = `Each pair gets ${known.reviews === 1 ? "one review" : `${known.reviews} reviews`}. Pairs whose reviewers disagree come first, then pairs that others have begun, then those of the models that are hardest to tell apart.`;
  return make("details", { class: "card guide", open: matchMedia("(min-width: 64rem)").matches },
    make("summary", {}, make("h2", {}, "Guidelines")), text, make("p", { class: "quiet" }, rule), make("p", {}, make("a", { href: addressOf("rate", ["setup"]) }, "Edit")));
}
