// A scatter plot: marks with 95 % bars, a numbered front, axes with units. It is drawn at the width
// it has, so that its text keeps its size on a telephone.
const SHAPES = [
  "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z",
  "M0,-6.4L6.4,0L0,6.4L-6.4,0z",
  "M0,-5.9L5.7,4.3H-5.7z",
  "M-4.5,-4.5h9v9h-9z",
  "M0,5.9L5.7,-4.3H-5.7z",
  "M-1.9,-5.6h3.8v3.7h3.7v3.8h-3.7v3.7h-3.8v-3.7h-3.7v-3.8h3.7z",
  "M0,-6.6L1.7,-2.2L6.4,-2L2.7,0.9L4,5.4L0,2.8L-4,5.4L-2.7,0.9L-6.4,-2L-1.7,-2.2z",
  "M-5.3,-2.7L-2.7,-5.3L0,-2.6L2.7,-5.3L5.3,-2.7L2.6,0L5.3,2.7L2.7,5.3L0,2.6L-2.7,5.3L-5.3,2.7L-2.6,0z",
];
const MARGIN = { top: 30, right: 18, bottom: 44, left: 52 };
const STRIP = 26;

// x, y: {values, low, high, log, factor, title}; rows: all that the axes must hold, of which those
// that are ``visible`` are drawn; front: groups of rows at one place, by cost; look(row): {colour,
// shape, hollow}. Returns the rows drawn, and how many of them stand in the strip below the scale.
function scatter(canvas, { x, y, rows, visible, front, look, diagonal, label, nothing }) {
  const width = Math.max(260, Math.round(canvas.clientWidth));
  const height = Math.round(Math.min(480, Math.max(320, width * 0.62)));
  const usable = (axis, row) => known(axis.values[row]) && (!axis.log || axis.values[row] > 0);
  const held = rows.filter((row) => usable(x, row) && usable(y, row));
  const drawn = held.filter(visible);
  if (!held.length) {
    canvas.replaceChildren(element("p", { class: "note" }, nothing));
    return { drawn, lower: 0 };
  }
  const across = scale(x, held, MARGIN.left, width - MARGIN.right);
  const floor = y.log ? -Infinity : outlierFloor(held.map((row) => y.values[row]));
  const inside = held.filter((row) => y.values[row] >= floor);
  const broken = inside.length < held.length;
  const bottom = height - MARGIN.bottom;
  const up = scale(y, inside, bottom - (broken ? STRIP : 0), MARGIN.top);
  const place = (row) => [
    across.at(x.values[row]),
    y.values[row] >= floor ? up.at(y.values[row]) : bottom - STRIP / 2,
  ];

  const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  drawAxes(svg, across, up, { x, y, width, bottom });
  if (broken) {
    const edge = { x: MARGIN.left, width: width - MARGIN.left - MARGIN.right };
    svg.append(drawing("rect", { class: "strip", y: bottom - STRIP, height: STRIP, ...edge }));
    const at = { class: "axis", x: edge.x - 8, y: bottom - STRIP / 2 + 4, "text-anchor": "end" };
    svg.append(drawing("text", at, "lower"));
  }
  if (diagonal) drawDiagonal(svg, across, up);
  svg.append(bars(inside.filter(visible), x, y, across, up));

  const steps = front.map((group) => group[0]).filter((row) => held.includes(row));
  svg.append(drawing("path", { class: "front-line", d: staircase(steps.map(place)) }));
  const leading = new Set(front.flat());
  const raised = (row) => leading.has(row) + 2 * evidence.rows.has(row);
  const order = [...drawn].sort((a, b) => raised(a) - raised(b));
  const marks = new Map();
  for (const row of order) {
    const mark = drawMark(row, place(row), look(row));
    marks.set(row, mark);
    svg.append(mark);
  }
  front.forEach((group, index) => {
    if (!group.some((row) => marks.has(row))) return;
    const [left, top] = place(group[0]);
    const at = { x: left - 7, y: top - 7, "text-anchor": "end" };
    svg.append(drawing("text", { class: "number", ...at }, index + 1));
  });
  canvas.replaceChildren(svg);
  attend(svg, marks, drawn, place, width);
  return { drawn, lower: drawn.length - inside.filter(visible).length };
}

