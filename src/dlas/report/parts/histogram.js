// Every run of one stack, or of two: a histogram, and below it on the same scale the runs in the
// order they were taken, the first run and the warm-ups on top. A is filled, B is a dashed outline.
const BINS = { least: 8, most: 32 };
const ROOM = { top: 46, right: 16, bottom: 42, left: 52, bars: 190, strip: 80 };
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const places = new Map([...LETTERS].map((letter, place) => [letter, place]));

// Two letters are a level on the logarithmic scale from the least to the most; see compact.py.
function samplesOf(row) {
  const coded = data.samples[row];
  if (!coded) return null;
  const [least, most, letters, ...groups] = coded;
  const step = Math.log(most / least) / (LETTERS.length ** 2 - 1);
  const values = Array.from({ length: letters.length / 2 }, (_, at) =>
    least * Math.exp(step * (LETTERS.length * places.get(letters[2 * at]) + places.get(letters[2 * at + 1]))));
  const modes = groups.filter((_, at) => at % 2 === 0).map((seconds, at) => ({ seconds, share: groups[2 * at + 1] }));
  const sorted = [...values].sort((a, b) => a - b);
  const quantile = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const quartile = quantile(0.75) - quantile(0.25);
  // Beyond the fence, few runs would flatten all others: they are told, not drawn to scale.
  const fence = quantile(0.75) + 8 * (quartile || 0.02 * quantile(0.5));
  return { row, values, modes, quartile, low: sorted[0], high: sorted.findLast((value) => value <= fence) };
}

// held: [letter, row] of one or two stacks. What has no samples is told in the caption.
function drawHistogram(held) {
  const figure = byId("histogram");
  const timed = held.filter(([, row]) => texts.status[row] === "ok");
  figure.hidden = !timed.length;
  const drawn = timed.map(([letter, row]) => ({ letter, ...samplesOf(row) })).filter(({ values }) => values);
  const canvas = figure.querySelector(".canvas");
  const width = Math.max(260, Math.round(canvas.clientWidth));
  const apart = drawn.length === 2 && farApart(...drawn);
  const panels = apart ? drawn.map((one) => [one]) : drawn.length ? [drawn] : [];
  canvas.replaceChildren(...panels.map((shown) => histogram(shown, width)));
  const lines = timed.map(([letter, row]) => element("p", {}, ...runsTold(letter, row, held.length > 1)));
  if (apart) lines.push(element("p", {}, "The two are so far apart that each has its own scale."));
  figure.querySelector(".caption").replaceChildren(...lines);
}
function farApart(a, b) {
  const span = Math.max(a.high, b.high) - Math.min(a.low, b.low);
  return span > 6 * Math.max(a.high - a.low, b.high - b.low);
}

