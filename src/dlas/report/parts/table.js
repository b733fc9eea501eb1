// All stacks that pass the filter: sorted by any column, copied out as CSV.
const LAYERS = [
  ["dataset", "Data set"],
  ["model", "Model"],
  ["optimizations", "Optimization"],
  ["algorithm", "Algorithm"],
  ["system", "System"],
  ["hardware", "Hardware"],
  ["machine", "Machine"],
];

// A browser takes a second to lay out thousands of rows.
const AT_ONCE = 250;

function stackTable() {
  const table = byId("table");
  const columns = tableColumns();
  let sorted = { column: columns.find((column) => column.name === "latency_s"), sign: 1 };

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
  const marks = element("th", { scope: "col" }, element("span", { class: "unseen" }, "Mark"));
  table.append(element("thead", {}, element("tr", {}, marks, ...heads.values())), body);

  function chosen() {
    const rows = shownRows().filter((row) => !evidence.rows.size || evidence.rows.has(row));
    const key = sorted.column.value ?? sorted.column.text;
    return rows.sort((a, b) => compare(key(a), key(b), sorted.sign) || a - b);
  }
  let waiting = []; // rows further down, laid out when they are scrolled to
  function lay(many) {
    body.append(...waiting.slice(0, many).map((row) => tableRow(row, columns)));
    waiting = waiting.slice(many);
    paintMarks();
  }
  function fill() {
    const rows = chosen();
    for (const [column, head] of heads) {
      if (column !== sorted.column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", sorted.sign > 0 ? "ascending" : "descending");
    }
    waiting = rows;
    body.replaceChildren();
    lay(AT_ONCE);
    walkTo(body.firstElementChild);
    byId("shown").textContent = data.count
      ? `Shown: ${whole.format(rows.length)} of ${count(data.count)}. The CSV holds those shown here, in base units (s, bytes, shares).`
      : "This study has no stacks.";
  }

  document.addEventListener("filter", fill);
  document.addEventListener("evidence", fill);
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
  const pane = table.parentNode;
  pane.addEventListener("scroll", () => {
    if (waiting.length && pane.scrollTop + 2 * pane.clientHeight > pane.scrollHeight) lay(AT_ONCE);
  });
  body.addEventListener("keydown", (event) => {
    const at = event.target.closest("tr");
    if (event.key === "End" || at === body.lastElementChild) lay(event.key === "End" ? Infinity : AT_ONCE);
    const next = {
      ArrowDown: at.nextElementSibling, ArrowUp: at.previousElementSibling,
      Home: body.firstElementChild, End: body.lastElementChild,
    }[event.key];
    if (!next) return;
    event.preventDefault();
    walkTo(next).focus();
  });
  body.addEventListener("focusin", (event) => walkTo(event.target.closest("tr")));
}

// One tab stop for all rows: the button that marks the stack.
let stop = null;
function walkTo(line) {
  if (stop) stop.tabIndex = -1;
  stop = line?.querySelector(".marker");
  if (stop) stop.tabIndex = 0;
  return stop;
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
  const names = ["accuracy", "latency_s", "to_front", "measured_speedup", "promised_speedup", "size_bytes",
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
  const marker = element("button", {
    type: "button", class: "marker", tabindex: -1, "aria-pressed": "false", "aria-label": `Mark ${stackName(row)}`,
  });
  line.append(element("td", {}, marker));
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
