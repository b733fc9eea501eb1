"use strict";
// The study, decoded once: stacks are the numbers 0 … count-1, and every column an array over them.
const data = JSON.parse(document.getElementById("data").textContent);
const stacks = Array.from({ length: data.count }, (_, row) => row);
const texts = {};
for (const [name, { values, codes }] of Object.entries(data.texts)) {
  texts[name] = codes.map((code) => values[code]);
}
const numbers = data.numbers;

const byId = (id) => document.getElementById(id);
const distinct = (name, rows = stacks) => [...new Set(rows.map((row) => texts[name][row]))];
const plural = (many, noun) => `${whole.format(many)} ${noun}${many === 1 ? "" : "s"}`;
const count = (many) => plural(many, "stack");
const known = (value) => value !== null && value !== undefined;

// Elements are made, never parsed from text, so no name in the data can become markup.
function element(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}
function drawing(tag, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
function dress(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (known(value) && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => known(child) && child !== ""));
  return made;
}

// The same three significant digits as quantities.py.
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
function digits(value) {
  const size = Math.abs(value);
  if (size >= 100 || value === 0) return whole.format(value);
  return size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toPrecision(3);
}
const times = (ratio) => `${ratio < 10 ? ratio.toFixed(2) : digits(ratio)}×`;
function shown(name, value) {
  return known(value) ? digits(value * data.quantities[name].factor) : "–";
}
function withUnit(name, text) {
  const unit = data.quantities[name].unit;
  return unit === "×" ? text + unit : `${text}\u00a0${unit}`;
}
function quantity(name, row, ends) {
  const value = numbers[name][row];
  if (!known(value)) return "unknown";
  const [low, high] = ends ? ends.map((end) => numbers[end][row]) : [];
  const interval = known(low) && known(high) ? ` (${shown(name, low)}–${shown(name, high)})` : "";
  return withUnit(name, shown(name, value)) + interval;
}

function stackName(row) {
  return `${texts.model[row]} · ${texts.optimizations[row]} · ${texts.engine[row]}`;
}
// [term, value] pairs of a measured stack; sentences about it, in every state.
function facts(row) {
  if (texts.status[row] !== "ok") return [];
  const found = [
    ["Latency", quantity("latency_s", row, ["latency_low_s", "latency_high_s"])],
    ["Accuracy", quantity("accuracy", row, ["accuracy_low", "accuracy_high"])],
  ];
  if (texts.optimizations[row] !== "none") {
    const promised = quantity("promised_speedup", row);
    found.push(["Speedup", `${quantity("measured_speedup", row)} of ${promised} promised`]);
  }
  for (const name of ["size_bytes", "peak_bytes"]) {
    if (known(numbers[name][row])) found.push([data.quantities[name].label, quantity(name, row)]);
  }
  return found;
}
function remarks(row) {
  const status = texts.status[row];
  const reason = texts.message[row] || "no reason was recorded";
  const found = status === "ok" ? [] : [`${data.words[status] ?? status}: ${reason}`];
  return [...found, texts.emulated[row], texts.warnings[row]].filter(Boolean);
}
const sayings = new Map();
function spoken(row) {
  if (!sayings.has(row)) {
    const said = facts(row).map(([term, value]) => `${term} ${value}`);
    sayings.set(row, [stackName(row), ...said, ...remarks(row)].join("; "));
  }
  return sayings.get(row);
}

// One tooltip for the page. It follows focus as well as the pointer, and lights the same stack
// wherever else it stands.
const tip = byId("tip");
let pointedAt = null;
function showTip(row, place, more = []) {
  hideTip();
  const list = element("dl");
  for (const [term, value] of facts(row)) {
    list.append(element("dt", {}, term), element("dd", {}, value));
  }
  const stack = element("span", {}, `${texts.optimizations[row]} · ${texts.engine[row]}`);
  const notes = [...remarks(row), ...more].map((note) => element("p", {}, note));
  tip.replaceChildren(element("b", {}, texts.model[row]), stack, list, ...notes);
  tip.dataset.row = row;
  placeTip(place);
  for (const other of document.querySelectorAll(`[data-row="${row}"]`)) {
    if (other !== tip) other.classList.add("linked");
  }
}
function sayTip(sentence, place) {
  hideTip();
  tip.replaceChildren(sentence);
  placeTip(place);
}
function placeTip(place) {
  pointedAt = place;
  tip.hidden = false;
  const box = place.getBoundingClientRect();
  const left = Math.min(box.right + 10, window.innerWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
}
function hideTip() {
  tip.hidden = true;
  delete tip.dataset.row;
  for (const other of document.querySelectorAll(".linked")) other.classList.remove("linked");
}
document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
document.addEventListener("scroll", followTip, { passive: true, capture: true });
function followTip() {
  if (!tip.hidden && pointedAt === document.activeElement) placeTip(pointedAt);
  else hideTip();
}

// One tab stop for many marks; ``step(key, index)`` gives the next one's index.
function rove(container, items, step, show) {
  if (items.length) items[0].setAttribute("tabindex", 0);
  container.addEventListener("keydown", (event) => {
    const at = items.indexOf(document.activeElement);
    const next = at < 0 ? undefined : items[step(event.key, at)];
    if (!next) return;
    event.preventDefault();
    items[at].setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  });
  container.addEventListener("focusin", (event) => {
    if (items.includes(event.target)) show(event.target);
  });
  container.addEventListener("focusout", hideTip);
}
