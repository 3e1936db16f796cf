// One item after the other: a pair of replies to compare, a prompt to answer, a written reply to check.

import { find, make, question, tell } from "./dom.js";
import { call, follow } from "./server.js";

const ACTS = [["left", "Left is better", "1"], ["right", "Right is better", "2"], ["tie", "Tie", "t"], ["accept", "Accept", "a"], ["reject", "Reject", "r"], ["skip", "Skip", "s"], ["undo", "Undo", "u"]];
const OF = { compare: ["left", "tie", "right", "skip", "undo"], write: ["skip", "undo"], check: ["accept", "reject", "skip", "undo"] };
const EMPTY = {
  compare: "There is no pair for you to compare. Regenerated replies and those of a shadow model get here by themselves; under Set up you can add a list, or let two models reply to your prompts.",
  write: "There is no prompt for you to answer. Add a list of prompts under Set up.",
  check: "There is no written reply for you to check. Another person has to write one first: you cannot check your own.",
};

const keys = () => ({ ...Object.fromEntries(ACTS.map(([name, , key]) => [name, key])), ...JSON.parse(localStorage.getItem("sayso-rate-keys") ?? "{}") });

// Return the place where items are shown, and show the first one.
export function work({ part, who, list, known, signal, top }) {
  const stage = make("div", { class: "stage" });
  const last = make("p", { class: "quiet last" });
  const element = make("section", { class: "work", "aria-label": "Review" }, top, stage, last);
  const state = { task: null, form: null, busy: false };
  const post = (path, body) => call("POST", `/api/rate/${path}`, { annotator: who, ...body }, signal);

  // Do one thing at a time; what fails can be tried again.
  async function attempt(act) {
    if (state.busy) return;
    state.busy = true;
    find(".problem", element)?.remove();
    try {
      await act();
    } catch (error) {
      if (signal.aborted) return;
      const retry = make("button", { type: "button", onclick: () => attempt(act) }, "Try again");
      stage.after(make("div", { class: "problem", role: "alert" }, make("p", {}, error.message), retry));
    } finally {
      state.busy = false;
    }
  }

  async function next(note = "") {
    show((await post("take", { act: part, origin: list })).task, note);
  }

  function show(task, note) {
    state.task = task;
    last.textContent = note;
    state.form = task ? forms[part](task) : null;
    stage.replaceChildren(task ? state.form : make("p", { class: "nothing" }, EMPTY[part]), actions());
    stage.scrollIntoView({ block: "nearest" });
    find("h2", stage)?.focus({ preventScroll: true });
    tell(`${note} ${task ? "" : EMPTY[part]}`.trim());
  }

  const forms = {
    compare: (task) => comparison(task, known),
    write: (task) => writing(task, "Write the ideal reply", task.draft ?? "", "Save", save),
    check: (task) => checking(task, save),
  };

  const done = {
    left: () => choose("left"), right: () => choose("right"), tie: () => choose("tie"),
    accept: () => verdict("accept"), reject: () => verdict("reject"),
    skip: async () => {
      await post("skip", { review: state.task.review });
      await next("Skipped.");
    },
    undo: async () => {
      const { task } = await post("undo", { act: part });
      if (task) return show(task, "Undone; here it is again.");
      last.textContent = "There is nothing to undo.";
      tell(last.textContent);
    },
  };

  async function choose(better) {
    const marked = (name) => [...state.form.querySelectorAll(`[name="${name}"]:checked`)].map((box) => box.value);
    const comment = find("[name=comment]", state.form).value.trim();
    const said = { reasons: marked("reason"), left_tags: marked("left"), right_tags: marked("right"), comment: comment || null };
    const { models } = await post("compare", { review: state.task.review, better, ...said });
    const by = models.left === models.right ? `Both were by ${models.left}.` : `Left was ${models.left}, right was ${models.right}.`;
    await next(`${better === "tie" ? "You chose a tie." : `You chose the ${better} reply.`} ${by}`);
  }

  async function verdict(given, text = null) {
    const comment = find("[name=comment]", state.form).value.trim();
    await post("check", { review: state.task.review, verdict: given, text, comment: comment || null });
    await next(`You ${{ accept: "accepted", correct: "corrected", reject: "rejected" }[given]} the reply.`);
  }

  async function save(text) {
    const { review, text: was } = state.task;
    await attempt(async () => {
      if (part === "check") await verdict(text === was ? "accept" : "correct", text === was ? null : text);
      else {
        await post("write", { review, text });
        await next("Saved; another person will check it.");
      }
      localStorage.removeItem(`sayso-draft-${review}`);
    });
  }

  const act = (name) => (state.task || name === "undo") && attempt(done[name]);

  function actions() {
    const bound = keys();
    const button = ([name, title]) => make("button", { type: "button", class: ["left", "right", "accept"].includes(name) ? "main" : "plain", disabled: !state.task && name !== "undo", "aria-keyshortcuts": bound[name], onclick: () => act(name) }, title, make("kbd", {}, bound[name]));
    const shown = OF[part].map((name) => ACTS.find(([own]) => own === name)).map(button);
    return make("div", { class: "acts", role: "group", "aria-label": "Verdict" }, shown,
      make("button", { type: "button", class: "keys", onclick: async () => (await changeKeys()) && find(".acts", stage).replaceWith(actions()) }, "Keys"));
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || find("dialog[open]")) return;
    if (event.target.matches("textarea, select, input:not([type=checkbox])")) return;
    const name = OF[part].find((one) => keys()[one] === event.key);
    if (!name) return;
    event.preventDefault();
    act(name);
  }, { signal });
  follow((topics) => {
    if (!state.task && ["queue", "reviews", "candidates", "signals"].some((one) => topics.has(one))) attempt(() => next(last.textContent));
  }, signal);
  attempt(next);
  return element;
}

