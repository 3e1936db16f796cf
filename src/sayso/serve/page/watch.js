// The screen Watch: what the models replied over time, which one was live, drift, models on trial. From every number a
// link leads to the replies behind it: `watch/replies`, `watch/reply/ID`; `watch/flags` is the triage of flags.

import { HOUR, moment, percent } from "./axis.js";
import { chart } from "./chart.js";
import { arrange, bar, button, choice, make, nothing, quiet, tell } from "./dom.js";
import { addressOf, here, keepQuery } from "./place.js";
import { follow, get } from "./server.js";
import { table } from "./table.js";
import { drift, number, trials, valued } from "./watch-trials.js";

const PARTS = { replies: "./watch-replies.js", reply: "./watch-replies.js", flags: "./watch-flags.js" };
const SPANS = [[1, "24 hours", 1], [7, "7 days", 24], [30, "30 days", 24], [90, "90 days", 24], [365, "1 year", 168]];
const seconds = (value) => (value === null ? "–" : value < 1 ? `${number(1000 * value)} ms` : `${number(value)} s`);
const API = "Replies of the API appear here with sayso serve --record all.";

// Name of the value, title, text of a value, and what fills it; a name that ends with a colon has several parts.
const VALUES = [
  ["replies", "Replies", number, API],
  ["first_seconds", "Time to first token", seconds, API],
  ["token_seconds", "Time per token", seconds, API],
  ["tokens", "Tokens of a reply", number, API],
  ["refused", "Refusals", percent, API],
  ["repeated", "Repetition", percent, API],
  ["liked", "Liked, of the replies with a thumb", percent, "Nobody has rated a reply of this time."],
  ["signal:", "Signals", percent, "Nobody has copied or regenerated a reply of this time."],
  ["flag:", "Flags", percent, "None found. Detectors look at the replies with sayso flags scan."],
];
const TRAFFIC = [
  ["requests", "Requests", number],
  ["failed rejected invalid", "Requests without a reply", percent],
  ["waited", "Wait for the model", seconds],
  ["waiting", "Most requests waiting at once", number],
];
const PERCENTILES = ["p50", "p90", "p99"];
const WORDS = { first_seconds: "mean", token_seconds: "mean", failed: "failed in the server", rejected: "too many requests", invalid: "invalid" };

export async function open(view, place, signal) {
  const [part] = place.parts;
  if (part) return (await import(PARTS[part] ?? "./watch-replies.js")).open(view, place, signal);
  const tools = bar(), told = make("p", { class: "quiet", role: "status" }), shown = make("div", { class: "stack" });
  view.append(tools, told, shown);
  const state = { shown, told, bar: tools, signal, timer: 0, loads: 0, sections: {}, cards: {}, extra: make("div", { class: "extra stack" }) };
  signal.addEventListener("abort", () => clearTimeout(state.timer));
  await load(state);
  follow(() => !state.end && later(state), signal);
}

// What the address asks for.
function wanted() {
  const { query } = here();
  const days = Number(query.get("days")) || 7;
  const [, , period] = SPANS.find(([some]) => some === days) ?? SPANS[1];
  const now = Math.floor(Date.now() / HOUR) + 1, end = Number(query.get("end")) || null;
  const only = query.get("only") ?? "", [kind, ...name] = only.split(":");
  return { days, period, end, start: (end ?? now) - 24 * days, stop: end ?? now, by: query.get("by") ?? "all", only, [kind]: name.join(":") };
}

// Read again soon.
function later(state, wait = 5000) {
  state.timer ||= setTimeout(() => {
    state.timer = 0;
    load(state).catch((error) => (state.told.textContent = error.message));
  }, wait);
}

// Whether somebody is about to follow a link, which a new table would take away.
const inUse = ({ shown }) => shown.querySelector(".scroller:not(.chart *):is(:focus-within, :has(a:hover))");

// Draw what the address asks for; a late answer to what it asked for before is dropped.
async function load(state) {
  const mine = ++state.loads, asked = wanted(), { start, stop, period, by, model, alias } = asked;
  const query = new URLSearchParams({ start, end: stop, period, by, shift: Math.floor(-new Date().getTimezoneOffset() / 60) });
  for (const [name, value] of Object.entries({ model, alias })) if (value) query.set(name, value);
  const found = await get(`/api/watch?${query}`, state.signal);
  if (mine !== state.loads) return;
  if (state.asked === JSON.stringify(asked) && inUse(state)) return later(state);
  state.end = asked.end;
  if (state.bar.contains(document.activeElement)) state.bar.querySelector(".later").disabled = !asked.end; // keep the focus
  else controls(state, asked, found);
  state.told.textContent = `${moment(start * HOUR)} to ${asked.end ? moment(stop * HOUR) : "now"}` + (found.behind ? `. Earlier replies are being measured: ${number(found.behind)} messages left.` : "");
  if (found.behind) later(state, 500);
  draw(state, asked, found);
}

