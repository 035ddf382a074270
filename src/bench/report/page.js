"use strict";
// The theme: as the system has it, light, dark; remembered where the browser allows it.
(() => {
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = "Theme: " + theme;
  };
  let theme = "auto";
  try { theme = localStorage.getItem("strobe-theme") || "auto"; } catch { /* a page from a file may have no storage */ }
  if (!themes.includes(theme)) theme = "auto";
  apply(theme);
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    apply(theme);
    try { localStorage.setItem("strobe-theme", theme); } catch { /* as above */ }
  });
})();

// Tables that sort by a click on a heading and show the rows that hold every word of the filter.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.key ?? cell.textContent;
    return text !== "" && isFinite(text) ? Number(text) : text;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });

  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sorted = rows.map((row) => [key(row, column), row]).sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]));
      body.append(...sorted.map((pair) => pair[1]));
    });
  });

  const controls = document.createElement("div");
  controls.className = "controls";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Filter: decode page_size 64";
  input.setAttribute("aria-label", "Show the " + table.dataset.noun + " that hold all of these words");
  const count = document.createElement("output");
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = [...row.cells].map((cell) => (cell.querySelector("summary") ?? cell).textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = shown === rows.length ? `${shown} ${table.dataset.noun}` : `${shown} of ${rows.length} ${table.dataset.noun}`;
  };
  input.addEventListener("input", filter);
  controls.append(input, count);
  table.closest(".table").before(controls);
  filter();
}
