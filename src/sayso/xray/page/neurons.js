// The MLP of a layer: the neurons that speak most for the token that is explained.

import { bar, digits, fill, make, python, shown, signed, table } from "./dom.js";
import { load } from "./source.js";

export const depends = ["p", "l", "y", "c"];
export const compares = true; // two tokens

export async function draw(body, state) {
  const { meta, arrays } = await load("neurons", { layer: state.l, position: state.p, target: state.y, contrast: state.c });
  const gated = meta.neurons[0].up !== null, most = Math.abs(meta.neurons[0].adds);
  const total = arrays.all.reduce((a, b) => a + b, 0), listed = meta.neurons.reduce((a, one) => a + one.adds, 0);
  const list = (items) => items.slice(0, 4).map(([, text]) => shown(text)).join("  ");
  fill(body,
    make("p", { class: "what" }, `Each of ${arrays.all.length.toLocaleString("en")} neurons looks for a pattern in the stream, and writes a fixed direction when it finds it; the more active it is, the more it writes.`),
    make("p", { class: "told" }, `The neurons of layer ${state.l} together add ${signed(total)} to ${state.question}; these ${meta.neurons.length} add ${signed(listed)}.`),
    table("The neurons that matter most", [["Neuron", false], ["Adds", true], ["Before", true], ...(gated ? [["Up", true]] : []), ["Active", true], ["Now promotes", false], ["Now suppresses", false]],
      meta.neurons.map((one) => [String(one.neuron), make("span", { class: "with-bar" }, signed(one.adds), bar(one.adds, most)), digits(one.pre), ...(gated ? [digits(one.up)] : []), digits(one.post), list(one.promotes), list(one.suppresses)])),
    make("p", { class: "quiet" }, gated ? `Active = ${activation(meta.mlp)}(before) × up.` : `Active = ${activation(meta.mlp)}(before).`),
    python(`sayso.lens.direct_attribution(model, ids, ${state.y}, ${state.c}, position=${state.p}).neurons[0, ${state.l}]\nsayso.lens.trace(model, ids, "blocks.${state.l}.mlp.hook_post")`),
  );
}

const activation = (kind) => ({ swiglu: "SiLU", geglu: "GELU", gelu: "GELU", relu2: "ReLU²", relu: "ReLU" })[kind] ?? kind;
