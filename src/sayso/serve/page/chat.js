// The chat: talk, rate, correct, compare. A reply streams as plain text and is replaced by the server's safe HTML when it
// is complete.

import { all, arrange, button, copyOf, find, make, question, tell } from "./dom.js";
import { drawer } from "./drawer.js";
import { addressOf } from "./place.js";
import { Refused, ask, call, concerns, events, follow, get, save } from "./server.js";
import { asked, openSettings, settings, useModel } from "./settings.js";
import { ofEach, replyTurn, userTurn } from "./turn.js";

let open = null; // whether the chat is the screen that is shown; null before it was for the first time
const state = {
  model: null, // the response of GET /api/model
  conversation: null, // the id of the open one, or null before its first message
  view: 0, // counts opened views: a late response must not change a later view
  more: false, // whether older conversations can be added to the list
  lists: 0, // counts list requests, for the same reason
  opened: null, // settled when the open one is shown
  sending: false, // while a message is being sent
  speaking: new Set(), // {generation, controller} of each reply that is being generated
  retry: null, // what "Try again" does
};

// What a turn can do with the chat.
const chat = { attempt, rate, speak, speakTo, resend, reveal, ended, speaking: () => state.speaking.size > 0, remote: () => Boolean(state.model?.remote) };

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

// Read the list of conversations. A problem of something else stays on the page meanwhile.
const listing = (act) => act().catch((error) => showProblem(error));

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

// The list is in parts, so that the browser skips those that are out of sight: each has as many as the server returns at once.
const LISTED = 200;

async function listed(after = null) {
  const query = new URLSearchParams({ search: find("#search").value.trim(), ...(after && { after }) });
  return get(`/api/conversations?${query}`);
}

async function showList() {
  const asked = ++state.lists;
  const list = await listed();
  if (asked !== state.lists) return;
  state.lists += 1; // what showMore is still asking for belongs to the list before
  const old = new Map(all("#list li").map((entry) => [Number(entry.dataset.id), entry]));
  const part = find("#list").firstElementChild ?? make("ul");
  arrange(part, list.map((one) => entryOf(one, old.get(one.id))));
  arrange(find("#list"), [part]);
  find("#no-list").hidden = list.length > 0;
  find("#no-list").textContent = find("#search").value.trim() ? "No conversation has these words." : "No conversations yet.";
  state.more = list.length === LISTED;
  await showMore(); // somebody may have scrolled meanwhile
}

// Add older conversations when the end of the list comes near.
async function showMore() {
  const box = find("#past");
  if (!state.more || box.scrollHeight - box.scrollTop > 3 * box.clientHeight) return;
  state.more = false;
  const asked = state.lists;
  const list = await listed(find("#list").lastElementChild.lastElementChild.dataset.id);
  if (asked !== state.lists) return;
  find("#list").append(make("ul", {}, list.map((one) => entryOf(one))));
  state.more = list.length === LISTED;
}

// The entry of a conversation in the list: the one that is there already, if its title is the same.
function entryOf({ id, title }, old) {
  const entry = old?.firstElementChild.textContent === title ? old : newEntry(id, title);
  if (id === state.conversation) entry.firstElementChild.setAttribute("aria-current", "true");
  else entry.firstElementChild.removeAttribute("aria-current");
  return entry;
}

const newEntry = (id, title) => make("li", { "data-id": id }, button(title, () => go(id), { class: "open", title }),
  button("×", () => forget(id), { class: "icon remove", title: "Delete", "aria-label": `Delete "${title}"` }));

function showTurns(turns) {
  find("#thread").replaceChildren(...turns.map((turn) => (turn.role === "user" ? userTurn(turn, chat) : replyTurn(turn, chat))));
  find("#empty").hidden = turns.length > 0;
  find("#export").hidden = turns.length === 0;
  showSize(turns.findLast((turn) => turn.role === "assistant"));
}

// How much of the model's context the conversation takes, as of its last reply.
function showSize(turn) {
  const { context, remote } = state.model;
  const known = turn && turn.tokens !== null && turn.prompt_tokens !== null;
  const taken = known ? `${turn.prompt_tokens + turn.tokens} ` : "";
  find("#model .quiet").textContent = remote ? (taken && `${taken}tokens of context, `) + `at ${remote}` : (taken && `${taken}of `) + `${context} tokens of context`;
}

