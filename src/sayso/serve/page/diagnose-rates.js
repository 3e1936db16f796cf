// How frequent each category of problems is, by model, and what is made of it.

import { percent } from "./axis.js";
import { bars } from "./bars.js";
import { changes, makeCases, trying } from "./diagnose.js";
import { bar, button, make, quiet, redraw } from "./dom.js";
import { link } from "./place.js";
import { save } from "./server.js";

export async function show(view, { number, get, signal, detectors, told }) {
  const list = make("div", { class: "stack rates" });
  const card = (title, about, rates, ...acts) => make("section", { class: "card", "data-id": title }, make("h3", {}, title), about && quiet(about), tableOf(title, rates), bar(...acts));
  let shown = "";
  const draw = async () => {
    const found = await get("/rates"), { sample, any, loose, categories } = found;
    told(sample);
    if (JSON.stringify(found) === shown) return;
    shown = JSON.stringify(found);
    const about = Object.keys(sample.filters).length ? "This sample was filtered: these are rates among such conversations, not among all." : "Shares of the conversations that were read, with Wilson's interval at 95 %.";
    redraw(list, quiet(sample.read ? about : "No conversation was read yet; the rates are of those that were."), card("Any note", "", any),
      ...categories.map((rates) => card(rates.category.name, rates.category.definition, rates, ...actsOf(rates))), loose.whole.count ? card("No category", "", loose) : "");
  };
  const actsOf = ({ category: { id, function: name } }) => {
    const draft = (kind) => ({ target }) => trying(target.parentElement, async () => {
      const made = await get(`/categories/${id}/detector?kind=${kind}`);
      save(made.name, made.text);
    });
    const cases = ({ target }) => trying(target.parentElement, async () => {
      const own = (await get("/notes")).notes.filter((note) => note.category_id === id);
      if (own.length) await makeCases(target.parentElement, own, [name, ...detectors]);
    });
    return [link("Notes", "diagnose", [number, "group"], { category: id }), button("Make evaluation cases", cases), button("Detector in Python", draft("python")), button("Question to a judge", draft("judge"))];
  };
  await draw();
  view.append(list);
  changes(["notes", "categories", "readings"], draw, list, signal);
}

function tableOf(caption, { whole, models }) {
  const row = ([name, { count, of, low, high }]) => ({ name, note: `${count} of ${of}`, ...(of && { value: count / of, low, high }) });
  return bars({ caption, most: 1, text: percent, rows: [["All models", whole], ...Object.entries(models)].map(row) });
}
