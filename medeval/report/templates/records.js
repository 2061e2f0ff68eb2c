// A case opens from its point in a plot, from the list under the plot, or from its card in a gallery; slices are leafed through.
const sheet = document.querySelector("#case");

// What the dialog shows: facts, then a picture or a list of records. back: what its button does, if it has one.
function opened(title, facts, { figure, list, back } = {}) {
  sheet.querySelector("h2").textContent = title;
  sheet.querySelector("dl").replaceChildren(...facts.filter(([, value]) => value !== "").map(([name, value]) => {
    const [row, term, text] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    term.textContent = name;
    text.textContent = value;
    row.append(term, text);
    return row;
  }));
  const holder = sheet.querySelector(".cards");
  holder.replaceChildren();
  if (figure) {
    const copy = figure.cloneNode(true);
    copy.querySelector(".zoom")?.remove();
    holder.append(copy);
  }
  sheet.querySelector(".several").replaceChildren(...(list ?? []).map(([text, open]) => {
    const [item, button] = ["li", "button"].map((tag) => document.createElement(tag));
    Object.assign(button, { type: "button", textContent: text, onclick: open });
    item.append(button);
    return item;
  }));
  sheet.querySelector(".lacking").hidden = Boolean(figure || list);
  Object.assign(sheet.querySelector(".back"), { hidden: !back, onclick: back ?? null });
  if (!sheet.open) sheet.showModal();
  sheet.scrollTop = 0;
  sheet.querySelector(back ? ".back" : ".close").focus();
}

function pictureOf(node, name) {
  const wanted = `figure[data-case="${name}"]`;
  return node.closest("section").querySelector(wanted) ?? document.querySelector(wanted);
}

// What a click meant: the nearest point within some pixels that has a record to open, however many lie over each other.
// [number], or [line, vertex].
function nearest(svg, event, lines) {
  if (!svg) return undefined;
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  let [found, least] = [undefined, 12];
  const consider = (x, y, what) => {
    const away = Math.hypot(x - at.x, y - at.y);
    if (away < least) [found, least] = [what, away];
  };
  for (const circle of svg.querySelectorAll("[data-p]")) {
    consider(circle.cx.baseVal.value, circle.cy.baseVal.value, [Number(circle.dataset.p)]);
  }
  for (const path of svg.querySelectorAll("[data-line]")) {
    const vertices = path.getAttribute("d").matchAll(/[ML](\S+) ([^ML]+)/g);
    const line = Number(path.dataset.line);
    [...vertices].forEach(([, x, y], vertex) => lines[line][1][vertex][0] < 0 || consider(Number(x), Number(y), [line, vertex]));
  }
  return found;
}

for (const holder of document.querySelectorAll("div.records")) {
  const { names, groups, points, lines, x, y } = JSON.parse(holder.querySelector(".points").textContent);
  const members = groups.map(() => []);
  points.forEach(([group], number) => members[group].push(number));
  const show = (number, back) => {
    const [group, name, record, anchor, failed, ...values] = points[number];
    const [model, dataset] = groups[group];
    const facts = [["model", model], ["dataset", dataset], ["record", record], ["failed", failed]];
    opened(name, [...facts, ...names.map((axis, n) => [axis, values[n]])], { figure: pictureOf(holder, anchor), back });
  };
  const several = (line, vertex) => {
    const [group, at] = lines[line][1][vertex];
    if (group < 0) return;
    const [shown, [, dataset, prompt, n]] = [members[group], groups[group]];
    if (shown.length === 1) return show(shown[0]);
    const value = 5 + Math.max(0, names.indexOf(y));
    const list = shown.map((number) => [points[number].slice(1, 3).concat(points[number][value]).filter(Boolean).join(" · "),
      () => show(number, () => several(line, vertex))]);
    const told = shown.length < n ? `${shown.length} of ${n}, evenly by rank from lowest to highest` : `${n}`;
    opened(`${lines[line][0]}, ${x} ${at}`, [["dataset", dataset], ["prompt", prompt], ["records", told]], { list });
  };
  const open = lines ? several : (number) => show(number);
  holder.addEventListener("click", (event) => {
    const found = nearest(event.target.closest("svg"), event, lines);
    if (found) open(...found);
  });
  const [tools, select, button] = [".tools.pick-case", "select", ".open-case"].map((name) => holder.querySelector(name));
  function* entries() {
    for (const [line, [name, vertices]] of (lines ?? []).entries()) {
      for (const [vertex, [group, at]] of vertices.entries()) if (group >= 0) yield [name, `${x} ${at}`, `${line},${vertex}`];
    }
    if (!lines) for (const [number, [group, name, record, , , ...values]] of points.entries()) {
      const [model, , folded] = groups[group];
      yield [folded ? `${folded}: ${model}` : model, [name, record, values[holder.dataset.shown ?? 0]].filter(Boolean).join(" · "), number];
    }
  }
  // Some thousand entries are made when the list is first gone to, not when the page opens.
  const fill = () => {
    if (select.querySelector("optgroup")) return;
    select.replaceChildren();
    for (const [label, text, value] of entries()) {
      if (select.lastElementChild?.label !== label) select.append(Object.assign(document.createElement("optgroup"), { label }));
      select.lastElementChild.append(new Option(text, value));
    }
  };
  for (const event of ["focus", "pointerdown"]) select.addEventListener(event, fill);
  for (const [, text, value] of entries()) {
    select.append(new Option(text, value));
    break;
  }
  tools.hidden = points.length === 0;
  button.addEventListener("click", () => open(...select.value.split(",").map(Number)));
}

for (const figure of document.querySelectorAll("figure[data-case]")) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "zoom", textContent: "Enlarge" });
  button.setAttribute("aria-label", `Enlarge ${figure.dataset.name}`);
  button.addEventListener("click", () => opened(figure.dataset.name, [], { figure }));
  figure.querySelector(".frame").append(button);
}

for (const leaf of document.querySelectorAll(".leaf")) leaf.hidden = false;
document.addEventListener("input", (event) => {
  const slider = event.target.closest(".leaf input");
  if (!slider) return;
  const figure = slider.closest("figure");
  figure.querySelectorAll("svg.slice").forEach((svg, n) => svg.toggleAttribute("hidden", n !== Number(slider.value)));
  const text = figure.querySelectorAll("svg.slice")[slider.value].dataset.caption;
  slider.setAttribute("aria-valuetext", text);
  figure.querySelector(".leaf output").textContent = text;
});

sheet.querySelector(".close").addEventListener("click", () => sheet.close());
sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); });
