// What came of the queue: agreement, models, lists, people; and the export.

import { percent } from "./axis.js";
import { bars } from "./bars.js";
import { bar, button, card, copyOf, make, quiet, redraw } from "./dom.js";
import { listName } from "./rate.js";
import { ask, changes, get, save } from "./server.js";
import { table } from "./table.js";

export async function results(view, { queue }, signal) {
  const body = make("div", { class: "results stack" });
  const out = button("Export as JSONL", async () => save("reviews.jsonl", await ask("GET", "/api/rate/results", undefined, signal)), { class: "main" });
  view.append(body, bar(out, quiet("sayso gather turns reviews into training data.")));
  const draw = async (lists) => {
    const found = await get("/api/rate/summary", signal);
    out.hidden = !found.people.length;
    redraw(body, ...parts(found, lists));
  };
  await draw(queue);
  changes(["reviews", "queue"], async () => draw((await get("/api/rate", signal)).queue), signal);
}

function parts({ agreement, models, people }, queue) {
  if (!people.length && !queue.length) return [copyOf("no-results")];
  const versus = models.map(({ first, second, wins, ties, losses, rate, low, high }) => ({ name: `${first} against ${second}`, value: rate, low, high, note: `${wins} won, ${ties} tied, ${losses} lost` }));
  return [
    card("Agreement", ...agreed(agreement)),
    ...(versus.length ? [card("Models", bars({ caption: "How often the first model won, a tie counting half", rows: versus, most: 1, text: percent }))] : []),
    card("Queue", table("Lists", ["List", "Kind", ">Items", ">Finished"], queue.map((row) => [listName(row.origin), row.kind === "pair" ? "pairs" : "prompts", row.items, row.finished]))),
    ...(people.length ? [card("People", table("Reviewers", ["Name", ">Compared", ">Written", ">Checked"], people.map((row) => [row.annotator, row.compare, row.write, row.check])))] : []),
  ];
}

function agreed({ mean, low, high, n }) {
  if (mean === null) return [copyOf("no-alpha")];
  const between = low === null ? "" : `, 95 % interval ${low.toFixed(2)} to ${high.toFixed(2)}`;
  return [make("p", {}, make("b", { class: "big" }, mean.toFixed(2)), `${between}, from ${n} ${n === 1 ? "pair" : "pairs"}`), copyOf("alpha")];
}
