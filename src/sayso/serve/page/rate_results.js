// What came of the queue: agreement, models, lists, people; and the export.

import { percent } from "./axis.js";
import { bars } from "./bars.js";
import { copyOf, make, redraw } from "./dom.js";
import { listName } from "./rate.js";
import { ask, call, concerns, follow, save } from "./server.js";
import { table } from "./table.js";

export async function results(view, { queue }, signal) {
  const body = make("div", { class: "results" });
  const button = make("button", { type: "button", class: "main", onclick: async () => save("reviews.jsonl", await ask("GET", "/api/rate/results", undefined, signal)) }, "Export as JSONL");
  view.append(body, make("div", { class: "bar" }, button, make("p", { class: "quiet" }, "sayso gather turns reviews into training data.")));
  const draw = async (lists) => {
    const found = await call("GET", "/api/rate/summary", undefined, signal);
    button.hidden = !found.people.length;
    redraw(body, ...parts(found, lists));
  };
  await draw(queue);
  let due = null; // looks again at most every two seconds
  follow((topics) => {
    if (!due && concerns(topics, ["reviews", "queue"])) due = setTimeout(async () => {
      due = null;
      if (!signal.aborted) await call("GET", "/api/rate", undefined, signal).then((known) => draw(known.queue)).catch(() => {});
    }, 2000);
  }, signal);
}

function parts({ agreement, models, people }, queue) {
  if (!people.length && !queue.length) return [copyOf("no-results")];
  const card = (title, ...more) => make("section", { class: "card" }, make("h2", {}, title), ...more);
  const versus = models.map(({ first, second, wins, ties, losses, rate, low, high }) => ({ name: `${first} against ${second}`, value: rate, low, high, note: `${wins} won, ${ties} tied, ${losses} lost` }));
  return [
    card("Agreement", ...agreed(agreement)),
    ...(versus.length ? [card("Models", bars({ caption: "How often the first model won, a tie counting half", rows: versus, most: 1, text: percent }))] : []),
    card("Queue", table("Queue", ["List", "Kind", ">Items", ">Finished"], queue.map((row) => [listName(row.origin), row.kind === "pair" ? "pairs" : "prompts", row.items, row.finished]))),
    ...(people.length ? [card("People", table("People", ["Name", ">Compared", ">Written", ">Checked"], people.map((row) => [row.annotator, row.compare, row.write, row.check])))] : []),
  ];
}

function agreed({ mean, low, high, n }) {
  if (mean === null) return [copyOf("no-alpha")];
  const between = low === null ? "" : `, 95 % interval ${low.toFixed(2)} to ${high.toFixed(2)}`;
  return [make("p", {}, make("b", { class: "big" }, mean.toFixed(2)), `${between}, from ${n} ${n === 1 ? "pair" : "pairs"}`), copyOf("alpha")];
}
