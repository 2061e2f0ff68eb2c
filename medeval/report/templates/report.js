"use strict";
// Sorting, filtering and CSV for every table. Without a script the report is complete, only not sortable.
const numeric = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function compare(a, b, column, sign) {
  const [x, y] = [a, b].map((row) => row.cells[column].dataset.sort);
  if (x === undefined || y === undefined) return (x === undefined) - (y === undefined); // nothing stands last
  const [p, q] = [Number(x), Number(y)];
  return sign * (Number.isNaN(p) || Number.isNaN(q) ? numeric.compare(x, y) : p - q);
}

function sortBy(table, heading, column) {
  const up = heading.getAttribute("aria-sort") === "descending" || (!heading.hasAttribute("aria-sort") && heading.classList.contains("text"));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    rows.sort((a, b) => compare(a, b, column, up ? 1 : -1));
    body.append(...rows);
  }
}

function filter(table, words, shown) {
  let count = 0, total = 0;
  for (const body of table.tBodies) {
    const name = body.querySelector(".group")?.textContent ?? "";
    let visible = 0;
    for (const row of body.rows) {
      if (row.classList.contains("group")) continue;
      const text = (name + " " + row.textContent).toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      visible += !row.hidden;
      total += 1;
    }
    body.hidden = visible === 0;
    count += visible;
  }
  shown.textContent = words.length ? `${count} of ${total}` : "";
}

function csv(data) {
  const cell = (value) => {
    if (value === null) return "";
    let text = String(value);
    if (typeof value === "string" && /^[=+\-@\t]/.test(text)) text = "'" + text; // a spreadsheet must not run a name as a formula
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [data.columns, ...data.rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

for (const holder of document.querySelectorAll("div.table")) {
  const table = holder.querySelector("table");
  if (!table) continue;
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const label = heading.querySelector(".heading");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...label.childNodes);
    label.append(button);
    button.addEventListener("click", () => sortBy(table, heading, column));
  });
  const tools = holder.querySelector(".tools");
  if (!tools) continue;
  tools.hidden = false;
  const input = tools.querySelector("input");
  input?.addEventListener("input", () =>
    filter(table, input.value.toLowerCase().split(/\s+/).filter(Boolean), tools.querySelector(".shown")));
  tools.querySelector(".csv").addEventListener("click", () => {
    const link = document.createElement("a");
    const text = csv(JSON.parse(holder.querySelector(".data").textContent));
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = (holder.closest("article")?.querySelector("h3")?.textContent ?? "table").replace(/[^\w-]+/g, "_") + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

// A passage is copied by the browser's clipboard, or, where that is closed to the page, by selecting it.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(text);
    return document.execCommand("copy");
  }
}

for (const passage of document.querySelectorAll("details.passage")) {
  const [button, said, text] = [".copy", ".shown", "pre"].map((name) => passage.querySelector(name));
  button.hidden = false;
  button.addEventListener("click", async () => {
    said.textContent = (await copied(text)) ? "Copied" : "Selected: copy it with your keyboard";
  });
}