function controls(state, asked, { models, aliases }) {
  const change = (changes) => {
    keepQuery(changes);
    load(state).catch((error) => tell((state.told.textContent = error.message)));
  };
  const among = (label, name, options) => choice(label, asked[name], options, (value) => change({ [name]: value }));
  const step = (text, sign) => button(text, () => {
    const { stop, days } = wanted(), end = stop + 24 * days * sign;
    change({ end: end * HOUR > Date.now() ? "" : end });
  }, { class: `plain ${text.toLowerCase()}`, disabled: sign > 0 && !asked.end });
  const kinds = [...models.map((name) => [`model:${name}`, name]), ...aliases.map((name) => [`alias:${name}`, `alias ${name}`])];
  if (asked.only && !kinds.some(([key]) => key === asked.only)) kinds.push([asked.only, asked.only]);
  state.bar.replaceChildren(
    among("Time", "days", SPANS),
    among("Of", "only", [["", "all models"], ...kinds]),
    among("Split by", "by", [["all", "nothing"], ["model", "model"], ["alias", "alias"]]),
    step("Earlier", -1), step("Later", 1),
    make("a", { class: "wide-link", href: addressOf("watch", ["flags"]) }, "Triage flags"));
}

function draw(state, asked, found) {
  const { charts, totals, marks } = found;
  if (!charts.replies && !charts.requests) {
    const none = asked.end || asked.only || marks.length ? "There are no replies in this time." : "There are no replies yet: talk to the model in the chat, or record the API with sayso serve --record all.";
    state.shown.replaceChildren(nothing(none));
    return;
  }
  const grid = (entries) => entries.map((entry) => figure(state, asked, found, entry));
  arrange(state.shown, [
    section(state, "In short", [summary(asked, totals)]),
    section(state, "Replies", grid(VALUES), "grid"),
    charts.requests ? section(state, "Requests", grid(TRAFFIC), "grid") : section(state, "Requests", [quiet("Requests are counted while the server runs, and appear here within a minute.")]),
    section(state, "Live", [history(marks)]),
    state.extra]);
  if (state.asked !== JSON.stringify(asked)) state.extra.replaceChildren(drift(asked, state.signal), trials(asked, state.signal));
  state.asked = JSON.stringify(asked);
}

// A section with a title; what it showed before and is the same stays.
function section(state, title, children, kind = "stack") {
  const made = (state.sections[title] ??= make("section", { class: "stack" }, make("h2", {}, title), make("div")));
  const place = made.lastChild, old = [...place.children];
  place.className = kind;
  arrange(place, children.map((child) => old.find((one) => one.isEqualNode(child)) ?? child));
  return made;
}

// The address of the replies behind a value.
function behind(asked, kind, start, end, group = "all") {
  const of = group !== "all" && asked.by !== "all" ? { [asked.by]: group } : {};
  return addressOf("watch", ["replies"], { start, end, kind: kind.replace(/:$/, ""), model: asked.model, alias: asked.alias, ...of });
}

const percentiles = (name) => PERCENTILES.map((part) => `${name}:${part}`);

function figure({ cards }, asked, { charts, marks }, [name, title, text, hint]) {
  const parts = name.endsWith(":") ? Object.keys(charts).filter((one) => one.startsWith(name)) : name.split(" ").flatMap((one) => [one, ...(asked.by === "all" ? percentiles(one) : [])]).filter((one) => charts[one]);
  const several = parts.length > 1 || name.endsWith(":");
  const series = parts.flatMap((part) => Object.entries(charts[part]).map(([group, points]) => ({
    name: [several && (WORDS[part] ?? part.slice(part.indexOf(":") + 1)), group !== "all" && group].filter(Boolean).join(", ") || title,
    points: points.map(([at, ...rest]) => [at * HOUR, ...rest]),
  })));
  if (!series.length) return make("div", { class: "card" }, make("h3", {}, title), quiet(hint ?? "None."));
  const go = (at) => (location.hash = behind(asked, name, at / HOUR, at / HOUR + asked.period));
  const values = {
    series, pick: hint ? go : null, x: { name: "Time", kind: "time", from: asked.start * HOUR, to: asked.stop * HOUR }, y: { name: title, from: 0, text },
    marks: marks.map((mark) => ({ x: Date.parse(mark.created_at), text: `${mark.alias}: ${mark.model} (${mark.kind})` })),
  };
  if (cards[name]) cards[name].firstChild.redraw(values);
  else cards[name] = make("div", { class: "card" }, chart({ title, height: 170, ...values }));
  return cards[name];
}

function summary(asked, totals) {
  const groups = Object.entries(totals), known = (name) => groups.some(([, values]) => values[name]);
  const names = VALUES.filter(([name]) => !name.endsWith(":")).flatMap(([name, title, text]) =>
    [[name, title, text], ...percentiles(name).filter(known).map((part) => [part, `${title}, ${part.split(":")[1]}`, text])]);
  const cell = (name, text) => ([group, values]) => (values[name] ? make("a", { href: behind(asked, name.split(":")[0], asked.start, asked.stop, group) }, valued(values[name], text)) : "–");
  const made = table("In short", ["", ...groups.map(([group]) => `>${group === "all" ? "All" : group}`)], names.map(([name, title, text]) => [title, ...groups.map(cell(name, text))]));
  made.classList.toggle("few", groups.length < 3);
  return made;
}

function history(marks) {
  if (!marks.length) return quiet("No alias names a model yet; sayso promote MODEL makes one.");
  return table("Live", ["Since", "Alias", "Model", "How", "Reason"], marks.toReversed().slice(0, 50).map((mark) => [moment(mark.created_at), mark.alias, mark.model, mark.kind, mark.reason ?? ""]));
}
