// The form that starts an act: its fields are those of the act's options, as the server describes them.

import { bar, card, choice, make, small } from "./dom.js";
import { link, visit } from "./place.js";
import { press } from "./run_jobs.js";
import { call, get } from "./server.js";

export async function showForm(view, name, given = {}) {
  const acts = await get("/api/admin/acts");
  const act = acts.find((one) => one.act === name) ?? acts[0];
  const pick = choice("Act", act.act, acts.map((one) => [one.act]), (value) => visit("runs", [], { start: value }));
  const inputs = act.fields.map((field) => [field, inputOf(field, given[field.name])]);
  const [usual, more] = [true, false].map((first) => inputs.filter(([field]) => field.first === first).map((pair) => rowOf(...pair)));
  const form = make("form", { class: "act", onsubmit: (event) => event.preventDefault() }, usual,
    more.length ? make("details", { class: "behind", open: !usual.length }, make("summary", {}, "More options"), make("div", { class: "fields" }, more)) : null,
    press("Start", async () => {
      if (!form.reportValidity()) throw new Error("Correct the marked option first.");
      const options = Object.fromEntries(inputs.map(([field, input]) => [field.name, valueOf(field, input)]).filter(([, value]) => value !== undefined));
      const job = await call("POST", "/api/admin/jobs", { act: act.act, options });
      visit("runs", [], { job: job.id });
    }, "", "main"));
  view.append(make("p", {}, link("All runs", "runs")), card("Start an act",
    bar(pick), make("p", {}, act.help), form));
}

function inputOf({ name, kind, default: usual, required, choices, whole }, given) {
  const id = `option-${name}`, shared = { id, name, required, "aria-describedby": `${id}-help` };
  const text = given ?? "";
  if (kind === "switch") return make("input", { ...shared, type: "checkbox", checked: usual, required: false });
  if (kind === "choice") return make("select", shared, make("option", { value: "" }, usual === null ? "default" : `${usual} (default)`), choices.filter((one) => one !== usual).map((one) => make("option", { value: one }, String(one))));
  if (kind === "list") return make("textarea", { ...shared, rows: 2, placeholder: (usual ?? []).join("\n"), value: text });
  const placeholder = usual === null ? "" : String(usual);
  return make("input", kind === "number" ? { ...shared, type: "number", step: whole ? 1 : "any", placeholder, value: text } : { ...shared, placeholder, value: text, spellcheck: false, autocomplete: "off" });
}

function rowOf({ name, kind, help, required }, input) {
  const label = make("label", { htmlFor: input.id }, name.replaceAll("_", " "), required ? small(" required") : null);
  const note = kind === "list" ? " One per line." : "";
  return make("div", { class: kind === "switch" ? "field switch" : "field" }, kind === "switch" ? [input, label] : [label, input], make("p", { class: "quiet", id: `${input.id}-help` }, help + note));
}

// The value of a field that differs from its default, else undefined.
function valueOf({ kind, default: usual, choices }, input) {
  if (kind === "switch") return input.checked === usual ? undefined : input.checked;
  const text = input.value.trim();
  if (!text) return undefined;
  if (kind === "choice") return choices.find((one) => String(one) === text);
  if (kind === "list") return text.split("\n").map((line) => line.trim()).filter(Boolean);
  return (kind === "number" || kind === "mixed") && Number.isFinite(Number(text)) ? Number(text) : text;
}
