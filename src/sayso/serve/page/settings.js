// The settings of replies: the system message, sampling, the models that reply. They are kept in the browser.

import { copyOf, find, make } from "./dom.js";

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
    find("#defaults").addEventListener("click", () => {
      localStorage.removeItem(PLACE);
      show();
    });
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
function control(setting, values) {
  const element = copyOf("control");
  const [label, text, output, input, help] = ["label", "span", "output", "input", "p"].map((tag) => find(tag, element));
  const { name, type, min, max, step, more, default: value } = setting;
  Object.assign(input, { id: name, type, min: min ?? "", max: max ?? "", step, required: !more, value: values[name] ?? value ?? "" });
  if (more) input.placeholder = value ?? setting.unset;
  label.htmlFor = name;
  text.textContent = setting.label;
  if (type === "range") Object.assign(output, { htmlFor: name, value: input.value });
  else {
    input.inputMode = Number.isInteger(step) ? "numeric" : "decimal";
    output.remove();
  }
  if (setting.help) {
    Object.assign(help, { id: `${name}-help`, textContent: setting.help });
    input.setAttribute("aria-describedby", help.id);
  } else help.remove();
  return element;
}

function keep({ target }) {
  if (!target.validity.valid) return;
  const values = { ...kept() };
  if (target.type === "checkbox") values.models = [...document.querySelectorAll("#asked :checked")].map(({ value }) => value);
  else values[target.id] = target.value === "" || target.type === "textarea" ? target.value || null : Number(target.value);
  localStorage.setItem(PLACE, JSON.stringify(values));
  const output = find("output", target.parentElement);
  if (output) output.value = target.value;
}
