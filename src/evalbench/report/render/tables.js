// Tables that can be sorted and filtered; without this script they are plain tables.
//
// <table class="sortable" id="NAME">: a click, Enter or the space bar on a header sorts by its column, and once more
// turns the order around. A cell is compared by its data-value, else by its text. If most cells of a column begin with a
// number, the column is sorted by numbers: 16 ms is less than 1.4 s, 1/16 is a fraction, ∞ is infinite, an interval
// counts by its lower end. Cells without a number, and empty cells, stay at the end.
// <th data-sort="none"> cannot be sorted. <input data-filter="#NAME"> shows the rows that contain all of its words; an
// <output> right behind it says how many.
"use strict";
(() => {
  // A sign, a number, what divides it, a unit. Not a date, a version or a hash.
  const NUMBER = new RegExp(
    String.raw`^[<>≤≥≈~±[(\s]*([+\-−]?)(∞|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+(?:e[+\-−]?\d+)?)(?:/([\d,.]*\d))?` +
      String.raw`(?![\w.:-]*\d)\s*(\p{L}*)`, "iu",
  );
  const UNITS = {
    ns: 1e-9, µs: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, d: 86400, thousand: 1e3, million: 1e6, billion: 1e9,
  };
  const PREFIXED = /^([kKMGTPE]?)(i?)(?:FLOPs?|B)?$/;
  const EMPTY = /^(?:[–—-]?|not known)$/;
  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  const rowsOf = (table) => [...table.tBodies].flatMap((body) => [...body.rows]);
  const textOf = (cell) => cell.textContent.trim().replace(/\s+/g, " ");

  // The number that a text begins with, in seconds, bytes or FLOPs if it has such a unit; null if there is none.
  function numberOf(text) {
    const match = text.match(NUMBER);
    if (!match) return text.includes("∞") ? (/[-−]∞/.test(text) ? -Infinity : Infinity) : null;
    const plain = (digits) => (digits === "∞" ? Infinity : Number(digits.replace(/,/g, "").replace("−", "-")));
    const [, sign, digits, divisor, unit] = match;
    const [prefixed, prefix, binary] = unit.match(PREFIXED) ?? [];
    const scale = prefixed ? (binary ? 1024 : 1000) ** " KMGTPE".indexOf(prefix.toUpperCase() || " ") : (UNITS[unit] ?? 1);
    return ((/[-−]/.test(sign) ? -1 : 1) * plain(digits) * scale) / (divisor ? plain(divisor) : 1);
  }

  // The value of each row in a column: a number, a text, or null.
  function valuesOf(rows, column) {
    const cells = rows.map((row) => row.cells[column]);
    const written = cells.map((cell) => (cell ? cell.dataset.value ?? textOf(cell) : ""));
    const texts = written.map((text) => (EMPTY.test(text) ? null : text));
    const numbers = texts.map((text) => (text === null ? null : numberOf(text)));
    const known = (values) => values.filter((value) => value !== null).length;
    return 2 * known(numbers) > known(texts) ? numbers : texts;
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" ? (a > b) - (a < b) : words.compare(a, b));
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
    const counted = shown ? `${shown} of ${rows.length} rows` : "nothing matches";
    if (output instanceof HTMLOutputElement) output.value = input.value ? counted : "";
  }

  document.querySelectorAll("table.sortable").forEach(sortable);
  for (const input of document.querySelectorAll("input[data-filter]")) {
    input.addEventListener("input", () => filter(input));
    filter(input); // a browser keeps the words of an input when it loads the page again
  }
})();
