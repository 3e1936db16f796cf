// Runs: the runs of the life, their curves laid over each other, live; one run with its samples and warnings; jobs.
//
// Addresses: #/runs?show=RUN,RUN, #/runs/RUN?with=RUN, #/runs?start=ACT, #/runs?job=ID.

import { count, moment, number } from "./axis.js";
import { arrange, bar, card, make, nothing, quiet, redraw } from "./dom.js";
import { addressOf, keepQuery, link, visit } from "./place.js";
import { charts, controls } from "./run_charts.js";
import { showForm } from "./run_form.js";
import { duration, jobRow, press, showJob, stateOf, when } from "./run_jobs.js";
import { call, changes, get } from "./server.js";
import { table } from "./table.js";

const MOST = 8; // runs in a chart

export async function open(view, place, signal) {
  const { parts, query } = place;
  if (query.get("start")) return showForm(view, query.get("start"), Object.fromEntries(query));
  const look = query.get("job") ? await showJob(view, query.get("job"), signal) : parts[0] ? await showRun(view, parts[0], query, signal) : await showRuns(view, query, signal);
  if (look) changes(["runs"], look, signal);
}

/* All runs */

async function showRuns(view, query, signal) {
  const shown = new Set((query.get("show") ?? "").split(",").filter(Boolean));
  const jobs = make("ul", { class: "jobs stack" }), drawn = make("div");
  const first = await get("/api/runs", signal);
  const jobsCard = card("Jobs", jobs);
  const start = make("a", { class: "button", href: addressOf("runs", [], { start: "pretrain" }) }, "Start an act");
  const settings = controls(query, () => drawn.redraw());
  const listed = table("Runs", ["Run", "Show", "State", "Progress", ">Loss", ">Tokens/s", "Changed"], []), rows = listed.querySelector("tbody");
  const none = nothing("There are no runs yet. Start an act here, or run ", make("code", {}, "sayso demo"), " to train a small assistant from nothing.");
  view.append(make("div", { class: "bar spread" }, settings.bar, start), jobsCard, none, listed, make("h2", { class: "unseen" }, "Curves"), drawn);
  let known = [];
  const toggle = ({ target }) => {
    if (!target.checked) shown.delete(target.value);
    else if (shown.size < MOST) shown.add(target.value);
    else target.checked = false;
    keepQuery({ show: [...shown].join(",") || "none" });
    drawn.redraw();
  };
  drawn.redraw = () => charts(drawn, known.map((run) => run.name).filter((name) => shown.has(name)).reverse(), settings.values(), signal);
  const update = (found) => {
    known = found.runs;
    if (!query.get("show") && !shown.size) known.filter((run) => run.step && run.unit === "step").slice(0, 2).forEach((run) => shown.add(run.name));
    none.hidden = known.length > 0;
    listed.hidden = settings.bar.hidden = !known.length;
    jobsCard.hidden = !found.jobs.length;
    redraw(jobs, ...found.jobs.slice(0, 6).map((job) => jobRow(job, known)));
    keep(rows, known, (run) => rowOf(run, shown, toggle));
  };
  update(first);
  await drawn.redraw();
  return async () => {
    update(await get("/api/runs", signal));
    await drawn.redraw();
  };
}

// Bring the rows of a table up to date, cell by cell, so that what has the focus keeps it.
function keep(body, runs, make) {
  const rows = new Map([...body.children].map((row) => [row.dataset.name, row]));
  const wanted = runs.map((run) => {
    const made = make(run), old = rows.get(run.name);
    if (!old) return made;
    [...made.children].forEach((cell, i) => {
      if (i > 1 && cell.innerHTML !== old.children[i].innerHTML) old.children[i].replaceChildren(...cell.childNodes);
    });
    return old;
  });
  arrange(body, wanted);
}

function rowOf(run, shown, toggle) {
  const box = run.step === null ? "" : make("input", { type: "checkbox", value: run.name, checked: shown.has(run.name), "aria-label": `Show the curves of ${run.name}`, onchange: toggle });
  return make("tr", { "data-name": run.name }, make("th", { scope: "row" }, link(run.name, "runs", [run.name])), make("td", {}, box),
    make("td", {}, stateOf(run.state), run.problem ? quiet(run.problem) : null),
    make("td", {}, progressOf(run)), make("td", { class: "number" }, run.loss === null ? "" : number(run.loss)),
    make("td", { class: "number" }, run.tokens_per_second === null ? "" : number(run.tokens_per_second)),
    make("td", { class: "when quiet" }, run.changed ? when(run.changed) : ""));
}

const memoryOf = (run) => (run.memory_mb === null ? "" : run.memory_mb >= 1000 ? `${number(run.memory_mb / 1000)} GB` : `${number(run.memory_mb)} MB`);

