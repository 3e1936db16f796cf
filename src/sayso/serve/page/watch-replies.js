// Parts of the screen Watch: the replies behind a number, and one reply to read.

import { HOUR, WEEK, moment, number, percent } from "./axis.js";
import { bar, choice, make, nothing, quiet, safe, small } from "./dom.js";
import { addressOf, link } from "./place.js";
import { get } from "./server.js";

const PAGE = 50;
const KINDS = [["all", "All replies"], ["first_seconds", "Slowest first token"], ["token_seconds", "Slowest per token"], ["tokens", "Longest"], ["refused", "Refusals"],
  ["repeated", "Most repetition"], ["liked", "Liked"], ["disliked", "Disliked"], ["signal", "With a signal"], ["flag", "Flagged"], ["shadow", "Of a shadow"]];
const VALUE = { first_seconds: (value) => `${number(value)} s`, token_seconds: (value) => `${number(1000 * value)} ms`, tokens: number, repeated: percent };

export async function open(view, place, signal) {
  if (place.parts[0] === "reply") return read(view, Number(place.parts[1]) || 0, signal);
  const query = Object.fromEntries(place.query), now = Math.floor(Date.now() / HOUR) + 1;
  const asked = { start: now - WEEK, end: now, kind: "all", ...query };
  const found = await get(`/api/watch/replies?${new URLSearchParams({ ...asked, limit: PAGE })}`, signal);
  const skip = Number(asked.skip) || 0, to = (changes) => addressOf("watch", ["replies"], { ...asked, ...changes });
  const kinds = KINDS.some(([kind]) => kind === asked.kind) ? KINDS : [...KINDS, [asked.kind, asked.kind.replace(":", ": ")]];
  const of = asked.model ? `, of ${asked.model}` : asked.alias ? `, of the alias ${asked.alias}` : "";
  view.append(make("p", {}, link("Watch", "watch"), ` / ${moment(asked.start * HOUR)} to ${moment(asked.end * HOUR)}${of}`),
    bar(choice("Replies", asked.kind, kinds, (kind) => (location.hash = to({ kind, skip: "" })))));
  if (!found.replies.length) return view.append(nothing(found.behind ? "These replies are still being measured; look again in a moment." : "There are no such replies."));
  view.append(make("ul", { class: "replies" }, found.replies.map((reply) => entry(reply, asked.kind))));
  view.append(make("p", { class: "bar" }, skip ? make("a", { href: to({ skip: Math.max(0, skip - PAGE) || "" }) }, "Previous") : null, found.more ? make("a", { href: to({ skip: skip + PAGE }) }, "Next") : null));
}

function entry(reply, kind) {
  const value = VALUE[kind] && reply[kind] !== null ? `, ${VALUE[kind](reply[kind])}` : "";
  return make("li", {}, make("a", { href: addressOf("watch", ["reply", reply.id]) },
    small(`${moment(reply.created_at)}, ${reply.model}${value}`),
    make("b", {}, reply.asked ?? ""), make("span", {}, reply.said || "(no text)")));
}

async function read(view, id, signal) {
  const reply = await get(`/api/watch/reply?id=${id}`, signal);
  view.append(make("p", {}, link("Watch", "watch"), ` / Reply ${id}`), ...seen(reply));
}

// A reply with its prompt, as elements.
export function seen(reply) {
  const facts = [["Model", reply.alias ? `${reply.model}, asked for as ${reply.alias}` : reply.model], ["Time", moment(reply.created_at)], ["Asked by", reply.route],
    ["First token", reply.first_seconds === null ? null : `${number(reply.first_seconds)} s`], ["Took", `${number(reply.seconds)} s` + (reply.completion_tokens === null ? "" : ` for ${reply.completion_tokens} tokens`)], ["Ended", reply.finish],
    ["Request", reply.request], ["Signals", reply.signals.join(", ")], ["Ratings", reply.ratings.map(rating).join("; ")], ["Flags", reply.flags.map((flag) => `${flag.detector}: ${flag.detail} (${flag.state})`).join("; ")]];
  return [
    make("div", { class: "thread" }, reply.left_out ? quiet(`${reply.left_out} earlier turns are not shown.`) : null,
      reply.turns.map((turn) => make("div", { class: "turn", "data-role": turn.role }, small(turn.role), make("p", { class: "said" }, turn.text))),
      make("div", { class: "turn", "data-role": "reply" }, small("reply"), safe(reply.html))),
    make("dl", { class: "facts" }, facts.filter(([, text]) => text).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])),
    reply.on_page ? make("p", {}, link("Open the conversation in the chat", "chat", [reply.conversation_id])) : null,
  ].filter(Boolean);
}

function rating({ kind, value, text, comment, annotator }) {
  const said = kind === "thumb" ? (value > 0 ? "good" : value < 0 ? "bad" : "removed") : kind === "tag" || kind === "edit" ? text : kind === "choice" ? (value ? "preferred" : "tie") : value;
  return [`${kind} ${kind === "comment" ? "" : said}`.trim(), comment, annotator && `by ${annotator}`].filter(Boolean).join(", ");
}
