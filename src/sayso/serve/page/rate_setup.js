// What an admin sets up: the guidelines, and lists of prompts and of pairs of replies from files.

import { copyOf, find, make } from "./dom.js";
import { call } from "./server.js";

const AT_ONCE = 20; // rows of a request, which must stay below the server's limit

export function setup(view, known, signal) {
  const [rules, list] = ["guidelines", "list"].map(copyOf);
  const post = (path, body) => call("POST", `/api/admin/rate/${path}`, body, signal);
  const linesOf = (box) => box.value.split("\n").map((line) => line.trim()).filter(Boolean);

  const { text, reviews, reasons, tags } = rules.elements;
  [text.value, reviews.value] = [known.guidelines.text, known.reviews];
  [reasons.value, tags.value] = [known.reasons.join("\n"), known.tags.join("\n")];
  does(rules, async () => {
    await post("guidelines", { text: text.value, reviews: Number(reviews.value), reasons: linesOf(reasons), tags: linesOf(tags) });
    return "Saved.";
  });

  const { name, way, first, second, files } = list.elements;
  for (const box of [first, second]) box.append(...known.models.map((model) => make("option", {}, model)));
  second.selectedIndex = known.models.length - 1;
  way.addEventListener("change", () => (find(".pairs", list).hidden = way.value !== "replies"));
  does(list, async (say) => {
    const parts = await Promise.all([...files.files].map(rowsOf));
    const prompts = parts.flat().map(({ prompt }) => prompt);
    let added = 0;
    if (way.value === "replies") {
      for (const [place, prompt] of prompts.entries()) {
        say(`Prompt ${place + 1} of ${prompts.length} …`);
        added += (await post("replies", { name: name.value, prompt, models: [first.value, second.value] })).added;
      }
      return `${added} pairs added.`;
    }
    const items = way.value === "pairs" ? pairsOf(parts, [...files.files].map((file) => file.name.replace(/\.\w+$/, ""))) : prompts;
    for (let at = 0; at < items.length; at += AT_ONCE) added += (await post(way.value, { name: name.value, [way.value]: items.slice(at, at + AT_ONCE) })).added;
    return `${added} added` + (added < items.length ? `; ${items.length - added} were there already, or are equal.` : ".");
  });
  view.append(rules, list);
}

// Let a form's button do something, and say what came of it.
function does(form, act) {
  const say = (text, bad = false) => Object.assign(find("[role=status]", form), { textContent: text, className: bad ? "bad" : "quiet" });
  const button = find(".main", form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    await act(say).then(say, (error) => say(error.message, true));
    button.disabled = false;
  });
}

async function rowsOf(file) {
  return (await file.text()).split("\n").flatMap((line, place) => {
    if (!line.trim()) return [];
    let row = null;
    try {
      row = JSON.parse(line);
    } catch {}
    if (!row?.prompt) throw new Error(`Line ${place + 1} of ${file.name} must be a JSON object with a "prompt".`);
    return [row];
  });
}

// Pairs of replies to the same prompt: of two files, or of the rows of one.
function pairsOf([rows, others = []], names) {
  const other = new Map(others.map(({ prompt, reply }) => [JSON.stringify(prompt), reply]));
  const pairs = rows.map(({ prompt, reply, replies }) => {
    const given = replies ? Object.entries(replies) : [[names[0], reply], [names[1], other.get(JSON.stringify(prompt))]];
    return { prompt, replies: given.slice(0, 2).map(([model, text]) => ({ model, text })) };
  }).filter((one) => one.replies.length === 2 && one.replies.every(({ text }) => typeof text === "string"));
  if (!pairs.length) throw new Error("No prompt has two replies in these files.");
  return pairs;
}
