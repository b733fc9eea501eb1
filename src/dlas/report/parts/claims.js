// Verdicts, filtered by verdict: a pressed button shows its own, none pressed shows all.
const verdictButtons = [...document.querySelectorAll("#verdicts button[data-verdict]")];
function filterVerdicts() {
  const pressed = verdictButtons.filter((button) => button.getAttribute("aria-pressed") === "true")
    .map((button) => button.dataset.verdict);
  let shown = 0;
  const all = document.querySelectorAll(".verdict");
  for (const verdict of all) {
    verdict.hidden = pressed.length > 0 && !pressed.includes(verdict.dataset.verdict);
    shown += !verdict.hidden;
  }
  for (const group of document.querySelectorAll(".verdicts, .untestable")) {
    group.hidden = !group.querySelector(".verdict:not([hidden])");
    if (group.open === false && pressed.length && !group.hidden) group.open = true;
  }
  byId("verdicts-shown").textContent = `Shown: ${shown} of ${all.length}.`;
}
for (const button of verdictButtons) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    filterVerdicts();
  });
}
