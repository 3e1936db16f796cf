// Models: where each came from, its scores, aliases with their history, the gate, promotion and roll-back.
//
// Addresses: #/models, #/models/NAME?alias=ALIAS.

import { moment, number } from "./axis.js";
import { make } from "./dom.js";
import { lineage } from "./lineage.js";
import { addressOf, keepQuery } from "./place.js";
import { press, when } from "./run_jobs.js";
import { call, follow } from "./server.js";

const TOPICS = ["models", "aliases"];

export async function open(view, place, signal) {
  const name = place.parts[0];
  const look = name ? await showModel(view, name, place.query, signal) : await showModels(view, signal);
  // No topics: just connected, so that what happened meanwhile is not missed.
  follow((topics) => (!topics.size || TOPICS.some((topic) => topics.has(topic))) && look().catch((error) => console.info(error.message)), signal);
}

const size = (bytes) => (bytes >= 1e9 ? `${number(bytes / 1e9)} GB` : `${number(bytes / 1e6)} MB`);
const link = (name) => make("a", { href: addressOf("models", [name]) }, name);
const start = (act, options, text) => make("a", { href: addressOf("runs", [], { start: act, ...options }) }, text);
const head = (...names) => make("thead", {}, make("tr", {}, names.map((name) => make("th", { scope: "col", class: name.startsWith(">") ? "number" : null }, name.replace(">", "")))));
const card = (title, ...children) => make("section", { class: "card", "aria-label": title }, make("h2", {}, title), ...children);
const scroll = (name, ...children) => make("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": name }, make("table", {}, ...children));

// What every alias names now: [alias, entry].
const current = (history) => [...new Map(history.map((entry) => [entry.alias, entry]))];

function aliasesOf(history) {
  const named = new Map();
  for (const [alias, { model }] of current(history)) named.set(model, [...(named.get(model) ?? []), alias]);
  return named;
}

/* All models */

async function showModels(view, signal) {
  let shown = "";
  const look = async () => {
    const found = await call("GET", "/api/models", undefined, signal);
    const told = JSON.stringify(found);
    if (told === shown || view.querySelector("textarea:focus, input:focus")) return;
    shown = told;
    if (!found.models.length) {
      view.replaceChildren(make("p", { class: "nothing" }, "There are no models yet. ", start("pretrain", {}, "Train one"), " or run ", make("code", {}, "sayso demo"), "."));
      return;
    }
    const named = aliasesOf(found.aliases);
    view.replaceChildren(card("Lineage", make("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Picture of the lineage" }, lineage(found.models, named))), list(found, named), scores(found), aliasCard(found.aliases, look),
      found.checkpoints.length ? checkpointList(found.checkpoints) : "");
  };
  await look();
  return look;
}

function list({ models }, named) {
  const rows = models.map((one) => make("tr", {}, make("th", { scope: "row" }, link(one.name)), make("td", {}, one.problem ?? one.stage + (one.bits ? `, ${one.bits} bits` : "")),
    make("td", {}, (named.get(one.name) ?? []).map((alias) => make("span", { class: "state running" }, alias))), make("td", { class: "number" }, number(one.parameters)),
    make("td", { class: "number" }, size(one.bytes)), make("td", { class: "quiet when" }, when(one.made))));
  return card("All models", scroll("All models, as a table", head("Model", "Stage", "Alias", ">Parameters", ">Size", "Made"), make("tbody", {}, rows)));
}

function scores({ scores: { models, measures }, problem }) {
  if (problem) return card("Scores", make("p", {}, problem));
  if (!measures.length) return card("Scores", make("p", { class: "quiet" }, "No model has been evaluated yet. ", start("evaluate", {}, "Evaluate one"), "."));
  const cell = (measure, name) => {
    const one = measure.scores[name];
    if (!one) return make("td", { class: "number" });
    const value = one.mean === null ? "–" : one.mean.toFixed(3);
    return make("td", { class: "number" }, make(name === measure.best ? "b" : "span", {}, value), one.low === null ? "" : make("div", { class: "quiet" }, `${one.low.toFixed(3)} to ${one.high.toFixed(3)}`));
  };
  const rows = measures.map((measure) => make("tr", {}, make("th", { scope: "row" }, measure.name, make("div", { class: "quiet" }, `${measure.group}${measure.lower_is_better ? ", lower is better" : ""}`)), models.map((name) => cell(measure, name))));
  return card("Scores", make("p", { class: "quiet" }, "With 95 % intervals; the best of a row is bold. ", models.length > 1 ? start("compare", { models: models.slice(0, 2).join("\n") }, "Compare item by item") : "", models.length > 1 ? " to see which differences are more than noise." : ""),
    scroll("Scores, as a table", head("Measure", ...models.map((name) => `>${name}`)), make("tbody", {}, rows)));
}

function aliasCard(history, look) {
  if (!history.length) return card("Aliases", make("p", { class: "quiet" }, "No alias names a model yet. Open a model to promote it."));
  const parts = current(history).map(([alias, entry]) => {
    const own = history.filter((one) => one.alias === alias);
    const reason = make("input", { class: "reason", type: "text", maxLength: 2000, "aria-label": `Reason to roll back ${alias}`, placeholder: "Reason" });
    const back = press("Roll back", async () => {
      if (!reason.value.trim()) throw new Error("Give a reason first.");
      await call("POST", `/api/admin/aliases/${encodeURIComponent(alias)}/rollback`, { reason: reason.value });
      reason.blur();
      await look();
    });
    return make("div", { class: "alias" }, make("h3", {}, `${alias} names `, link(entry.model)), own.length > 1 ? make("div", { class: "bar" }, reason, back) : "", historyOf(own));
  });
  return card("Aliases", ...parts);
}

