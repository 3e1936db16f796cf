// One turn of the chat as an element: the user's message, which can be edited, and the reply, which can be rated,
// corrected, compared with another one, and copied.
//
// `chat` is what the chat can do: attempt(act, retry), rate(rating) -> turn, speak(messageId, element, more) -> turn,
// speakTo(messageId), ended(turn), resend(turn, text), reveal(id), speaking() -> whether a reply is on its way.

import { number } from "./axis.js";
import { all, button, copyOf, find, make, tell } from "./dom.js";
import { call } from "./server.js";

export function userTurn(turn, chat) {
  const article = copyOf("user");
  find("p", article).textContent = turn.content;
  article.dataset.id = turn.id;
  const opener = find(".edit", article);
  opener.onclick = () => editor(article, "Edited message", turn.content, opener, (text) => chat.resend(turn, text));
  find(".tools", article).append(...versions(turn, chat));
  return article;
}

// The buttons that lead to the other versions of a message.
function versions({ id, versions: ids }, chat) {
  if (!ids || ids.length < 2) return [];
  const place = ids.indexOf(id);
  const step = (to, name, text) => button(text, () => chat.reveal(ids[to]), { class: "icon", "aria-label": name, title: name, disabled: !ids[to] });
  return [make("span", { class: "versions", role: "group", "aria-label": "Versions" },
    step(place - 1, "Previous version", "‹"), make("span", {}, `${place + 1} of ${ids.length}`), step(place + 1, "Next version", "›"))];
}

export function replyTurn(turn, chat) {
  const article = copyOf("reply");
  const draw = (turn) => {
    const [words, was] = all(".words", article);
    words.innerHTML = turn.edit_html ?? turn.html; // made safe by the server
    was.innerHTML = turn.html;
    find(".was", article).hidden = turn.edit === null;
    find(".up", article).setAttribute("aria-pressed", turn.thumb === 1);
    find(".down", article).setAttribute("aria-pressed", turn.thumb === -1);
    Object.assign(find(".note", article), { textContent: note(turn), title: REASONS[turn.finish] ?? "" });
    all(".words pre", article).forEach(copyable);
    article.dataset.id = turn.id;
  };
  const update = (next) => draw((turn = next));
  const thumb = async (value) => {
    const given = turn.thumb === value ? 0 : value;
    const rated = await chat.rate({ kind: "thumb", message_id: turn.id, value: given });
    if (!rated) return;
    update(rated);
    tell(given ? `Noted: a ${given > 0 ? "good" : "bad"} reply.` : "Rating removed.");
  };
  find(".up", article).onclick = () => thumb(1);
  find(".down", article).onclick = () => thumb(-1);
  find(".edit", article).onclick = () => correct(article, turn, update, chat);
  find(".again", article).onclick = () => another(article, turn, chat);
  find(".copy", article).onclick = () => copy(turn.answer, article, chat);
  find(".xray", article).href = `/xray?message=${turn.id}`;
  find(".xray", article).hidden = chat.remote();
  find(".note", article).before(...versions(turn, chat));
  draw(turn);
  return article;
}

const REASONS = {
  stop: "The model ended its reply by itself.",
  length: "The reply reached its maximum length, or the end of the model's context.",
  stopped: "The reply was stopped, or broke off.",
};

// How long a reply is, how fast it came, and why it ended if not by itself.
function note({ finish, tokens, seconds, first_seconds: first }) {
  const rate = first !== null && first !== undefined && tokens > 1 && seconds > first ? ` (${number((tokens - 1) / (seconds - first))}/s, first after ${first.toFixed(1)} s)` : "";
  const size = tokens === null ? "" : `${tokens} ${tokens === 1 ? "token" : "tokens"} in `;
  const took = `${size}${seconds.toFixed(1)} s${rate}`;
  if (finish === "stop") return took;
  return `${finish === "length" ? "cut off at the maximum length" : finish.replace("_", " ")}, ${took}`;
}

// Put a button that copies it on a block of code.
function copyable(block) {
  const box = make("div", { class: "code" });
  block.tabIndex = 0; // it may scroll
  block.replaceWith(box);
  box.append(block, button("Copy", async () => {
    await navigator.clipboard.writeText(block.textContent).catch(() => null);
    tell("Copied.");
  }, { class: "plain", "aria-label": "Copy this code" }));
}

async function copy(text, article, chat) {
  const copied = await chat.attempt(async () => {
    await navigator.clipboard.writeText(text).catch(() => {
      throw new Error("The browser did not allow copying; select the text and copy it by hand.");
    });
    return true;
  });
  if (!copied) return;
  find(".note", article).textContent = "copied";
  tell("Copied.");
  await call("POST", "/api/signals", { kind: "copied", message_id: Number(article.dataset.id) }).catch(() => {});
}

