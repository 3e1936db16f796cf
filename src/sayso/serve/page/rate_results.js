// What came of the queue: agreement, models, people, lists; and the export.

import { number, percent } from "./axis.js";
import { bars } from "./bars.js";
import { make } from "./dom.js";
import { listName } from "./rate.js";
import { ask, call, follow, save } from "./server.js";

export async function results(view, known, signal) {
  const body = make("div", { class: "results" });
  const button = make("button", { type: "button", class: "main", onclick: async () => save("reviews.jsonl", await ask("GET", "/api/rate/results", undefined, signal)) }, "Export as JSONL");
  view.append(body, make("div", { class: "bar" }, button, make("p", { class: "quiet" }, "sayso gather turns the reviews into training data; sayso store export saves the whole store.")));
  const draw = async (queue) => {
    const found = await call("GET", "/api/rate/summary", undefined, signal);
    button.hidden = found.people.length === 0;
    body.replaceChildren(...parts(found, queue));
  };
  await draw(known.queue);
  let due = false; // at most one look per few seconds
  follow((topics) => {
    if (due || !(topics.has("reviews") || topics.has("ratings") || topics.has("queue"))) return;
    due = true;
    setTimeout(async () => {
      due = false;
      if (!signal.aborted) await draw((await call("GET", "/api/rate", undefined, signal)).queue).catch(() => {});
    }, 2000);
  }, signal);
}

function parts({ agreement, models, people }, queue) {
  if (!people.length && !queue.length) return [make("p", { class: "nothing" }, "There is nothing to review yet. Regenerate a reply in the chat, or add a list under Set up.")];
  const card = (title, ...more) => make("section", { class: "card" }, make("h2", {}, title), ...more);
  const versus = models.map((row) => ({ name: `${row.first} against ${row.second}`, value: row.rate, low: row.low, high: row.high, note: `${row.wins} won, ${row.ties} tied, ${row.losses} lost` }));
  const lists = queue.map((row) => [listName(row.origin), row.kind === "pair" ? "pairs" : "prompts", row.items, row.finished]);
  return [
    card("Agreement", ...agreed(agreement)),
    versus.length > 0 && card("Models", bars({ caption: "How often the first model won, a tie counting half", rows: versus, most: 1, text: percent })),
    card("Queue", table(["List", "Kind", "Items", "Finished"], lists)),
    people.length > 0 && card("People", table(["Name", "Compared", "Written", "Checked"], people.map((row) => [row.annotator, row.compare, row.write, row.check]))),
  ].filter(Boolean);
}

function agreed({ mean, low, high, n }) {
  if (mean === null) return [make("p", { class: "quiet" }, "It is known once different people have reviewed the same pairs, with more than one verdict among them.")];
  const between = low === null ? "" : `, 95 % interval ${number(low)} to ${number(high)}`;
  return [make("p", {}, make("b", { class: "big" }, number(mean)), `${between}, from ${n} ${n === 1 ? "pair" : "pairs"}`),
    make("p", { class: "quiet" }, "Krippendorff's alpha: 1 is full agreement, 0 what chance gives; from 0.8 on it is usually called reliable, below 0.67 not.")];
}

function table(heads, rows) {
  const cell = (value, place) => (place === 0 ? make("th", { scope: "row" }, value) : make("td", { class: typeof value === "number" ? "number" : null }, String(value)));
  return make("div", { class: "scroller" }, make("table", {}, make("thead", {}, make("tr", {}, heads.map((head, place) => make("th", { scope: "col", class: place > 0 && typeof rows[0]?.[place] === "number" ? "number" : null }, head)))),
    make("tbody", {}, rows.map((row) => make("tr", {}, row.map(cell))))));
}
