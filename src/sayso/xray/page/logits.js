// From logits to the next token: temperature, top-k, top-p and min-p over the whole vocabulary, and the draw.

import { digits, fill, make, percent, python, shown, table } from "./dom.js";
import { drawn, sample } from "./sampling.js";

export const depends = ["p"];
const SHOWN = 12;
const SETTINGS = [
  ["temperature", "Temperature", 0, 2, 0.05, 1], ["k", "Top-k (0: all)", 0, 100, 1, 0],
  ["p", "Top-p", 0.05, 1, 0.01, 1], ["least", "Min-p", 0, 0.5, 0.01, 0],
];

export async function draw(body, state) {
  const [{ meta, arrays }, texts] = await Promise.all([state.load("logits", { position: state.p }), state.texts()]);
  body.settings ??= Object.fromEntries(SETTINGS.map(([name, , , , , value]) => [name, value]));
  body.number ??= 0.5;
  const { settings } = body, result = make("div", {});
  const change = (name, value, output) => {
    settings[name] = value;
    if (output) output.value = String(value);
    show(result, arrays.logits, texts, body, state);
  };
  const sliders = SETTINGS.map(([name, label, min, max, step]) => {
    const output = make("output", {}, String(settings[name]));
    const input = make("input", { type: "range", min, max, step, value: settings[name], "aria-label": label, oninput: (event) => change(name, Number(event.target.value), output) });
    return make("label", { class: "slider" }, make("span", {}, label), input, output);
  });
  const dice = make("button", { type: "button", onclick: () => { body.number = crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32; show(result, arrays.logits, texts, body, state); } }, "Draw a number");
  fill(body,
    make("p", { class: "what" }, `The head turns the last stream into one number for each of ${arrays.logits.length.toLocaleString("en")} tokens, its logit. Softmax makes probabilities of them; then one token is drawn.`),
    make("div", { class: "sliders" }, sliders, dice), result,
    python(`logits = sayso.lens.trace(model, ids, "logits")["logits"][0, ${state.p}]\nmodel.generate(text, temperature=0.8, top_k=40, top_p=0.95, min_p=0.05, max_tokens=1)`),
  );
  show(result, arrays.logits, texts, body, state);
}

function show(result, logits, texts, body, state) {
  const { order, plain, kept } = sample(logits, body.settings), token = body.settings.temperature === 0 ? kept[0].id : drawn(kept, body.number);
  const share = new Map(kept.map((one) => [one.id, one.share]));
  const rows = order.slice(0, SHOWN).map((id, i) => [
    make("button", { type: "button", class: "link", "aria-pressed": String(id === token), onclick: () => state.select({ y: id, c: null }) }, shown(texts[id])),
    digits(logits[id]), percent(plain[i]), share.has(id) ? percent(share.get(id)) : "out"]);
  fill(result,
    table("The likeliest tokens", [["Token", false], ["Logit", true], ["Softmax", true], ["After the settings", true]], rows),
    cumulative(kept, body, token, texts),
    make("p", { class: "told" }, body.settings.temperature === 0
      ? `At temperature 0 nothing is drawn: the likeliest token, "${shown(texts[token])}", is taken.`
      : `${kept.length.toLocaleString("en")} of ${order.length.toLocaleString("en")} tokens are left. The number ${body.number.toFixed(4)} falls on "${shown(texts[token])}".`));
}

// All tokens that are left, end to end, and where the number falls.
function cumulative(kept, body, token, texts) {
  const parts = [];
  let sum = 0;
  for (const { id, share } of kept) {
    if (share < 0.004 && parts.length) break;
    parts.push(make("span", { class: id === token ? "part chosen" : "part", style: null, title: `${shown(texts[id])} ${percent(share)}` }, share > 0.05 ? shown(texts[id]) : ""));
    parts[parts.length - 1].style.width = `${100 * share}%`;
    sum += share;
  }
  if (sum < 0.9999) {
    const rest = make("span", { class: "part rest", title: `${(kept.length - parts.length).toLocaleString("en")} more tokens, ${percent(1 - sum)}` }, 1 - sum > 0.08 ? "all others" : "");
    rest.style.width = `${100 * (1 - sum)}%`;
    parts.push(rest);
  }
  const needle = make("span", { class: "needle" });
  needle.style.left = `${100 * body.number}%`;
  const name = `Probabilities end to end; the number ${body.number.toFixed(4)} falls on ${shown(texts[token])}`;
  return make("div", { class: "cumulative", role: "img", "aria-label": name }, parts, body.settings.temperature === 0 ? null : needle);
}
