// The home map: what each layer would predict next at each position, read through the last norm and the head.

import { between, color, fill, make, percent, python, shown } from "./dom.js";

export const depends = ["p", "l"];
const PIECE = 64, HIGH = 20, LABEL = 74;

export async function draw(body, state) {
  const map = body.map ?? begin(body, state);
  map.state = state;
  map.cursor ??= null;
  await piece(map, state.p);
  reveal(map);
  render(map);
  tell(map, state.l + 1, state.p);
  fill(map.python, python(`lens = sayso.lens.logit_lens(model, ids)\nlens.top[:, 0, ${state.p}], lens.top_logprobs[:, 0, ${state.p}].exp()  # of each stream, the input first`));
}

function begin(body, state) {
  const canvas = make("canvas", { tabindex: 0, role: "application", "aria-label": "Map of layers and positions. Arrow keys choose a layer and a position." });
  const room = make("div", { class: "room" }), told = make("output", { class: "told" });
  const scroller = make("div", { class: "scroller map", tabindex: -1 }, room, canvas);
  const map = { canvas, scroller, told, python: make("div", {}), pieces: new Map(), wide: 64, state };
  body.map = map;
  const rows = state.facts.shape.layers + 1, columns = state.facts.tokens.length;
  map.wide = columns > 200 ? 12 : 64;
  room.style.width = `${LABEL + columns * map.wide}px`;
  room.style.height = `${(rows + 1) * HIGH}px`;
  fill(body,
    make("p", { class: "what" }, "Each column is a position, each row a layer, from the input at the bottom to the output at the top. A cell shows the token that would come next if the model stopped there; the more color, the surer."),
    scroller, told,
    make("p", { class: "quiet" }, "This is the logit lens: the last norm and the head read every layer, as if it were the last. Early layers speak another language, so what they seem to say is often nonsense."),
    map.python);
  scroller.addEventListener("scroll", () => requestAnimationFrame(() => render(map)));
  new ResizeObserver(() => render(map)).observe(scroller);
  const cell = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - LABEL + scroller.scrollLeft) / map.wide);
    const row = rows - 1 - Math.floor((event.clientY - box.top + 0) / HIGH);
    return column >= 0 && column < columns && row >= 0 && row < rows ? [row, column] : null;
  };
  canvas.addEventListener("pointermove", (event) => { const at = cell(event); if (at) tell(map, ...at); });
  canvas.addEventListener("pointerleave", () => tell(map, map.state.l + 1, map.state.p));
  canvas.addEventListener("click", (event) => { const at = cell(event); if (at) choose(map, ...at); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    choose(map, within(map.state.l + 1 + step[0], rows), within(map.state.p + step[1], columns));
  });
  return map;
}

const choose = (map, row, column) => map.state.select({ p: column, l: Math.max(0, row - 1), y: null, c: null, k: null });

async function piece(map, position) {
  const first = Math.floor(position / PIECE) * PIECE;
  if (!map.pieces.has(first)) map.pieces.set(first, await map.state.load("map", { first }));
}

// Scroll to the chosen column if it is not in sight.
function reveal({ scroller, state, wide }) {
  const left = state.p * wide, sight = scroller.clientWidth - LABEL;
  if (left < scroller.scrollLeft || left + wide > scroller.scrollLeft + sight) scroller.scrollLeft = left - sight / 2;
}

function at(map, row, column) {
  const first = Math.floor(column / PIECE) * PIECE, found = map.pieces.get(first);
  if (!found) {
    if (map.waiting !== first) {
      map.waiting = first;
      piece(map, column).then(() => render(map)).catch(() => {}).finally(() => { map.waiting = null; });
    }
    return null;
  }
  const { top, logprobs, entropy, kl } = found.arrays, [, width, k] = top.shape, cell = row * width + column - first;
  const ids = [...top.slice(cell * k, cell * k + k)];
  return { ids, words: ids.map((id) => found.meta.words[id]), shares: [...logprobs.slice(cell * k, cell * k + k)].map(Math.exp), entropy: entropy[cell], kl: kl[cell] };
}

function render(map) {
  const { canvas, scroller, state, wide } = map, rows = state.facts.shape.layers + 1, columns = state.facts.tokens.length;
  const width = scroller.clientWidth, height = (rows + 1) * HIGH, ratio = devicePixelRatio || 1;
  if (!width) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d"), shift = scroller.scrollLeft;
  const [paper, strong, ink, bright] = ["paper", "strong", "ink", "on-strong"].map(color);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const from = Math.max(0, Math.floor(shift / wide)), to = Math.min(columns, Math.ceil((shift + width - LABEL) / wide));
  for (let row = 0; row < rows; row += 1) {
    const y = (rows - 1 - row) * HIGH;
    for (let column = from; column < to; column += 1) {
      const cell = at(map, row, column), x = LABEL + column * wide - shift;
      const share = cell ? cell.shares[0] : 0;
      pen.fillStyle = between(paper, strong, share);
      pen.fillRect(x + 0.5, y + 0.5, wide - 1, HIGH - 1);
      if (cell && wide > 30) {
        pen.fillStyle = share > 0.55 ? bright : ink;
        pen.fillText(clip(shown(cell.words[0])), x + 4, y + HIGH / 2);
      }
    }
  }
  pen.fillStyle = ink;
  for (let column = from; column < to && wide > 30; column += 1) pen.fillText(clip(shown(state.facts.tokens[column][1])), LABEL + column * wide - shift + 4, rows * HIGH + HIGH / 2);
  pen.fillStyle = paper;
  pen.fillRect(0, 0, LABEL, height);
  pen.fillStyle = ink;
  for (let row = 0; row < rows; row += 1) pen.fillText(row ? `layer ${row - 1}` : "input", 4, (rows - 1 - row) * HIGH + HIGH / 2);
  pen.fillText("token", 4, rows * HIGH + HIGH / 2);
  pen.strokeStyle = color("mark");
  pen.lineWidth = 1;
  pen.strokeRect(LABEL + state.p * wide - shift + 0.5, 0.5, wide - 1, height - 1);
  pen.lineWidth = 2;
  pen.strokeRect(LABEL + state.p * wide - shift + 1, (rows - 2 - state.l) * HIGH + 1, wide - 2, HIGH - 2);
}

const clip = (text) => (text.length > 8 ? `${text.slice(0, 7)}…` : text);

function tell(map, row, column) {
  const cell = at(map, row, column), { tokens } = map.state.facts;
  if (!cell) return;
  const list = cell.words.map((word, i) => `"${shown(word)}" ${percent(cell.shares[i])}`).join(", ");
  map.told.value = `${row ? `After layer ${row - 1}` : "Before the first layer"}, at position ${column} ("${shown(tokens[column][1])}"): ${list}. Entropy ${cell.entropy.toFixed(2)} bits; ${cell.kl.toFixed(2)} bits from the final prediction.`;
}
