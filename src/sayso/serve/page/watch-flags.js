// Part of the screen Watch: the triage of flags, by keys: what a detector found in a reply is real, false or fixed.

import { moment } from "./axis.js";
import { bar, button, choice, elsewhere, make, nothing, problem, quiet, small, tell } from "./dom.js";
import { link, visit } from "./place.js";
import { call, get } from "./server.js";
import { seen } from "./watch-replies.js";

const STATES = [["r", "real", "Real"], ["f", "false", "False"], ["x", "fixed", "Fixed"], ["o", "open", "Open again"]];

export async function open(view, place, signal) {
  const state = place.query.get("state") ?? "open", detector = place.query.get("detector") ?? "";
  const query = new URLSearchParams({ state, ...(detector ? { detector } : {}), limit: 100 });
  const { flags, counts } = await get(`/api/flags?${query}`, signal);
  const to = (changes) => visit("watch", ["flags"], { state, detector, ...changes });
  const total = (name) => Object.entries(counts[name]).filter(([one]) => state === "all" || one === state).reduce((sum, [, count]) => sum + count, 0);
  view.append(make("p", {}, link("Watch", "watch"), " / Flags"), bar(
    choice("State", state, [["open"], ["real"], ["false"], ["fixed"], ["all"]], (value) => to({ state: value })),
    choice("Detector", detector, [["", "all"], ...Object.keys(counts).sort().map((name) => [name, `${name} (${total(name)})`])], (value) => to({ detector: value }))));
  if (!flags.length) {
    const none = Object.keys(counts).length ? `No flag is ${state === "all" ? "here" : state}.` : "There are no flags yet; sayso flags scan lets the detectors look at the replies.";
    return view.append(nothing(none));
  }
  triage(view, flags, Number(place.query.get("flag")) || flags[0].id, signal);
}

function triage(view, flags, first, signal) {
  const list = make("ul", { class: "flags", "aria-label": "Flags" }), shown = make("div", { class: "stack" }), reason = make("input", { maxLength: 2000 });
  const buttons = STATES.map(([key, state, text]) => button([text, make("kbd", {}, key.toUpperCase())], () => mark(state)));
  const area = make("section", { class: "triage", tabindex: -1, "aria-label": "Triage" }, list, make("div", { class: "stack" },
    bar(buttons, make("label", {}, "Reason", reason)), quiet("J and K go to the next and the previous flag."), shown));
  let at = Math.max(0, flags.findIndex((flag) => flag.id === first)), asked = 0;
  const draw = () => list.replaceChildren(...flags.map((flag, i) => make("li", {}, button(
    [make("b", {}, flag.detector), make("span", {}, flag.detail), small(`${flag.state}, ${moment(flag.created_at)}`)], () => go(i), { class: "", "aria-current": i === at && "true" }))));
  const go = async (i) => {
    at = Math.max(0, Math.min(flags.length - 1, i));
    const mine = ++asked;
    reason.value = flags[at].reason ?? "";
    draw();
    list.children[at].scrollIntoView({ block: "nearest" });
    area.focus({ preventScroll: true });
    try {
      const reply = await get(`/api/watch/reply?id=${flags[at].message_id}`, signal);
      if (mine === asked) shown.replaceChildren(...seen(reply));
    } catch (error) {
      if (!signal.aborted) shown.replaceChildren(problem(error));
    }
  };
  const mark = async (state) => {
    const i = at;
    try {
      flags[i] = await call("POST", "/api/flags", { flag_id: flags[i].id, state, ...(reason.value.trim() ? { reason: reason.value.trim() } : {}) }, signal);
    } catch (error) {
      if (!signal.aborted) shown.prepend(problem(error));
      return;
    }
    tell(`Flag ${i + 1} of ${flags.length} is ${state}.`);
    await go(i + 1);
  };
  // Only while the focus is in the triage and not in a field.
  area.addEventListener("keydown", (event) => {
    if (elsewhere(event)) return;
    const key = event.key.toLowerCase(), state = STATES.find(([one]) => one === key)?.[1];
    if (!state && key !== "j" && key !== "k") return;
    event.preventDefault();
    if (state) mark(state);
    else go(at + (key === "j" ? 1 : -1));
  });
  view.append(area);
  go(at);
}
