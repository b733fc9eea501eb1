// Every combination: networks × optimizations down, systems and algorithms across. A cell without
// a number holds the word for what happened, and its sentence.
// ``rows`` are shown; those of ``all`` that are left out by the filter are in the study nevertheless.
function matrix(place, rows, all) {
  if (!rows.length) {
    place.replaceChildren(element("p", { class: "note" }, NOTHING_PASSES));
    return;
  }
  const engines = distinct("engine", rows);
  const cells = new Map();
  const nameOf = (row) => [texts.model[row], texts.optimizations[row], texts.engine[row]].join("\n");
  const inStudy = new Set(all.map(nameOf));
  for (const row of rows) {
    const key = nameOf(row);
    cells.set(key, [...(cells.get(key) ?? []), row].sort(byLatency));
  }
  const head = element("tr", {}, element("th", { scope: "col" }, "Optimization"),
    element("th", { scope: "col" }, "Accuracy, %"));
  head.append(...engines.map((engine) => element("th", { scope: "col" }, engine)));
  const table = element("table", { "aria-label": "Latency in milliseconds of every combination" });
  table.append(element("thead", {}, head));
  const lines = [];
  for (const model of distinct("model", rows)) {
    const own = rows.filter((row) => texts.model[row] === model);
    const shade = shader(own);
    const group = element("tr", { class: "group" });
    group.append(element("th", { scope: "rowgroup", colspan: engines.length + 2 }, model));
    const body = element("tbody", {}, group);
    for (const optimizations of distinct("optimizations", own)) {
      const line = engines.map((engine) => {
        const name = [model, optimizations, engine].join("\n");
        return cell(cells.get(name), shade, inStudy.has(name) ? LEFT_OUT : NOT_IN_STUDY);
      });
      const accuracy = element("td", { class: "plain" }, accuracies(own, optimizations));
      body.append(element("tr", {}, element("th", { scope: "row" }, optimizations), accuracy, ...line));
      lines.push(...line);
    }
    table.append(body);
  }
  const wide = engines.length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide };
  const step = (key, at) =>
    key === "Home" ? 0 : key === "End" ? lines.length - 1 : at + (steps[key] ?? NaN);
  rove(table, lines, step, tell);
  table.addEventListener("pointerover", (event) => {
    const target = event.target.closest("td:not(.plain)");
    if (target) tell(target);
    else hideTip();
  });
  table.addEventListener("pointerleave", hideTip);
  place.replaceChildren(table);
}

function byLatency(a, b) {
  return (numbers.latency_s[a] ?? Infinity) - (numbers.latency_s[b] ?? Infinity);
}

// Systems round differently, so one network may have several accuracies.
function accuracies(rows, optimizations) {
  const found = rows.filter((row) => texts.optimizations[row] === optimizations)
    .map((row) => numbers.accuracy[row]).filter(known);
  if (!found.length) return "–";
  const [low, high] = [Math.min(...found), Math.max(...found)].map((value) => shown("accuracy", value));
  return low === high ? low : `${low}–${high}`;
}

const NOT_IN_STUDY = "This combination is not part of the study.";
const LEFT_OUT = "This combination is left out by the filter.";
function tell(target) {
  if (target.dataset.row === undefined) sayTip(target.getAttribute("aria-label"), target);
  else showTip(Number(target.dataset.row), target, target.dataset.more ? [target.dataset.more] : []);
}

// Stacks alike in model, optimization and engine share a cell: the fastest stands for them.
function cell(found, shade, absence) {
  const at = { tabindex: -1 };
  if (!found) return element("td", { ...at, class: "missing", "aria-label": absence }, "·");
  const row = found[0];
  const more = found.length > 1 ? `${found.length - 1} more of this name in the table` : null;
  Object.assign(at, { "data-row": row, "data-more": more, "aria-label": spoken(row) });
  const latency = numbers.latency_s[row];
  const status = texts.status[row];
  if (status !== "ok" || !known(latency)) {
    const word = status === "ok" ? "no latency" : data.words[status] ?? status;
    return element("td", { ...at, class: "missing" }, word);
  }
  const signs = (texts.warnings[row] ? "*" : "") + (texts.emulated[row] ? "†" : "");
  const { share, best } = shade(row);
  const made = element("td", { ...at, class: best ? "best" : null }, shown("latency_s", latency) + signs);
  made.style.setProperty("--shade", `${Math.round(3 + 45 * share)}%`);
  return made;
}

// 1 for the fastest stack of a network, 0 for its slowest, by the logarithm of the latency.
function shader(rows) {
  const timed = rows.filter((row) => texts.status[row] === "ok" && known(numbers.latency_s[row]));
  const ordered = timed.sort(byLatency);
  const [fastest, slowest] = [ordered[0], ordered[ordered.length - 1]];
  const spread = Math.log(numbers.latency_s[slowest] / numbers.latency_s[fastest]) || 1;
  const limit = numbers.latency_high_s[fastest] ?? numbers.latency_s[fastest];
  return (row) => ({
    share: 1 - Math.log(numbers.latency_s[row] / numbers.latency_s[fastest]) / spread,
    best: (numbers.latency_low_s[row] ?? numbers.latency_s[row]) <= limit,
  });
}
