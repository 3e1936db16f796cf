// The chat: talk, rate, correct, compare. A reply streams as plain text and is replaced by the server's safe HTML when it
// is complete.

import { copyOf, find, question, tell } from "./dom.js";
import { drawer } from "./drawer.js";
import { addressOf } from "./place.js";
import { Refused, ask, call, events } from "./server.js";

let open = null; // whether the chat is the screen that is shown; null before it was for the first time
const state = {
  model: null, // the response of GET /api/model
  conversation: null, // the id of the open one, or null before its first message
  view: 0, // counts opened views: a late response must not change a later view
  lists: 0, // counts list requests, for the same reason
  sending: false, // while a message is being sent
  speaking: null, // {generation, controller} while a reply is being generated
  retry: null, // what "Try again" does
};

/* Settings */

const keptSettings = () => JSON.parse(localStorage.getItem("sayso-settings") ?? "{}");

function settings() {
  const kept = keptSettings();
  return Object.fromEntries(state.model.settings.map(({ name, max, default: value, type }) => {
    const number = kept[name] ?? value;
    return [name, type === "number" && max !== null ? Math.min(number, max) : number];
  }));
}

// Show a control for each setting that the server declares for the page.
function showSettings() {
  const values = settings();
  find("#controls").replaceChildren(...state.model.settings.map((setting) => {
    const control = copyOf("control");
    const [label, text, output, input, help] = ["label", "span", "output", "input", "p"].map((tag) => find(tag, control));
    const { name, type, min, max, step } = setting;
    Object.assign(input, { id: name, type, min, max: max ?? "", step, value: values[name] });
    label.htmlFor = name;
    text.textContent = setting.label;
    if (type === "range") Object.assign(output, { htmlFor: name, value: values[name] });
    else {
      input.inputMode = Number.isInteger(step) ? "numeric" : "decimal";
      output.remove();
    }
    if (setting.help) {
      Object.assign(help, { id: `${name}-help`, textContent: setting.help });
      input.setAttribute("aria-describedby", help.id);
    } else help.remove();
    return control;
  }));
}

function keepSetting({ target }) {
  if (!target.validity.valid) return;
  const kept = { ...settings(), [target.id]: Number(target.value) };
  localStorage.setItem("sayso-settings", JSON.stringify(kept));
  const output = find("output", target.parentElement);
  if (output) output.value = kept[target.id];
}

/* Display */

function showProblem(error, retry = null) {
  const box = find("#problem");
  find("p", box).textContent = error.message;
  find("button", box).hidden = !retry;
  state.retry = retry;
  box.hidden = false;
  toEnd();
}

function hideProblem() {
  find("#problem").hidden = true;
}

// Do something that may fail; show the error in the page.
async function attempt(act, retry = null) {
  const { view } = state;
  hideProblem();
  try {
    return await act();
  } catch (error) {
    const gone = error.status === 404;
    if (view !== state.view) {
      if (!gone) showProblem(error);
    } else {
      if (gone) lose();
      showProblem(error, gone ? null : retry);
    }
    return null;
  }
}

// The open conversation no longer exists: begin a new one.
function lose() {
  state.view += 1;
  state.conversation = null;
  show(null);
  showTurns([]);
}

const nearEnd = () => find("#scroll").scrollHeight - find("#scroll").scrollTop - find("#scroll").clientHeight < 120;
const toEnd = () => (find("#scroll").scrollTop = find("#scroll").scrollHeight);

function showCount(count) {
  const text = count === 0 ? "No ratings yet." : count === 1 ? "1 rating so far." : `${count} ratings so far.`;
  const circle = find("#circle");
  circle.innerHTML = "<b></b> <span>They become training data with <code>sayso gather</code>.</span>";
  find("b", circle).textContent = text;
  find("span", circle).hidden = count === 0;
}

async function showList() {
  const asked = ++state.lists;
  const list = await call("GET", "/api/conversations");
  if (asked !== state.lists) return;
  const entries = list.map(({ id, title }) => {
    const entry = copyOf("entry");
    const [open, remove] = entry.children;
    open.append(Object.assign(document.createElement("span"), { textContent: title, title }));
    if (id === state.conversation) open.setAttribute("aria-current", "true");
    open.addEventListener("click", () => go(id));
    remove.setAttribute("aria-label", `Delete "${title}"`);
    remove.addEventListener("click", () => forget(id));
    return entry;
  });
  find("#list").replaceChildren(...entries);
  find("#no-list").hidden = entries.length > 0;
}

