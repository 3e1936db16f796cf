// In a narrow window the menu is a drawer over the page.

import { find } from "./dom.js";

const drawerOpen = () => document.body.classList.contains("drawer");

export function drawer(open) {
  const was = drawerOpen();
  document.body.classList.toggle("drawer", open);
  find("#menu").setAttribute("aria-expanded", open);
  find("main").inert = open;
  if (open) find("#screens a").focus();
  else if (was) find("#menu").focus();
}

find("#menu").onclick = () => drawer(true);
find("#curtain").onclick = () => drawer(false);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || find("dialog[open]") || !drawerOpen()) return;
  event.stopImmediatePropagation();
  drawer(false);
}, true);
