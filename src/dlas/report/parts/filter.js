// The filter: which stacks the charts, the combinations and the table show. Several values of one
// choice widen it, several choices narrow it. It stands in the address, so that a link keeps it.
// field, label, and the fields that say as much: where they do, it is left out.
const FACETS = [
  ["dataset", "Data set", []],
  ["network", "Network", []],
  ["model", "Model", ["network"]],
  ["compression", "Compression", []],
  ["optimizations", "Optimization", ["compression"]],
  ["primitive", "Primitive", []],
  ["format", "Format", []],
  ["algorithm", "Algorithm", ["primitive", "format"]],
  ["tuning", "Tuning", []],
  ["software", "Software", []],
  ["threads", "Threads", []],
  ["batch", "Batch", []],
  ["system", "System", ["software", "tuning", "threads", "batch"]],
  ["machine", "Machine", []],
  ["hardware", "Hardware", ["machine"]],
  ["status", "State", []],
];
const valueOf = (field, row) => texts[field]?.[row] ?? String(numbers[field]?.[row] ?? "");
const differing = (fields) => new Set(stacks.map((row) => fields.map((field) => valueOf(field, row)).join("\n"))).size;
const facets = FACETS
  .filter(([field, , same]) => differing([field]) > 1 && !(same.length && differing(same) >= differing([...same, field])))
  .map(([field, label]) => ({ field, label, ...coded(field), wanted: new Set(), boxes: [] }));

// values in the order of people: numbers by size, names as the study has them; codes by row.
function coded(field) {
  const values = [...new Set(stacks.map((row) => valueOf(field, row)))];
  if (numbers[field]) values.sort((a, b) => a - b);
  const places = new Map(values.map((value, place) => [value, place]));
  return { values, codes: stacks.map((row) => places.get(valueOf(field, row))) };
}
function said(field, value) {
  return field === "status" ? data.words[value] ?? value : value || "unknown";
}

const searched = stacks.map((row) => [
  ...FACETS.map(([field]) => said(field, valueOf(field, row))), texts.precision[row], remarks(row).join(" "),
].join(" ").toLowerCase());
const passes = new Uint8Array(data.count).fill(1);
const shownRows = () => stacks.filter((row) => passes[row]);
const filtered = () => byId("find").value.trim() !== "" || facets.some(({ wanted }) => wanted.size);

// Beside a value stands how many stacks it would show, given all other choices.
function sift() {
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const counts = facets.map(({ values }) => new Uint32Array(values.length));
  for (const row of stacks) {
    passes[row] = 0;
    if (!words.every((word) => searched[row].includes(word))) continue;
    let failing = -1;
    let failures = 0;
    facets.forEach(({ wanted, codes }, at) => {
      if (wanted.size && !wanted.has(codes[row])) { failing = at; failures += 1; }
    });
    if (failures === 0) {
      passes[row] = 1;
      facets.forEach(({ codes }, at) => { counts[at][codes[row]] += 1; });
    } else if (failures === 1) counts[failing][facets[failing].codes[row]] += 1;
  }
  facets.forEach((facet, at) => tellFacet(facet, counts[at]));
  const many = shownRows().length;
  byId("passing").textContent = filtered() ? `${whole.format(many)} of ${count(data.count)}` : `All ${count(data.count)}`;
  byId("clear").disabled = !filtered();
  document.dispatchEvent(new Event("filter"));
  keepAddress();
}
function tellFacet({ field, label, values, wanted, boxes, summary }, counts) {
  const [first] = wanted;
  const chosen = wanted.size === 1 ? said(field, values[first]) : `${wanted.size} of ${values.length}`;
  summary.replaceChildren(label, wanted.size ? element("b", {}, `: ${chosen}`) : "");
  boxes.forEach(({ box, tally }, place) => {
    box.checked = wanted.has(place);
    tally.textContent = whole.format(counts[place]);
    box.parentNode.classList.toggle("none", counts[place] === 0);
  });
}

function drawFacet(facet) {
  const { field, label, values, wanted } = facet;
  const panel = element("div", { class: "panel", role: "group", "aria-label": label });
  values.forEach((value, place) => {
    const box = element("input", { type: "checkbox", name: field, value });
    const tally = element("span", { class: "tally" });
    box.addEventListener("change", () => {
      if (!wanted.delete(place)) wanted.add(place);
      sift();
    });
    facet.boxes.push({ box, tally });
    panel.append(element("label", {}, box, element("span", {}, said(field, value)), tally));
  });
  facet.summary = element("summary", {}, label);
  const made = element("details", { class: "facet", "data-field": field }, facet.summary, panel);
  made.addEventListener("toggle", () => {
    if (!made.open) return;
    for (const other of document.querySelectorAll(".facet[open]")) if (other !== made) other.open = false;
    panel.style.left = 0;
    panel.style.left = `${Math.min(0, document.documentElement.clientWidth - 12 - panel.getBoundingClientRect().right)}px`;
  });
  panel.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = facet.boxes.findIndex(({ box }) => box === document.activeElement);
    facet.boxes[at + step]?.box.focus();
  });
  return made;
}
function closeFacets(event) {
  for (const open of document.querySelectorAll(".facet[open]")) {
    if (event.type === "keydown" && open.contains(document.activeElement)) open.querySelector("summary").focus();
    if (event.type === "keydown" || !open.contains(event.target)) open.open = false;
  }
}

function clearFilter() {
  byId("find").value = "";
  for (const { wanted } of facets) wanted.clear();
  sift();
}

// The address: #section?network=vgg16&network=resnet18&find=int8&a=<key>&b=<key>. Links within the
// page change the section only; what a reader types or goes back to is taken over.
const KEY = 12;
let section = null;
function keepAddress() {
  const state = new URLSearchParams();
  for (const { field, values, wanted } of facets) for (const place of wanted) state.append(field, values[place]);
  if (byId("find").value.trim()) state.set("find", byId("find").value.trim());
  for (const [letter, row] of Object.entries(marked)) {
    if (row !== null) state.set(letter.toLowerCase(), texts.key[row].slice(0, KEY));
  }
  const fragment = section + (state.size ? `?${state}` : "");
  if (fragment !== location.hash.slice(1)) history.replaceState(null, "", `#${fragment}`);
}
function readAddress() {
  const [place, asked] = location.hash.slice(1).split(/\?(.*)/s);
  const opening = section === null;
  section = place;
  if (asked === undefined && !opening) return keepAddress();
  const state = new URLSearchParams(asked ?? "");
  for (const { field, values, wanted } of facets) {
    wanted.clear();
    for (const value of state.getAll(field)) if (values.includes(value)) wanted.add(values.indexOf(value));
  }
  byId("find").value = state.get("find") ?? "";
  for (const letter of Object.keys(marked)) {
    const key = state.get(letter.toLowerCase());
    const row = key ? texts.key.findIndex((own) => own.startsWith(key)) : -1;
    marked[letter] = row < 0 ? null : row;
  }
  tellMarks();
  sift();
  if (asked !== undefined && section) byId(section)?.scrollIntoView();
}

function drawFilter() {
  byId("filter").hidden = !data.count;
  byId("filter").querySelector(".facets").append(...facets.map(drawFacet));
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", clearFilter);
  document.addEventListener("click", closeFacets);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeFacets(event); });
  document.addEventListener("evidence", () => { if (filtered()) clearFilter(); });
  window.addEventListener("hashchange", readAddress);
  let waiting = 0;
  byId("find").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(sift, data.count > 500 ? 150 : 0);
  });
}
