// A guided tour through the panels, about the text at hand.

import { make } from "./dom.js";
import { STOPS } from "./stops.js";

let at = 0;

// Begin the tour, or go on where it was left; `state` is a function that returns the present one.
export function tour(state) {
  show(at < STOPS.length ? at : 0, state);
}

async function show(stop, state) {
  at = stop;
  const box = document.getElementById("stop"), [panel, question, answer] = STOPS[stop];
  for (const section of document.querySelectorAll(".panel")) section.classList.toggle("touring", section.id === panel);
  document.getElementById(panel).scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  const asked = state();
  let told;
  try {
    told = await answer(asked);
  } catch (error) {
    told = error.message;
  }
  if (at !== stop) return;
  if (told.go) asked.select(told.go);
  const step = (to, label) => make("button", { type: "button", onclick: () => show(to, state) }, label);
  const end = make("button", { type: "button", onclick: () => close(box) }, "End");
  const next = stop + 1 < STOPS.length ? step(stop + 1, "Next") : null;
  box.hidden = false;
  box.replaceChildren(make("p", { role: "status" }, make("b", {}, question(asked)), " ", told.text ?? told), make("div", {}, make("span", { class: "quiet" }, `${stop + 1} of ${STOPS.length}`), stop ? step(stop - 1, "Back") : null, next, end));
  (next ?? end).focus({ preventScroll: true });
  box.onkeydown = (event) => { if (event.key === "Escape") close(box); };
}

function close(box) {
  box.hidden = true;
  for (const section of document.querySelectorAll(".panel")) section.classList.remove("touring");
  document.getElementById("tour").focus();
}
