// What if a part were switched off: the prediction before and after, and the Python that repeats it.

import { fill, make, percent, python, shown, signed, table } from "./dom.js";
import { saved } from "./source.js";

export const depends = ["p", "l", "h", "y", "c"];

export async function draw(body, state) {
  body.changes ??= [];
  const { changes } = body, again = () => draw(body, state).catch((error) => { result.textContent = error.message; });
  const push = (change) => { changes.push(body.added = change); again(); };
  const add = (change) => () => push(change);
  const off = (label, change) => make("button", { type: "button", onclick: add(change) }, label);
  const result = make("div", { role: "status" });
  const other = make("input", { type: "text", "aria-label": "Another text with as many tokens", placeholder: "another text with as many tokens" });
  const patch = make("button", { type: "button", onclick: () => push({ part: "head", layer: state.l, head: state.h, text: other.value }) }, `Take head ${state.l}.${state.h} from it`);
  const [more, less, strength] = [["more of this", "text"], ["than of this", "text"], ["strength", "number"]].map(([label, type]) => make("input", { type, step: "any", "aria-label": label, placeholder: label }));
  const typed = (body.typed ??= { other: "", more: "", less: "", strength: "4" });
  for (const [name, input] of Object.entries({ other, more, less, strength })) {
    input.value = typed[name]; // what is typed stays when the panel is drawn again
    input.addEventListener("input", () => { typed[name] = input.value; });
  }
  const steer = make("button", { type: "button", onclick: () => push({ part: "steer", layer: state.l, text: more.value, against: less.value, strength: Number(strength.value) }) }, `Steer after layer ${state.l}`);
  const name = ({ part, layer, head, text, against, strength: times }) => part === "steer" ? `${times} × ("${text}" - "${against}") after layer ${layer}` : `${part === "head" ? `head ${layer}.${head}` : `${part === "mlp" ? "MLP" : part} ${layer}`}${text === undefined ? " off" : ` from "${text}"`}`;
  fill(body,
    make("p", { class: "what" }, "Switch a part off, at every position, and see what the model would say without it. What changes depends on that part; what stays the same has other causes as well."),
    saved() ? make("p", {}, "A saved page cannot compute what is not in it. The Python below does the same; or open the x-ray on a server.") : make("div", { class: "pickers" },
      off(`Head ${state.l}.${state.h} off`, { part: "head", layer: state.l, head: state.h }), off(`Attention ${state.l} off`, { part: "attention", layer: state.l }), off(`MLP ${state.l} off`, { part: "mlp", layer: state.l }),
      other, patch, more, less, strength, steer),
    changes.length ? make("ul", { class: "changes" }, changes.map((change, i) => make("li", {}, name(change), " ", make("button", { type: "button", "aria-label": `Undo ${name(change)}`, onclick: () => { changes.splice(i, 1); again(); } }, "Undo")))) : null,
    state.problem ? null : without(state), result);
  if (saved()) {
    fill(result, python(`changes = sayso.lens.ablation(model, "blocks.${state.l}.attn.hook_z", "zero", heads=[${state.h}])\nlogits = sayso.lens.trace(model, ids, "logits", interventions=changes)["logits"]\nlogits[0, ${state.p}].softmax(-1)`));
    return;
  }
  if (!changes.length) return;
  try {
    const { meta, arrays } = await state.load("what_if", { position: state.p, changes: [...changes] });
    const rows = Array.from(arrays.shown, (id) => [id, arrays.before[id], arrays.after[id]]).sort((a, b) => Math.max(b[1], b[2]) - Math.max(a[1], a[2])).slice(0, 12);
    fill(result,
      table("What comes next", [["Token", false], ["As it is", true], ["With the changes", true], ["Points", true]], rows.map(([id, before, after]) => [shown(meta.words[id]), percent(before), percent(after), signed(100 * (after - before), 1)])),
      python(meta.python));
  } catch (error) {
    const at = changes.indexOf(body.added);
    body.added = null;
    if (at >= 0) {
      changes.splice(at, 1); // the one that was just added, and cannot be
      await draw(body, state);
    }
    body.querySelector("[role=status]").textContent = error.message;
  }
}

// What the prediction would be if one token of the text had not been there; computed when it is opened.
function without(state) {
  const told = make("div", {}), details = make("details", {}, make("summary", {}, "Without one token of the text"), told);
  details.addEventListener("toggle", () => details.open && leftOut(state).then((found) => fill(told, ...found), (error) => fill(told, make("p", { class: "problem" }, error.message))), { once: true });
  return details;
}

async function leftOut(state) {
  const { meta, arrays } = await state.load("without", { position: state.p, target: state.y }), word = `"${shown(state.word(state.y))}"`;
  const rows = Array.from(arrays.removed, (at, i) => [shown(state.facts.tokens[at][1]), String(at), percent(arrays.share[i]), signed(100 * (arrays.share[i] - meta.share), 1), `${shown(meta.words[arrays.best[i]])} ${percent(arrays.best_share[i])}`]);
  const at = arrays.removed[0];
  return [
    make("p", { class: "quiet" }, `The text is read again without one of its tokens; those behind it move up by one. With all of them, ${word} has ${percent(meta.share)}.${at ? " Only the last tokens of a long text are left out." : ""}`),
    table("Without a token", [["Left out", false], ["Position", true], [`Probability of ${word}`, true], ["Points", true], ["Likeliest then", false]], rows),
    at === undefined ? null : python(`without = torch.cat((ids[:${at}], ids[${at + 1}:${state.p + 1}]))  # the row at position ${at}\nsayso.lens.trace(model, without, "logits")["logits"][0, -1].softmax(-1)[${state.y}]`),
  ].filter((one) => one !== null);
}