function showTurns(turns) {
  find("#thread").replaceChildren(...turns.map((turn) => (turn.role === "user" ? userTurn(turn) : replyTurn(turn))));
  find("#empty").hidden = turns.length > 0;
}

function userTurn(turn) {
  const article = copyOf("user");
  find("p", article).textContent = turn.content;
  article.dataset.id = turn.id;
  return article;
}

function replyTurn(turn) {
  const article = copyOf("reply");
  const draw = (turn) => {
    const [words, was] = article.querySelectorAll(".words");
    words.innerHTML = turn.edit_html ?? turn.html; // made safe by the server
    was.innerHTML = turn.html;
    find(".was", article).hidden = turn.edit === null;
    find(".up", article).setAttribute("aria-pressed", turn.thumb === 1);
    find(".down", article).setAttribute("aria-pressed", turn.thumb === -1);
    find(".note", article).textContent = note(turn);
    article.dataset.id = turn.id;
  };
  const update = (next) => draw((turn = next));
  const thumb = async (value) => {
    const given = turn.thumb === value ? 0 : value;
    const rated = await rate({ kind: "thumb", message_id: turn.id, value: given });
    if (!rated) return;
    update(rated);
    tell(given ? `Noted: a ${given > 0 ? "good" : "bad"} reply.` : "Rating removed.");
  };
  find(".up", article).addEventListener("click", () => thumb(1));
  find(".down", article).addEventListener("click", () => thumb(-1));
  find(".edit", article).addEventListener("click", () => correct(article, turn, update));
  find(".again", article).addEventListener("click", () => another(article, turn));
  find(".copy", article).addEventListener("click", () => copy(turn.answer, article));
  draw(turn);
  return article;
}

function note({ finish, tokens, seconds }) {
  const took = `${tokens} ${tokens === 1 ? "token" : "tokens"} in ${seconds.toFixed(1)} s`;
  if (finish === "stopped") return `stopped, ${took}`;
  return finish === "length" ? `cut off at the maximum length, ${took}` : took;
}

async function copy(text, article) {
  try {
    await navigator.clipboard.writeText(text);
    find(".note", article).textContent = "copied";
    tell("Copied.");
  } catch {
    showProblem(new Error("The browser did not allow copying; select the text and copy it by hand."));
    return;
  }
  await call("POST", "/api/signals", { kind: "copied", message_id: Number(article.dataset.id) }).catch(() => {});
}

/* Conversations */

async function go(id) {
  const view = ++state.view;
  await halt();
  if (view !== state.view) return;
  state.conversation = id;
  show(id);
  drawer(false);
  await attempt(
    async () => {
      await showList();
      const turns = id === null ? [] : (await call("GET", `/api/conversations/${id}`)).turns;
      if (view !== state.view) return;
      showTurns(turns);
      toEnd();
      const last = turns.at(-1);
      if (last?.role === "user") showProblem(new Error("This message has no reply yet."), () => speakTo(last.id));
    },
    () => go(state.conversation),
  );
  focusBox();
}

// Not on a touch screen, where it would bring up the keyboard.
function focusBox() {
  if (matchMedia("(pointer: fine)").matches) find("#say").focus();
}

async function forget(id) {
  if ((await question(copyOf("sure"))).returnValue !== "yes") return;
  await attempt(async () => {
    if (id === state.conversation) await halt();
    await call("DELETE", `/api/conversations/${id}`);
    showCount((await call("GET", "/api/model")).ratings);
    if (id === state.conversation) await go(null);
    else await showList();
  });
}

/* Chat */

async function send() {
  await begun;
  const box = find("#say");
  const content = box.value;
  const { view } = state;
  if (!state.model || state.speaking || state.sending || !content.trim()) return;
  state.sending = true;
  const said = await attempt(async () => {
    const id = state.conversation ?? (await call("POST", "/api/conversations")).id;
    if (view === state.view) state.conversation = id;
    return call("POST", "/api/messages", { conversation_id: id, content });
  }, send);
  state.sending = false;
  if (!said) return;
  if (box.value === content) box.value = ""; // keep what was typed in the meantime
  attempt(showList);
  if (view !== state.view) return; // the reply is requested when its conversation is opened again
  settle();
  show(state.conversation);
  find("#empty").hidden = true;
  find("#thread").append(userTurn(said));
  toEnd();
  await speakTo(said.id);
}

