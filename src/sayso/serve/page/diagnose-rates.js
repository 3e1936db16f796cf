// How frequent each category of problems is, by model, and what is made of it.

import { percent } from "./axis.js";
import { bars } from "./bars.js";
import { button, makeCases, trying } from "./diagnose.js";
import { make } from "./dom.js";
import { addressOf } from "./place.js";
import { follow, save } from "./server.js";

export async function show(view, { number, get, signal, detectors, told }) {
  const list = make("div", { class: "rates" });
  const draw = async () => {
    const found = await get("/rates");
    const { sample: { read, filters }, any, loose, categories } = found;
    told(found.sample);
    const drawn = Object.keys(filters).length ? "This sample was filtered: the rates are of such conversations, not of all." : "Each bar is the share of the conversations that were read, with Wilson's interval at 95 %.";
    const card = (title, about, rates, ...acts) => make("section", { class: "card" }, make("h3", {}, title), about && make("p", { class: "quiet" }, about), tableOf(title, rates), make("div", { class: "bar" }, ...acts));
    list.replaceChildren(make("p", { class: "quiet" }, read ? drawn : "No conversation was read yet; rates are of those that were."), card("Any note", "", any),
      ...categories.map((rates) => card(rates.category.name, rates.category.definition, rates, ...actsOf(rates))), ...(loose.whole.count ? [card("No category", "", loose)] : []));
  };
  const actsOf = ({ category: { id, function: name } }) => {
    const draft = (kind) => async ({ target }) => {
      const made = await trying(target.parentElement, () => get(`/categories/${id}/detector?kind=${kind}`));
      if (made) save(made.name, made.text);
    };
    const cases = async ({ target }) => {
      const { notes } = await get("/notes");
      const own = notes.filter((note) => note.category_id === id);
      if (own.length) await makeCases(target.parentElement, own, [name, ...detectors]);
    };
    return [make("a", { href: addressOf("diagnose", [number, "group"], { category: id }) }, "Notes"), button("Make evaluation cases", cases, { class: "plain" }),
      button("Detector in Python", draft("python"), { class: "plain" }), button("Question to a judge", draft("judge"), { class: "plain" })];
  };
  await draw();
  view.append(list);
  follow((topics) => ["notes", "categories", "readings"].some((one) => topics.has(one)) && draw(), signal);
}

function tableOf(caption, { whole, models }) {
  const row = (name, { count, of, low, high }) => ({ name, value: of ? count / of : null, low: of ? low : null, high: of ? high : null, note: `${count} of ${of}` });
  return bars({ caption, most: 1, text: percent, rows: [row("All models", whole), ...Object.entries(models).map(([name, share]) => row(name, share))] });
}
