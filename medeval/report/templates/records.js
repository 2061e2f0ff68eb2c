// A case opens from its point in a plot, from the list under the plot, or from its card in a gallery; slices are leafed through.
const sheet = document.querySelector("#case");

function opened(title, facts, figure) {
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
  sheet.querySelector(".lacking").hidden = Boolean(figure);
  sheet.showModal();
}

function pictureOf(node, name) {
  const wanted = `figure[data-case="${name}"]`;
  return node.closest("section").querySelector(wanted) ?? document.querySelector(wanted);
}

// The point that a click meant: the nearest within some pixels, however many lie over each other.
function nearest(svg, event) {
  if (!svg) return undefined;
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  let [found, least] = [undefined, 10];
  for (const circle of svg.querySelectorAll("[data-p]")) {
    const away = Math.hypot(circle.cx.baseVal.value - at.x, circle.cy.baseVal.value - at.y);
    if (away < least) [found, least] = [Number(circle.dataset.p), away];
  }
  return found;
}

for (const holder of document.querySelectorAll("div.records")) {
  const { axes, groups, points } = JSON.parse(holder.querySelector(".points").textContent);
  const show = (number) => {
    const point = points[number];
    const [group, dataset] = groups[point[0]];
    const values = axes.map((axis, n) => [axis, point[3 + n]]);
    opened(point[1], [["model", group], ["dataset", dataset], ["record", point[2]], ...values], pictureOf(holder, point.at(-1)));
  };
  holder.addEventListener("click", (event) => {
    const number = nearest(event.target.closest("svg"), event);
    if (number !== undefined) show(number);
  });
  const [tools, list, button] = [".tools.pick-case", "select", ".open-case"].map((name) => holder.querySelector(name));
  let part = null;
  points.forEach((point, number) => {
    const [group, , folded] = groups[point[0]];
    const label = folded ? `${folded}: ${group}` : group;
    if (part?.label !== label) list.append((part = Object.assign(document.createElement("optgroup"), { label })));
    part.append(new Option([point[1], point[2], point[3 + axes.length - 1]].filter(Boolean).join(" · "), number));
  });
  tools.hidden = points.length === 0;
  button.addEventListener("click", () => show(Number(list.value)));
}

for (const figure of document.querySelectorAll("figure[data-case]")) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "zoom", textContent: "Enlarge" });
  button.setAttribute("aria-label", `Enlarge ${figure.dataset.name}`);
  button.addEventListener("click", () => opened(figure.dataset.name, [], figure));
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

sheet.querySelector("button").addEventListener("click", () => sheet.close());
sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); });
