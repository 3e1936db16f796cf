// The curves of runs, laid over each other: a chart per figure, and the controls of all of them.

import { number } from "./axis.js";
import { chart } from "./chart.js";
import { all, arrange, bar, choice, make, quiet } from "./dom.js";
import { keepQuery } from "./place.js";
import { get } from "./server.js";
import { duration } from "./run_jobs.js";

const TITLES = { loss: "Loss", lr: "Learning rate, share of its peak", val_bpb: "Held-out text, bits per byte", held_out_loss: "Held-out loss", induction: "Strongest induction head, attention", previous_token: "Strongest head for the previous token, attention", tokens_per_second: "Tokens per second", gradient_norm: "Gradient norm", memory_mb: "Peak memory so far, MB", mfu: "Share of the machine's peak", update_ratio: "Update relative to the weights" };
const FIRST = ["loss", "val_bpb", "held_out_loss", "reward", "score", "points", "lr", "learning_rate", "tokens_per_second", "gradient_norm", "memory_mb"];

const titleOf = (name) => TITLES[name] ?? (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

// Return {bar, values()}: the controls, whose state is in the address.
export function controls(query, changed) {
  const select = (label, name, options) => choice(label, query.get(name), options, (value) => {
    keepQuery({ [name]: value });
    changed();
  }, { name });
  const controls = bar(select("Across", "x", [["step"], ["tokens"], ["seconds", "time"]]),
    select("Smoothing", "smooth", [["0.02", "some"], ["0", "none"], ["0.005", "little"], ["0.1", "much"]]), select("Scale", "scale", [["linear"], ["log", "logarithmic"]]));
  const [across, smooth, scale] = all("select", controls);
  return { bar: controls, values: () => ({ across: across.value, smooth: smooth.value, log: scale.value === "log" }) };
}

// Draw the figures of some runs into `view`, those that are there already in their place.
export async function charts(view, names, { across, smooth, log }, signal) {
  const asked = (view.asked = Symbol("request"));
  const query = new URLSearchParams([...names.map((name) => ["run", name]), ["across", across], ["smooth", smooth]]);
  const found = names.length ? await get(`/api/curves?${query}`, signal) : {};
  if (signal.aborted || asked !== view.asked) return;
  const groups = new Map();
  for (const [run, curves] of Object.entries(found)) {
    for (const [name, points] of Object.entries(curves)) {
      const part = name.startsWith("learning_rate ") ? name.slice(14) : "";
      if (names.length > 1 ? part : name === "lr") continue; // of several runs, only the share of the peaks
      const figure = part ? "learning_rate" : name;
      if (!groups.has(figure)) groups.set(figure, new Map());
      groups.get(figure).set(part || run, points);
    }
  }
  const order = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const figures = [...groups.keys()].sort((a, b) => order(a) - order(b));
  const x = { name: across === "seconds" ? "time" : across, ...(across === "seconds" ? { text: duration } : {}) };
  const old = new Map(all(".chart", view).map((one) => [one.dataset.figure, one]));
  const card = (figure) => {
    const series = figure === "learning_rate" ? [...groups.get(figure)] : names.map((name) => [name, groups.get(figure).get(name) ?? []]);
    const values = { x, y: { name: titleOf(figure), log }, series: series.map(([name, points]) => ({ name, points })) };
    const before = old.get(figure);
    if (before) {
      before.redraw(values);
      return before.parentElement;
    }
    const made = chart({ title: titleOf(figure), height: figure === "loss" ? 300 : 200, ...values });
    made.dataset.figure = figure;
    return make("div", { class: figure === "loss" ? "card whole" : "card" }, made);
  };
  const main = figures.filter((name) => FIRST.includes(name)), rest = figures.filter((name) => !FIRST.includes(name));
  let [grid, more] = view.children;
  if (!grid) {
    grid = make("div", { class: "curves" });
    more = make("details", { class: "more behind" }, make("summary"), make("div", { class: "curves" }));
    view.append(grid, more);
  }
  more.firstChild.textContent = `More figures (${number(rest.length)})`;
  if (more.open) arrange(more.lastChild, rest.map(card));
  more.ontoggle = () => more.open && charts(view, names, { across, smooth, log }, signal);
  more.hidden = !rest.length;
  const none = names.length ? "The chosen runs have no curves yet." : "Choose runs to see their curves.";
  arrange(grid, figures.length ? main.map(card) : [quiet(none)]);
}