// How a front is walked: along the cost, then up to the better accuracy.
function staircase(places) {
  return places.map(([left, top], i) => (i ? `H${left}V${top}` : `M${left},${top}`)).join("");
}

// Pointer and keyboard reach the same marks: the nearest one, or the next along the x axis.
function attend(svg, marks, drawn, place, width) {
  const show = (row) => {
    const [left, top] = place(row);
    const near = ([l, t]) => Math.hypot(l - left, t - top) < 3;
    const same = drawn.filter((other) => other !== row && near(place(other)));
    const names = same.slice(0, 4).map(stackName).join("; ");
    const more = same.length > 4 ? `; and ${same.length - 4} more` : "";
    showTip(row, marks.get(row), same.length ? [`At the same place: ${names}${more}`] : []);
  };
  const ordered = [...drawn].sort((a, b) => place(a)[0] - place(b)[0]);
  const items = ordered.map((row) => marks.get(row));
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
  const step = (key, at) =>
    key === "Home" ? 0 : key === "End" ? items.length - 1 : at + (steps[key] ?? NaN);
  rove(svg, items, step, (mark) => show(Number(mark.dataset.row)));
  const nearest = (event) => {
    const box = svg.getBoundingClientRect();
    const zoom = width / box.width;
    const [left, top] = [(event.clientX - box.left) * zoom, (event.clientY - box.top) * zoom];
    let [found, least] = [undefined, 22];
    for (const row of drawn) {
      const [l, t] = place(row);
      const distance = Math.hypot(l - left, t - top);
      if (distance < least) [found, least] = [row, distance];
    }
    if (found === undefined) hideTip();
    else if (tip.dataset.row !== String(found)) show(found);
  };
  svg.addEventListener("pointermove", nearest);
  svg.addEventListener("pointerdown", nearest);
  svg.addEventListener("pointerleave", hideTip);
}

function drawMark(row, [left, top], { colour, shape, hollow }) {
  const baseline = texts.optimizations[row] === "none";
  const mark = drawing(
    "g",
    {
      class: `mark${hollow ? " hollow" : ""}${baseline ? " baseline" : ""}${evidence.rows.has(row) ? " evidence" : ""}`,
      transform: `translate(${left.toFixed(1)},${top.toFixed(1)})`,
      "data-row": row, tabindex: -1, role: "button", "aria-pressed": "false", "aria-label": spoken(row),
    },
    drawing("circle", { class: "halo", r: 11 }),
    evidence.rows.has(row) ? drawing("circle", { class: "ring", r: 9 }) : null,
    drawing("path", { d: SHAPES[shape] }),
  );
  mark.style.setProperty("--fill", `var(--c${colour})`);
  return mark;
}

function bars(rows, x, y, across, up) {
  let path = "";
  for (const row of rows) {
    const [left, top] = [across.at(x.values[row]).toFixed(1), up.at(y.values[row]).toFixed(1)];
    if (x.low && known(x.low[row])) {
      path += `M${across.at(x.low[row]).toFixed(1)},${top}H${across.at(x.high[row]).toFixed(1)}`;
    }
    if (y.low && known(y.low[row])) {
      path += `M${left},${up.at(y.low[row]).toFixed(1)}V${up.at(y.high[row]).toFixed(1)}`;
    }
  }
  return drawing("path", { class: "bars", d: path });
}

