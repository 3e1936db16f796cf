// The one selection that drives every panel. It is in the address: #p=4&l=2&h=1&k=3&y=17&c=9&s=5&n=7.

const NAMES = ["p", "l", "h", "k", "y", "c", "s", "n"];

// p: position whose next token is predicted; l, h: layer and head; k: position that the head looks at; y: token that is
// explained; c: token it is compared with; s: the weights of training that are shown, by number; n: neuron of the MLP. A
// number that is missing is null, and takes its default.
export function selection() {
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (name) => (/^\d{1,9}$/.test(given.get(name) ?? "") ? Number(given.get(name)) : null);
  return Object.fromEntries(NAMES.map((name) => [name, number(name)]));
}

// Change a part of the selection; every panel that depends on it is drawn again.
export function select(changes) {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) given.delete(name);
    else given.set(name, value);
  }
  history.replaceState(null, "", `#${given}`);
  dispatchEvent(new Event("selected"));
}