// A comparison left open when the chat continues ends with the newer reply, which is the server's current one.
function settle() {
  for (const compare of document.querySelectorAll(".compare")) compare.settle?.();
}

async function speakTo(messageId) {
  const article = replyTurnOnItsWay();
  find("#thread").append(article);
  const turn = await attempt(
    () => speak(messageId, find(".words", article)),
    () => {
      article.remove();
      return speakTo(messageId);
    },
  );
  if (turn) article.replaceWith(replyTurn(turn));
  else if (!find(".words", article).textContent) article.remove(); // text received before the failure stays
  toEnd();
}

function replyTurnOnItsWay() {
  const article = document.createElement("article");
  article.className = "reply";
  article.setAttribute("aria-label", "Reply");
  article.append(Object.assign(document.createElement("div"), { className: "words" }));
  return article;
}

// Stream a reply into an element; return the turn as the server stored it, or null if it is empty.
async function speak(messageId, words) {
  const speaking = { generation: null, controller: new AbortController() };
  state.speaking = speaking;
  busy(true);
  words.classList.add("raw", "live");
  try {
    const wanted = { message_id: messageId, ...settings() };
    const response = await ask("POST", "/api/replies", wanted, speaking.controller.signal);
    for await (const [name, data] of events(response)) {
      if (name === "start") started(speaking, data);
      else if (name === "piece") append(words, data.text);
      else if (name === "thought") append(find(".thought", words) ?? addThought(words), data.text);
      else if (name === "error") throw new Refused(data.error.message, 500);
      else if (name === "done") return data.turn;
    }
    throw new Refused("The reply was interrupted; the server may have stopped.", 0);
  } catch (error) {
    if (error.name === "AbortError") return null;
    throw error;
  } finally {
    words.classList.remove("raw", "live");
    if (state.speaking === speaking) state.speaking = null;
    busy(false);
  }
}

function started(speaking, { generation, left_out }) {
  speaking.generation = generation;
  if (left_out) tell(`The conversation exceeds the model's context: its first ${left_out} messages are omitted.`);
}

function append(words, text) {
  const follow = nearEnd();
  words.append(text);
  if (follow) toEnd();
}

// The reasoning before a reply is folded, as in the server's HTML.
function addThought(words) {
  const thought = copyOf("thought");
  words.append(thought);
  return thought;
}

// Stop the running reply, and wait until it has ended.
async function halt() {
  const { speaking } = state;
  if (!speaking) return;
  if (speaking.generation) await call("POST", "/api/stop", { generation: speaking.generation }).catch(() => speaking.controller.abort());
  else speaking.controller.abort();
  while (state.speaking === speaking) await new Promise((resolve) => setTimeout(resolve, 20));
}

function busy(yes) {
  find("#stop").hidden = !yes;
  find("#send").hidden = yes;
  find("#thread").setAttribute("aria-busy", yes);
  for (const again of document.querySelectorAll(".again")) again.disabled = yes;
  if (yes) tell("Generating a reply.");
}

/* Ratings */

async function rate(rating) {
  const rated = await attempt(() => call("POST", "/api/ratings", rating));
  if (!rated) return null;
  showCount(rated.ratings);
  return rated.turn;
}

function correct(article, turn, update) {
  if (find(".editor", article)) return find(".editor textarea", article).focus();
  const form = copyOf("editor");
  const box = find("textarea", form);
  const close = () => {
    form.remove();
    find(".edit", article).focus();
  };
  box.value = turn.edit ?? turn.content;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const rated = await rate({ kind: "edit", message_id: turn.id, text: box.value });
    if (!rated) return;
    update(rated);
    tell(rated.edit === null ? "Correction removed." : "Correction saved.");
    close();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  find(".plain", form).addEventListener("click", close);
  article.append(form);
  box.focus();
  form.scrollIntoView({ block: "nearest" });
}

