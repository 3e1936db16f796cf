// Elements: find, copy from a template, make. Text is always set as text; only the server's safe HTML is set as HTML.

export const find = (selector, root = document) => root.querySelector(selector);
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
  const folds = () => [...place.querySelectorAll("details")];
  const changed = new Map(folds().filter((one) => one.open !== asMade.get(one)).map((one) => [nameOf(one.firstElementChild), one.open]));
  place.replaceChildren(...children);
  for (const one of folds()) {
    asMade.set(one, one.open);
    one.open = changed.get(nameOf(one.firstElementChild)) ?? one.open;
  }
  if (focused) [...place.querySelectorAll("a, button, input, select, summary, textarea, [tabindex]")].find((one) => nameOf(one) === focused)?.focus({ preventScroll: true });
}

// What tells an element from the others of its kind: the item it belongs to, its tag and its words.
const nameOf = (element) => [element.closest("[data-id]")?.dataset.id, element.tagName, element.getAttribute("aria-label") ?? element.textContent.trim()].join(" ");

// Return an icon of index.html.
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

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
