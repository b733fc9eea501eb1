// Two stacks side by side: what differs, which is faster and by how much, and which layers make the
// difference. The words are those of ``dlas compare``.
const CHOICES = [
  ["dataset", "Data set"], ["model", "Model"], ["optimizations", "Optimization"], ["algorithm", "Algorithm"],
  ["system", "System"], ["hardware", "Hardware"], ["precision", "Precision"], ["format", "Weight format"],
  ["tuning", "Tuning"], ["threads", "Threads"], ["batch", "Images at a time"], ["machine", "Machine"],
];
const ENDS = { latency_s: ["latency_low_s", "latency_high_s"], accuracy: ["accuracy_low", "accuracy_high"] };

// held: [letter, row] of one or two stacks.
function drawChoices(held) {
  const rows = held.map(([, row]) => row);
  const heads = ["", ...held.map(([letter]) => letter), ...(held.length > 1 ? ["B against A"] : [])];
  const body = element("tbody");
  for (const [field, label] of CHOICES) {
    const values = rows.map((row) => valueOf(field, row));
    if (values.every((value) => value === "")) continue;
    const differs = values.some((value) => value !== values[0]);
    const line = element("tr", { class: held.length > 1 ? (differs ? "differs" : "same") : null }, element("th", { scope: "row" }, label));
    line.append(...values.map((value) => element("td", {}, differs ? element("b", {}, value || "–") : value || "–")));
    if (held.length > 1) line.append(element("td", {}, differs ? element("b", {}, "differs") : "same"));
    body.append(line);
  }
  const measures = element("tbody");
  for (const [name, { label }] of Object.entries(data.quantities)) {
    if (!rows.some((row) => known(numbers[name]?.[row]))) continue;
    const line = element("tr", {}, element("th", { scope: "row" }, label));
    line.append(...rows.map((row) => element("td", {}, quantity(name, row, ENDS[name]))));
    if (held.length > 1) line.append(element("td", {}, against(name, ...rows)));
    measures.append(line);
  }
  const head = element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text))));
  byId("stack-choices").replaceChildren(head, body, measures);
}
function against(name, a, b) {
  const [one, other] = [numbers[name][a], numbers[name][b]];
  if (!known(one) || !known(other)) return "–";
  if (one === other) return "same";
  if (data.quantities[name].unit === "%") return `${other > one ? "+" : "−"}${points(other - one)}`;
  if (!one) return `+${withUnit(name, shown(name, other))}`;
  const ends = ENDS[name];
  const [low, high] = ends ? [numbers[ends[0]][b] / numbers[ends[1]][a], numbers[ends[1]][b] / numbers[ends[0]][a]] : [];
  const interval = ends && [a, b].every((row) => ends.every((end) => known(numbers[end][row]))) ? ` (${digits(low)}–${digits(high)})` : "";
  return times(other / one) + interval;
}
// The same texts as quantities.py.
function points(share) {
  const text = String(Number((100 * Math.abs(share)).toPrecision(2)));
  return `${text} ${text === "1" ? "point" : "points"}`;
}
const overlap = (name, a, b) => {
  const [low, high] = ENDS[name];
  const ends = [numbers[low][a], numbers[high][a], numbers[low][b], numbers[high][b]];
  return ends.every(known) ? ends[0] <= ends[3] && ends[2] <= ends[1] : null;
};

