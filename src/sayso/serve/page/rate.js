// The screen Rate: compare replies, write them, check what others wrote; what came of it; what an admin sets up.

import { bar, button, choice, copyOf, find, make, question, quiet, safe } from "./dom.js";
import { addressOf, link, tabs, visit } from "./place.js";
import { results } from "./rate_results.js";
import { setup } from "./rate_setup.js";
import { work } from "./rate_task.js";
import { get } from "./server.js";

const PARTS = { compare: "Compare", write: "Write", check: "Check", results: "Results", setup: "Set up" };
const LISTS = { regenerated: "Regenerated replies", shown: "Candidate sets", shadow: "Shadow replies" };
const NAME = "sayso-annotator";

export const listName = (origin) => LISTS[origin] ?? origin;

export async function open(view, place, signal) {
  const known = await get("/api/rate", signal);
  const part = place.parts[0] in PARTS ? place.parts[0] : "compare";
  view.append(tabs("Rate", PARTS, part, (name) => addressOf("rate", [name])));
  if (part === "results") return results(view, known, signal);
  if (part === "setup") return setup(view, known, signal);
  const who = known.annotator ?? (localStorage.getItem(NAME) || (await askName()));
  if (signal.aborted) return;
  if (!who) return view.append(copyOf("no-name"), naming("Enter your name"));
  const list = place.query.get("list");
  const lists = known.queue.filter(({ kind }) => (kind === "pair") === (part === "compare")).map(({ origin }) => [origin, listName(origin)]);
  const choose = choice("From", list, [["", "Everything"], ...lists], (value) => visit("rate", [part], { list: value }));
  const top = bar(choose, make("p", { class: "quiet who" }, "Reviewing as ", make("b", {}, who), !known.annotator && naming("Change")));
  view.append(make("div", { class: "rating stack" }, guidelines(known), work({ part, who, list, known, signal, top })));
}

const naming = (text) => button(text, async () => (await askName()) && dispatchEvent(new Event("hashchange")));

async function askName() {
  const dialog = copyOf("rater");
  const name = find("input", dialog);
  name.value = localStorage.getItem(NAME) ?? "";
  const kept = (await question(dialog)).returnValue && name.value.trim();
  if (kept) localStorage.setItem(NAME, kept);
  return kept;
}

function guidelines({ guidelines: { html }, reviews }) {
  const rule = `Each pair gets ${reviews === 1 ? "one review" : reviews + " reviews"}. Pairs whose reviewers disagree come first, then those that others have begun, then those of the models that are hardest to tell apart.`;
  return make("details", { class: "card guide", open: matchMedia("(min-width: 80rem)").matches },
    make("summary", {}, make("h2", {}, "Guidelines")), safe(html), make("p", {}, rule, " ", link("Edit", "rate", ["setup"])));
}
