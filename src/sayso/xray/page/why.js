// Why this token and not that one: the parts of the model, and the tokens of the text, that add up to the difference.

import { between, color, digits, fill, folded, make, percent, python, shown, signed, table } from "./dom.js";
import { byToken, difference, wanted } from "./why_numbers.js";

export const depends = ["p", "y", "c"];
export const compares = true; // two tokens
const BARS = 12;
const INPUTS = { hook_embed: "the token itself", hook_pos_embed: "its position", hook_ngram_embed: "its n-grams", hook_shift_embed: "the tokens before it" };

export async function draw(body, state) {
  const [{ meta, arrays }, parts] = await Promise.all([wanted(state), difference(state)]);
  const chooser = (label, value, key) => make("label", {}, label, make("select", { onchange: (event) => state.select({ [key]: Number(event.target.value) }) },
    meta.candidates.map(([id, text], i) => make("option", { value: id, selected: id === value }, `${shown(text)} ${percent(arrays.probability[i])}`))));
  const named = [
    ...parts.names.map((name, i) => [INPUTS[name] ?? name, parts.inputs[i]]),
    ...Array.from(parts.layers, (value, i) => [`${i % 2 ? "MLP" : "attention"} ${i >> 1}`, value]),
    ["biases of the last norm", parts.last_bias[0]], ["rounding of inputs", parts.rest[0]],
  ].filter(([, value]) => Math.abs(value) > 1e-5);
  const largest = [...named].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, BARS), kept = named.filter((one) => largest.includes(one));
  const others = named.filter((one) => !largest.includes(one)).reduce((sum, [, value]) => sum + value, 0);
  if (named.length > kept.length) kept.push([`${named.length - kept.length} other parts`, others]);
  const whole = parts.logit[0];
  const tokens = make("div", { "aria-busy": "true" }, make("p", { class: "quiet" }, "Computing what each token of the text adds …"));
  const share = (token) => arrays.probability[meta.candidates.findIndex(([id]) => id === token)], likelier = share(state.y) / share(state.c), ratio = Math.max(likelier, 1 / likelier);
  const capped = state.facts.shape.logit_cap ? " (before the soft cap)" : "";
  fill(body,
    make("p", { class: "what" }, "The logit of a token is a sum of what every part of the model wrote. The difference of two logits says how many times likelier one token is than the other."),
    make("div", { class: "pickers" }, chooser("Why", state.y, "y"), chooser("and not", state.c, "c")),
    make("p", { class: "told" }, `The difference is ${signed(whole)}${capped}: "${shown(state.word(state.y))}" is ${ratio > 1e4 ? "more than 10,000" : digits(ratio, ratio < 10 ? 2 : 0)} times ${likelier >= 1 ? "likelier" : "less likely"} than "${shown(state.word(state.c))}".`),
    waterfall(kept, whole),
    folded("All parts", () => table("Every part, in the order of the model", [["Part", false], ["Adds", true]], [...named.map(([name, value]) => [name, signed(value, 4)]), ["sum", signed(named.reduce((sum, [, value]) => sum + value, 0), 4)]])),
    tokens,
    python(`found = sayso.lens.direct_attribution(model, ids, ${state.y}, ${state.c}, position=${state.p})\nfound.total - found.logit  # nearly 0\nby_token = sayso.lens.token_contributions(model, ids, [${state.y}, ${state.c}], position=${state.p})\nby_token.tokens[0] - by_token.tokens[1]`),
  );
  byToken(state).then((found) => fill(tokens, ...shares(found, state, whole)), (error) => { tokens.textContent = error.message; }).finally(() => tokens.removeAttribute("aria-busy"));
}

// Bars that begin where the one above ended; the last one is the sum.
function waterfall(parts, whole) {
  let at = 0;
  const spans = parts.map(([name, value]) => [name, value, at, (at += value)]);
  const ends = [0, whole, ...spans.map(([, , , to]) => to)], low = Math.min(...ends), high = Math.max(...ends), scale = (value) => 100 * (value - low) / (high - low || 1);
  const row = (name, value, from, to, kind) => {
    const line = make("span", { class: `span ${kind}` });
    line.style.left = `${scale(Math.min(from, to))}%`;
    line.style.width = `${Math.max(0.4, Math.abs(scale(to) - scale(from)))}%`;
    return make("li", {}, make("span", { class: "name" }, name), make("span", { class: "track" }, line), make("span", { class: "number" }, signed(value)));
  };
  return make("ol", { class: "waterfall", "aria-label": "What adds up to the difference" },
    spans.map(([name, value, from, to]) => row(name, value, from, to, value >= 0 ? "more" : "less")), row("difference", whole, 0, whole, "sum"));
}

// The tokens of the text, colored by what each adds.
function shares({ tokens: values, bias }, state, whole) {
  const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1, [paper, more, less] = ["paper", "more", "less"].map(color);
  const chips = Array.from(values, (value, i) => {
    const chip = make("span", { class: "token", title: signed(value, 3) }, shown(state.facts.tokens[i][1]));
    chip.style.background = between(paper, value >= 0 ? more : less, 0.6 * Math.abs(value) / most);
    return chip;
  });
  return [make("h3", {}, "By token of the text"),
    make("p", { class: "quiet" }, `With attention and gates as they were, the prediction is linear in what each token put in: these numbers and the biases, ${signed(bias)}, add up to ${signed(whole)}.`),
    make("div", { class: "chips" }, chips),
    folded("Table", () => table("What each token adds", [["Position", true], ["Token", false], ["Adds", true]], Array.from(values, (value, i) => [String(i), shown(state.facts.tokens[i][1]), signed(value, 3)])))];
}
