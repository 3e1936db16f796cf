// Group the notes of a sample into categories, by keys or as the server suggests.

import { changes, keys, post, remove, trying } from "./diagnose.js";
import { all, bar, button, find, make, nothing, quiet, redraw, select, small, tell } from "./dom.js";
import { keepQuery, link } from "./place.js";

export async function show(view, { number, get, signal, query, told }) {
  const loose = make("div", { class: "stack" }), groups = make("div", { class: "stack groups" });
  const opened = new Set([Number(query.get("category"))]);
  let notes = [], categories = [], chosen = Number(query.get("note")), undo = null, shown = "";

  const cards = () => all(".noted", loose);
  const idOf = (card) => Number(card.dataset.id);
  const here = () => cards().find((one) => idOf(one) === chosen) ?? cards()[0];
  const ticked = () => cards().filter((one) => find("input", one).checked).map(idOf);
  const picked = () => (ticked().length || !here() ? ticked() : [idOf(here())]);
  const nameOf = (id) => categories.find((one) => one.id === id)?.name ?? "no category";
  const choose = (card) => {
    if (!card) return;
    chosen = idOf(card);
    for (const one of cards()) one.classList.toggle("chosen", one === card);
    keepQuery({ note: chosen });
  };
  const move = (step) => () => cards()[cards().indexOf(here()) + step]?.focus();
  const typing = () => find(":is(input:not([type=checkbox]), select):focus", view);
  const draw = async (live = false) => {
    const found = await get("/notes"), was = ticked(), focused = document.activeElement.closest(".noted"), as = JSON.stringify(found);
    if (as === shown || live && typing()) return;
    shown = as;
    ({ notes, categories } = found);
    told(found.sample);
    const free = notes.filter((note) => !note.category_id);
    loose.replaceChildren(make("h3", {}, `Notes without a category (${free.length})`), ...free.map((note) => cardOf(note, was.includes(note.id))));
    if (!notes.length) loose.append(nothing("Nothing is noted yet. ", link("Read the conversations", "diagnose", [number]), " and write down what is wrong."));
    redraw(groups, make("h3", {}, "Categories"), ...categories.map(groupOf), adding());
    choose(here());
    if (focused) here()?.focus();
  };
  const put = async (ids, category) => {
    const before = notes.filter(({ id }) => ids.includes(id));
    if (!ids.length || !await trying(loose, () => post("/groups", { notes: ids, category_id: category }))) return;
    undo = async () => {
      for (const { id, category_id: old } of before) await post("/groups", { notes: [id], category_id: old });
      await draw();
    };
    const left = cards().slice(Math.max(0, cards().indexOf(here()))).find((one) => !ids.includes(idOf(one)));
    if (left) chosen = idOf(left);
    tell(`Put into ${nameOf(category)}.`);
    await trying(loose, draw);
  };
  const source = ({ position }) => link(`Conversation ${position}`, "diagnose", [number, "read", position]);
  const cardOf = (note, checked) => {
    const own = () => (ticked().includes(note.id) ? ticked() : [note.id]);
    const other = select("Category", "", [["", "Put into…"], ...categories.map(({ id, name }) => [id, name])], (value) => put(own(), Number(value)));
    return make("section", { class: "card noted", role: "group", tabIndex: 0, "data-id": note.id, "aria-label": note.text, onfocusin: ({ currentTarget }) => choose(currentTarget) },
      make("label", {}, make("input", { type: "checkbox", checked }), ` ${note.text}`), quiet(source(note), `: ${note.reply}`),
      bar(...note.near.map(({ category_id: id, cosine }) => button(`${nameOf(id)} ${cosine.toFixed(2)}`, () => put(own(), id), { class: "plain near", title: "Near by its words: put it there" })), other));
  };
  const groupOf = ({ id, name, definition }, i) => {
    const own = notes.filter((note) => note.category_id === id);
    const toggle = ({ target }) => {
      opened[target.open ? "add" : "delete"](id);
      keepQuery({ category: [...opened].at(-1) || "" });
    };
    return make("details", { class: "card", "data-id": id, open: opened.has(id), ontoggle: toggle }, make("summary", {}, i < 9 && make("kbd", {}, i + 1), ` ${name} `, small(own.length)),
      ...own.map((note) => bar(make("p", {}, note.text), source(note), button("Take out", () => put([note.id], null), { class: "" }))), naming(name, definition, "Rename", (body) => post(`/categories/${id}`, body)),
      button("Remove this category", () => trying(groups, () => remove(`/categories/${id}`).then(() => draw())), { class: "" }));
  };
  const naming = (name, definition, text, keep) => {
    const field = (title, value, more) => make("label", {}, title, make("input", { value, ...more }));
    const form = make("form", { class: "bar", onsubmit: (event) => {
      event.preventDefault();
      const [one, two] = all("input", form);
      trying(form, () => keep({ name: one.value, definition: two.value }).then(() => draw()));
    } }, field("Name", name, { required: true, maxLength: 100 }), field("Definition", definition, { maxLength: 1000 }), make("button", { class: "plain" }, text));
    return form;
  };
  const adding = () => Object.assign(naming("", "", "Add, with the chosen notes", async (body) => {
    const ids = picked(), made = await post("/categories", body);
    categories.push(made);
    await put(ids, made.id);
  }), { id: "adding" });
  view.append(make("div", { class: "halves" }, loose, groups), keys(signal, { j: move(1), ArrowDown: move(1), k: move(-1), ArrowUp: move(-1), digit: (key) => categories[key - 1] && put(picked(), categories[key - 1].id),
    Enter: () => find(".near", here() ?? view)?.click(), x: () => here() && find("input", here()).click(), c: () => find("#adding input").focus(), z: () => undo && trying(loose, undo) },
  { J: "next", K: "previous", X: "select", "1–9": "into this category", Enter: "into the nearest", C: "new category", Z: "undo" }));
  await draw();
  changes(["notes", "categories"], () => draw(true), loose, signal);
}
