// Elements: find, copy from a template, make. Text is always set as text; only the server's safe HTML is set as HTML.

export const find = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];
export const copyOf = (id) => find(`#t-${id}`).content.firstElementChild.cloneNode(true);

// Make an element: make("a", { href: "#/chat", class: "quiet", onclick: act }, "text", child, ...).
// A property that is null, undefined or false is left out; children that are null or false too.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria") && name !== "list") element[name] = value;
    else element.setAttribute(name === "class" ? "class" : name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const button = (text, onclick, more = {}) => make("button", { type: "button", class: "plain", onclick, ...more }, text);
export const quiet = (...inside) => make("p", { class: "quiet" }, ...inside);
export const small = (...inside) => make("span", { class: "quiet" }, ...inside);
export const nothing = (...inside) => make("p", { class: "nothing" }, ...inside);
export const bar = (...inside) => make("div", { class: "bar" }, ...inside);
export const card = (title, ...children) => make("section", { class: "card", "aria-label": title }, make("h2", {}, title), ...children);

// A select, with its name for a screen reader or with a label around it; an option is [value, text] or [value].
export const select = (name, value, options, onchange, more = {}) => make("select", { "aria-label": name, onchange: onchange && (({ target }) => onchange(target.value)), ...more },
  options.map(([key, text = key]) => make("option", { value: key, selected: key === value }, text)));
export const choice = (label, ...rest) => make("label", {}, label, select(null, ...rest));

// An element with HTML that the server has made safe.
export const safe = (html) => make("div", { class: "words", innerHTML: html });

// What went wrong, and a button to try again.
export const problem = (error, again) => make("div", { class: "problem", role: "alert" }, make("p", {}, error.message), again && button("Try again", again));

// An element of SVG.
export function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Let a place have just these children, in this order. Those that are there already stay, with their focus and scroll position.
export function arrange(place, children) {
  const focused = document.activeElement;
  for (const child of [...place.children]) if (!children.includes(child)) child.remove();
  children.forEach((child, i) => child !== place.children[i] && place.insertBefore(child, place.children[i] ?? null));
  if (focused !== document.activeElement && place.contains(focused)) focused.focus({ preventScroll: true });
}

const asMade = new WeakMap(); // whether a <details> was open when it was drawn

// Replace the children of a place by newly made ones: what somebody opened or closed stays so, and the focus stays where it was.
export function redraw(place, ...children) {
  const focused = place.contains(document.activeElement) && nameOf(document.activeElement);
  const folds = () => all("details", place);
  const changed = new Map(folds().filter((one) => one.open !== asMade.get(one)).map((one) => [nameOf(one.firstElementChild), one.open]));
  place.replaceChildren(...children);
  for (const one of folds()) {
    asMade.set(one, one.open);
    one.open = changed.get(nameOf(one.firstElementChild)) ?? one.open;
  }
  if (focused) all("a, button, input, select, summary, textarea, [tabindex]", place).find((one) => nameOf(one) === focused)?.focus({ preventScroll: true });
}

// What tells an element from the others of its kind: the item it belongs to, its tag and its words.
const nameOf = (element) => [element.closest("[data-id]")?.dataset.id, element.tagName, element.getAttribute("aria-label") ?? element.textContent.trim()].join(" ");

// Return an icon of index.html.
export const icon = (name) => draw("svg", { "aria-hidden": true }, draw("use", { href: `#i-${name}` }));

// Whether a key is not for the screen: with a modifier, in a field, under a dialog.
export const elsewhere = ({ ctrlKey, metaKey, altKey, target }) => ctrlKey || metaKey || altKey || find("dialog[open]") || target.matches("input:not([type=checkbox]), textarea, select");

// Say something to a screen reader.
export function tell(text) {
  find("#status").textContent = "";
  requestAnimationFrame(() => (find("#status").textContent = text));
}

// Show a dialog and return it when it has closed; its `returnValue` is the button's value, "" when it was dismissed.
// It is made for this one question: the `close` event of an earlier one may still be pending. Going elsewhere dismisses it.
export function question(dialog) {
  const dismiss = () => dialog.close();
  document.body.append(dialog);
  window.addEventListener("hashchange", dismiss);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      window.removeEventListener("hashchange", dismiss);
      dialog.remove();
      resolve(dialog);
    });
    dialog.showModal();
  });
}
