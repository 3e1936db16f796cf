// Models: where each came from, its scores, aliases with their history, the gate, promotion and roll-back.
//
// Addresses: #/models, #/models/NAME?alias=ALIAS.

import { count, moment, number } from "./axis.js";
import { all, bar, card, make, nothing, quiet, redraw, safe } from "./dom.js";
import { lineage } from "./lineage.js";
import { keepQuery, link, visit } from "./place.js";
import { press, when } from "./run_jobs.js";
import { call, changes, get } from "./server.js";
import { table } from "./table.js";

export async function open(view, place, signal) {
  const name = place.parts[0];
  const look = name ? await live(view, `/api/models/${encodeURIComponent(name)}`, signal, (found) => oneModel(found, place.query)) : await live(view, "/api/models", signal, allModels);
  changes(["models", "aliases"], look, signal);
}

const size = (bytes) => (bytes >= 1e9 ? `${number(bytes / 1e9)} GB` : `${number(bytes / 1e6)} MB`);
const tag = (text, kind = "running") => make("span", { class: `state ${kind}` }, text);
const modelLink = (name) => link(name, "models", [name]);
const runLink = (name) => link(name, "runs", [name]);
const start = (act, text, options = {}) => link(text, "runs", [], { start: act, ...options });
const current = (history) => new Map(history.map((entry) => [entry.alias, entry])); // what every alias names now
const aliasesOf = (history, name) => [...current(history)].filter(([, { model }]) => model === name).map(([alias]) => alias);

// Show what `path` returns, again whenever it has changed, but not while somebody types, or has typed a reason.
async function live(view, path, signal, draw) {
  let shown = "";
  const look = async () => {
    const found = await get(path, signal), told = JSON.stringify(found);
    const typed = all(".reason", view).some((one) => one.value.trim());
    if (told === shown || typed || view.querySelector("input:focus")) return;
    shown = told;
    redraw(view, ...draw(found, look).filter(Boolean));
  };
  await look();
  return look;
}

/* All models */

function allModels({ models, scores, problem, aliases, checkpoints }, look) {
  if (!models.length) return [nothing("There are no models yet. ", start("pretrain", "Train one"), " or run ", make("code", {}, "sayso demo"), ".")];
  const rows = models.map((one) => [modelLink(one.name), one.problem ?? one.stage + (one.bits ? `, ${one.bits} bits` : ""), aliasesOf(aliases, one.name).map((alias) => tag(alias)), number(one.parameters), size(one.bytes), when(one.made)]);
  const named = new Map(models.map(({ name }) => [name, aliasesOf(aliases, name)]));
  return [card("Lineage", make("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Picture of the lineage" }, lineage(models, named))),
    card("All models", table("All models, as a table", ["Model", "Stage", "Alias", ">Parameters", ">Size", "Made"], rows)),
    card("Scores", ...scoreTable(scores, problem)), card("Aliases", ...aliasParts(aliases, look)), checkpointCard(checkpoints)];
}

function scoreTable({ models, measures }, problem) {
  if (problem) return [make("p", {}, problem)];
  if (!measures.length) return [quiet("No model has been evaluated yet. ", start("evaluate", "Evaluate one"), ".")];
  const cell = (measure, name) => {
    const one = measure.scores[name];
    if (!one) return null;
    return [make(name === measure.best ? "b" : "span", {}, one.mean?.toFixed(3) ?? "–"), one.low === null ? null : quiet(`${one.low.toFixed(3)} to ${one.high.toFixed(3)}`)];
  };
  const rows = measures.map((one) => [[one.name, quiet(one.group, one.lower_is_better ? ", lower is better" : "")], ...models.map((name) => cell(one, name))]);
  const more = models.length > 1 ? [start("compare", "Compare item by item", { models: models.slice(0, 2).join("\n") }), " to see which differences are more than noise."] : [];
  return [quiet("With 95 % intervals; the best of a row is bold. ", ...more), table("Scores, as a table", ["Measure", ...models.map((name) => `>${name}`)], rows)];
}

