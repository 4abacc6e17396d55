// The radar: a blip and its line in the list point at each other, a search fades the others, a link opens its evidence.
"use strict";
(() => {
  const blips = [...document.querySelectorAll(".blip")];
  const lines = [...document.querySelectorAll(".lists li")];
  const groups = [...document.querySelectorAll(".lists .group")];
  const pointed = document.getElementById("pointed");
  const search = document.getElementById("find");
  const matches = document.getElementById("matches");

  // Mark the blip and the line of a technique, and say what it is; null marks nothing.
  function point(id) {
    for (const one of [...blips, ...lines]) one.classList.toggle("pointed", one.dataset.id === id);
    const blip = blips.find((one) => one.dataset.id === id);
    if (pointed) pointed.value = blip ? blip.querySelector("title").textContent : "\u00a0";
  }

  for (const one of [...blips, ...lines]) {
    one.addEventListener("pointerenter", () => point(one.dataset.id));
    one.addEventListener("pointerleave", () => point(null));
    one.addEventListener("focusin", () => point(one.dataset.id));
    one.addEventListener("focusout", () => point(null));
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/);
    const shown = new Set();
    for (const line of lines) {
      const text = `${line.textContent} ${line.dataset.words}`.toLowerCase();
      line.hidden = !words.every((word) => text.includes(word));
      if (!line.hidden) shown.add(line.dataset.id);
    }
    for (const blip of blips) blip.classList.toggle("faded", !shown.has(blip.dataset.id));
    for (const group of groups) group.hidden = !group.querySelector("li:not([hidden])");
    const found = shown.size ? `${shown.size} of ${lines.length} techniques` : "nothing matches";
    matches.value = search.value.trim() ? found : "";
  }

  function open() {
    const details = document.getElementById(location.hash.slice(1));
    if (!(details instanceof HTMLDetailsElement)) return;
    document.querySelectorAll("details.reached").forEach((one) => one.classList.remove("reached"));
    details.classList.add("reached");
    details.open = true;
    details.querySelector("summary").focus({ preventScroll: true });
    details.scrollIntoView({ block: "start" });
  }

  if (search) {
    search.addEventListener("input", filter);
    filter(); // a browser keeps the words of an input when it loads the page again
  }
  addEventListener("hashchange", open);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (link && link.getAttribute("href") === location.hash) open(); // the same link again is no change
  });
  open();
})();
