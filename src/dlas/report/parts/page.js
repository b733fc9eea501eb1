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
const NOTHING_PASSES = data.count ? "The filter leaves out every stack of this task." : "This study has no stacks.";
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

function visible(row) {
  const hides = (role) => chosen.hidden.has(hiddenKey(chosen[role], texts[chosen[role]][row]));
  return !hides("colour") && !hides("shape");
}
function draw() {
  hideTip();
  const all = stacks.filter((row) => texts.task[row] === chosen.task);
  const task = all.filter((row) => passes[row]);
  const ok = task.filter((row) => texts.status[row] === "ok");
  drawCost("latency-plot", "latency_s", ok, all.length, task.length, {
    low: numbers.latency_low_s, high: numbers.latency_high_s,
  });
  if (data.costs.length > 1) drawCost("cost-plot", chosen.cost, ok, all.length, task.length, {});
  drawPromise(ok.filter((row) => texts.optimizations[row] !== "none"));
  matrix(byId("matrix"), task, all);
  drawMap();
  paintMarks();
}
// The task shown is one that has stacks to show.
function showTaskOf(row) {
  chosen.task = texts.task[row];
  if (byId("task")) byId("task").value = chosen.task;
}
document.addEventListener("filter", () => {
  const rows = shownRows();
  if (rows.length && !rows.some((row) => texts.task[row] === chosen.task)) showTaskOf(rows[0]);
  draw();
});
document.addEventListener("evidence", () => {
  const [first] = evidence.rows;
  if (known(first) && !stacks.some((row) => evidence.rows.has(row) && texts.task[row] === chosen.task)) {
    showTaskOf(first);
  }
  draw();
});

// Of ``all`` stacks of the task, ``passed`` pass the filter, of which ``rows`` were measured.
function drawCost(id, cost, rows, all, passed, ends) {
  const { label, unit } = data.quantities[cost];
  const front = alike(frontOf(rows, cost), cost);
  const result = scatter(byId(id).querySelector(".canvas"), {
    x: axis(cost, `← ${label}, ${unit} (log scale)`, { log: true, ...ends }),
    y: accuracyAxis, rows, visible, front, look,
    label: `Accuracy against ${label.toLowerCase()}; move between stacks with the arrow keys`,
    nothing: passed ? `No stack has both an accuracy and a ${label.toLowerCase()}, so there is nothing to draw.` : NOTHING_PASSES,
  });
  byId(id).querySelector(".aside").hidden = !front.length;
  byId(id).querySelector(".front").replaceChildren(...front.map((group) => frontItem(group, cost)));
  const absent = passed - rows.length;
  caption(id, rows, result, [
    `Drawn: ${result.drawn.length} of ${count(all)}.`,
    passed < all ? `${all - passed} are left out by the filter; the front is of those left in.` : "",
    absent ? `${absent} have no measurement; each reason stands under Every combination.` : "",
  ], "lack one of the two numbers");
}

function caption(id, rows, { drawn, lower }, sentences, lack) {
  const hidden = rows.filter((row) => !visible(row)).length;
  const unknown = rows.length - hidden - drawn.length;
  byId(id).querySelector(".caption").textContent = [
    ...sentences,
    lower ? `${lower} lie far lower and stand in the strip at the bottom, not to scale.` : "",
    hidden ? `${hidden} are hidden by the legend.` : "",
    evidence.rows.size ? `${drawn.filter((row) => evidence.rows.has(row)).length} are ringed: what is shown in the table.` : "",
    unknown ? `${unknown} ${lack}.` : "",
  ].filter(Boolean).join(" ");
}

// What no other stack beats in both: at most the cost, at least the accuracy, and better in one.
function frontOf(rows, cost) {
  const [costs, accuracies] = [numbers[cost], numbers.accuracy];
  const held = rows.filter((row) => [costs, accuracies, numbers.latency_s].every((values) => known(values[row])));
  held.sort((a, b) => costs[a] - costs[b] || accuracies[b] - accuracies[a] || a - b);
  let last = null;
  return held.filter((row) => {
    const equal = last !== null && costs[row] === costs[last] && accuracies[row] === accuracies[last];
    const on = last === null || equal || accuracies[row] > accuracies[last];
    if (on) last = row;
    return on;
  });
}
// Stacks of the front at one place stand together: systems that run the same file share its size.
function alike(front, cost) {
  const groups = new Map();
  for (const row of front) {
    const place = `${numbers[cost][row]} ${numbers.accuracy[row]}`;
    groups.set(place, [...(groups.get(place) ?? []), row]);
  }
  return [...groups.values()];
}
const ALIKE = 3;
function frontItem(group, cost) {
  const item = element("li");
  const network = (row) => `${texts.model[row]} · ${texts.optimizations[row]} · `;
  const same = group.every((row) => network(row) === network(group[0]));
  if (same) item.append(network(group[0]));
  const listed = (place, rows) => rows.forEach((row, index) => {
    if (index) place.append(same ? ", " : "; ");
    place.append(element("span", { "data-row": row }, same ? texts.engine[row] : stackName(row)));
  });
  const first = group.length > ALIKE + 1 ? ALIKE : group.length;
  listed(item, group.slice(0, first));
  if (group.length > first) {
    const more = element("details", {}, element("summary", {}, `and ${group.length - first} more`));
    listed(more, group.slice(first));
    item.append(more);
  }
  const [row] = group;
  item.append(element("small", {}, `${quantity("accuracy", row)} at ${quantity(cost, row)}`));
  return item;
}

function drawPromise(rows) {
  const result = scatter(byId("promise-plot").querySelector(".canvas"), {
    x: axis("promised_speedup", "Promised speedup, × (log scale) →", { log: true, include: [1] }),
    y: axis("measured_speedup", "↑ Measured speedup, × (log scale)", {
      log: true, include: [1], low: numbers.speedup_low, high: numbers.speedup_high,
    }),
    rows, visible, front: [], look, diagonal: true,
    label: "Measured against promised speedup; move between stacks with the arrow keys",
    nothing: shownRows().length ? "No stack has both a promised and a measured speedup, so there is nothing to draw." : NOTHING_PASSES,
  });
  caption("promise-plot", rows, result, [
    `Drawn, in the colours and shapes from above: ${result.drawn.length} of ${count(rows.length)} measured with optimizations.`,
    "Bars span the latency intervals of the stack and of its baseline.",
  ], "lack a promise or a baseline; the notes under the table say why");
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
byId("tools").hidden = byId("legend").hidden = !data.count;
choose("colour", Object.entries(FIELDS), restyle);
choose("shape", Object.entries(FIELDS), restyle);
choose("cost", data.costs.slice(1).map((name) => [name, data.quantities[name].label.toLowerCase()]), draw);
if (data.costs.length < 2) byId("cost-plot").remove();
drawLegend();
stackTable();
drawFilter();
drawMarking();
readAddress();
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
  requestAnimationFrame(() => { draw(); drawRuns(); });
});
