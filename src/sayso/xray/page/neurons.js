// The MLP of a layer: the neurons that speak most for the token that is explained, and where one is most active in a text.

import { bar, digits, fill, make, percent, python, shown, signed, table } from "./dom.js";
import { saved } from "./source.js";

export const depends = ["p", "l", "y", "c", "n"];
export const compares = true; // two tokens

const OWN_ROWS = " The Python below looks through any text of your own.";

export async function draw(body, state) {
  const { meta, arrays } = await state.load("neurons", { layer: state.l, position: state.p, target: state.y, contrast: state.c });
  const gated = meta.neurons[0].up !== null, most = Math.abs(meta.neurons[0].adds);
  const total = arrays.all.reduce((a, b) => a + b, 0), listed = meta.neurons.reduce((a, one) => a + one.adds, 0);
  const list = (items) => items.slice(0, 4).map(([, text]) => shown(text)).join("  ");
  const n = state.n !== null && state.n < arrays.all.length ? state.n : meta.neurons[0].neuron;
  const name = (neuron) => make("button", { type: "button", class: "link", "aria-pressed": String(neuron === n), onclick: () => state.select({ n: neuron }) }, String(neuron));
  const { parts } = state.facts, active = make("div", {});
  fill(body,
    make("p", { class: "what" }, `Each of ${arrays.all.length.toLocaleString("en")} neurons looks for a pattern in the stream, and writes a fixed direction when it finds it; the more active it is, the more it writes.`),
    make("p", { class: "told" }, `The neurons of layer ${state.l} together add ${signed(total)} to ${state.question}; these ${meta.neurons.length} add ${signed(listed)}.`),
    table("The neurons that matter most", [["Neuron", false], ["Adds", true], ["Before", true], ...(gated ? [["Up", true]] : []), ["Active", true], ["Now promotes", false], ["Now suppresses", false], ...(parts ? [["In the program", false]] : [])],
      meta.neurons.map((one) => [name(one.neuron), make("span", { class: "with-bar" }, signed(one.adds), bar(one.adds, most)), digits(one.pre), ...(gated ? [digits(one.up)] : []), digits(one.post), list(one.promotes), list(one.suppresses), ...(parts ? [parts.units[state.l][one.neuron] ?? ""] : [])])),
    make("p", { class: "quiet" }, gated ? `Active = ${activation(meta.mlp)}(before) × up.` : `Active = ${activation(meta.mlp)}(before).`),
    active,
    python(`sayso.lens.direct_attribution(model, ids, ${state.y}, ${state.c}, position=${state.p}).neurons[0, ${state.l}]\nsayso.lens.trace(model, ids, "blocks.${state.l}.mlp.hook_post")\nsayso.lens.max_examples(model, rows, "blocks.${state.l}.mlp.hook_post", 5).values[${n}]  # rows: ids of a text, [N, T]`),
  );
  const show = async () => {
    body.looking = true; // once asked for, the examples of the next neuron are shown as well
    fill(active, make("p", { class: "quiet" }, "Looking through the text …"));
    try {
      fill(active, ...(await examples(state, n)));
    } catch (error) {
      fill(active, make("p", { class: "problem" }, error.message));
    }
  };
  if (saved() || body.looking) await show();
  else fill(active, make("button", { type: "button", onclick: show }, `Where is neuron ${n} most active in the text?`));
}

async function examples(state, n) {
  let found;
  try {
    ({ meta: found } = await state.load("examples", { layer: state.l, neuron: n }));
  } catch (error) {
    if (!saved()) throw error;
    return [make("p", { class: "quiet" }, document.querySelector('script[data-panel^="examples?"]')
      ? "This file has examples of the neurons in its tables only; on a server, the x-ray finds those of any."
      : "This file has no examples; sayso xray --examples 64 writes those of the neurons in its tables, from the life's held-out text.", OWN_ROWS)];
  }
  if (!found.examples) return [make("p", { class: "quiet" }, "This life has no held-out text to look through, or too little for a row of 64 tokens; sayso prepare keeps some where --val is above 0.", OWN_ROWS)];
  return [
    make("h3", {}, `Where neuron ${state.l}.${n} is most active`),
    make("p", { class: "quiet" }, `In ${found.tokens.toLocaleString("en")} tokens of held-out text, at most once in each row; it is above zero at ${percent(found.share)} of them.`),
    make("ol", { class: "examples" }, found.examples.map(({ value, tokens, at }) => make("li", {}, make("span", { class: "number" }, digits(value)), make("span", { class: "words" }, tokens.slice(0, at).map(flowing).join(""), make("mark", {}, shown(tokens[at])), tokens.slice(at + 1).map(flowing).join(""))))),
  ];
}

// A token within a text: a space is a space.
const flowing = (text) => (text === " " ? text : text.startsWith(" ") ? ` ${shown(text.slice(1))}` : shown(text));

const activation = (kind) => ({ swiglu: "SiLU", geglu: "GELU", gelu: "GELU", relu2: "ReLU²", relu: "ReLU" })[kind] ?? kind;
