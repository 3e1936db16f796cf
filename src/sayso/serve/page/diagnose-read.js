// Read the conversations of a sample, one after the other, and write notes about their replies.

import { changes, keys, makeCases, post, remove, trying } from "./diagnose.js";
import { all, bar, button, find, make, nothing, quiet, redraw, safe, small, tell } from "./dom.js";
import { addressOf, visit } from "./place.js";

export async function show(view, sample) {
  const { number, path, items, signal, get, place } = sample;
  if (!items.length) return view.append(nothing("All conversations of this sample were deleted; draw another sample."));
  const talk = make("article", { class: "talk", "aria-label": "Conversation" }), title = make("h3", { tabIndex: -1 }), list = make("ol");
  const index = items.findIndex(({ position, read }) => (place ? position === Number(place) : !read));
  let at = Math.max(0, index), shown = "";

  const to = ({ position }) => addressOf("diagnose", [number, "read", position]);
  const head = () => {
    const item = items[at];
    title.replaceChildren(`${at + 1} of ${items.length}: ${item.title}`, small(item.read ? " (read)" : ""));
    back.disabled = !at;
    redraw(list, ...items.map((one, i) => make("li", {}, make("a", { href: to(one), "aria-current": i === at && "true" }, one.title || "Untitled"),
      small(one.read ? " read" : "", one.notes ? `, notes: ${one.notes}` : ""))));
  };
  const load = async () => {
    const { position } = items[at], { turns } = await get(`/conversations/${position}`);
    if (items[at].position !== position || shown === JSON.stringify(turns) || find("form", talk)) return;
    shown = JSON.stringify(turns);
    redraw(talk, ...turns.map((turn) => turnOf(turn, sample, refresh)));
  };
  const refresh = async () => {
    const now = await get();
    sample.told(now.sample);
    for (const item of items) Object.assign(item, now.items.find(({ position }) => position === item.position));
    head();
    await load();
  };
  const go = async (one) => {
    if (!items[one] || unsaved()) return;
    at = one;
    history.pushState(null, "", to(items[at]));
    head();
    find("form", talk)?.remove();
    await trying(talk, load);
    find("#view").scrollTop = 0;
    title.focus({ preventScroll: true });
  };
  const unsaved = () => {
    const field = find("textarea", talk);
    if (!field?.value.trim()) return false;
    field.focus();
    tell("Save the note first, or cancel it.");
    return true;
  };
  const mark = async (read) => {
    const item = items[at], told = await trying(talk, () => post(`${path}/readings`, { position: item.position, read }));
    if (!told) return false;
    item.read = read;
    sample.told(told);
    head();
    return true;
  };
  const next = async () => {
    if (unsaved() || !await mark(true)) return;
    if (at < items.length - 1) return go(at + 1);
    visit("diagnose", [number, "group"]);
  };
  const note = () => find(".write", document.activeElement.closest(".reply") ?? all(".reply:has(.write)", talk).at(-1))?.click();
  const back = button("Previous", () => go(at - 1));
  if (!place) history.replaceState(null, "", to(items[at]));
  view.append(make("div", { class: "steps" }, back, title, button("Next", next, { class: "main" })), talk, keys(signal,
    { j: next, ArrowRight: next, k: () => go(at - 1), ArrowLeft: () => go(at - 1), n: note, u: () => go(items.findIndex(({ read }, i) => !read && i !== at)), r: () => mark(!items[at].read) },
    { J: "next, and mark as read", K: "previous", N: "note", U: "next unread", R: "read or unread" }), make("details", {}, make("summary", {}, "All conversations"), list));
  head();
  await load();
  changes(["notes", "readings", "categories", "flags", "triage", "ratings", "cases"], refresh, talk, signal);
}

function turnOf(turn, sample, refresh) {
  const { role, content, message_id: id, model, finish, thumb, flags = [], notes = [], extra, edit_html: edit } = turn;
  if (role === "user") return make("div", { class: "user" }, make("p", {}, content));
  if (role !== "assistant") return make("details", {}, make("summary", { class: "quiet" }, role), make("pre", {}, content));
  const reply = make("section", { class: "reply", "aria-label": "Reply", "data-id": id }, safe(turn.html), extra && make("pre", {}, JSON.stringify(extra, null, 1)),
    edit && make("details", { class: "was" }, make("summary", {}, "Corrected reply"), safe(edit)));
  if (!id) return reply;
  const write = () => edited(reply, "", (text) => post("/notes", { message_id: id, text }), refresh);
  const told = [model, finish !== "stop" && finish, { 1: "thumb up", "-1": "thumb down" }[thumb]].filter(Boolean).join(", ");
  reply.append(make("ul", { class: "notes" }, ...flags.map(({ detector, detail, state }) => make("li", { class: "quiet" }, `Flag of ${detector} (${state}): ${detail}`)),
    ...notes.map((note) => noteOf(note, reply, sample, refresh))), bar(button("Add a note", write, { class: "plain write" }), quiet(told)));
  return reply;
}

function noteOf(note, reply, { detectors }, refresh) {
  const { id, text, category, annotator, case: state } = note, is = state && state !== "retired";
  const act = (name, what) => button(name, async () => await trying(reply, what) && refresh(), { class: "" });
  return make("li", { class: "noted", "data-id": `note-${id}` }, make("p", { class: "said" }, text), quiet([category, annotator && `by ${annotator}`, is && `evaluation case (${state})`].filter(Boolean).join(", ")),
    make("div", { class: "tools" }, button("Change", () => edited(reply, text, (now) => post(`/notes/${id}`, { text: now }), refresh), { class: "" }), act("Remove", () => remove(`/notes/${id}`)),
      is ? act("Retire case", () => post("/cases", { notes: [id], retire: true })) : act("Make a case", () => makeCases(reply, [note], detectors))));
}

// Write or change a note below a reply.
function edited(reply, value, keep, refresh) {
  find("form", reply)?.remove();
  const field = make("textarea", { rows: 2, maxLength: 2000, required: true, value });
  const close = () => {
    form.remove();
    find(".write", reply).focus();
  };
  const submit = async (event) => {
    event.preventDefault();
    if (!form.reportValidity() || !await trying(form, () => keep(field.value))) return;
    close();
    tell("Saved.");
    await trying(reply, refresh);
    find(`.reply[data-id="${reply.dataset.id}"] .write`)?.focus();
  };
  const form = make("form", { class: "editor", onsubmit: submit }, make("label", {}, "What is wrong with this reply?", field),
    make("div", { class: "row" }, button("Cancel", close), make("button", { class: "main" }, "Save")));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  });
  reply.append(form);
  field.focus();
}
