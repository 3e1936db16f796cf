// Group the notes of a sample into categories, by keys or by what the server suggests.

import { button, keys, post, remove, trying } from "./diagnose.js";
import { find, make, tell } from "./dom.js";
import { addressOf, keepQuery } from "./place.js";
import { follow } from "./server.js";

export async function show(view, { number, get, signal, query, told }) {
  const loose = make("div", { class: "loose" }), groups = make("div", { class: "groups" });
  let notes = [], categories = [], undo = null;
  let chosen = Number(query.get("note")), open = Number(query.get("category"));

  const list = () => [...loose.querySelectorAll(".noted")];
  const here = () => list().find((one) => Number(one.dataset.id) === chosen) ?? list()[0];
  const choose = (card) => {
    if (!card) return;
    chosen = Number(card.dataset.id);
    for (const one of list()) one.classList.toggle("chosen", one === card);
    keepQuery({ note: chosen });
  };
  const move = (step) => () => {
    const all = list(), card = all[all.indexOf(here()) + step];
    choose(card);
    card?.focus();
  };
  const draw = async () => {
    const found = await get("/notes");
    ({ notes, categories } = found);
    told(found.sample);
    const focused = document.activeElement.closest?.(".noted");
    const free = notes.filter((note) => !note.category_id);
    loose.replaceChildren(make("h3", {}, `Notes without a category (${free.length})`), ...free.map(cardOf));
    if (!notes.length) loose.append(make("p", { class: "nothing" }, "Nothing is noted yet. ", make("a", { href: addressOf("diagnose", [number]) }, "Read the conversations"), " and write down what is wrong."));
    groups.replaceChildren(make("h3", {}, "Categories"), ...categories.map(groupOf), adding());
    choose(here());
    if (focused) here()?.focus();
  };
  const put = async (ids, category) => {
    const before = ids.map((id) => notes.find((note) => note.id === id));
    if (!ids.length || !await trying(loose, () => post("/groups", { notes: ids, category_id: category }))) return;
    undo = async () => {
      for (const { id, category_id: old } of before) await post("/groups", { notes: [id], category_id: old });
    };
    const all = list(), rest = all.slice(all.indexOf(here())).find((one) => !ids.includes(Number(one.dataset.id)));
    if (rest) chosen = Number(rest.dataset.id);
    tell(`Put into ${categories.find(({ id }) => id === category)?.name ?? "no category"}.`);
    await draw();
  };
  const picked = () => {
    const some = list().filter((one) => find("input", one).checked).map((one) => Number(one.dataset.id));
    return some.length || !here() ? some : [chosen];
  };
  const source = (note) => make("a", { href: addressOf("diagnose", [number, "read", note.position]) }, `Conversation ${note.position}`);
  const cardOf = (note) => make("section", { class: "card noted", tabIndex: 0, "data-id": note.id, "aria-label": `Note: ${note.text}`, onfocusin: ({ currentTarget }) => choose(currentTarget) },
    make("label", {}, make("input", { type: "checkbox" }), ` ${note.text}`), make("p", { class: "quiet" }, source(note), `: ${note.reply}`),
    make("div", { class: "tools" }, ...note.near.map(({ category_id: id, cosine }) => button(`${categories.find((one) => one.id === id)?.name} ${cosine.toFixed(2)}`, () => put([note.id], id), { class: "plain", title: "Nearest by its words; put the note there" }))));
  const groupOf = ({ id, name, definition }, i) => {
    const own = notes.filter((note) => note.category_id === id);
    const details = make("details", { class: "card", open: id === open, ontoggle: () => details.open && keepQuery({ category: id }) },
      make("summary", {}, i < 9 && make("kbd", {}, i + 1), ` ${name} `, make("span", { class: "quiet" }, `${own.length}`)),
      button("Put the chosen notes here", () => put(picked(), id), { class: "plain" }), ...own.map((note) => make("p", {}, note.text, " ", source(note), button("Take out", () => put([note.id], null)))), naming(name, definition, "Rename", (body) => post(`/categories/${id}`, body)),
      button("Remove this category", () => trying(groups, () => remove(`/categories/${id}`)).then(draw)));
    return details;
  };
  const naming = (name, definition, text, keep) => {
    const form = make("form", { class: "bar", onsubmit: async (event) => {
      event.preventDefault();
      if (await trying(form, () => keep({ name: form.elements.named.value, definition: form.elements.definition.value }))) await draw();
    } }, make("label", {}, "Name", make("input", { name: "named", required: true, maxLength: 100, value: name })), make("label", {}, "Definition", make("input", { name: "definition", maxLength: 1000, value: definition })), make("button", { class: "plain" }, text));
    return form;
  };
  const adding = () => Object.assign(naming("", "", "Add and put the chosen notes there", async (body) => {
    const ids = picked(), made = await post("/categories", body);
    categories.push(made);
    await put(ids, made.id);
    return made;
  }), { id: "adding" });
  view.append(make("div", { class: "halves" }, loose, groups), keys(signal, { j: move(1), ArrowDown: move(1), k: move(-1), ArrowUp: move(-1), digit: (key) => categories[key - 1] && put(picked(), categories[key - 1].id),
    Enter: () => find(".tools button", here() ?? view)?.click(), x: () => here() && find("input", here()).click(), c: () => find("#adding input").focus(), z: () => undo && trying(loose, undo).then(draw) },
  { J: "next", K: "previous", X: "select", "1–9": "into that category", Enter: "into the nearest", C: "new category", Z: "undo" }));
  await draw();
  follow((topics) => (topics.has("notes") || topics.has("categories")) && !find("input:focus:not([type=checkbox])", groups) && draw(), signal);
}
