// Training time: what the model would have said after some of its steps, with a slider from the untrained weights to the end.

import { between, color, digits, drawing, fill, folded, make, percent, python, room, shown, table } from "./dom.js";
import { saved } from "./source.js";

export const depends = ["p", "s"];
const MOST_BITS = 12, HIGH = 230, LEFT = 44, RIGHT = 100, TOP = 10, BOTTOM = 44;
const COLORS = ["strong", "more", "less", "mark", "quiet"], DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 6"];

export async function draw(body, state) {
  const { meta, arrays } = await state.load("training"), { steps } = meta;
  const what = make("p", { class: "what" }, "A model begins with random numbers, and learns by correcting them a little, step after step. Here the same text is read by the weights as they were then.");
  if (state.facts.parts) {
    fill(body, make("p", {}, "This model was not trained: its weights were computed from a program."));
    return;
  }
  if (!steps.length) {
    fill(body, what, make("p", {}, "No weights of this model's training were kept. A run of pre-training keeps some if it is asked to: "), make("pre", { tabindex: 0 }, "sayso pretrain --snapshots 10 --name another"));
    return;
  }
  const last = steps.length, s = Math.min(state.s ?? last, last);
  const when = (i) => (i === last ? "after all steps" : steps[i] ? `after step ${steps[i].toLocaleString("en")}` : "before the first step");
  const input = make("input", { type: "range", min: 0, max: last, step: 1, value: s, "aria-label": "Weights of training", "aria-valuetext": when(s), onchange: (event) => state.select({ s: Number(event.target.value) }) });
  const told = make("output", {}, when(s));
  input.addEventListener("input", () => { told.value = when(Number(input.value)); });
  const time = state.facts.tokens.length, bits = arrays.surprisal.subarray(s * time, (s + 1) * time);
  const mean = bits.slice(1).reduce((a, b) => a + b, 0) / Math.max(1, time - 1);
  const surprise = time > 1 ? `a token of this text surprises the model by ${digits(mean, 1)} bits on average` : "nothing of this text had to be predicted";
  const focused = document.activeElement?.getAttribute("aria-label") === "Weights of training" && body.contains(document.activeElement);
  fill(body, what,
    make("div", { class: "sliders" }, make("label", { class: "slider wide" }, make("span", {}, "Weights"), input, told)),
    make("p", { class: "told" }, `${when(s).replace(/^./, (first) => first.toUpperCase())}, ${surprise}. It would go on: `, make("q", {}, shown(meta.said[s]).replaceAll("⏎", " ⏎ "))),
    make("div", { class: "chips", role: "group", "aria-label": "Surprise of each token then" }, state.facts.tokens.map(([, text], i) => chip(text, bits[i], i))),
    make("div", { class: "pair" }, likeliest(meta, arrays, state, s, when), curves(meta, arrays, state, s, room(body))),
    folded("All weights", () => everything(meta, arrays, state, when)),
    saved() || state.beside || s === last ? null : make("button", { type: "button", onclick: () => beside(state, steps[s]) }, `Show the weights ${when(s)} beside these`),
    python(`then = ${s === last ? "model" : `sayso.load(${JSON.stringify(meta.folders[s])})  # from the folder in which the life is`}\nlogits = sayso.lens.trace(then, ids, "logits")["logits"]\nlogits[0, ${state.p}].softmax(-1)`),
  );
  if (focused) input.focus();
}

function chip(text, bits, i) {
  const share = i ? Math.min(1, bits / MOST_BITS) : 0, one = make("span", { class: "token", title: i ? `${digits(bits, 1)} bits` : "where the text begins" }, shown(text));
  one.style.background = between(color("paper"), color("strong"), 0.75 * share);
  one.style.color = share > 0.55 ? color("on-strong") : color("ink");
  return one;
}

function likeliest({ words }, { top, logprobs }, { p }, s, when) {
  const [, time, k] = top.shape, from = (s * time + p) * k;
  return table(`The likeliest next tokens ${when(s)}`, [["Token", false], ["Probability", true]],
    Array.from({ length: k }, (_, i) => [shown(words[top[from + i]]), percent(Math.exp(logprobs[from + i]))]));
}

const share = ({ followed_logprobs: values }, p, s, i) => Math.exp(values[(s * values.shape[1] + p) * values.shape[2] + i]);

function everything(meta, arrays, { p }, when) {
  const [, k] = arrays.followed.shape, count = meta.steps.length + 1;
  const heads = Array.from({ length: k }, (_, i) => [shown(meta.words[arrays.followed[p * k + i]]), true]);
  return table("Probability by weights", [["Weights", false], ...heads],
    Array.from({ length: count }, (_, s) => [when(s), ...heads.map((_, i) => percent(share(arrays, p, s, i)))]));
}

// The probability of the tokens that are the likeliest in the end, over the steps, which are drawn at equal distances.
function curves(meta, arrays, { p }, chosen, wide) {
  const [, k] = arrays.followed.shape, count = meta.steps.length + 1;
  const x = (s) => LEFT + (wide - LEFT - RIGHT) * s / (count - 1), y = (value) => TOP + (HIGH - TOP - BOTTOM) * (1 - value);
  const [svg, add] = drawing(wide, HIGH);
  svg.setAttribute("aria-label", "Probability of the tokens that are likeliest in the end, over the steps of training; the table has the numbers.");
  for (const value of [0, 0.5, 1]) {
    add("line", { x1: LEFT, x2: wide - RIGHT, y1: y(value), y2: y(value), class: "rule" });
    add("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, `${100 * value}%`);
  }
  const every = Math.ceil(count * 45 / (wide - LEFT - RIGHT));
  for (let s = 0; s < count; s += 1) if (s % every === 0 || s === count - 1) add("text", { x: x(s), y: HIGH - 24, "text-anchor": "middle" }, s === count - 1 ? "end" : String(meta.steps[s]));
  add("text", { x: LEFT, y: HIGH - 6, class: "quiet" }, "steps of training");
  add("line", { x1: x(chosen), x2: x(chosen), y1: TOP, y2: HIGH - BOTTOM, class: "chosen" });
  const labels = Array.from({ length: k }, (_, i) => [i, y(share(arrays, p, count - 1, i))]).sort((a, b) => a[1] - b[1]);
  labels.forEach((one, i) => { one[1] = Math.max(one[1], i ? labels[i - 1][1] + 15 : TOP); });
  const over = Math.max(0, labels.at(-1)[1] - (HIGH - BOTTOM));
  for (const [i, at] of labels) {
    const points = Array.from({ length: count }, (_, s) => `${x(s)},${y(share(arrays, p, s, i))}`).join(" ");
    add("polyline", { points, fill: "none", stroke: color(COLORS[i]), "stroke-dasharray": DASHES[i], "stroke-width": 2 });
    add("text", { x: wide - RIGHT + 8, y: at - over + 4, fill: color(COLORS[i]), class: "label" }, `${shown(meta.words[arrays.followed[p * k + i]]).slice(0, 12)}`);
  }
  return make("figure", {}, svg, make("figcaption", {}, "The probability of what is likeliest in the end. The dashed line marks the weights that are chosen."));
}

// Show the x-ray of earlier weights beside this one.
function beside(state, step) {
  const asked = new URLSearchParams(location.search);
  asked.set("beside", `${state.facts.name}@${step}`);
  location.assign(`?${asked}${location.hash}`);
}
