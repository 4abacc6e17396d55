// Tables that can be sorted and filtered; without this script they are plain tables.
//
// <table class="sortable" id="NAME">: a click, Enter or the space bar on a header sorts by its column, and once more
// turns the order around. A cell is compared by its data-value, else by its number if all cells of the column begin
// with one and share its unit (−0.5 %, 21×, 97.5 ± 1.3), else by its words. Empty cells and dashes stay at the end.
// <th data-sort="none"> cannot be sorted. <input data-filter="#NAME"> shows the rows that contain all of its words; an
// <output> right behind it says how many.
"use strict";
(() => {
  const NUMBER = /^[<>≤≥≈~]?\s*([+\-−]?(?:\d[\d,]*)?\.?\d+(?:e[+\-−]?\d+)?)\s*([^\s\d±[(]*)\s*(?:[±[(].*)?$/i;
  const EMPTY = /^(?:[–—-]?|not known)$/;
  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  const rowsOf = (table) => [...table.tBodies].flatMap((body) => [...body.rows]);
  const textOf = (cell) => cell.textContent.trim().replace(/\s+/g, " ");

  // The value of each row in a column: a number, a text, or null.
  function valuesOf(rows, column) {
    const cells = rows.map((row) => row.cells[column]);
    const texts = cells.map((cell) => (cell ? cell.dataset.value ?? textOf(cell) : ""));
    const known = texts.filter((text) => !EMPTY.test(text));
    const matches = known.map((text) => text.match(NUMBER));
    const numeric = matches.every((match) => match && match[2] === matches[0][2]);
    const number = (text) => Number(text.match(NUMBER)[1].replace(/,/g, "").replace(/−/g, "-"));
    return texts.map((text) => (EMPTY.test(text) ? null : numeric ? number(text) : text));
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" ? a - b : words.compare(a, b));
  }

  function sort(table, header) {
    const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    for (const body of table.tBodies) {
      const rows = [...body.rows];
      const values = new Map(valuesOf(rows, header.cellIndex).map((value, index) => [rows[index], value]));
      body.append(...rows.sort((a, b) => compare(values.get(a), values.get(b), sign)));
    }
  }

  function sortable(table) {
    const headers = table.tHead ? [...table.tHead.rows].at(-1).cells : [];
    for (const header of headers) {
      if (header.dataset.sort === "none") continue;
      header.tabIndex = 0;
      header.title ||= "Sort by this column";
      header.addEventListener("click", (event) => {
        if (!event.target.closest("a, button, input")) sort(table, header);
      });
      header.addEventListener("keydown", (event) => {
        if (event.target !== header || (event.key !== "Enter" && event.key !== " ")) return;
        event.preventDefault();
        sort(table, header);
      });
    }
  }

  function filter(input) {
    const table = document.querySelector(input.dataset.filter);
    const wanted = input.value.toLowerCase().split(/\s+/);
    const rows = table ? rowsOf(table) : [];
    for (const row of rows) {
      const text = textOf(row).toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    const output = input.nextElementSibling;
    if (output instanceof HTMLOutputElement) output.value = input.value ? `${shown} of ${rows.length} rows` : "";
  }

  document.querySelectorAll("table.sortable").forEach(sortable);
  for (const input of document.querySelectorAll("input[data-filter]")) {
    input.addEventListener("input", () => filter(input));
    filter(input); // a browser keeps the words of an input when it loads the page again
  }
})();
