// Jobs: acts that run in the background, with their output; and what runs and jobs share: states, durations, buttons.

import { count, moment } from "./axis.js";
import { bar, make, quiet, redraw } from "./dom.js";
import { link } from "./place.js";
import { call, get } from "./server.js";

const SHORT = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
export const when = (time) => SHORT.format(new Date(time));
export const stateOf = (state) => make("span", { class: `state ${state}` }, state);

// "8 s", "3 min 20 s", "2 h 05 min".
export function duration(seconds) {
  const total = Math.round(seconds), two = (value) => String(value).padStart(2, "0");
  if (total < 60) return `${total} s`;
  return total < 3600 ? `${Math.floor(total / 60)} min ${two(total % 60)} s` : `${Math.floor(total / 3600)} h ${two(Math.floor(total % 3600 / 60))} min`;
}

// A button that does something, and says in a sentence what came of it.
export function press(name, act, done = "", kind = "plain") {
  const told = make("span", { class: "quiet", role: "status" });
  const button = make("button", { type: "button", class: kind, onclick: async () => {
    button.disabled = true;
    told.className = "quiet";
    try {
      await act();
      told.textContent = done;
    } catch (error) {
      told.className = "bad";
      told.textContent = error.message;
      button.disabled = false;
    }
  } }, name);
  return make("span", { class: "press" }, button, told);
}

export function jobRow(job, runs) {
  const run = runs.find((one) => one.name === job.run);
  const progress = job.state === "running" && run?.step && run.steps ? `step ${count(run.step)} of ${count(run.steps)}` : job.output;
  return make("li", {}, link(job.words.filter((word) => !word.startsWith("--life=")).join(" "), "runs", [], { job: job.id }), " ", stateOf(job.state),
    make("span", { class: "quiet line" }, progress || moment(job.began)));
}

// Show one job with its output; return what brings it up to date.
export async function showJob(view, id, signal) {
  const output = make("pre", { class: "output said", tabindex: 0, role: "log", "aria-label": "Output" }), head = make("div");
  view.append(make("p", {}, link("All runs", "runs")), make("section", { class: "card" }, head, output));
  let shown = "";
  const look = async () => {
    const job = await get(`/api/jobs/${encodeURIComponent(id)}`, signal);
    const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
    if (output.textContent !== job.output) output.textContent = job.output;
    output.hidden = !job.output;
    if (atEnd) output.scrollTop = output.scrollHeight;
    if (shown === job.state) return;
    shown = job.state;
    const when = `Began ${moment(job.began)}` + (job.by ? ` by ${job.by}` : "") + (job.ended ? `, ended ${moment(job.ended)}.` : ".");
    const lost = job.state === "unknown" ? " It ended while no server was running." : "";
    redraw(head, make("h2", {}, `sayso ${job.act} `, stateOf(job.state)), quiet(when + lost),
      make("p", {}, make("code", {}, ["sayso", ...job.words].join(" "))), job.run ? make("p", {}, link(`Curves of ${job.run}`, "runs", [job.run])) : "",
      job.state === "running" ? bar(press("Stop", () => call("POST", `/api/admin/jobs/${encodeURIComponent(id)}/stop`, {}), "Asked to stop. An act that trains saves its state first.")) : "");
  };
  await look();
  return look;
}
