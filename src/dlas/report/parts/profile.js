// Where the time of a stack goes: by the arithmetic (its share of the multiply-accumulates) and by
// the clock, part by part.
const TOP = 12;

function layersOf(row) {
  const flat = data.layers.bars[row] ?? [];
  return Array.from({ length: flat.length / 4 }, (_, at) => {
    const [name, op, promised, micros] = flat.slice(4 * at, 4 * at + 4);
    const named = data.layers.names[name];
    return {
      place: at + 1, name: named || `${plural(Number(data.layers.ops[op]), "smaller part")}`, rest: !named,
      op: named ? data.layers.ops[op] : "", promised: promised < 0 ? null : promised / 1e4,
      seconds: micros < 0 ? null : micros / 1e6,
    };
  });
}
const total = (values) => values.filter(known).reduce((sum, value) => sum + value, 0);
const portion = (share) => (known(share) ? `${(100 * share).toFixed(1)}\u00a0%` : "–");

function drawProfile(row) {
  const bars = layersOf(row);
  const sum = total(bars.map(({ seconds }) => seconds));
  for (const bar of bars) bar.share = known(bar.seconds) && sum ? bar.seconds / sum : null;
  const most = Math.max(...bars.flatMap(({ promised, share }) => [promised ?? 0, share ?? 0]));
  const bar = (kind, value, text) => [
    element("span", { class: `bar ${kind}` }, known(value) ? sized(element("i"), value / most) : ""), text,
  ];
  byId("profile-said").textContent = profileTold(row, bars, sum);
  layerTable([
    { name: "place", label: "#", value: (one) => one.place, cell: (one) => (one.rest ? "" : one.place) },
    { name: "layer", label: "Layer", text: (one) => one.name },
    { name: "op", label: "Computes", text: (one) => one.op },
    { name: "promised", label: "Promised", note: "share of MACs", value: (one) => one.promised, cell: (one) => bar("promised", one.promised, portion(one.promised)) },
    { name: "measured", label: "Measured", note: "share of time", value: (one) => one.share, cell: (one) => bar("measured", one.share, portion(one.share)) },
    { name: "seconds", label: "Measured", note: data.quantities.latency_s.unit, value: (one) => one.seconds, cell: (one) => shown("latency_s", one.seconds) },
    { name: "ratio", label: "Time ÷ MACs", note: "of the shares", value: ratioOf, cell: (one) => (known(ratioOf(one)) ? times(ratioOf(one)) : "–") },
  ], bars, sum ? "measured" : "promised", (others) => ({
    ...sums(others, ["promised", "seconds", "share"]),
  }));
}
const ratioOf = ({ promised, share }) => (promised && known(share) ? share / promised : null);
function sums(bars, names) {
  return Object.fromEntries(names.map((name) =>
    [name, bars.some((one) => known(one[name])) ? total(bars.map((one) => one[name])) : null]));
}
// The style of an element may be set by the script, but not by an attribute.
function sized(made, share) {
  made.style.width = `${Math.min(100, 100 * share).toFixed(1)}%`;
  return made;
}

function profileTold(row, bars, sum) {
  if (!sum) return "Nothing was measured layer by layer; the shares are what the arithmetic promises.";
  const said = [];
  const latency = numbers.latency_s[row];
  if (known(latency)) said.push(`The parts add up to ${shown("latency_s", sum)} of ${quantity("latency_s", row)}.`);
  const first = bars.filter(({ rest }) => !rest).sort((a, b) => (b.share ?? 0) - (a.share ?? 0)).slice(0, 3);
  const promised = total(first.map((one) => one.promised));
  said.push(`${first.length > 1 ? `The ${first.length} slowest take` : "The slowest takes"} ${portion(total(first.map((one) => one.share)))} of the time with ${portion(promised)} of the multiply-accumulates.`);
  const none = bars.filter((one) => !known(one.promised) && one.share);
  if (none.length) said.push(`${portion(total(none.map((one) => one.share)))} goes to parts that multiply nothing.`);
  return said.join(" ");
}

// A table of parts, sorted by any column, of which the largest are shown and the rest summed up.
// columns: text or value (what is sorted by) and cell (what stands there); summed(others): one bar.
const sorting = {};
function layerTable(columns, bars, first, summed) {
  const kind = columns.map(({ name }) => name).join();
  sorting[kind] ??= { name: first, sign: -1, all: false };
  const state = sorting[kind];
  const body = element("tbody");
  const heads = columns.map((column) => {
    const button = element("button", { type: "button" }, column.label);
    if (column.note) button.append(" ", element("small", {}, column.note));
    button.addEventListener("click", () => {
      state.sign = state.name === column.name ? -state.sign : column.text || column.name === "place" ? 1 : -1;
      state.name = column.name;
      fill();
    });
    return element("th", { scope: "col", class: column.value ? "right" : null }, button);
  });
  function fill() {
    const by = columns.find(({ name }) => name === state.name);
    columns.forEach((column, at) => {
      if (column !== by) heads[at].removeAttribute("aria-sort");
      else heads[at].setAttribute("aria-sort", state.sign > 0 ? "ascending" : "descending");
    });
    const key = by.value ?? by.text;
    const sorted = [...bars].sort((a, b) => !!a.rest - !!b.rest || compare(key(a), key(b), state.sign) || a.place - b.place);
    const cut = !state.all && sorted.length > TOP + 1 ? TOP : sorted.length;
    const lines = sorted.slice(0, cut);
    const others = sorted.slice(cut);
    if (others.length) lines.push({ place: Infinity, name: `${others.length} more`, op: "", rest: true, ...summed(others) });
    body.replaceChildren(...lines.map((one) => {
      const line = element("tr", { class: one.rest ? "rest" : null });
      for (const { text, cell } of columns) {
        const shownThere = text ? text(one) : cell(one);
        line.append(element("td", { class: text ? null : "right" }, ...[shownThere].flat()));
      }
      return line;
    }));
    const more = byId("layers-more");
    more.hidden = bars.length <= TOP + 1;
    more.textContent = state.all ? `Show the first ${TOP} only` : `Show all ${bars.length}`;
    more.onclick = () => { state.all = !state.all; fill(); };
  }
  byId("layers").replaceChildren(element("thead", {}, element("tr", {}, ...heads)), body);
  fill();
}