function histogram(shown, width) {
  const low = Math.min(...shown.map((one) => one.low));
  const high = Math.max(...shown.map((one) => one.high));
  const top = ROOM.top + 16 * (shown.length - 1);
  const height = top + ROOM.bars + ROOM.bottom + shown.length * ROOM.strip;
  const label = shown.map(({ letter, row }) => runsTold(letter, row, true).map((part) => part.textContent ?? part).join("")).join(" ");
  const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const { factor, unit } = data.quantities.latency_s;
  const axis = { values: [low, high === low ? 1.01 * low : high], log: high > 3 * low, factor };
  const across = scale(axis, [0, 1], ROOM.left, width - ROOM.right);
  const ends = binEnds(shown, low, high, axis.log);
  const parts = shown.map((one) => binned(one, ends));
  const tallest = Math.max(...parts.flat());
  const floor = top + ROOM.bars;
  const up = (share) => floor - (share / tallest) * ROOM.bars;

  const alone = shown.length === 1 && shown[0].values.length;
  const most = alone ? tallest * alone : tallest * 100;
  for (const tick of linearTicks(0, most, 4)) {
    const at = up(alone ? tick / alone : tick / 100);
    svg.append(drawing("line", { class: "grid", x1: ROOM.left, x2: width - ROOM.right, y1: at, y2: at }));
    svg.append(drawing("text", { class: "axis", x: ROOM.left - 8, y: at + 4, "text-anchor": "end" }, tickText(tick)));
  }
  const bottom = height - ROOM.bottom;
  for (const tick of across.ticks) {
    const at = across.at(tick);
    svg.append(drawing("line", { class: "grid", x1: at, x2: at, y1: top, y2: bottom }));
    svg.append(drawing("text", { class: "axis", x: at, y: bottom + 17, "text-anchor": "middle" }, tickText(tick * factor)));
  }
  svg.append(drawing("text", { class: "axis-title", x: 4, y: 13 }, alone ? "↑ Runs" : "↑ Share of runs, %"));
  const title = `Latency, ${unit}${axis.log ? " (log scale)" : ""} →`;
  svg.append(drawing("text", { class: "axis-title", x: width - ROOM.right, y: bottom + 37, "text-anchor": "end" }, title));

  shown.forEach(({ letter }, at) => svg.append(drawBins(letter, parts[at], ends, across, up, floor)));
  shown.forEach((one, at) => svg.append(...drawMedian(one, at, shown.length > 1, across, floor, width)));
  shown.forEach((one, at) => svg.append(drawOrder(one, across, floor + at * ROOM.strip, shown.length > 1)));
  return svg;
}

// As wide as Freedman and Diaconis (1981) have it for the narrower stack, and never very many.
function binEnds(shown, low, high, log) {
  const [into, back] = log ? [Math.log, Math.exp] : [(v) => v, (v) => v];
  const width = Math.min(...shown.map(({ quartile, values, low: own }) =>
    (2 * (log ? quartile / own : quartile)) / Math.cbrt(values.length) || Infinity));
  const span = into(high) - into(low);
  const many = Math.min(BINS.most, Math.max(BINS.least, Math.ceil(span / width) || BINS.least));
  const step = span / many || into(low) * 0.01 / many;
  return Array.from({ length: many + 1 }, (_, at) => back(into(low) + at * step));
}
function binned({ values }, ends) {
  const shares = new Array(ends.length - 1).fill(0);
  for (const value of values) {
    if (value > ends[ends.length - 1] * (1 + 1e-9)) continue;
    let at = ends.findIndex((end) => value < end) - 1;
    if (at < 0) at = value < ends[0] ? 0 : shares.length - 1;
    shares[at] += 1 / values.length;
  }
  return shares;
}
function drawBins(letter, shares, ends, across, up, floor) {
  if (letter === "A") {
    let path = "";
    shares.forEach((share, at) => {
      if (!share) return;
      const [left, right] = [across.at(ends[at]) + 0.5, across.at(ends[at + 1]) - 0.5];
      path += `M${left.toFixed(1)},${floor}V${up(share).toFixed(1)}H${right.toFixed(1)}V${floor}Z`;
    });
    return drawing("path", { class: "runs-a", d: path });
  }
  const steps = shares.map((share, at) => `V${up(share).toFixed(1)}H${across.at(ends[at + 1]).toFixed(1)}`);
  return drawing("path", { class: "runs-b", d: `M${across.at(ends[0]).toFixed(1)},${floor}${steps.join("")}V${floor}` });
}
function drawMedian({ letter, row }, line, several, across, floor, width) {
  const [median, low, high] = ["latency_s", "latency_low_s", "latency_high_s"].map((name) => numbers[name][row]);
  if (!known(median)) return [];
  const x = across.at(median);
  const top = ROOM.top - 8 + 16 * line;
  const made = [];
  if (known(low)) {
    const left = across.at(low);
    made.push(drawing("rect", { class: "interval", x: left, width: Math.max(2, across.at(high) - left), y: floor - ROOM.bars, height: ROOM.bars }));
  }
  made.push(drawing("line", { class: `median-${letter.toLowerCase()}`, x1: x, x2: x, y1: top - 8, y2: floor }));
  const right = x < width / 2;
  const text = `${several ? `${letter}: ` : ""}median ${quantity("latency_s", row)}`;
  made.push(drawing("text", { class: "axis strong", x: x + (right ? 5 : -5), y: top, "text-anchor": right ? "start" : "end" }, text));
  return made;
}

