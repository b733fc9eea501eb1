// The page: what is chosen in the tools above the charts, and everything drawn from it.
const FIELDS = { model: "model", optimizations: "optimization", engine: "system · algorithm" };
const COLOURS = 8;
const chosen = {
  task: data.count ? texts.task[0] : "",
  colour: "engine",
  shape: "model",
  cost: data.costs[1] ?? data.costs[0],
  hidden: new Set(),
};
const hiddenKey = (field, value) => `${field}\n${value}`;

function look(row) {
  const colour = distinctOf[chosen.colour].indexOf(texts[chosen.colour][row]);
  const shape = distinctOf[chosen.shape].indexOf(texts[chosen.shape][row]);
  return appearance(colour, shape);
}
// More than eight choices: the second eight are hollow, and from there it repeats.
function appearance(colour, shape) {
  const hollow = Math.floor(colour / COLOURS) % 2 === 1;
  return { colour: colour % COLOURS, shape: shape % SHAPES.length, hollow };
}
const distinctOf = Object.fromEntries(Object.keys(FIELDS).map((field) => [field, distinct(field)]));

function axis(name, title, extra = {}) {
  const { factor } = data.quantities[name];
  return { name, values: numbers[name], factor, title, ...extra };
}
const accuracyAxis = axis("accuracy", "↑ Accuracy, %", {
  low: numbers.accuracy_low, high: numbers.accuracy_high, most: 1.002,
});

function draw() {
  hideTip();
  const task = stacks.filter((row) => texts.task[row] === chosen.task);
  const ok = task.filter((row) => texts.status[row] === "ok");
  const visible = ok.filter((row) =>
    !["colour", "shape"].some((role) => chosen.hidden.has(hiddenKey(chosen[role], texts[chosen[role]][row]))));
  drawCost("latency-plot", "latency_s", visible, task, {
    low: numbers.latency_low_s, high: numbers.latency_high_s,
  });
  drawCost("cost-plot", chosen.cost, visible, task, {});
  drawPromise(visible, ok);
  matrix(byId("matrix"), task);
}

function drawCost(id, cost, visible, task, ends) {
  const { label, unit } = data.quantities[cost];
  const front = data.fronts[chosen.task]?.[cost] ?? [];
  const drawn = scatter(byId(id).querySelector(".canvas"), {
    x: axis(cost, `${label}, ${unit} (log scale)`, { log: true, ...ends }),
    y: accuracyAxis, rows: visible, front, look,
    label: `Accuracy against ${label.toLowerCase()}; move between stacks with the arrow keys`,
  });
  const list = front.map((row, index) => {
    const numbersOf = `${quantity("accuracy", row)} at ${quantity(cost, row)}`;
    const item = element("li", { "data-row": row, value: index + 1 }, stackName(row));
    item.append(element("small", {}, numbersOf));
    return item;
  });
  byId(id).querySelector(".front").replaceChildren(...list);
  const absent = task.filter((row) => texts.status[row] !== "ok").length;
  const hidden = task.length - absent - visible.length;
  const unknown = visible.length - drawn.length;
  byId(id).querySelector(".caption").textContent = [
    `${drawn.length} of ${task.length} stacks are drawn.`,
    absent ? `${absent} have no measurement; each reason stands under Every combination.` : "",
    hidden ? `${hidden} are hidden by the legend.` : "",
    unknown ? `${unknown} lack one of the two numbers.` : "",
  ].join(" ");
}

function drawPromise(visible, ok) {
  const optimized = (rows) => rows.filter((row) => texts.optimizations[row] !== "none");
  const drawn = scatter(byId("promise-plot").querySelector(".canvas"), {
    x: axis("promised_speedup", "Promised speedup, × (log scale)", { log: true, include: [1] }),
    y: axis("measured_speedup", "↑ Measured speedup, × (log scale)", {
      log: true, include: [1], low: numbers.speedup_low, high: numbers.speedup_high,
    }),
    rows: optimized(visible), front: [], look, diagonal: true,
    label: "Measured against promised speedup; move between stacks with the arrow keys",
  });
  const total = optimized(ok).length;
  byId("promise-plot").querySelector(".caption").textContent = total
    ? `${drawn.length} of ${total} measured stacks with optimizations are drawn; the others are hidden by the legend or lack a baseline to compare with. ` +
      "Colours and shapes as above; bars span both latency intervals."
    : "No stack with an optimization was measured.";
}

function drawLegend() {
  const line = (role, title) => {
    const field = chosen[role];
    const both = chosen.colour === chosen.shape;
    const group = element("div", {}, element("span", {}, title));
    distinctOf[field].forEach((value, index) => {
      const style = appearance(role === "colour" ? index : 0, role === "shape" || both ? index : 0);
      const glyph = drawing("g", { class: `mark${style.hollow ? " hollow" : ""}` }, drawing("path", { d: SHAPES[style.shape] }));
      glyph.style.setProperty("--fill", role === "colour" ? `var(--c${style.colour})` : "var(--soft)");
      const picture = drawing("svg", { viewBox: "-9 -9 18 18", "aria-hidden": true }, glyph);
      const key = hiddenKey(field, value);
      const button = element("button", { type: "button", "aria-pressed": !chosen.hidden.has(key) }, picture, value);
      button.addEventListener("click", () => {
        if (!chosen.hidden.delete(key)) chosen.hidden.add(key);
        button.setAttribute("aria-pressed", !chosen.hidden.has(key));
        draw();
      });
      group.append(button);
    });
    return group;
  };
  const lines = chosen.colour === chosen.shape
    ? [line("colour", "Stacks")] : [line("colour", "Colour"), line("shape", "Shape")];
  byId("legend").replaceChildren(...lines);
}

function choose(id, options, changed) {
  const select = byId(id);
  for (const [value, label] of options) {
    select.append(element("option", { value, selected: chosen[id] === value ? "" : null }, label));
  }
  select.addEventListener("change", () => {
    chosen[id] = select.value;
    changed();
  });
}
function restyle() {
  chosen.hidden.clear();
  drawLegend();
  draw();
}

document.documentElement.classList.add("ready");
const tasks = distinct("task");
choose("task", tasks.map((task) => [task, task]), draw);
if (tasks.length < 2) byId("task-tool").remove();
choose("colour", Object.entries(FIELDS), restyle);
choose("shape", Object.entries(FIELDS), restyle);
choose("cost", data.costs.slice(1).map((name) => [name, data.quantities[name].label.toLowerCase()]), draw);
if (data.costs.length < 2) byId("cost-plot").remove();
restyle();
stackTable();
for (const card of document.querySelectorAll(".card, .front")) {
  card.addEventListener("pointerover", (event) => light(event.target.closest("[data-row]")));
  card.addEventListener("pointerleave", hideTip);
}
function light(source) {
  hideTip();
  const same = source ? document.querySelectorAll(`[data-row="${source.dataset.row}"]`) : [];
  for (const other of same) other.classList.add("linked");
}

// Drawn again at the new width: after a resize, and for paper.
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  requestAnimationFrame(draw);
});