function aliasParts(history, look) {
  if (!history.length) return [quiet("No alias names a model yet. Open a model to promote it.")];
  return [...current(history)].map(([alias, entry]) => {
    const own = history.filter((one) => one.alias === alias);
    const reason = make("input", { class: "reason", maxLength: 2000, "aria-label": `Reason to roll back ${alias}`, placeholder: "Reason" });
    const back = press("Roll back", async () => {
      if (!reason.value.trim()) throw new Error("Give a reason first.");
      await call("POST", `/api/admin/aliases/${encodeURIComponent(alias)}/rollback`, { reason: reason.value });
      reason.blur();
      reason.value = "";
      await look();
    });
    const rows = own.toReversed().map(({ created_at: at, model, kind, reason: why, evidence }) => [when(at), modelLink(model), kind, [why, evidence?.findings
      ? make("details", { class: "behind" }, make("summary", {}, `Gate: ${evidence.verdict}`), findingTable(evidence.findings)) : null]]);
    return make("div", { class: "stack alias" }, make("h3", {}, `${alias} names `, modelLink(entry.model)), own.length > 1 ? bar(reason, back) : null, table(`History of ${alias}`, ["Since", "Model", "How", "Why"], rows));
  });
}

const findingTable = (findings) => table("What the gate found", ["Requirement", "Result", "Why"],
  findings.map(({ requirement, state, said }) => [requirement, tag(state, { passed: "running", failed: "failed" }[state] ?? ""), said]));

const checkpointCard = (found) => (found.length ? card("Checkpoints", table("Checkpoints, as a table", ["Run", ">Step", ">Size"], found.map((one) => [runLink(one.run), count(one.step), size(one.bytes)]))) : null);

/* One model */

function oneModel(found, query) {
  return [make("p", {}, link("All models", "models")), facts(found), gate(found, query), found.card_html ? card("Card", safe(found.card_html)) : null, checkpointCard(found.checkpoints)];
}

function facts({ model, aliases }) {
  const { name, stage, bits, parameters, parent, parent_state: state, run, data, metrics, problem } = model;
  const from = state === "present" ? modelLink(parent) : `${parent}, which ${state === "replaced" ? "has been replaced since" : "is not in this life"}`;
  const lines = [[stage, bits && `${bits}-bit weights`, parameters && `${number(parameters)} parameters`, size(model.bytes), `made ${moment(model.made)}`].filter(Boolean).join(" · "),
    parent && ["made from ", from], run && ["by the run ", runLink(run)], data.length && `data: ${data.join(", ")}`,
    Object.entries(metrics).map(([key, value]) => `${key.replaceAll("_", " ")} ${typeof value === "number" ? number(value) : value}`).join(" · "), problem];
  return make("section", { class: "card" }, make("h2", {}, name, " ", aliasesOf(aliases, name).map((alias) => tag(alias))), lines.filter(Boolean).map((line) => make("p", {}, line)),
    bar(start("evaluate", "Evaluate", { model: name }), start("finetune", "Fine-tune", { parent: name }), start("quantize", "Quantize", { model: name }), start("export", "Export as GGUF", { model: name })));
}

function gate({ model, aliases, gate: findings }, query) {
  const now = current(aliases), known = [...now.keys()];
  const alias = make("input", { value: query.get("alias") ?? known[0] ?? "stable", maxLength: 100, list: "aliases", onchange: ({ target }) => keepQuery({ alias: target.value }) });
  const reason = make("input", { class: "reason", maxLength: 2000, placeholder: "only to override the gate" });
  const begin = (name, kind, options) => press(name, async () => {
    const to = alias.value.trim();
    if (!to) throw new Error("Name an alias first.");
    const job = await call("POST", "/api/admin/jobs", { act: "promote", options: { candidate: model.name, to, ...options() } });
    visit("runs", [], { job: job.id });
  }, "", kind);
  const tables = findings.flatMap((one) => {
    const old = one.weights !== model.weights || (now.get(one.alias)?.id ?? null) !== one.entry;
    const against = one.current ? `compared with ${one.current}` : "with nothing to compare";
    return [make("h3", {}, `For ${one.alias}: ${one.verdict}`), quiet(`${moment(one.at)}, ${against}${old ? "; one of the two has changed since: run the gate again" : ""}.`), findingTable(one.findings)];
  });
  return card("Promotion", quiet("An alias such as stable names the model that is served. The gate compares this model with the one that the alias names now."),
    bar(make("label", {}, "Alias", alias), make("label", {}, "Reason", reason), make("datalist", { id: "aliases" }, known.map((value) => make("option", { value })))),
    bar(begin("Run the gate", "plain", () => ({ check: true })), begin("Promote", "main", () => (reason.value.trim() ? { reason: reason.value.trim() } : {}))), ...tables);
}
