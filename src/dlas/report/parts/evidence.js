// Evidence: the stacks behind a sentence. Its link leads to the table, which then shows them alone,
// and rings them in the charts until all stacks are asked for again.
const evidence = { rows: new Set(), source: null };

// "0-3 7" stands for 0, 1, 2, 3 and 7.
function rowsOf(text) {
  return text.split(" ").filter(Boolean).flatMap((part) => {
    const [first, last = first] = part.split("-").map(Number);
    return stacks.slice(first, last + 1);
  });
}
function showEvidence(rows, source) {
  evidence.rows = new Set(rows);
  evidence.source = source;
  for (const other of document.querySelectorAll(".shown-evidence")) other.classList.remove("shown-evidence");
  source?.classList.add("shown-evidence");
  const bar = byId("evidence");
  bar.hidden = !rows.length;
  if (rows.length) {
    const said = source.querySelector(".said")?.textContent.trim() ?? source.textContent.trim();
    bar.querySelector("span").textContent = `Only ${rows.length === 1 ? "the stack" : `the ${rows.length} stacks`} behind: “${said}”`;
    bar.querySelector("a").href = `#${source.id}`;
  }
  document.dispatchEvent(new Event("evidence"));
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-rows]");
  if (link) showEvidence(rowsOf(link.dataset.rows), link.closest(".finding"));
});
