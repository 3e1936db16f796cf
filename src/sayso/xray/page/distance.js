// What rotary positions do in one head: the score of a query and a key, if they stood at other distances.

import { digits, drawing, folded, make, table } from "./dom.js";

const FARTHEST = 64, HIGH = 200, LEFT = 50, RIGHT = 12, TOP = 10, BOTTOM = 44;

// Return the score of a query at p and a key at k for each distance from 0: q turns by the frequency of each pair of its
// dimensions, i and i + D / 2, for each token.
export function byDistance(meta, { q, k: keys, frequencies }, p, k, count) {
  const size = q.shape[1], half = size / 2;
  return Array.from({ length: count }, (_, distance) => {
    const turn = distance - (p - k);
    let sum = 0;
    for (let i = 0; i < half; i += 1) {
      const [q1, q2, k1, k2] = [q[p * size + i], q[p * size + i + half], keys[k * size + i], keys[k * size + i + half]];
      sum += (q1 * k1 + q2 * k2) * Math.cos(frequencies[i] * turn) + (q1 * k2 - q2 * k1) * Math.sin(frequencies[i] * turn);
    }
    return sum * meta.scale;
  });
}

// Return the curve for a pair of positions, `wide` pixels wide; null for a layer without dials.
export function curve(meta, arrays, { p, k, word, context, wide }) {
  if (!arrays.frequencies) return null;
  const count = Math.min(context, Math.max(meta.window || FARTHEST, p - k + 1)), scores = byDistance(meta, arrays, p, k, count);
  const seen = scores.slice(0, meta.window || count); // the mask of a window hides what is farther
  const low = Math.min(...scores), high = Math.max(...scores), most = Math.max(...seen), best = seen.indexOf(most);
  const x = (distance) => LEFT + (wide - LEFT - RIGHT) * distance / Math.max(1, count - 1), y = (score) => TOP + (HIGH - TOP - BOTTOM) * (high - score) / (high - low || 1);
  const [svg, add] = drawing(wide, HIGH);
  const told = `At the distance ${p - k}, where they stand, the score is ${digits(scores[p - k])}; ${meta.window ? `within the window of ${meta.window} tokens ` : ""}it would be largest at the distance ${best}, ${digits(most)}.`;
  svg.setAttribute("aria-label", told);
  for (const value of [low, high]) {
    add("line", { x1: LEFT, x2: wide - RIGHT, y1: y(value), y2: y(value), class: "rule" });
    add("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, digits(value, 1));
  }
  for (const share of [0, 0.5, 1]) add("text", { x: x(Math.round(share * (count - 1))), y: HIGH - 24, "text-anchor": share === 1 ? "end" : "middle" }, String(Math.round(share * (count - 1))));
  add("text", { x: LEFT, y: HIGH - 6 }, "tokens between key and query");
  add("line", { x1: x(p - k), x2: x(p - k), y1: TOP, y2: HIGH - BOTTOM, class: "chosen" });
  add("polyline", { points: scores.map((score, distance) => `${x(distance)},${y(score)}`).join(" "), fill: "none", class: "line" });
  return make("figure", {}, make("h3", {}, `If ${word(p)} and ${word(k)} stood elsewhere`), svg, make("figcaption", {}, told),
    folded("Score by distance", () => table("Score by distance", [["Distance", true], ["Score", true]], scores.map((score, distance) => [String(distance), digits(score, 3)]))));
}