// In a row on top the first run (▽) and the warm-ups (+), then from top to bottom the runs (dots).
function drawOrder({ letter, row, values }, across, top, several) {
  const group = drawing("g", { class: "order" });
  const hasFirst = known(numbers.first_run_s[row]);
  const before = [numbers.first_run_s[row], ...data.warmups[row]].filter(known);
  const all = [...before, ...values];
  const reach = ROOM.strip - 38;
  const y = (at) => top + 28 + (at / values.length) * reach;
  const [from, to] = [across.at(across.domain[0]), across.at(across.domain[1])];
  let dots = "";
  let beyond = 0;
  all.forEach((value, at) => {
    const x = across.at(value);
    const inside = x >= from - 0.5 && x <= to + 0.5;
    const place = inside ? x : x > to ? to : from;
    if (at === 0 && hasFirst) group.append(drawing("path", { class: "first-run", d: `M${place - 5},${top + 10}h10l-5,8z` }));
    else if (at < before.length) group.append(drawing("path", { class: "warmup", d: `M${place - 4},${top + 14}h8m-4,-4v8` }));
    else if (inside) dots += `M${place.toFixed(1)},${y(at - before.length).toFixed(1)}h0`;
    else beyond += 1;
  });
  const edge = (text, height) => group.append(drawing("text", { class: "axis", x: to - 10, y: height, "text-anchor": "end" }, `${text} →`));
  const far = before.map((value) => across.at(value) > to + 0.5);
  const late = far.slice(hasFirst ? 1 : 0).filter(Boolean).length;
  const told = [hasFirst && far[0] ? `first run ${shown("latency_s", before[0])}` : "", late ? plural(late, "warm-up") : ""].filter(Boolean);
  if (told.length) edge(told.join(", "), top + 18);
  if (beyond) edge(`${beyond} of the runs`, top + ROOM.strip - 3);
  group.append(drawing("path", { class: `dots-${letter.toLowerCase()}`, d: dots }));
  group.append(drawing("text", { class: "axis", x: 2, y: top + 20 }, several ? `${letter} ↓` : "order ↓"));
  return group;
}

// Sentences on the runs of a stack.
function runsTold(letter, row, several) {
  const found = samplesOf(row);
  const ends = ["latency_low_s", "latency_high_s"].map((name) => numbers[name][row]);
  const interval = ends.every(known) ? `, 95 % interval ${ends.map((end) => shown("latency_s", end)).join("–")}` : "";
  const runs = numbers.runs[row] ?? found?.values.length;
  const said = [`${plural(runs, "run")}, median ${quantity("latency_s", row)}${interval}.`];
  const first = numbers.first_run_s[row];
  if (known(first)) said.push(`The first run took ${quantity("first_run_s", row)}, ${times(first / numbers.latency_s[row])} the median.`);
  const warm = data.warmups[row].filter(known);
  if (warm.length) {
    const [least, most] = [Math.min(...warm), Math.max(...warm)].map((value) => shown("latency_s", value));
    said.push(`${plural(warm.length, "warm-up")} of ${least === most ? least : `${least}–${most}`} ${data.quantities.latency_s.unit}.`);
  }
  if (found?.modes.length > 1) {
    const groups = found.modes.map(({ seconds, share }) => `${Math.round(100 * share)} % around ${shown("latency_s", seconds)} ${data.quantities.latency_s.unit}`);
    said.push(`The runs fall into ${found.modes.length} groups, which the median alone hides: ${groups.join(", ")}.`);
  }
  if (!found) said.push("The runs themselves are not in this page.");
  else if (found.values.length < runs) said.push(`Drawn are ${found.values.length} of them, evenly over time.`);
  return several ? [element("b", {}, `${letter}: `), said.join(" ")] : [said.join(" ")];
}