// Sentences on one stack, and on the second against the first.
function stackTold(letter, row) {
  return remarks(row).map((remark) => `${letter}: ${remark}`);
}
function verdict(a, b) {
  const differing = CHOICES.slice(0, 6).filter(([field]) => valueOf(field, a) !== valueOf(field, b)).map(([, label]) => label.toLowerCase());
  const said = [speedVerdict(a, b)];
  if (texts.dataset[a] !== texts.dataset[b]) said.push("They differ in data set, so their accuracies cannot be compared.");
  else said.push(accuracyVerdict(a, b));
  if (differing.length === 1) {
    const clear = known(numbers.latency_s[a]) && known(numbers.latency_s[b]) && overlap("latency_s", a, b) === false;
    said.push(`They differ in ${differing[0]} alone${clear ? ", so it makes the difference" : ""}.`);
  } else if (differing.length) said.push(`They differ in ${differing.slice(0, -1).join(", ")} and ${differing[differing.length - 1]}.`);
  if (known(numbers.latency_s[a]) && known(numbers.latency_s[b])) {
    if (valueOf("machine", a) !== valueOf("machine", b)) said.push("They were timed on different machines, which are part of the ratio.");
    else if (valueOf("group", a) !== valueOf("group", b)) said.push("They were not timed side by side, so drift of the machine is in the ratio.");
    if (valueOf("batch", a) !== valueOf("batch", b)) said.push(perImage(a, b));
  }
  return said.filter(Boolean);
}
function speedVerdict(a, b) {
  const [one, other] = [numbers.latency_s[a], numbers.latency_s[b]];
  if (!known(one) || !known(other)) return "There are not two latencies to compare.";
  const [fast, slow, letters] = one <= other ? [a, b, "AB"] : [b, a, "BA"];
  const [low, high] = ENDS.latency_s;
  const ratio = times(numbers.latency_s[slow] / numbers.latency_s[fast]);
  const same = overlap("latency_s", a, b);
  const interval = same === null ? "" : ` (${digits(numbers[low][slow] / numbers[high][fast])}–${digits(numbers[high][slow] / numbers[low][fast])})`;
  const claim = `${letters[0]} is ${ratio}${interval} as fast as ${letters[1]}`;
  if (same === null) return `${claim}, but an interval is unknown, so this may be noise.`;
  return same ? `They cannot be told apart: ${claim}, but the 95 % intervals overlap.` : `${claim}; the 95 % intervals do not overlap.`;
}
function accuracyVerdict(a, b) {
  const [one, other] = [numbers.accuracy[a], numbers.accuracy[b]];
  if (!known(one) || !known(other)) return "";
  if (one === other) return "They are equally accurate.";
  const said = `B is ${points(other - one)} ${other > one ? "more" : "less"} accurate than A`;
  const same = overlap("accuracy", a, b);
  return same ? `${said}; the 95 % intervals overlap.` : `${said}.`;
}
function perImage(a, b) {
  const [one, other] = [a, b].map((row) => numbers.latency_s[row] / numbers.batch[row]);
  const text = [one, other].map((value) => shown("latency_s", value)).join(" and ");
  return `They take different numbers of images at a time: ${text} ${data.quantities.latency_s.unit} per image.`;
}

// Parts are matched by layer in one network, and between two networks by what they compute.
function drawDifference(a, b) {
  const [own, other] = [layersOf(a), layersOf(b)];
  const alike = valueOf("network", a) === valueOf("network", b) && texts.dataset[a] === texts.dataset[b];
  const bars = matched(own, other, alike ? (one) => one.name : (one) => one.op || one.name);
  const apart = total(bars.map(({ change }) => change));
  const most = Math.max(...bars.map(({ change }) => Math.abs(change))) || 1;
  byId("profile-said").textContent = differenceTold(bars, apart, alike);
  const seconds = (letter) => ({
    name: letter, label: letter, note: data.quantities.latency_s.unit, value: (one) => one[letter], cell: (one) => shown("latency_s", one[letter]),
  });
  const changed = (one) => {
    const bar = sized(element("i", { class: one.change < 0 ? "less" : "more" }), Math.abs(one.change) / most / 2);
    return [element("span", { class: "bar change" }, bar), signed(one.change)];
  };
  layerTable([
    { name: "layer", label: alike ? "Layer" : "Computes", text: (one) => one.name },
    ...(alike ? [{ name: "op", label: "Computes", text: (one) => one.op }] : []),
    seconds("A"), seconds("B"),
    { name: "change", label: "B − A", note: data.quantities.latency_s.unit, value: (one) => Math.abs(one.change), cell: changed },
  ], bars, "change", (others) => sums(others, ["A", "B", "change"]));
}
function matched(own, other, key) {
  const found = new Map();
  for (const [letter, bars] of [["A", own], ["B", other]]) {
    for (const bar of bars.filter((one) => known(one.seconds))) {
      const name = bar.rest ? "smaller parts" : key(bar);
      const one = found.get(name) ?? { place: found.size, name, op: bar.op, rest: bar.rest, A: null, B: null };
      one[letter] = (one[letter] ?? 0) + bar.seconds;
      if (!one.op.includes(bar.op)) one.op = `${one.op}; ${bar.op}`;
      found.set(name, one);
    }
  }
  for (const one of found.values()) one.change = (one.B ?? 0) - (one.A ?? 0);
  return [...found.values()];
}
function signed(seconds) {
  return `${seconds > 0 ? "+" : seconds < 0 ? "−" : ""}${shown("latency_s", Math.abs(seconds))}`;
}
function differenceTold(bars, apart, alike) {
  const unit = data.quantities.latency_s.unit;
  const first = [...bars].filter(({ rest, change }) => !rest && change * apart > 0)
    .sort((x, y) => Math.abs(y.change) - Math.abs(x.change)).slice(0, 3);
  const names = first.map(({ name, change }) => `${name} (${signed(change)})`).join(", ");
  const said = [`Summed over its parts, B takes ${shown("latency_s", Math.abs(apart))} ${unit} ${apart > 0 ? "more" : "less"} than A.`];
  if (first.length) said.push(`Most of it: ${names}; all other parts together ${signed(apart - total(first.map(({ change }) => change)))}.`);
  if (!alike) said.push("The networks differ, so parts are matched by what they compute.");
  return said.join(" ");
}
