// The interaction map: how much of a quantity's variance each layer explains by itself (on the
// diagonal) and each pair beyond that (below it). The table under it holds the same numbers.
const percent = (share, fine = 1) => (share * 100).toFixed(Math.abs(share) >= 0.0995 ? 0 : fine);

function drawMap() {
  const figure = byId("interaction-map");
  if (!figure) return;
  const { value } = byId("map-choice");
  for (const place of document.querySelectorAll("[data-map]")) place.hidden = place.dataset.map !== value;
  const canvas = figure.querySelector(".canvas");
  canvas.replaceChildren(mapOf(data.maps[Number(value)], canvas.clientWidth));
}

function mapOf({ factors, cells, label }, room) {
  const wide = (name) => 10 + 7 * name.length;
  const left = Math.max(...factors.map(wide));
  const many = factors.length;
  const beside = wide(factors[many - 1]);
  const size = Math.min(92, Math.max(26, (Math.min(room, 900) - left - beside) / many));
  const [width, height] = [left + size * many + Math.max(2, beside - size), 26 + size * many + 6];
  const svg = drawing("svg", {
    viewBox: `0 0 ${width.toFixed(1)} ${height.toFixed(1)}`, role: "group",
    "aria-label": `Share of the variance of ${label} by layers and pairs of layers; move with the arrow keys`,
  });
  svg.style.maxWidth = `${width}px`;
  const at = new Map(cells.map((cell) => [cell.at.join(), cell]));
  const squares = [];
  factors.forEach((name, down) => {
    const [y, x] = [26 + size * down, left + size * down];
    svg.append(drawing("text", { class: "axis", x: left - 6, y: y + size / 2 + 4, "text-anchor": "end" }, name));
    svg.append(drawing("text", { class: "axis", x: x + 2, y: y - 6 }, name));
    for (let across = 0; across <= down; across++) {
      const square = mapSquare(at.get(`${across},${down}`), [factors[across], name], left + size * across, y, size);
      svg.append(square.drawn);
      squares.push(square);
    }
  });
  attendMap(svg, squares);
  return svg;
}

function mapSquare(cell, [across, down], x, y, size) {
  const subject = cell?.name ?? (across === down ? across : `${across} × ${down}`);
  const place = { x: x + 1, y: y + 1, width: size - 2, height: size - 2 };
  const square = drawing("g", { class: "square", tabindex: -1, role: "img" });
  if (!cell || !known(cell.share)) {
    const said = `${subject}: ${cell?.why || "cannot be said from this study"}`;
    square.setAttribute("aria-label", said);
    square.append(drawing("rect", { class: "hole", ...place }),
      drawing("path", { class: "hole-line", d: `M${x + 1},${y + size - 1}L${x + size - 1},${y + 1}` }));
    return { drawn: square, said };
  }
  const interval = known(cell.low) ? ` (95 % interval ${percent(cell.low)}–${percent(cell.high)} %)` : "";
  const said = `${subject}: ${percent(cell.share)} % of the variance${interval}; ${cell.basis}`;
  square.setAttribute("aria-label", said);
  const fill = drawing("rect", { class: "heat", ...place });
  fill.style.setProperty("--shade", `${Math.round(3 + 45 * Math.min(1, Math.max(0, cell.share)))}%`);
  const middle = { x: x + size / 2, "text-anchor": "middle" };
  const roomy = size >= 58 && interval;
  square.append(fill, drawing("text", { class: "share", ...middle, y: y + size / 2 + (roomy ? -2 : 5) }, percent(cell.share, size < 40 ? 0 : 1)));
  if (size < 40) square.lastChild.style.fontSize = "11px";
  if (roomy) {
    square.append(drawing("text", { class: "ends", ...middle, y: y + size / 2 + 13 }, `${percent(cell.low)}–${percent(cell.high)}`));
    const along = (share) => (x + 8 + (size - 16) * Math.min(1, Math.max(0, share))).toFixed(1);
    const level = y + size - 9;
    square.append(drawing("path", { class: "track", d: `M${along(0)},${level}H${along(1)}` }),
      drawing("path", { class: "span", d: `M${along(cell.low)},${level}H${along(cell.high)}M${along(cell.share)},${level - 4}v8` }));
  }
  return { drawn: square, said };
}

// Down and up step over the rows of the triangle, so the index jumps by a row's length.
function attendMap(svg, squares) {
  const items = squares.map(({ drawn }) => drawn);
  const show = (item) => sayTip(squares[items.indexOf(item)].said, item);
  const rowOf = (index) => Math.floor((Math.sqrt(8 * index + 1) - 1) / 2);
  const step = (key, index) => {
    const row = rowOf(index);
    const column = index - (row * (row + 1)) / 2;
    if (key === "ArrowDown") return index + row + 1;
    if (key === "ArrowUp") return column < row ? index - row : NaN;
    return { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: items.length - 1 }[key] ?? NaN;
  };
  rove(svg, items, step, show);
  svg.addEventListener("pointerover", (event) => {
    const item = event.target.closest(".square");
    if (item) show(item);
  });
  svg.addEventListener("pointerleave", hideTip);
}

byId("map-choice")?.addEventListener("change", () => {
  hideTip();
  drawMap();
});
