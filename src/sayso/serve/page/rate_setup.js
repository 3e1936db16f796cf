// What an admin sets up: the guidelines, and lists of prompts and of pairs of replies from files.

import { make, tell } from "./dom.js";
import { call } from "./server.js";

const MOST_ROWS = 500;
const MOST_BYTES = 500_000; // of a request

export function setup(view, known, signal) {
  view.append(guidelines(known), lists(known, signal));
}

// A form whose button does something and says what came of it.
function formOf(title, button, act, ...fields) {
  const said = make("p", { class: "quiet said-so", role: "status" });
  const submit = make("button", { class: "main" }, button);
  const form = make("form", { class: "card setup" }, make("h2", {}, title), ...fields, make("div", { class: "row" }, said, submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    said.classList.remove("bad");
    const say = (text) => (said.textContent = text);
    try {
      say("");
      say(await act(new FormData(form), say));
    } catch (error) {
      said.classList.add("bad");
      say(error.message);
    }
    tell(said.textContent);
    submit.disabled = false;
  });
  return form;
}

const field = (text, box, hint) => make("label", {}, text, box, hint && make("span", { class: "quiet" }, hint));
const linesOf = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

function guidelines({ guidelines: { text }, reviews, reasons, tags }) {
  const act = async (data) => {
    const body = { text: data.get("text"), reviews: Number(data.get("reviews")), reasons: linesOf(data.get("reasons")), tags: linesOf(data.get("tags")) };
    await call("POST", "/api/admin/rate/guidelines", body);
    return "Saved.";
  };
  return formOf("Guidelines", "Save", act,
    field("Text, in Markdown", make("textarea", { name: "text", rows: 10, required: true, maxLength: 100_000, value: text })),
    field("Reviews per pair, by different people", make("input", { name: "reviews", type: "number", min: 1, max: 20, required: true, value: reviews })),
    make("div", { class: "pairs" }, field("Reasons for a choice, one per line", make("textarea", { name: "reasons", rows: 6, value: reasons.join("\n") })),
      field("Tags of a reply, one per line", make("textarea", { name: "tags", rows: 6, value: tags.join("\n") }))));
}

function lists({ models }, signal) {
  const ways = [["ask", "Let two served models reply to the prompts"], ["pairs", "Compare the replies in the files"], ["write", "Let people write replies to the prompts"]];
  const model = (name) => make("select", { name }, models.map((one) => make("option", {}, one)));
  const way = make("select", { name: "way" }, ways.map(([value, text]) => make("option", { value }, text)));
  const chosen = make("div", { class: "pairs" }, field("Model", model("first")), field("Compared with", model("second")));
  way.addEventListener("change", () => (chosen.hidden = way.value !== "ask"));
  chosen.lastChild.lastChild.selectedIndex = models.length - 1;
  const files = make("input", { name: "files", type: "file", multiple: true, required: true, accept: ".jsonl,.json,.ndjson" });
  const act = async (data, say) => {
    const rows = await Promise.all([...files.files].map(async (file) => rowsOf(file.name, await file.text())));
    const name = data.get("name");
    if (data.get("way") === "ask") return askModels(name, rows.flat(), [data.get("first"), data.get("second")], say, signal);
    const write = data.get("way") === "write";
    const items = write ? rows.flat().map(({ prompt }) => prompt) : pairsOf(rows, [...files.files].map((file) => file.name.replace(/\.\w+$/, "")));
    return send(write ? "prompts" : "pairs", name, items, say);
  };
  return formOf("Add a list", "Add", act, field("Name of the list", make("input", { name: "name", required: true, maxLength: 60, autocomplete: "off" })), field("What to do", way), chosen,
    field("Files", files, "JSON Lines: {\"prompt\": \"…\"}. To compare replies, pass two files of {\"prompt\", \"reply\"}, or one of {\"prompt\", \"replies\": {\"model a\": \"…\", \"model b\": \"…\"}}."));
}

function rowsOf(name, text) {
  return text.split("\n").flatMap((line, place) => {
    if (!line.trim()) return [];
    let row = null;
    try {
      row = JSON.parse(line);
    } catch {}
    if (!row?.prompt) throw new Error(`Line ${place + 1} of ${name} must be a JSON object with a "prompt".`);
    return [row];
  });
}

function pairsOf(rows, names) {
  const other = new Map((rows[1] ?? []).map(({ prompt, reply }) => [JSON.stringify(prompt), reply]));
  const pairs = rows[0].flatMap(({ prompt, reply, replies }) => {
    const given = replies ? Object.entries(replies) : [[names[0], reply], [names[1], other.get(JSON.stringify(prompt))]];
    const texts = given.slice(0, 2).filter(([, text]) => typeof text === "string").map(([model, text]) => ({ model, text }));
    return texts.length === 2 ? [{ prompt, replies: texts }] : [];
  });
  if (!pairs.length) throw new Error("No prompt has two replies in these files.");
  return pairs;
}

// Send items in parts that a request can hold.
async function send(what, name, items, say) {
  let added = 0;
  for (let start = 0, end; start < items.length; start = end) {
    let size = 0;
    for (end = start; end < items.length && end < start + MOST_ROWS && (end === start || size < MOST_BYTES); end++) size += new Blob([JSON.stringify(items[end])]).size;
    added += (await call("POST", `/api/admin/rate/${what}`, { name, [what]: items.slice(start, end) })).added;
    say(`${end} of ${items.length} sent`);
  }
  return `${added} added${added < items.length ? `; ${items.length - added} were there already, or are equal` : ""}.`;
}

async function askModels(name, rows, models, say, signal) {
  let added = 0;
  for (const [place, { prompt }] of rows.entries()) {
    say(`Prompt ${place + 1} of ${rows.length} …`);
    added += (await call("POST", "/api/admin/rate/replies", { name, prompt, models }, signal)).added;
  }
  return `${added} pairs added.`;
}
