// The parts of a logit difference, and the candidates among which it is taken.


export const wanted = (state) => state.load("why", { position: state.p, ...(state.extra.length ? { tokens: state.extra } : {}) });

// Return what each token of the text adds to the logit of token y minus that of token c, and what the biases do.
export async function byToken(state) {
  const { arrays } = await state.load("by_token", { position: state.p, tokens: [state.y, state.c] }), [, size] = arrays.tokens.shape;
  return { tokens: Float32Array.from({ length: size }, (_, i) => arrays.tokens[i] - arrays.tokens[size + i]), bias: arrays.bias[0] - arrays.bias[1] };
}

// Return what each part adds to the logit of token y minus that of token c.
export async function difference(state) {
  const { meta, arrays } = await wanted(state);
  const row = (token) => meta.candidates.findIndex(([id]) => id === token);
  const [y, c] = [row(state.y), row(state.c)];
  const minus = (values) => {
    const size = values.length / values.shape[0];
    return Float32Array.from({ length: size }, (_, i) => values[y * size + i] - values[c * size + i]);
  };
  const found = Object.fromEntries(Object.entries(arrays).map(([name, values]) => [name, minus(values)]));
  return { ...found, names: meta.inputs };
}
