// Folding of a page: a link to a heading or a row unfolds or unfilters what hides it, and paper shows every chapter.
// A table that is wider than the screen fades out where it is cut.
"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const contents = document.querySelector(".contents");
  if (contents && matchMedia("(max-width: 74.99rem)").matches) contents.open = false;

  function unfold() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const filter = target.hidden && document.querySelector(`input[data-filter="#${target.closest("table")?.id}"]`);
    if (filter) {
      filter.value = "";
      filter.dispatchEvent(new Event("input"));
    }
    for (let part = target; part; part = part.parentElement) if (part instanceof HTMLDetailsElement) part.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", unfold);
  // A second click on the same link changes no address.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const target = link && document.getElementById(link.hash.slice(1));
    if (target?.hasAttribute("download")) {
      event.preventDefault(); // a file that the page holds at its first link
      target.click();
    } else if (link && link.hash === location.hash) unfold();
  });
  unfold();

  const fade = (box) => box.classList.toggle("cut", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => fade(target)));
  for (const box of document.querySelectorAll(".wide")) {
    box.addEventListener("scroll", () => fade(box), { passive: true });
    sizes.observe(box);
  }

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details.chapter:not([open])")];
    for (const chapter of folded) chapter.open = true;
  });
  addEventListener("afterprint", () => {
    for (const chapter of folded) chapter.open = false;
  });
})();
