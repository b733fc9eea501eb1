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
function standalone(svg, title) {
  document.documentElement.classList.add("light");
  const copy = svg.cloneNode(true);
  const originals = [svg, ...svg.querySelectorAll("*")];
  const copies = [copy, ...copy.querySelectorAll("*")];
  originals.forEach((source, index) => inlined(source, copies[index]));
  document.documentElement.classList.remove("light");
  for (const gone of copies.filter((made) => made.getAttribute("display") === "none")) gone.remove();
  const [, , width, height] = svg.getAttribute("viewBox").split(" ");
  for (const name of PAINT) copy.removeAttribute(name);
  const whole = { xmlns: "http://www.w3.org/2000/svg", width, height, "font-family": "Helvetica, Arial, sans-serif" };
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
