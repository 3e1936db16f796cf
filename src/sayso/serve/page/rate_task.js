// One item after the other: a pair of replies to compare, a prompt to answer, a written reply to check.

import { all, button, copyOf, elsewhere, find, make, problem, question, quiet, safe, small, tell } from "./dom.js";
import { call, changes } from "./server.js";

const KEYS = "sayso-rate-keys";
const ACTS = { left: ["Left is better", "1"], tie: ["Tie", "t"], right: ["Right is better", "2"], accept: ["Accept", "a"], reject: ["Reject", "r"], skip: ["Skip", "s"], undo: ["Undo", "u"] };
const OF = { compare: ["left", "tie", "right", "skip", "undo"], write: ["skip", "undo"], check: ["accept", "reject", "skip", "undo"] };
const keys = () => ({ ...Object.fromEntries(Object.entries(ACTS).map(([name, [, key]]) => [name, key])), ...JSON.parse(localStorage.getItem(KEYS)) });

// Return the place where items are shown, and show the first one.
export function work({ part, who, list, known, signal, top }) {
  const stage = make("div", { class: "stack" });
  const last = make("p", { class: "quiet last" });
  const element = make("section", { class: "stack", "aria-label": "Review" }, top, last, stage);
  const post = (path, body) => call("POST", `/api/rate/${path}`, { annotator: who, ...body }, signal);
  const comment = () => find("[name=comment]", stage).value.trim() || null;
  const marked = (name) => all(`[name=${name}]:checked`, stage).map((box) => box.value);
  let task = null;
  let busy = false;

  // Do one thing at a time; what fails can be tried again.
  async function attempt(act) {
    if (busy) return;
    busy = true;
    find(".problem", element)?.remove();
    try {
      await act();
    } catch (error) {
      if (!signal.aborted) stage.after(problem(error, () => attempt(act)));
    } finally {
      busy = false;
    }
    if (!task && !find(".problem", element)) look().catch(() => {}); // what came while it was done
  }

  // Show what there is to do by now to somebody who has nothing to do, without holding up what they do meanwhile.
  async function look() {
    const { task: found } = await post("take", { act: part, origin: list });
    if (found && !task && !busy) show(found, last.textContent);
  }

  const next = async (said) => show((await post("take", { act: part, origin: list })).task, said);

  function show(given, said = "") {
    task = given;
    last.textContent = said;
    const shown = task ? forms[part]() : copyOf(`no-${part}`);
    stage.replaceChildren(shown, actions());
    if (last.getBoundingClientRect().top < 0) last.scrollIntoView();
    find("h2", stage)?.focus({ preventScroll: true });
    tell(task ? said : `${said} ${shown.textContent}`);
  }

  const forms = {
    compare: () => comparison(task, known),
    write: () => writing(task, "Write the ideal reply", task.draft ?? "", save, make("button", { class: "main" }, "Save")),
    check: () => writing(task, "Accept, correct or reject this reply", task.draft ?? task.text, save, make("button", { class: "plain" }, "Save correction"), note()),
  };

  async function choose(better) {
    const { models } = await post("compare", { review: task.review, better, reasons: marked("reason"), left_tags: marked("left"), right_tags: marked("right"), comment: comment() });
    const by = models.left === models.right ? `Both were by ${models.left}.` : `Left was ${models.left}, right was ${models.right}.`;
    await next(`You chose ${better === "tie" ? "a tie" : "the " + better + " reply"}. ${by}`);
  }

  async function verdict(given, text = null) {
    await post("check", { review: task.review, verdict: given, text, comment: comment() });
    await next(`You ${given}ed the reply.`);
  }

  const save = (text) => attempt(async () => {
    const place = draftOf(task);
    if (part === "write") {
      await post("write", { review: task.review, text });
      await next("Saved; another person will check it.");
    } else await (text === task.text ? verdict("accept") : verdict("correct", text));
    localStorage.removeItem(place);
  });

  const does = {
    left: () => choose("left"), right: () => choose("right"), tie: () => choose("tie"), accept: () => verdict("accept"), reject: () => verdict("reject"),
    skip: async () => {
      await post("skip", { review: task.review });
      await next("Skipped.");
    },
    undo: async () => {
      const undone = (await post("undo", { act: part })).task;
      show(undone ?? task, undone ? "Undone; here it is again." : "There is nothing to undo.");
    },
  };
  const act = (name) => (task || name === "undo") && attempt(does[name]);

  function actions() {
    const bound = keys();
    const verdict = (name) => button([ACTS[name][0].split(" ")[0], make("kbd", {}, bound[name])], () => act(name), { class: ["left", "right", "accept"].includes(name) ? "main" : "plain", "aria-label": ACTS[name][0] });
    return make("div", { class: "acts", role: "group", "aria-label": "Verdict" }, OF[part].filter((name) => task || name === "undo").map(verdict),
      button("Keys", async () => (await changeKeys()) && find(".acts", stage).replaceWith(actions()), { class: "keys" }));
  }

  document.addEventListener("keydown", (event) => {
    if (elsewhere(event) || event.repeat) return;
    const name = OF[part].find((one) => keys()[one] === event.key);
    if (!name) return;
    event.preventDefault();
    act(name);
  }, { signal });
  changes(["queue", "reviews", "candidates", "signals"], () => !task && !busy && look(), signal);
  attempt(next);
  return element;
}

