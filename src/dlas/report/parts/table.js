// All stacks: sorted by any column, filtered by text and by layer, copied out as CSV.
const LAYERS = [
  ["dataset", "Data set"],
  ["model", "Model"],
  ["optimizations", "Optimization"],
  ["algorithm", "Algorithm"],
  ["system", "System"],
  ["hardware", "Hardware"],
  ["machine", "Machine"],
];

function stackTable() {
  const table = byId("table");
  const columns = tableColumns();
  const choices = {};
  let sorted = { column: columns.find((column) => column.name === "latency_s"), sign: 1 };

  for (const [name, label] of [...LAYERS, ["status", "State"]]) {
    const values = distinct(name);
    if (values.length < 2) continue;
    const select = element("select", { "data-field": name }, element("option", { value: "" }, "all"));
    for (const value of values) {
      select.append(element("option", { value }, name === "status" ? data.words[value] ?? value : value));
    }
    choices[name] = select;
    select.addEventListener("change", fill);
    byId("filters").append(element("label", {}, label, select));
  }

  const heads = new Map();
  for (const column of columns) {
    const button = element("button", { type: "button" }, column.label);
    if (column.unit) button.append(" ", element("small", {}, column.unit));
    button.addEventListener("click", () => {
      sorted = { column, sign: sorted.column === column ? -sorted.sign : 1 };
      fill();
    });
    const kind = column.value ? "number" : null;
    heads.set(column, element("th", { scope: "col", class: kind, "data-column": column.name }, button));
  }
  const body = element("tbody");
  table.append(element("thead", {}, element("tr", {}, ...heads.values())), body);
  const searched = stacks.map((row) =>
    [...LAYERS.map(([name]) => texts[name][row]), data.words[texts.status[row]], remarks(row).join(" ")]
      .join(" ").toLowerCase());

  function chosen() {
    const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = stacks.filter((row) =>
      (!evidence.rows.size || evidence.rows.has(row)) &&
      words.every((word) => searched[row].includes(word)) &&
      Object.entries(choices).every(([name, { value }]) => !value || texts[name][row] === value));
    const key = sorted.column.value ?? sorted.column.text;
    return rows.sort((a, b) => compare(key(a), key(b), sorted.sign) || a - b);
  }
  function fill() {
    const rows = chosen();
    for (const [column, head] of heads) {
      if (column !== sorted.column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", sorted.sign > 0 ? "ascending" : "descending");
    }
    body.replaceChildren(...rows.map((row) => tableRow(row, columns)));
    byId("shown").textContent = data.count
      ? `Shown: ${rows.length} of ${count(data.count)}. The CSV holds those shown here, in base units (s, bytes, shares).`
      : "This study has no stacks.";
  }

  byId("find").addEventListener("input", fill);
  document.addEventListener("evidence", () => {
    byId("find").value = "";
    for (const select of Object.values(choices)) select.value = "";
    fill();
  });
  byId("evidence").querySelector("button").addEventListener("click", () => showEvidence([], null));
  byId("copy").addEventListener("click", async ({ target }) => {
    try {
      await navigator.clipboard.writeText(csv(chosen()));
      target.textContent = "Copied";
    } catch {
      target.textContent = "This browser refuses: download it instead";
    }
    setTimeout(() => { target.textContent = "Copy as CSV"; }, 2500);
  });
  byId("download").addEventListener("click", ({ currentTarget }) => {
    currentTarget.href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv(chosen()))}`;
  });
  fill();
}

// Columns nobody filled are left out; so are layers in which the study has one choice only.
function tableColumns() {
  const layers = LAYERS.filter(([name]) => !["dataset", "hardware", "machine"].includes(name) || distinct(name).length > 1)
    .map(([name, label]) => ({ name, label, text: (row) => texts[name][row] }));
  const column = (name) => {
    const { label, unit } = data.quantities[name];
    return { name, label, unit, value: (row) => numbers[name][row], text: (row) => shown(name, numbers[name][row]) };
  };
  const interval = {
    name: "interval", label: "95 % interval", unit: data.quantities.latency_s.unit,
    value: (row) => numbers.latency_low_s[row],
    text: (row) => known(numbers.latency_low_s[row])
      ? `${shown("latency_s", numbers.latency_low_s[row])}–${shown("latency_s", numbers.latency_high_s[row])}` : "–",
  };
  const names = ["accuracy", "latency_s", "measured_speedup", "promised_speedup", "size_bytes",
    "sparse_bytes", "effective_macs", "peak_bytes", "energy_j", "label_agreement",
    "output_agreement"];
  const filled = names.filter((name) => name === "latency_s" || numbers[name].some(known)).map(column);
  filled.splice(filled.findIndex(({ name }) => name === "latency_s") + 1, 0, interval);
  const state = { name: "status", label: "State", text: (row) => data.words[texts.status[row]] ?? texts.status[row] };
  const notes = { name: "notes", label: "Notes", text: (row) => notesOf(row) };
  return [...layers, ...filled, state, notes];
}
function notesOf(row) {
  const message = texts.status[row] === "ok" ? "" : texts.message[row] || "no reason was recorded";
  return [message, texts.emulated[row], texts.warnings[row]].filter(Boolean).join("; ");
}

function tableRow(row, columns) {
  const line = element("tr", { "data-row": row, class: texts.status[row] === "ok" ? null : "absent" });
  for (const { name, value, text } of columns) {
    line.append(element("td", { class: value ? "number" : name === "notes" ? "reason" : null }, text(row)));
  }
  return line;
}

// What is absent comes last, whichever way the column is sorted.
function compare(a, b, sign) {
  const absent = (value) => !known(value) || value === "";
  if (absent(a) || absent(b)) return absent(a) - absent(b);
  return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
}

function csv(rows) {
  const quoted = (value) => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const line = (row) => data.columns.map((name) => quoted(String((numbers[name] ?? texts[name])[row] ?? "")));
  return [data.columns, ...rows.map(line)].map((fields) => fields.join(",")).join("\r\n") + "\r\n";
}
