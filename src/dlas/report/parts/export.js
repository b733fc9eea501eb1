// A chart as a file for papers: standalone, its styles written out, in the light colours.
const PAINT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity",
  "font-size", "font-weight", "text-anchor", "paint-order", "display", "shape-rendering"];
const DEFAULTS = { "stroke-dasharray": "none", opacity: "1", "text-anchor": "start", display: "inline",
  "paint-order": "normal", "stroke-linejoin": "miter", "font-weight": "400", "shape-rendering": "auto" };
const palette = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

// Any CSS colour as #rrggbb and its opacity: programs for papers know no color-mix().
function paint(colour) {
  if (colour === "none" || colour.startsWith("url")) return [colour, 1];
  palette.clearRect(0, 0, 1, 1);
  palette.fillStyle = colour;
  palette.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = palette.getImageData(0, 0, 1, 1).data;
  const hex = [red, green, blue].map((part) => part.toString(16).padStart(2, "0")).join("");
  return [`#${hex}`, Math.round((alpha / 255) * 1000) / 1000];
}
function inlined(source, copy) {
  const style = getComputedStyle(source);
  const known = {};
  for (const name of PAINT) {
    const value = style.getPropertyValue(name);
    if (value === DEFAULTS[name]) continue;
    if (name !== "fill" && name !== "stroke") known[name] = value.replace(/px\b/g, "");
    else {
      const [colour, opacity] = paint(value);
      known[name] = opacity ? colour : "none";
      if (opacity && opacity < 1) known[`${name}-opacity`] = opacity;
    }
  }
  if (known.stroke === "none") for (const name of Object.keys(known)) if (name.startsWith("stroke-")) delete known[name];
  if (!source.closest("text")) for (const name of ["font-size", "font-weight", "text-anchor"]) delete known[name];
  for (const name of ["class", "style", "tabindex", "data-row", "aria-label", "role"]) copy.removeAttribute(name);
  for (const [name, value] of Object.entries(known)) copy.setAttribute(name, value);
}
// The legend, which on the page stands above all charts, as lines below one; returns their height.
function drawLegendBelow(svg, width, top) {
  const legend = drawing("g", { class: "below" });
  let line = 0;
  for (const role of chosen.colour === chosen.shape ? ["colour"] : ["colour", "shape"]) {
    let left = 10;
    distinctOf[chosen[role]].forEach((value, index) => {
      if (chosen.hidden.has(hiddenKey(chosen[role], value))) return;
      const wide = 30 + 6.5 * value.length;
      if (left > 10 && left + wide > width) [left, line] = [10, line + 1];
      const both = chosen.colour === chosen.shape;
      const style = appearance(role === "colour" ? index : 0, role === "shape" || both ? index : 0);
      const at = `translate(${left + 6},${top + 12 + 18 * line})`;
      const glyph = drawing("g", { class: `mark${style.hollow ? " hollow" : ""}`, transform: at },
        drawing("path", { d: SHAPES[style.shape] }));
      glyph.style.setProperty("--fill", role === "colour" ? `var(--c${style.colour})` : "var(--soft)");
      legend.append(glyph, drawing("text", { class: "axis", x: left + 16, y: top + 16 + 18 * line }, value));
      left += wide;
    });
    line += 1;
  }
  svg.append(legend);
  return 18 * line + 6;
}

function standalone(svg, title) {
  const [, , width, tall] = svg.getAttribute("viewBox").split(" ").map(Number);
  document.documentElement.classList.add("light");
  const below = svg.querySelector(".mark") ? drawLegendBelow(svg, width, tall) : 0;
  const copy = svg.cloneNode(true);
  const originals = [svg, ...svg.querySelectorAll("*")];
  const copies = [copy, ...copy.querySelectorAll("*")];
  originals.forEach((source, index) => inlined(source, copies[index]));
  document.documentElement.classList.remove("light");
  if (below) svg.lastChild.remove();
  for (const gone of copies.filter((made) => made.getAttribute("display") === "none")) gone.remove();
  const height = tall + below;
  for (const name of PAINT) copy.removeAttribute(name);
  const viewBox = `0 0 ${width} ${height}`;
  const whole = { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox, "font-family": "Helvetica, Arial, sans-serif" };
  for (const [name, value] of Object.entries(whole)) copy.setAttribute(name, value);
  copy.prepend(drawing("title", {}, title), drawing("rect", { width, height, fill: "#ffffff" }));
  return new XMLSerializer().serializeToString(copy);
}

// A link at every chart; what it leads to is made when it is followed.
for (const figure of document.querySelectorAll("figure.plot")) {
  const link = element("a", { class: "button svg script", href: "#", download: `${data.study}-${figure.id}.svg` }, "Download SVG");
  link.addEventListener("click", (event) => {
    const svg = figure.querySelector(".canvas svg");
    if (!svg) return event.preventDefault();
    const title = figure.querySelector("figcaption h3").firstChild.textContent.trim();
    link.href = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(standalone(svg, title))}`;
  });
  figure.querySelector("figcaption").append(link);
}
