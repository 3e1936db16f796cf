// The settings of replies: the system message, sampling, the models that reply. They are kept in the browser.

import { all, find, make } from "./dom.js";

const PLACE = "sayso-settings";
const kept = () => JSON.parse(localStorage.getItem(PLACE) ?? "{}");
let model = null; // the response of GET /api/model

// Return what a request for a reply says: the settings with a control of their own, others if they were changed.
export function settings() {
  const values = kept();
  const said = model.settings.map(({ name, type, max, more, default: value }) => {
    const given = values[name] ?? (more ? null : value);
    return [name, type === "number" && max !== null && given !== null ? Math.min(given, max) : given];
  });
  if (values.system) said.push(["system", values.system]);
  if (asked().length === 1) said.push(["model", asked()[0]]);
  return Object.fromEntries(said.filter(([, value]) => value !== null && value !== undefined));
}

// Return the models that were chosen to reply; without any, the server chooses.
export const asked = () => model.models.filter((name) => kept().models?.includes(name));

// Take the model's facts, and let the dialog keep what is set in it.
export function useModel(facts) {
  if (model === null) {
    find("#settings").addEventListener("input", keep);
    find("#defaults").onclick = () => {
      localStorage.removeItem(PLACE);
      show();
    };
  }
  model = facts;
}

export function openSettings() {
  show();
  find("#settings").showModal();
}

function show() {
  const values = kept();
  find("#controls").replaceChildren(...model.settings.filter(({ more }) => !more).map((setting) => control(setting, values)));
  find("#more").replaceChildren(...model.settings.filter(({ more }) => more).map((setting) => control(setting, values)));
  find("#system").value = values.system ?? "";
  const boxes = model.models.map((value) => make("label", {}, value, make("input", { type: "checkbox", value, checked: asked().includes(value) })));
  find("#asked").replaceChildren(make("legend", {}, "Models that reply, several side by side"), ...boxes);
  find("#asked").hidden = boxes.length < 2;
}

// Return the control of a setting that the server declares.
function control({ name, type, label, help, min, max, step, more, unset, default: usual }, values) {
  const range = type === "range", about = help && `${name}-help`;
  const input = make("input", { id: name, type, min, max, step, required: !more, placeholder: more && (usual ?? unset), inputMode: !range && (Number.isInteger(step) ? "numeric" : "decimal"), "aria-describedby": about,
    value: values[name] ?? usual });
  const output = range && make("output", { htmlFor: name, value: input.value });
  return make("div", { class: "control" }, make("label", { htmlFor: name }, make("span", {}, label), output), input, help && make("p", { class: "quiet", id: about }, help));
}

function keep({ target }) {
  if (!target.validity.valid) return;
  const values = { ...kept() };
  if (target.type === "checkbox") values.models = all("#asked :checked").map(({ value }) => value);
  else values[target.id] = target.value === "" || target.type === "textarea" ? target.value || null : Number(target.value);
  localStorage.setItem(PLACE, JSON.stringify(values));
  const output = find("output", target.parentElement);
  if (output) output.value = target.value;
}