/* Conversations */

function go(id) {
  return (state.opened = openConversation(id));
}

async function openConversation(id) {
  const view = ++state.view;
  await halt();
  if (view !== state.view) return;
  state.conversation = id;
  show(id);
  drawer(false);
  await attempt(
    async () => {
      await showList();
      const turns = id === null ? [] : (await get(`/api/conversations/${id}`)).turns;
      if (view !== state.view) return;
      showTurns(turns);
      toEnd();
      const last = turns.at(-1);
      if (last?.role === "user") showProblem(new Error("This message has no reply yet."), () => speakTo(last.id));
      else showModelProblem();
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
    showCount((await get("/api/model")).ratings);
    if (id === state.conversation) await go(null);
    else await showList();
  });
}

// Show the branch through another version of a message.
async function reveal(id) {
  if (state.speaking.size) return;
  const { view } = state;
  const shown = await attempt(() => call("POST", "/api/versions", { message_id: id }));
  if (!shown || view !== state.view) return; // another conversation was opened meanwhile
  showTurns(shown.turns);
  find(`[data-id="${id}"] .versions button:enabled`)?.focus();
}

async function exportTalk() {
  const form = (await question(copyOf("export"))).returnValue;
  if (!["markdown", "json"].includes(form)) return;
  const name = `conversation-${state.conversation}.${form === "json" ? "json" : "md"}`;
  await attempt(async () => save(name, await ask("GET", `/api/conversations/${state.conversation}/export?form=${form}`)));
}

/* Chat */

async function send() {
  await begun;
  await state.opened; // its turns would replace the new one
  const box = find("#say");
  const content = box.value;
  const { view } = state;
  if (!state.model || state.speaking.size || state.sending || !content.trim()) return;
  state.sending = true;
  const said = await attempt(async () => {
    const id = state.conversation ?? (await call("POST", "/api/conversations")).id;
    if (view === state.view) state.conversation = id;
    return call("POST", "/api/messages", { conversation_id: id, content });
  }, send);
  state.sending = false;
  if (!said) return;
  if (box.value === content) box.value = ""; // keep what was typed in the meantime
  listing(showList);
  if (view !== state.view) return; // the reply is requested when its conversation is opened again
  settle(said.parent_id);
  show(state.conversation);
  find("#empty").hidden = true;
  find("#thread").append(userTurn(said, chat));
  toEnd();
  await speakTo(said.id);
}

// Say another version of a message; it begins a branch of its own. Returns whether it was said.
async function resend(turn, content) {
  if (state.speaking.size || state.sending || !content.trim()) return false;
  const { view } = state;
  state.sending = true;
  const said = await attempt(() => call("POST", "/api/messages", { conversation_id: state.conversation, content, replaces: turn.id }));
  state.sending = false;
  if (!said || view !== state.view) return Boolean(said); // as in `send`
  const article = find(`.user[data-id="${turn.id}"]`);
  while (article.nextSibling) article.nextSibling.remove();
  article.replaceWith(userTurn(said, chat));
  focusBox();
  listing(showList);
  speakTo(said.id);
  return true;
}

// A comparison left open when the chat continues ends with the reply that it continues.
function settle(id) {
  for (const compare of all(".compare")) compare.settle?.(id);
}

async function speakTo(messageId) {
  const article = make("article", { class: "reply", "aria-label": "Reply" }, make("div", { class: "words" }));
  find("#thread").append(article);
  if (asked().length > 1) return ofEach(article, messageId, asked(), chat);
  const turn = await attempt(
    () => speak(messageId, find(".words", article)),
    () => {
      article.remove();
      return speakTo(messageId);
    },
  );
  if (turn) {
    article.replaceWith(replyTurn(turn, chat));
    ended(turn);
  } else if (!find(".words", article).textContent) article.remove(); // text received before the failure stays
  toEnd();
}

