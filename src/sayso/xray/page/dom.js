// Elements, numbers and colors.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

// Replace what is in an element; null stands for nothing.
export function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null));
}

// A number with as many digits as tell something.
export function digits(value, places = 2) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "-∞" : "none";
  if (value !== 0 && Math.abs(value) < 10 ** -places) return value.toExponential(1);
  return value.toFixed(places);
}

export const signed = (value, places = 2) => (value >= 0 ? "+" : "") + digits(value, places);
export const percent = (share) => (share > 0 && share < 0.0005 ? "<0.1%" : `${(100 * share).toFixed(1)}%`);

// What is said in place of the surprise of tokens, which are read before anything is predicted.
export const AHEAD = "This program attends in both directions: each position has read every token, so that none is a surprise. What is likeliest at a position is the program's value there.";

// A token's text with what is invisible made visible.
export function shown(text) {
  const visible = text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ | $/g, "·");
  const escaped = (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`;
  return visible === "" ? "∅" : visible.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
}

// The colors of this theme, as CSS knows them.
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// A color between two of the form #rrggbb, at a share from 0 to 1.
export const between = (from, to, share) => `rgb(${mixed(from, to, share).join(" ")})`;

// The red, green and blue of such a color.
export function mixed(from, to, share) {
  const part = (text, at) => parseInt(text.slice(at, at + 2), 16);
  return [1, 3, 5].map((at) => Math.round(part(from, at) + (part(to, at) - part(from, at)) * share));
}

// A bar for a number: to the right if it is positive, to the left if not.
export function bar(value, most) {
  const share = most ? Math.min(1, Math.abs(value) / most) : 0;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "bar");
  svg.setAttribute("viewBox", "-50 0 100 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("class", value >= 0 ? "more" : "less");
  line.setAttribute("d", `M0 0H${(value >= 0 ? 50 : -50) * share}V10H0Z`);
  svg.append(line);
  return svg;
}

// The width of a chart in a panel, in pixels, so that its text is as large as other text.
export const room = (body) => Math.max(280, Math.min(640, body.clientWidth));

// The call that gives what a panel shows, to be copied.
export function python(code) {
  const copy = make("button", { type: "button", onclick: () => navigator.clipboard?.writeText(code) }, "Copy");
  return make("details", { class: "python" }, make("summary", {}, "In Python"), make("pre", { tabindex: 0 }, code), copy);
}

// Something that is made when it is first opened.
export function folded(summary, build) {
  const details = make("details", {}, make("summary", {}, summary));
  details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(build()));
  return details;
}

// A table: heads are [text, is a number], rows are lists of texts and elements.
export function table(caption, heads, rows) {
  const cell = (value, i) => make(i ? "td" : "th", { scope: i ? null : "row", class: heads[i][1] ? "number" : null }, value);
  return make("div", { class: "scroller", tabindex: 0, role: "group", "aria-label": caption },
    make("table", {}, make("caption", {}, caption),
      make("thead", {}, make("tr", {}, heads.map(([text, number]) => make("th", { scope: "col", class: number ? "number" : null }, text)))),
      make("tbody", {}, rows.map((row) => make("tr", {}, row.map(cell))))));
}

// Return an empty drawing of curves in pixels, and a function that adds an element to it: its kind, attributes and text.
export function drawing(wide, high) {
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg");
  for (const [key, value] of Object.entries({ viewBox: `0 0 ${wide} ${high}`, class: "curves", role: "img" })) svg.setAttribute(key, value);
  const add = (kind, attributes, text = "") => {
    const one = document.createElementNS(space, kind);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.textContent = text;
    svg.append(one);
    return one;
  };
  return [svg, add];
}