function historyOf(entries) {
  const rows = entries.toReversed().map((entry) => make("tr", {}, make("td", { class: "when" }, when(entry.created_at)), make("td", {}, link(entry.model)), make("td", {}, entry.kind), make("td", {}, entry.reason ?? "",
    entry.evidence?.findings ? make("details", { class: "behind" }, make("summary", {}, `Gate: ${entry.evidence.verdict}`), findingTable(entry.evidence.findings)) : "")));
  return scroll(`History of ${entries[0].alias}`, head("Since", "Model", "How", "Why"), make("tbody", {}, rows));
}

function findingTable(findings) {
  const rows = findings.map((one) => make("tr", {}, make("th", { scope: "row" }, one.requirement), make("td", {}, make("span", { class: `state ${{ passed: "running", failed: "failed" }[one.state] ?? ""}` }, one.state)), make("td", {}, one.said)));
  return scroll("What the gate found", head("Requirement", "Result", "Why"), make("tbody", {}, rows));
}

function checkpointList(found) {
  const rows = found.map((one) => make("tr", {}, make("th", { scope: "row" }, make("a", { href: addressOf("runs", [one.run]) }, one.run)), make("td", { class: "number" }, one.step.toLocaleString("en")), make("td", { class: "number" }, size(one.bytes))));
  return card("Checkpoints", scroll("Checkpoints, as a table", head("Run", ">Step", ">Size"), make("tbody", {}, rows)));
}

/* One model */

async function showModel(view, name, query, signal) {
  let shown = "";
  const look = async () => {
    const found = await call("GET", `/api/models/${encodeURIComponent(name)}`, undefined, signal);
    const told = JSON.stringify(found);
    if (told === shown || view.querySelector("textarea:focus, input:focus")) return;
    shown = told;
    const words = make("div", { class: "words" });
    words.innerHTML = found.card_html; // the server's safe HTML
    view.replaceChildren(make("p", {}, make("a", { href: addressOf("models") }, "All models")), facts(found), gate(name, found, query),
      found.card_html ? card("Card", words) : "", found.checkpoints.length ? checkpointList(found.checkpoints) : "");
  };
  await look();
  return look;
}

function facts({ model, aliases }) {
  const named = aliasesOf(aliases).get(model.name) ?? [];
  const parent = !model.parent ? null : model.parent_state === "present" ? ["made from ", link(model.parent)] : `made from ${model.parent}, ${model.parent_state === "replaced" ? "which has been replaced since" : "which is not in this life"}`;
  const lines = [[model.stage, model.bits && `${model.bits}-bit weights`, model.parameters && `${number(model.parameters)} parameters`, size(model.bytes), `made ${moment(model.made)}`].filter(Boolean).join(" · "), parent,
    model.run ? ["by the run ", make("a", { href: addressOf("runs", [model.run]) }, model.run)] : null, model.data.length ? `data: ${model.data.join(", ")}` : null,
    Object.keys(model.metrics).length ? Object.entries(model.metrics).map(([key, value]) => `${key.replaceAll("_", " ")} ${typeof value === "number" ? number(value) : value}`).join(" · ") : null, model.problem];
  return make("section", { class: "card" }, make("h2", {}, model.name, " ", named.map((alias) => make("span", { class: "state running" }, alias))), lines.filter(Boolean).map((line) => make("p", {}, line)),
    make("p", { class: "links" }, start("evaluate", { model: model.name }, "Evaluate"), start("finetune", { parent: model.name }, "Fine-tune"), start("quantize", { model: model.name }, "Quantize"), start("export", { model: model.name }, "Export as GGUF")));
}

function gate(name, { model, aliases, gate: findings }, query) {
  const known = current(aliases).map(([alias]) => alias), chosen = query.get("alias") ?? known[0] ?? "stable";
  const alias = make("input", { type: "text", value: chosen, maxLength: 100, required: true, list: "aliases", onchange: ({ target }) => keepQuery({ alias: target.value }) });
  const reason = make("input", { class: "reason", type: "text", maxLength: 2000, placeholder: "only to override the gate" });
  const begin = (options) => async () => {
    const to = alias.value.trim();
    if (!to) throw new Error("Name an alias first.");
    const job = await call("POST", "/api/admin/jobs", { act: "promote", options: { candidate: name, to, ...options() } });
    location.hash = addressOf("runs", [], { job: job.id });
  };
  const tables = findings.map((one) => {
    const now = current(aliases).find(([alias]) => alias === one.alias)?.[1];
    const old = one.weights !== model.weights || (now?.id ?? null) !== one.entry;
    return [make("h3", {}, `For ${one.alias}: ${one.verdict}`), make("p", { class: "quiet" }, `${moment(one.at)}, ${one.current ? `compared with ${one.current}` : "with nothing to compare"}${old ? "; one of the two has changed since: run the gate again" : ""}.`), findingTable(one.findings)];
  });
  return card("Promotion", make("p", { class: "quiet" }, "An alias such as stable names the model that is served. The gate compares this model with the one that the alias names now."),
    make("div", { class: "bar" }, make("label", {}, "Alias", alias), make("label", {}, "Reason", reason), make("datalist", { id: "aliases" }, known.map((value) => make("option", { value })))),
    make("div", { class: "row start" }, press("Run the gate", begin(() => ({ check: true }))), press("Promote", begin(() => (reason.value.trim() ? { reason: reason.value.trim() } : {})), "", "main")), ...tables.flat());
}