const draftOf = ({ review }) => `sayso-draft-${review}`;
const title = (text) => make("h2", { tabIndex: -1 }, text);
const note = () => make("label", { class: "note" }, "Note (optional)", make("input", { name: "comment", maxLength: 2000, autocomplete: "off" }));
const chips = (legend, name, words) => words.length > 0 && make("fieldset", { class: "chips" }, make("legend", {}, legend),
  words.map((value) => make("label", {}, make("input", { type: "checkbox", name, value }), value)));

function asked({ prompt }) {
  const names = { system: "System", user: "Prompt", assistant: "Earlier reply" };
  return make("div", { class: "asked stack", tabIndex: 0, role: "group", "aria-label": "Prompt" }, prompt.map(({ role, text, html }) =>
    make("div", {}, make("h3", {}, names[role]), html === undefined ? make("div", { class: "said" }, text) : safe(html))));
}

function comparison(task, { reasons, tags }) {
  const side = (name, { html, cut }) => make("article", { class: "side", "aria-label": name }, make("h3", {}, name), safe(html),
    cut && quiet("Cut off at the maximum length."), chips("Mark this reply", name.toLowerCase(), tags));
  return make("form", { class: "item stack", onsubmit: (event) => event.preventDefault() }, title("Which reply is better?"), asked(task),
    make("div", { class: "sides" }, side("Left", task.replies[0]), side("Right", task.replies[1])), chips("Why? (optional)", "reason", reasons), note());
}

// A form with a text, which is kept in the browser until it is saved.
function writing(task, heading, text, save, button, ...more) {
  const place = draftOf(task);
  const box = make("textarea", { rows: 8, maxLength: 100_000, required: true, "aria-label": heading, value: localStorage.getItem(place) ?? text });
  box.addEventListener("input", () => localStorage.setItem(place, box.value));
  box.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit());
  const submit = (event) => {
    event.preventDefault();
    save(box.value);
  };
  const form = make("form", { class: "item stack", onsubmit: submit }, title(heading), asked(task), box, ...more, make("div", { class: "row" }, small("Ctrl Enter saves"), button));
  return form;
}

async function changeKeys() {
  const dialog = copyOf("rate-keys");
  const form = find("form", dialog);
  const bound = keys();
  find(".row", form).before(...Object.entries(ACTS).map(([name, [text]]) =>
    make("label", {}, text, make("input", { name, value: bound[name], maxLength: 1, required: true, pattern: "\\S", autocomplete: "off", onfocus: (event) => event.target.select() }))));
  form.addEventListener("input", () => {
    const boxes = all("input", form);
    for (const box of boxes) box.setCustomValidity(boxes.some((other) => other !== box && other.value === box.value) ? "Another action has this key." : "");
  });
  const { returnValue } = await question(dialog);
  if (returnValue === "defaults") localStorage.removeItem(KEYS);
  if (returnValue === "save") localStorage.setItem(KEYS, JSON.stringify(Object.fromEntries(new FormData(form))));
  return returnValue;
}