// Request another reply next to the existing one. Its side is random, so that a habit does not look like a preference.
async function another(article, old) {
  if (state.speaking) return;
  const compare = copyOf("compare");
  const [first, second] = [replySide("Earlier reply", old.edit_html ?? old.html), replySide("New reply", "")];
  const sides = Math.random() < 0.5 ? [first, second] : [second, first];
  find(".two", compare).append(...sides);
  article.replaceWith(compare);
  compare.scrollIntoView({ block: "nearest" });
  const made = await attempt(
    () => speak(old.parent_id, find(".words", second)),
    () => another(document.querySelector(`.reply[data-id="${old.id}"]`), old),
  );
  const end = (turn) => {
    const reply = replyTurn(turn);
    compare.replaceWith(reply);
    return reply;
  };
  if (!made || made.content === old.content) {
    const reply = end(made ?? old);
    if (made) find(".note", reply).textContent = "The reply is the same; a higher temperature gives more variety.";
    return find(".again", reply).focus();
  }
  find(".words", second).innerHTML = made.html;
  compare.settle = () => end(made);
  const choose = async (chosen, rejected, better) => {
    const position = sides[0] === (chosen === old ? first : second) ? "left" : "right";
    const turn = await rate({ kind: "choice", chosen_id: chosen.id, rejected_id: rejected.id, better, position });
    if (!turn) return;
    find(".up", end(turn)).focus();
    tell(better ? "Noted: this reply is better." : "Noted: no preference.");
  };
  find(".choose", first).addEventListener("click", () => choose(old, made, true));
  find(".choose", second).addEventListener("click", () => choose(made, old, true));
  find(".neither", compare).addEventListener("click", () => choose(made, old, false));
  for (const button of compare.querySelectorAll("button")) button.disabled = false;
  compare.scrollIntoView({ block: compare.offsetHeight > find("#scroll").clientHeight ? "start" : "nearest" });
  find(".choose", sides[0]).focus({ preventScroll: true });
  tell("There are two replies. Which is better?");
}

function replySide(title, html) {
  const side = copyOf("side");
  find("h3", side).textContent = title;
  find(".words", side).innerHTML = html; // made safe by the server
  find(".choose", side).setAttribute("aria-label", `The ${title.toLowerCase()} is better`);
  return side;
}

/* The screen */

function listen() {
  const on = (selector, kind, act) => find(selector).addEventListener(kind, act);
  on("#composer", "submit", (event) => {
    event.preventDefault();
    send();
  });
  on("#say", "keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  on("#stop", "click", () => halt().then(focusBox));
  on("#new", "click", () => go(null));
  on("#problem button", "click", () => state.retry?.());
  on("#tune", "click", async () => {
    await begun;
    if (!state.model) return; // the page already says that the server cannot be reached
    showSettings();
    find("#settings").showModal();
  });
  on("#settings", "input", keepSetting);
  on("#defaults", "click", () => {
    localStorage.removeItem("sayso-settings");
    showSettings();
  });
  on("#ideas", "click", ({ target }) => {
    if (!target.matches("button")) return;
    find("#say").value = target.textContent;
    send();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && open && !find("dialog[open]")) halt();
  });
}

// Ask which model it is; return whether the server said so.
async function start() {
  listen();
  return attempt(async () => {
    state.model = await call("GET", "/api/model");
    const { name, context, fingerprint, ratings } = state.model;
    for (const place of document.querySelectorAll(".name")) place.textContent = name;
    find("#model .quiet").textContent = `${context} tokens of context`;
    find("#model").title = fingerprint ? `weights ${fingerprint}` : "";
    showCount(ratings);
    return true;
  }, () => location.reload());
}

let begun = null;
export const begin = () => (begun ??= start());

// Show the chat: the conversation of an id; without one, what was shown before, or a new one.
export async function openChat(id) {
  const again = open !== null && (id ?? state.conversation) === state.conversation;
  open = true;
  document.title = `sayso: ${state.model.name}`;
  if (!again) return go(id);
  show(state.conversation);
  showList();
  focusBox();
}

export function closeChat() {
  if (open) open = false;
}

// Put the conversation into the address.
function show(id) {
  if (open) history.replaceState(null, "", addressOf("chat", id === null ? [] : [id]));
}
