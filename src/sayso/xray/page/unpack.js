// A panel as Python packs it: the length of a header, the header in JSON, and little-endian arrays.

const TYPES = { f4: Float32Array, i4: Int32Array, u1: Uint8Array };

// Return {meta, arrays}; an array is a typed array with a `shape`.
export function unpack(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const { meta, arrays } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const found = {};
  for (const [name, [type, shape, at]] of Object.entries(arrays)) {
    const count = shape.reduce((a, b) => a * b, 1);
    found[name] = Object.assign(new TYPES[type](buffer, 4 + size + at, count), { shape });
  }
  return { meta, arrays: found };
}

// Return the bytes of a text in base64.
export function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
}