// Let a text be edited below an article; `save` returns whether it was kept.
function editor(article, label, text, opener, save) {
  if (find(".editor", article)) return find(".editor textarea", article).focus();
  const form = copyOf("editor");
  const box = find("textarea", form);
  const close = () => {
    form.remove();
    opener.focus();
  };
  find("span", form).textContent = label;
  box.value = text;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await save(box.value)) close();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  find(".plain", form).onclick = close;
  article.append(form);
  box.focus();
  form.scrollIntoView({ block: "nearest" });
}

function correct(article, turn, update, chat) {
  editor(article, "Corrected reply", turn.edit ?? turn.content, find(".edit", article), async (text) => {
    const rated = await chat.rate({ kind: "edit", message_id: turn.id, text });
    if (!rated) return false;
    update(rated);
    tell(rated.edit === null ? "Correction removed." : "Correction saved.");
    return true;
  });
}

// Request another reply next to the existing one.
function another(article, old, chat) {
  if (!chat.speaking()) sideBySide(article, old.parent_id, [{ turn: old }, {}], chat);
}

// Request a reply of each model to a message.
export const ofEach = (article, messageId, models, chat) =>
  sideBySide(article, messageId, models.map((model) => ({ model, compared: true })), chat);

// Show replies side by side: that of `turn`, others as they come. Their order is random, so that a habit does not look
// like a preference, and what made them is said after the choice.
async function sideBySide(article, messageId, replies, chat) {
  const [{ turn: old }] = replies;
  const compare = copyOf("compare");
  const columns = shuffled(replies).map(({ turn, ...more }, place) => {
    const title = turn ? "Earlier reply" : old ? "New reply" : `Reply ${place + 1}`;
    return { turn, more, side: replySide(title, turn ? (turn.edit_html ?? turn.html) : "") };
  });
  let shown = compare;
  const end = (turn) => {
    const reply = replyTurn(turn, chat);
    shown.replaceWith(reply);
    chat.ended(turn);
    return (shown = reply);
  };
  const again = () => {
    if (old) return another(shown, old, chat);
    shown.remove();
    return chat.speakTo(messageId);
  };
  find(".sides", compare).append(...columns.map(({ side }) => side));
  article.replaceWith(compare);
  compare.scrollIntoView({ block: "nearest" });
  await chat.attempt(async () => {
    const ends = await Promise.allSettled(columns.map(async (column) => {
      const words = find(".words", column.side);
      if (column.turn) return;
      column.turn = await chat.speak(messageId, words, column.more);
      if (column.turn) words.innerHTML = column.turn.html;
    }));
    offer(compare, columns, old, end, chat);
    const failed = ends.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
  }, again);
}

const shuffled = (list) => list.map((one) => [Math.random(), one]).sort(([one], [other]) => one - other).map(([, one]) => one);

// Let one of the replies that came be chosen, if they differ.
function offer(compare, columns, old, end, chat) {
  for (const { turn, side } of columns) if (!turn) side.remove();
  const made = columns.filter(({ turn }) => turn);
  const kept = made.find(({ turn }) => turn !== old) ?? made[0];
  if (!kept) return compare.remove();
  if (new Set(made.map(({ turn }) => turn.content)).size < 2) {
    const reply = end(kept.turn);
    if (made.length > 1) find(".note", reply).textContent = "The reply is the same; a higher temperature gives more variety.";
    return find(".again", reply).focus();
  }
  compare.settle = (id) => end((made.find(({ turn }) => turn.id === id) ?? kept).turn);
  const choose = async (chosen, better) => {
    const place = made.indexOf(chosen);
    let turn = null;
    for (const [other, { turn: rejected }] of made.entries()) {
      if (other === place) continue;
      turn = await chat.rate({ kind: "choice", chosen_id: chosen.turn.id, rejected_id: rejected.id, better, position: place < other ? "left" : "right" });
      if (!turn) return;
    }
    const reply = end(turn);
    const others = new Set(made.map(({ turn }) => turn.model).filter((name) => name !== turn.model));
    if (others.size) find(".note", reply).textContent = `${turn.model}, not ${[...others].join(" or ")}; ${note(turn)}`;
    find(".up", reply).focus();
    tell(better ? "Noted: this reply is better." : "Noted: no preference.");
  };
  for (const one of made) find(".choose", one.side).onclick = () => choose(one, true);
  find(".neither", compare).onclick = () => choose(kept, false);
  for (const one of all("button", compare)) one.disabled = false;
  compare.scrollIntoView({ block: compare.offsetHeight > find("#scroll").clientHeight ? "start" : "nearest" });
  find(".choose", compare).focus({ preventScroll: true });
  tell(`There are ${made.length} replies. Which is better?`);
  const noteShown = () => chat.attempt(() => call("POST", "/api/comparisons", { replies: made.map(({ turn }) => turn.id) }), noteShown);
  noteShown();
}

function replySide(title, html) {
  const side = copyOf("side");
  find("h3", side).textContent = title;
  find(".words", side).innerHTML = html; // made safe by the server
  find(".choose", side).setAttribute("aria-label", `The ${title.toLowerCase()} is better`);
  return side;
}