function drawDiagonal(svg, across, up) {
  const low = Math.max(across.domain[0], up.domain[0]);
  const high = Math.min(across.domain[1], up.domain[1]);
  const line = (name, [x1, y1], [x2, y2]) =>
    svg.append(drawing("line", { class: name, x1: across.at(x1), y1: up.at(y1), x2: across.at(x2), y2: up.at(y2) }));
  line("diagonal", [low, low], [high, high]);
  line("unit-line", [across.domain[0], 1], [across.domain[1], 1]);
  const note = (text, x, y, anchor) =>
    svg.append(drawing("text", { class: "axis", x, y, "text-anchor": anchor }, text));
  const middle = Math.sqrt(low * high);
  note("as promised", across.at(middle) - 6, up.at(middle) - 4, "end");
  note("no gain", across.at(1) + 6, up.at(1) + 14, "start");
}

function drawAxes(svg, across, up, { x, y, width, bottom }) {
  const right = width - MARGIN.right;
  for (const tick of up.ticks) {
    const at = up.at(tick);
    svg.append(drawing("line", { class: "grid", x1: MARGIN.left, x2: right, y1: at, y2: at }));
    const text = { class: "axis", x: MARGIN.left - 8, y: at + 4, "text-anchor": "end" };
    svg.append(drawing("text", text, tickText(tick * y.factor)));
  }
  for (const tick of across.ticks) {
    const at = across.at(tick);
    svg.append(drawing("line", { class: "grid", x1: at, x2: at, y1: MARGIN.top, y2: bottom }));
    const text = { class: "axis", x: at, y: bottom + 17, "text-anchor": "middle" };
    svg.append(drawing("text", text, tickText(tick * x.factor)));
  }
  svg.append(drawing("text", { class: "axis-title", x: 4, y: 15 }, y.title));
  const end = { class: "axis-title", x: right, y: bottom + 37, "text-anchor": "end" };
  svg.append(drawing("text", end, x.title));
}
function tickText(value) {
  return Number(value.toPrecision(6)).toLocaleString("en", { maximumSignificantDigits: 6 });
}

// Where almost all values lie together, the far lower ones would flatten the plot: they get a strip.
function outlierFloor(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const quarter = sorted[Math.floor(sorted.length / 4)];
  const floor = quarter - 2 * (sorted[sorted.length - 1] - quarter) - 0.02;
  return sorted.length < 8 ? -Infinity : floor;
}

function scale(axis, rows, start, end) {
  let low = Infinity;
  let high = -Infinity;
  for (const row of rows) {
    const positive = (value) => known(value) && (!axis.log || value > 0);
    for (const value of [axis.values[row], axis.low?.[row], axis.high?.[row]].filter(positive)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  for (const value of axis.include ?? []) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const [into, back] = axis.log ? [Math.log, Math.exp] : [(v) => v, (v) => v];
  let [from, to] = [into(low), into(high)];
  const pad = (to - from) * 0.05 || (axis.log ? 0.3 : 0.01);
  from -= pad;
  to = axis.most === undefined ? to + pad : Math.min(to + pad, axis.most);
  const at = (value) => start + ((into(value) - from) / (to - from)) * (end - start);
  const domain = [back(from), back(to)];
  const room = Math.abs(end - start);
  const shownDomain = domain.map((value) => value * axis.factor);
  const ticks = (axis.log ? logTicks(...shownDomain, room) : linearTicks(...shownDomain, room / 60))
    .map((tick) => tick / axis.factor);
  return { at, ticks, domain };
}
function linearTicks(low, high, most) {
  const rough = (high - low) / Math.max(2, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((size) => size >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high * (1 + 1e-9); n++) found.push(n * step);
  return found;
}
function logTicks(low, high, room) {
  for (const steps of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const step of steps) {
        const tick = step * 10 ** power;
        if (tick >= low && tick <= high) found.push(tick);
      }
    }
    if (found.length < 2) return linearTicks(low, high, room / 90);
    const gap = Math.min(...found.slice(1).map((tick, i) => Math.log(tick / found[i])));
    const widest = Math.max(...found.map((tick) => tickText(tick).length));
    if ((gap / Math.log(high / low)) * room > 7 * widest + 8) return found;
  }
  return [];
}
