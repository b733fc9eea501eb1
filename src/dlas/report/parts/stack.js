// Marked stacks: A and B. A click or the space bar marks, or unmarks, in any chart or table; Enter
// leads to what is shown of them. They stand in the address, as the filter does.
const marked = { A: null, B: null };
let cameFrom = null;

function markedStacks() {
  return Object.entries(marked).filter(([, row]) => row !== null);
}
function letterOf(row) {
  return Object.keys(marked).find((letter) => marked[letter] === row);
}
// With two marked, a third takes the place of B: A stays what others are held against.
function mark(row) {
  const letter = letterOf(row);
  if (letter) marked[letter] = null;
  else marked[marked.A === null ? "A" : "B"] = row;
  if (marked.A === null && marked.B !== null) [marked.A, marked.B] = [marked.B, null];
  changeMarks(letter ? `Unmarked: ${stackName(row)}` : `Marked ${letterOf(row)}: ${stackName(row)}`);
}
function changeMarks(sentence) {
  byId("mark-said").textContent = sentence;
  tellMarks();
  keepAddress();
}
function tellMarks() {
  paintMarks();
  drawDock();
  drawStack();
}

// Wherever a marked stack stands, it carries its letter; called again after a chart is drawn.
function paintMarks() {
  for (const old of document.querySelectorAll("[data-marked]")) {
    old.removeAttribute("data-marked");
    tellPressed(old, "");
  }
  for (const old of document.querySelectorAll("text.letter")) old.remove();
  for (const [letter, row] of markedStacks()) {
    for (const place of document.querySelectorAll(`[data-row="${row}"]`)) {
      if (place === tip) continue;
      place.setAttribute("data-marked", letter);
      tellPressed(place, letter);
      if (!place.matches(".mark")) continue;
      // Beside the mark, above all others: a mark that is moved would lose the focus.
      const at = { transform: place.getAttribute("transform"), y: -11, "text-anchor": "middle" };
      place.ownerSVGElement.append(drawing("text", { class: "letter", ...at }, letter));
    }
  }
}
function tellPressed(place, letter) {
  const button = place.matches("tr") ? place.querySelector(".marker") : place.matches(".mark") ? place : null;
  if (!button) return;
  button.setAttribute("aria-pressed", letter !== "");
  if (button.matches(".marker")) button.textContent = letter;
}

function drawDock() {
  const held = markedStacks();
  byId("dock").hidden = !held.length;
  byId("dock").querySelector("ul").replaceChildren(...held.map(([letter, row]) => {
    const gone = element("button", { type: "button", "aria-label": `Unmark ${letter}` }, "×");
    gone.addEventListener("click", () => mark(row));
    return element("li", {}, element("b", {}, letter), element("span", {}, stackName(row)), gone);
  }));
  byId("dock").querySelector("a").textContent = held.length > 1 ? "Compare them" : "Look at it";
}

function drawStack() {
  const held = markedStacks();
  const rows = held.map(([, row]) => row);
  byId("stack-tools").hidden = !held.length;
  byId("stack-how").hidden = held.length > 1;
  byId("stack-back").hidden = !cameFrom;
  byId("stack-swap").hidden = held.length < 2;
  const names = held.map(([letter, row]) => element("p", {}, element("b", {}, letter), ` ${stackName(row)}`));
  const sentences = held.length > 1 ? verdict(...rows) : [];
  const notes = held.flatMap(([letter, row]) => stackTold(letter, row));
  byId("stack-said").replaceChildren(...names,
    ...sentences.map((said, at) => element("p", { class: at ? null : "answer" }, said)),
    ...notes.map((note) => element("p", { class: "small" }, note)));
  byId("stack-choices").hidden = !held.length;
  if (held.length) drawChoices(held);
  drawRuns();
  const profiled = rows.filter((row) => data.layers.bars[row]);
  byId("profile").hidden = !profiled.length;
  if (!profiled.length) return;
  byId("profile").dataset.of = profiled.length > 1 ? "difference" : "one";
  if (profiled.length > 1) drawDifference(...profiled);
  else drawProfile(profiled[0]);
  if (held.length > profiled.length) {
    byId("profile-said").prepend(`Only ${letterOf(profiled[0])} was measured layer by layer. `);
  }
}
const drawRuns = () => drawHistogram(markedStacks());

function visitStack() {
  const active = document.activeElement;
  cameFrom = active?.closest("[data-row]") ? placeOf(active) : null;
  byId("stack-back").hidden = !cameFrom;
  hideTip();
  byId("stack-title").focus({ preventScroll: true });
  byId("stack").scrollIntoView();
}
// A chart may be drawn again meanwhile, so a place is remembered by what it is.
function placeOf(active) {
  const box = active.closest("[id]");
  const row = active.closest("[data-row]").dataset.row;
  return `#${box.id} ${active.matches(".marker") ? `[data-row="${row}"] .marker` : `[data-row="${row}"]`}`;
}
function goBack() {
  const place = cameFrom && document.querySelector(cameFrom);
  if (!place) return;
  place.focus();
  place.scrollIntoView({ block: "center" });
}

// Table rows, cells and front entries are clicked themselves; in a chart it is the stack told of.
function clickedStack({ target }) {
  if (target.closest("a, summary, select, input") || (target.closest("button") && !target.closest(".marker"))) return null;
  if (target.closest(".canvas svg[role=group]")) return tip.dataset.row ?? null;
  return target.closest("#matrix td[data-row], #table tr[data-row], .front [data-row]")?.dataset.row ?? null;
}

function drawMarking() {
  document.addEventListener("click", (event) => {
    const row = clickedStack(event);
    const selecting = () => !event.target.closest(".marker") && getSelection().type === "Range";
    if (row !== null && !selecting()) mark(Number(row));
  });
  document.addEventListener("keydown", (event) => {
    const place = event.target.closest?.(".mark, #matrix td[data-row], .marker");
    if (!place || (event.key !== " " && event.key !== "Enter")) return;
    if (event.key === " " && place.matches(".marker")) return; // a button: it is clicked
    event.preventDefault();
    const row = Number(place.closest("[data-row]").dataset.row);
    if (event.key === " " || !letterOf(row)) mark(row);
    if (event.key === "Enter") visitStack();
  });
  byId("stack").addEventListener("keydown", (event) => event.key === "Escape" && goBack());
  byId("stack-back").addEventListener("click", goBack);
  byId("stack-swap").addEventListener("click", () => {
    [marked.A, marked.B] = [marked.B, marked.A];
    changeMarks("A and B are swapped.");
  });
  byId("stack-clear").addEventListener("click", () => {
    marked.A = marked.B = null;
    changeMarks("No stack is marked.");
  });
  byId("dock").querySelector("a").addEventListener("click", (event) => {
    event.preventDefault();
    visitStack();
  });
  // While it is in view, there is no need for the dock to lead there.
  new IntersectionObserver(([entry]) => byId("dock").classList.toggle("there", entry.isIntersecting))
    .observe(byId("stack"));
}