function asked(task) {
  const names = { system: "System", user: "Prompt", assistant: "Earlier reply" };
  return make("div", { class: "asked" }, task.prompt.map(({ role, text, html }) => {
    const words = make("div", { class: html === undefined ? "said" : "words" }, text ?? "");
    if (html !== undefined) words.innerHTML = html; // made safe by the server
    return make("div", { class: role }, make("h3", {}, names[role]), words);
  }));
}

const title = (text) => make("h2", { tabIndex: -1 }, text);
const chips = (legend, name, words) => words.length > 0 && make("fieldset", { class: "chips" }, make("legend", {}, legend),
  words.map((word) => make("label", {}, make("input", { type: "checkbox", name, value: word }), word)));

function replyOf({ html, cut }, heading, ...more) {
  const words = make("div", { class: "words" });
  words.innerHTML = html; // made safe by the server
  return make("article", { class: "side", "aria-label": heading }, make("h3", {}, heading), words, cut && make("p", { class: "quiet" }, "Cut off at the maximum length."), ...more);
}

function comparison(task, { reasons, tags }) {
  const [left, right] = task.replies;
  return make("form", { class: "item", onsubmit: (event) => event.preventDefault() }, title("Which reply is better?"), asked(task),
    make("div", { class: "two" }, replyOf(left, "Left", chips("Mark this reply", "left", tags)), replyOf(right, "Right", chips("Mark this reply", "right", tags))),
    chips("Why? (optional)", "reason", reasons), make("label", { class: "note" }, "Note (optional)", make("input", { name: "comment", maxLength: 2000, autocomplete: "off" })));
}

// A form with a text, which is kept in the browser until it is saved.
function writing(task, heading, text, button, save, ...more) {
  const place = `sayso-draft-${task.review}`;
  const box = make("textarea", { rows: 8, maxLength: 100_000, required: true, "aria-label": heading, value: localStorage.getItem(place) ?? text });
  box.addEventListener("input", () => localStorage.setItem(place, box.value));
  const form = make("form", { class: "item" }, title(heading), asked(task), box, ...more,
    make("div", { class: "row" }, make("span", { class: "quiet" }, "Ctrl Enter saves"), make("button", { class: "main" }, button)));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save(box.value);
  });
  box.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit());
  return form;
}

function checking(task, save) {
  const note = make("label", { class: "note" }, "Note (optional)", make("input", { name: "comment", maxLength: 2000, autocomplete: "off" }));
  return writing(task, "Accept, correct or reject this reply", task.draft ?? task.text, "Save correction", save, note);
}

async function changeKeys() {
  const bound = keys();
  const field = ([name, text]) => make("label", {}, text, make("input", { name, value: bound[name], maxLength: 1, size: 2, required: true, pattern: "\\S", autocomplete: "off", onfocus: (event) => event.target.select() }));
  const form = make("form", { method: "dialog", class: "keyform" }, make("h2", { id: "keys-title" }, "Keys"), ACTS.map(field),
    make("div", { class: "row" }, make("button", { class: "plain", value: "defaults", formNoValidate: true }, "Defaults"), make("button", { class: "main", value: "save" }, "Save")));
  form.addEventListener("input", () => {
    const boxes = [...form.querySelectorAll("input")];
    for (const box of boxes) box.setCustomValidity(boxes.some((other) => other !== box && other.value === box.value) ? "Another action has this key." : "");
  });
  const { returnValue } = await question(make("dialog", { "aria-labelledby": "keys-title" }, form));
  if (returnValue === "defaults") localStorage.removeItem("sayso-rate-keys");
  if (returnValue === "save") localStorage.setItem("sayso-rate-keys", JSON.stringify(Object.fromEntries(new FormData(form))));
  return returnValue;
}
