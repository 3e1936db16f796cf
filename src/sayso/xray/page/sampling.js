// Temperature, top-k, top-p and min-p over a whole vocabulary, in the order in which Sayso applies them.

// Return [{id, share}] of the tokens that may be drawn, likeliest first, and the probabilities before: {kept, plain, order}.
export function sample(logits, { temperature, k, p, least }) {
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  const plain = softmax(order.map((id) => logits[id]));
  if (temperature === 0) return { order, plain, kept: [{ id: order[0], share: 1 }] };
  let shares = softmax(order.map((id) => logits[id] / temperature));
  let count = k > 0 ? Math.min(k, order.length) : order.length;
  shares = normal(shares.slice(0, count));
  if (p < 1) {
    let sum = 0;
    count = shares.findIndex((share) => (sum += share) >= p) + 1 || shares.length;
    shares = normal(shares.slice(0, count));
  }
  if (least > 0) shares = normal(shares.filter((share) => share >= least * shares[0]));
  return { order, plain, kept: shares.map((share, i) => ({ id: order[i], share })) };
}

function softmax(values) {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity), weights = values.map((value) => Math.exp(value - most));
  return normal(weights);
}

function normal(weights) {
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

// The token on which a number from 0 to 1 falls, when the shares lie end to end.
export function drawn(kept, number) {
  let sum = 0;
  for (const one of kept) {
    sum += one.share;
    if (number < sum) return one.id;
  }
  return kept[kept.length - 1].id;
}
