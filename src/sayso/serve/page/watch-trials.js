// Parts of the screen Watch: drift against a reference week, canaries and shadows.

import { HOUR, WEEK, moment, number as read, percent } from "./axis.js";
import { bar, make, problem, quiet, small } from "./dom.js";
import { here, keepQuery, link } from "./place.js";
import { get } from "./server.js";
import { table } from "./table.js";

// A number with three digits: an interval says how many matter.
export const number = (value) => read(value, 3);
const signed = (text) => (value) => (value === null ? "–" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${text(Math.abs(value))}`);
const points = signed((value) => `${(100 * value).toFixed(1)} points`), ms = signed((value) => `${number(1000 * value)} ms`);
const COMPARED = [["tokens", "Tokens", signed(number)], ["refused", "Refusals", points], ["repeated", "Repetition", points],
  ["first_seconds", "First token", ms], ["token_seconds", "Per token", ms]];
const STATES = { better: "The candidate is better", worse: "The candidate is worse", undecided: "Not decided yet", mismatch: "The conversations are not divided as they should be" };

// A value with its interval below it.
export const valued = ([value, low, high], text) => [text(value), low === null ? null : small(`${text(low)} to ${text(high)}`)];

// Fill a section with what an address gives; a failure is said in its place.
function section(title, address, fill, signal, ...tools) {
  const place = make("div", { class: "stack" }, quiet("Reading …"));
  const load = () => get(address(), signal)
    .then((found) => place.replaceChildren(...[fill(found)].flat().filter(Boolean)))
    .catch((error) => signal.aborted || place.replaceChildren(problem(error, load)));
  load();
  return [make("section", { class: "stack" }, make("h2", {}, title), tools, place), load];
}

// The last week of what is shown against the week before a day.
export function drift(asked, signal) {
  const reference = () => Number(here().query.get("week")) || asked.stop - 2 * WEEK;
  const day = (hour) => new Date(hour * HOUR - new Date().getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
  const pick = make("input", { type: "date", value: day(reference()), max: day(asked.stop), onchange: ({ currentTarget }) => {
    const at = new Date(`${currentTarget.value}T00:00`).getTime();
    if (Number.isNaN(at)) return;
    keepQuery({ week: Math.floor(at / HOUR) });
    load();
  } });
  const [made, load] = section("Drift", () => `/api/watch/drift?end=${asked.stop}&reference=${reference() + WEEK}`, ({ asked: said, answered }) => [
    table("Drift", ["", ">Distance", ">p", ">Words per text", ">In the reference", ">Conversations"], [row("What was asked", said), row("What was answered", answered)]),
    ...[["asked", said], ["answered", answered]].map(([name, one]) => words(name, one)),
    quiet("Distance of the words: their Jensen–Shannon divergence in bits, from 0 (the same shares) to 1 (no word in common); below it, its usual range if nothing had changed."),
  ], signal, bar(make("label", {}, "Reference week from", pick), quiet(`against the week until ${asked.end ? moment(asked.stop * HOUR) : "now"}`)));
  return made;
}

function row(name, { drift: found, words: length, talks }) {
  return [name, found ? [number(found.divergence), small(`usual: ${number(found.usual[0])} to ${number(found.usual[1])}`)] : "–", found ? number(found.p) : "–",
    valued(length.now, number), valued(length.before, number), `${talks.now} and ${talks.before}`];
}

function words(name, { drift: found }) {
  if (!found || found.p > 0.05) return null;
  return make("p", {}, `More often ${name}: `, make("b", {}, found.more.join(", ") || "none"), "; less often: ", make("b", {}, found.fewer.join(", ") || "none"), ".");
}

export function trials(asked, signal) {
  const address = () => `/api/watch/trials?start=${asked.start}&end=${asked.stop}`;
  return section("On trial", address, ({ canaries, shadows }) => {
    if (!canaries.length && !shadows.length) return quiet("No model is on trial; sayso serve --canary ALIAS or --shadow ALIAS starts one.");
    return [...canaries.map(canary), shadows.length ? shadow(asked, shadows) : null].filter(Boolean);
  }, signal)[0];
}

function canary(one) {
  const line = (name, arm) => [name, number(arm.talks), ...[arm.liked, arm.failed].map((some) => valued(some, percent)), number(arm.preferred)];
  return make("div", { class: "card" }, make("h3", {}, `Canary ${one.model}, alias ${one.alias}${one.runs ? "" : " (ended)"}`),
    make("p", {}, make("b", {}, STATES[one.state]), `. ${one.said}`),
    table(`Canary ${one.model}`, ["", ">Conversations", ">Liked", ">Failed", ">Preferred"], [line("current model", one.current), line(one.model, one.candidate)]),
    quiet(`${percent(one.share)} of the conversations, since ${moment(one.since)}.`));
}

function shadow(asked, shadows) {
  const behind = ({ model }) => link(model, "watch", ["replies"], { start: asked.start, end: asked.stop, kind: "shadow", model });
  return make("div", { class: "card" }, make("h3", {}, "Shadow: its replies minus those that were shown to the same prompts"),
    table("Shadow", ["", ">Against", ">Prompts", ...COMPARED.map(([, title]) => `>${title}`)], shadows.map((one) => [behind(one), one.shown, number(one.n), ...COMPARED.map(([name, , text]) => valued(one.differences[name], text))])));
}