function progressOf(run) {
  if (run.step === null) return "";
  const text = `${run.unit} ${count(run.step)}` + (run.steps ? ` of ${count(run.steps)}` : "");
  const left = run.state === "running" && run.left !== null ? `, ${duration(run.left)} left` : "";
  const bar = run.steps && run.state !== "finished" ? make("progress", { max: run.steps, value: run.step, "aria-label": `Progress of ${run.name}` }) : null;
  return make("span", { class: "progress" }, make("span", {}, text, make("span", { class: "when" }, left)), bar);
}

/* One run */

async function showRun(view, name, query, signal) {
  const drawn = make("div"), head = make("section", { class: "card" }), notes = make("section"), samples = make("section", { class: "samples stack" }), options = make("details", { class: "behind" });
  const settings = controls(query, () => draw());
  const others = await get("/api/runs", signal);
  const also = new Set((query.get("with") ?? "").split(",").filter(Boolean));
  const pick = make("select", { onchange: ({ target }) => {
    also[also.has(target.value) ? "delete" : "add"](target.value);
    target.value = "";
    fillPick();
    keepQuery({ with: [...also].join(",") });
    draw();
  } });
  const fillPick = () => pick.replaceChildren(make("option", { value: "" }, also.size ? `${also.size} chosen` : "none"), ...others.runs.filter((run) => run.step !== null && run.name !== name)
    .map((run) => make("option", { value: run.name }, (also.has(run.name) ? "✓ " : "") + run.name)));
  const draw = () => charts(drawn, [name, ...also].slice(0, MOST), settings.values(), signal);
  fillPick();
  settings.bar.append(make("label", {}, "Compare with", pick));
  view.append(make("p", {}, link("All runs", "runs")), head, notes, settings.bar, make("h2", { class: "unseen" }, "Curves"), drawn, samples, options);
  let shown = "";
  const look = async () => {
    const found = await get(`/api/runs/${encodeURIComponent(name)}`, signal);
    const told = JSON.stringify([found.summary?.state, found.notes.length, found.samples.at(-1)?.step]);
    head.querySelector(".facts")?.replaceChildren(...facts(found));
    if (told !== shown) {
      shown = told;
      redraw(head, ...headOf(name, found));
      notes.replaceChildren(...notesOf(found.notes));
      redraw(samples, ...samplesOf(found.samples));
      redraw(options, make("summary", {}, "Options"), table("Options", [], Object.entries(found.config).map(([key, value]) => [key.replaceAll("_", " "), [].concat(value).join(", ")])));
    }
    settings.bar.hidden = !found.figures.length;
    await draw();
  };
  await look();
  return look;
}

function headOf(name, found) {
  const { summary } = found, path = `/api/admin/runs/${encodeURIComponent(name)}`;
  const buttons = bar();
  if (summary?.state === "running") buttons.append(press(summary.trains ? "Stop and save" : "Stop", () => call("POST", `${path}/stop`, {}), "Asked to stop. What is done so far is kept."));
  if (summary?.state === "interrupted" && summary.trains) buttons.append(press("Resume", async () => {
    visit("runs", [], { job: (await call("POST", `${path}/resume`, {})).id });
  }));
  return [make("h2", {}, name, " ", stateOf(summary?.state ?? "unknown")), make("p", { class: "facts" }, facts(found)), buttons];
}

function facts({ summary, machine, seconds, act }) {
  const text = [`sayso ${act}`, summary?.loss != null && `loss ${number(summary.loss)}`, summary?.tokens_per_second && `${number(summary.tokens_per_second)} tokens per second`,
    summary?.memory_mb && `${memoryOf(summary)} of memory`, machine.device && `on ${machine.device} in ${machine.precision}, ${machine.processes} process${machine.processes > 1 ? "es" : ""}`, seconds != null && `took ${duration(seconds)}`,
    summary?.began && `began ${moment(summary.began)}`];
  return [summary ? progressOf(summary) : "", text.filter(Boolean).join(" · ")];
}

function notesOf(notes) {
  if (!notes.length) return [];
  return [make("h2", {}, "Warnings and events"), make("ul", { class: "notes" }, notes.map((note) => make("li", { class: ["warning", "diverged", "broken_checkpoint"].includes(note.kind) ? "bad" : "" },
    make("b", {}, note.step === null ? "" : `Step ${count(note.step)}: `), note.text)))];
}

function samplesOf(samples) {
  if (!samples.length) return [];
  return [make("h2", {}, "Samples"), ...samples.toReversed().map(({ step, rows }, i) => make("details", { open: i === 0 }, make("summary", {}, `Step ${count(step ?? 0)}`),
    rows.map(({ prompt, reply, score }) => make("article", { class: "sample said" }, prompt === null ? null : quiet(prompt), make("p", {}, reply),
      typeof score === "number" ? quiet(`score ${number(score)}`) : null))))];
}