function ended(turn) {
  showSize(turn);
  find("#export").hidden = false;
}

// Stream a reply into an element; return the turn as the server stored it, or null if it is empty. `more` is what the
// request says beside the settings.
async function speak(messageId, words, more) {
  const speaking = { generation: null, controller: new AbortController() };
  state.speaking.add(speaking);
  busy(true);
  words.classList.add("raw", "live");
  try {
    const response = await ask("POST", "/api/replies", { message_id: messageId, ...settings(), ...more }, speaking.controller.signal);
    for await (const [name, data] of events(response)) {
      if (name === "start") started(speaking, data);
      else if (name === "piece") append(words, data.text);
      else if (name === "thought") append(find(".thought", words) ?? words.appendChild(copyOf("thought")), data.text);
      else if (name === "error") throw new Refused(data.error.message, 500);
      else if (name === "done") {
        const { name, fingerprint } = state.model;
        if (data.model.fingerprint !== fingerprint || data.model.name !== name) learnModel().catch(() => {}); // another one was promoted
        return data.turn;
      }
    }
    throw new Refused("The reply was interrupted; the server may have stopped.", 0);
  } catch (error) {
    if (error.name === "AbortError") return null;
    throw error;
  } finally {
    words.classList.remove("raw", "live");
    state.speaking.delete(speaking);
    if (!state.speaking.size) busy(false);
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

// Stop the running replies, and wait until they have ended.
async function halt() {
  const running = [...state.speaking];
  await Promise.all(running.map(({ generation, controller }) =>
    generation ? call("POST", "/api/stop", { generation }).catch(() => controller.abort()) : controller.abort()));
  while (running.some((one) => state.speaking.has(one))) await new Promise((resolve) => setTimeout(resolve, 20));
}

function busy(yes) {
  find("#stop").hidden = !yes;
  find("#send").hidden = yes;
  find("#thread").setAttribute("aria-busy", yes);
  for (const again of all(".again")) again.disabled = yes;
  if (yes) tell("Generating a reply.");
}

/* Ratings */

async function rate(rating) {
  const rated = await attempt(() => call("POST", "/api/ratings", rating));
  if (!rated) return null;
  showCount(rated.ratings);
  return rated.turn;
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
    if (state.model) openSettings(); // without, the page already says that the server cannot be reached
  });
  on("#export", "click", exportTalk);
  on("#search", "input", () => listing(showList));
  on("#past", "scroll", () => listing(showMore));
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
    await learnModel();
    follow(news, new AbortController().signal);
    return true;
  }, () => location.reload());
}

async function learnModel() {
  state.model = await get("/api/model");
  useModel(state.model);
  const { name, fingerprint, ratings } = state.model;
  for (const place of all(".name")) place.textContent = name;
  find("#model").title = fingerprint ? `weights ${fingerprint}` : "";
  if (open) document.title = `sayso: ${name}`;
  showCount(ratings);
  showModelProblem();
}

// Why a remote model cannot be asked now, if so.
function showModelProblem() {
  if (state.model.problem) showProblem(new Error(state.model.problem), () => attempt(learnModel));
}

// What changed meanwhile, here or elsewhere: another model may answer, and there may be other conversations.
async function news(topics) {
  const about = (...names) => concerns(topics, names);
  if (about("aliases", "answering", "ratings")) await learnModel().catch(() => {});
  const short = find("#list").children.length < 2; // a longer list would lose its place
  if (open && short && about("messages") && !state.speaking.size) await showList().catch(() => {});
}

let begun = null;
export const begin = () => (begun ??= start());

// Show the chat: the conversation of an id; without one, what was shown before, or a new one.
export async function openChat(id) {
  const again = open !== null && (id ?? state.conversation) === state.conversation;
  open = true;
  if (state.conversation === null) showSize(null);
  document.title = `sayso: ${state.model.name}`;
  if (!again) return go(id);
  show(state.conversation);
  listing(showList);
  focusBox();
}

export function closeChat() {
  if (open) open = false;
}

// Put the conversation into the address.
function show(id) {
  if (open) history.replaceState(null, "", addressOf("chat", id === null ? [] : [id]));
}
