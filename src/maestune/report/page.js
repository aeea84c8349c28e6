"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const templates = read("templates");
  const drawings = read("drawings");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  const narrow = matchMedia("(max-width: 620px)");
  const config = { displayModeBar: false, displaylogo: false, responsive: true };

  function draw(useDark) {
    for (const [key, figure] of Object.entries(drawings)) {
      const layout = { ...figure.layout, template: templates[useDark ? "dark" : "light"] };
      // On touch screens a finger on a figure scrolls the page.
      if (touch.matches) layout.dragmode = false;
      if (narrow.matches && layout.showlegend !== false) {
        // Two entries side by side, and room for their rows above what is drawn.
        layout.legend = { entrywidth: 0.48, entrywidthmode: "fraction", font: { size: 11 } };
        const entries = figure.data.filter((trace) => trace.showlegend !== false).length;
        layout.height += 20 * Math.max(Math.ceil(entries / 2) - 1, 0);
      }
      Plotly.react("plot-" + key, figure.data, layout, config);
    }
  }
  draw(dark.matches);
  dark.addEventListener("change", () => draw(dark.matches));
  narrow.addEventListener("change", () => draw(dark.matches));
  addEventListener("beforeprint", () => draw(false));
  addEventListener("afterprint", () => draw(dark.matches));

  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copies);
      let done = true;
      try {
        await navigator.clipboard.writeText(source.textContent);
      } catch {
        // Pages opened from disk may lack the clipboard: select the text instead, to be copied by hand.
        done = false;
        getSelection().selectAllChildren(source);
      }
      button.textContent = done ? "Copied" : "Selected: press Ctrl-C";
      setTimeout(() => { button.textContent = "Copy"; }, 2500);
    });
  }

  const table = document.querySelector("table.trials");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    const value = cell.dataset.v;
    return value === undefined ? cell.textContent : value === "" ? NaN : Number(value);
  };
  const compare = (a, b, sign) => {
    if (typeof a === "number" && typeof b === "number") {
      // Rows without a value stay at the end in both directions.
      if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
      return sign * (a - b);
    }
    return sign * String(a).localeCompare(String(b));
  };
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const head = button.closest("th");
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    rows.sort((a, b) => compare(key(a, head.cellIndex), key(b, head.cellIndex), ascending ? 1 : -1));
    body.append(...rows);
  });
  const words = document.getElementById("filter-words");
  const state = document.getElementById("filter-state");
  const shown = document.getElementById("filter-shown");
  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(wanted.every((word) => text.includes(word)) && (!state.value || row.dataset.state === state.value));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${rows.length} shown`;
  }
  words.addEventListener("input", filter);
  state.addEventListener("change", filter);
  filter();
})();
