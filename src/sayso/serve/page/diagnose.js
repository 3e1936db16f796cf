// Diagnose: samples of conversations that are read one after the other; notes about replies, grouped and counted.
//
// Addresses: #/diagnose, the samples; #/diagnose/3/read/12, the 12th conversation of sample 3; #/diagnose/3/group and
// #/diagnose/3/rates, what was noted in it.

import { bar, button, choice, elsewhere, make, nothing, problem, question, quiet, redraw, select, tell } from "./dom.js";
import { addressOf, link, tabs, visit } from "./place.js";
import { Refused, call, changes as changed, get } from "./server.js";

const PARTS = { read: "Read", group: "Group", rates: "Rates" };
const API = "/api/diagnose";

export const post = (path, body) => call("POST", API + path, body);
export const remove = (path) => call("DELETE", API + path).then(() => true);

export async function open(view, { parts: [number, part = "read", place], query }, signal) {
  if (!number) return samples(view, signal);
  if (!PARTS[part]) throw new Refused(`There is no part “${part}” of a sample.`, 404);
  const path = `/samples/${encodeURIComponent(number)}`;
  const read = (more = "") => get(API + path + more, signal);
  const [{ show }, given] = await Promise.all([import(`./diagnose-${part}.js`), read()]);
  const progress = quiet();
  view.replaceChildren(bar(make("h2", {}, titleOf(given.sample)), progress),
    tabs("This sample", PARTS, part, (name) => addressOf("diagnose", [number, name]), link("All samples", "diagnose")));
  const sample = { ...given, number, path, signal, get: read, place, query, told: (now) => progressOf(progress, now) };
  sample.told(given.sample);
  await show(view, sample);
}

const titleOf = ({ id, name }) => name || `Sample ${id}`;
const progressOf = (place, { read, size }) => place.replaceChildren(make("progress", { max: size || 1, value: read, "aria-label": "Read" }), ` ${read} of ${size} read`);

async function samples(view, signal) {
  const form = make("details", { class: "card" }), list = make("div", { class: "grid" });
  let shown = "";
  const draw = async () => {
    const found = await get(`${API}/samples`, signal), told = JSON.stringify(found);
    if (told === shown) return;
    shown = told;
    if (!form.firstChild) form.append(make("summary", {}, "Draw a sample"), drawing(found));
    form.open ||= !found.samples.length;
    form.hidden = !found.models.length;
    redraw(list, ...found.samples.map((one) => entry(one, draw)), found.models.length ? "" :
      nothing("There are no conversations yet. Talk on the chat screen, or record those of the API with “sayso serve --record all”."));
  };
  await draw();
  view.replaceChildren(quiet("Read a sample of conversations, note what is wrong in your own words, group the notes, and see how frequent each problem is."), form, list);
  changes(["samples", "readings"], draw, list, signal);
}

function entry(sample, draw) {
  const { id, filters, size, matched, seed, annotator } = sample, progress = quiet();
  progressOf(progress, sample);
  const which = Object.entries(filters).map(([name, value]) => `${name} ${value}`).join(", ") || "all";
  const sure = ({ target }) => {
    if (target.textContent === "Delete") target.textContent = "Delete for everybody?";
    else trying(target.parentElement, () => remove(`/samples/${id}`).then(draw));
  };
  return make("section", { class: "card", "data-id": id }, make("h2", {}, link(titleOf(sample), "diagnose", [id])), progress,
    quiet(`${size} of ${matched} conversations (${which}), seed ${seed}`, annotator && `, drawn by ${annotator}`), make("div", { class: "row" }, button("Delete", sure)));
}

// The form that draws a sample.
function drawing({ models, detectors }) {
  const field = (text, name, more) => make("label", {}, text, make("input", { name, ...more }));
  const among = (text, name, options) => choice(text, "", options, null, { name });
  const draw = async () => {
    const { which, ...given } = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
    for (const name of ["size", "seed"]) if (given[name]) given[name] = Number(given[name]);
    const made = await post("/samples", { ...given, ...(which && JSON.parse(which)) });
    visit("diagnose", [made.id]);
  };
  const submit = (event) => {
    event.preventDefault();
    trying(form, draw);
  };
  const kinds = [["", "All"], ['{"only":"flagged"}', "Flagged"], ['{"only":"disliked"}', "Thumbs down"], ...detectors.map((name) => [JSON.stringify({ detector: name }), `Flagged by ${name}`])];
  const form = make("form", { class: "bar", onsubmit: submit }, field("Conversations", "size", { type: "number", min: 1, max: 1000, value: 100, required: true }),
    among("Which", "which", kinds), among("Model", "model", [["", "Any"], ...models.map((name) => [name])]),
    field("Since", "since", { type: "date" }), field("Until", "until", { type: "date" }),
    field("Seed", "seed", { type: "number", min: 0, max: 2147483647, placeholder: "random" }), field("Name", "name", { maxLength: 100, placeholder: "optional" }), make("button", { class: "main" }, "Draw"));
  return form;
}

// Do something, and return what it gave; if it is refused, say why after `place`, and offer to try again.
export async function trying(place, act) {
  if (place.nextElementSibling?.matches(".problem")) place.nextElementSibling.remove();
  try {
    return await act();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refused)) throw error;
    place.after(problem(error, () => trying(place, act)));
  }
}

// Draw again whenever one of some tables changes.
export const changes = (names, draw, place, signal) => changed(names, () => trying(place, draw), signal);

// Let keys act outside of fields and dialogs, unless somebody turns them off, and list them.
export function keys(signal, acts, help) {
  const on = make("input", { type: "checkbox", checked: localStorage.getItem("sayso-keys") !== "off", onchange: () => localStorage.setItem("sayso-keys", on.checked ? "on" : "off") });
  document.addEventListener("keydown", (event) => {
    const { key, target } = event, act = acts[key] ?? (/^[1-9]$/.test(key) && acts.digit);
    const busy = elsewhere(event) || (key === "Enter" && target.matches("a, button, summary"));
    if (!act || busy || !on.checked) return;
    event.preventDefault();
    act(key);
  }, { signal });
  return quiet(make("label", {}, on, " Keys:"), ...Object.entries(help).flatMap(([key, text]) => [make("kbd", {}, key), ` ${text}`]));
}

// Ask how new replies are checked, and make the replies of notes evaluation cases.
export async function makeCases(place, notes, names) {
  const ways = [["same", "says the same"], ["forbid", "contains this text:"], ...names.map((name) => [name, `is found by the detector ${name}`])];
  const check = select("What makes its reply bad", "same", ways, () => Object.assign(text, { hidden: check.value !== "forbid", required: check.value === "forbid" }));
  const text = make("textarea", { rows: 2, maxLength: 2000, hidden: true, "aria-label": "Text" });
  const title = notes.length > 1 ? `Make ${notes.length} evaluation cases` : "Make an evaluation case";
  const dialog = make("dialog", { class: "cases", "aria-label": title }, make("form", { method: "dialog" }, make("h2", {}, title), quiet("Before it is promoted, every candidate is asked the same again. It fails if its reply"), check, text,
    make("div", { class: "row" }, make("button", { class: "plain", formNoValidate: true }, "Cancel"), make("button", { value: "make", class: "main" }, "Make"))));
  if ((await question(dialog)).returnValue !== "make") return null;
  const body = { notes: notes.map(({ id }) => id), check: check.value, ...(check.value === "forbid" && { forbid: text.value }) };
  const made = await trying(place, () => post("/cases", body));
  if (made) tell(`${made.cases} replies are evaluation cases now.`);
  return made;
}
