// @ts-check
/** Views as SVG or PNG files, selections as CSV. */

import {fill, h, s} from "./elements.js";

/** Properties that children take over: written where they change. */
const TAKEN_OVER = [
  "fill", "fill-opacity", "fill-rule", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray", "stroke-dashoffset",
  "stroke-linecap", "stroke-linejoin", "paint-order", "color", "font-family", "font-size", "font-style", "font-weight",
  "letter-spacing", "text-anchor", "visibility",
];
/** Properties of an element's own, with the values that say nothing. */
const OF_ITS_OWN = {opacity: "1", "dominant-baseline": "auto", "stop-color": "rgb(0, 0, 0)", "stop-opacity": "1", "vector-effect": "none"};
/** What a file has no use for: what belongs to the page. */
const OF_THE_PAGE = ["class", "style", "tabindex", "role", "focusable"];
/** A leading character that spreadsheets take for a formula, in both widths. */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
const PLAIN_NUMBER = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i;
/** Browsers refuse canvases beyond these: pixels a side, and all in all. */
const MOST_PIXELS = {side: 16000, all: 2.5e8};
/** Long enough for a browser to have begun to save, in milliseconds. */
const UNTIL_REVOKED = 30000;

/**
 * Buttons that save a view: as a picture where it has one, as a table where it has one.
 * @param {string} name Of the files.
 * @param {(() => SVGSVGElement | null) | undefined} svg
 * @param {(() => string[][]) | undefined} csv
 */
export function saveButtons(name, svg, csv) {
  const told = h("span", {class: "saved", role: "status"});
  const button = (/** @type {string} */ form, /** @type {(file: string) => Promise<boolean>} */ save) => {
    const file = savedName(name, form);
    const press = () => save(file).then(
      (saved) => fill(told, saved ? `${file} saved` : "Nothing to save yet"),
      (failure) => fill(told, `Not saved: ${failure.message}`));
    return h("button", {type: "button", "aria-label": `${form}: save ${name}`, title: `Save as ${file}`, onclick: press}, form);
  };
  const element = h("div", {class: "save", "data-name": name, hidden: !svg && !csv});
  fill(element,
    svg && button("SVG", async (file) => offered(file, await viewSvg(element, name, svg), "image/svg+xml")),
    svg && button("PNG", async (file) => offered(file, await viewPng(element, name, svg), "image/png")),
    csv && button("CSV", async (file) => offered(file, tableText(csv()), "text/csv;charset=utf-8")),
    told);
  return element;
}

/** A file's name: letters, digits and dashes alone. @param {string} name @param {string} form */
export function savedName(name, form) {
  return `layerscope-${name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "") || "view"}.${form.toLowerCase()}`;
}

/** A table as RFC 4180 has it. Text that a spreadsheet would take for a formula gets an apostrophe before it. @param {string[][]} table */
export function csvText(table) {
  return table.map((row) => `${row.map(savedCell).join(",")}\r\n`).join("");
}

/** @param {string | number} value */
function savedCell(value) {
  const words = String(value);
  const safe = FORMULA.test(words) && !PLAIN_NUMBER.test(words) ? `'${words}` : words;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A table that has more than its header. @param {string[][]} table */
function tableText(table) {
  return table.length > 1 ? csvText(table) : null;
}

/**
 * A drawing as a file of its own: as it is shown now, on paper, with a title. The drawing must be in the page.
 * @param {SVGSVGElement} svg
 * @param {{title: string, how?: string, paper: string}} told `paper` is the colour of its background.
 */
export function svgText(svg, {title, how = "", paper}) {
  const copy = /** @type {SVGSVGElement} */ (svg.cloneNode(true));
  const {x, y, width, height} = savedBox(svg);
  asShown(svg, copy, null);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  for (const [name, value] of Object.entries({viewBox: `${x} ${y} ${width} ${height}`, width, height, role: "img"})) copy.setAttribute(name, String(value));
  for (const old of [...copy.children].filter((child) => ["title", "desc"].includes(child.tagName))) old.remove();
  copy.prepend(s("title", {}, title), ...(how ? [s("desc", {}, how)] : []), s("rect", {x, y, width, height, fill: paper, stroke: "none"}));
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
}

/** What of a drawing is saved: all of it, in its own units. @param {SVGSVGElement} svg */
function savedBox(svg) {
  const told = svg.viewBox.baseVal;
  if (told && told.width && told.height) return {x: told.x, y: told.y, width: told.width, height: told.height};
  const {width, height} = svg.getBoundingClientRect();
  return {x: 0, y: 0, width: Math.ceil(width) || 300, height: Math.ceil(height) || 150};
}

/** Write what style sheets say into the copy. @param {Element} shown @param {Element} copy @param {CSSStyleDeclaration | null} above */
function asShown(shown, copy, above) {
  const style = getComputedStyle(shown);
  if (style.display === "none" || ["script", "foreignObject"].includes(shown.tagName)) {
    copy.remove();
    return;
  }
  for (const name of TAKEN_OVER) {
    const value = style.getPropertyValue(name);
    if (above && above.getPropertyValue(name) === value) copy.removeAttribute(name);
    else copy.setAttribute(name, value);
  }
  for (const [name, silent] of Object.entries(OF_ITS_OWN)) {
    const value = style.getPropertyValue(name);
    if (value && value !== silent) copy.setAttribute(name, value);
  }
  for (const {name} of [...copy.attributes]) if (OF_THE_PAGE.includes(name) || /^(aria|data)-|^on/.test(name)) copy.removeAttribute(name);
  const pairs = [...shown.children].map((child, place) => [child, copy.children[place]]);
  for (const [child, its] of pairs) asShown(child, its, style);
}

/** The view's drawing as text, or null where there is none. @param {HTMLElement} near @param {string} name @param {() => SVGSVGElement | null} make */
async function viewSvg(near, name, make) {
  const svg = make();
  if (!svg) return null;
  const section = near.closest("section");
  const visiting = !svg.isConnected;
  // Style sheets speak of what is in the page alone.
  if (visiting) (section ?? document.body).append(svg);
  try {
    const told = {title: section?.querySelector("h2")?.textContent || name, how: section?.querySelector(".how")?.textContent ?? "", paper: paperBehind(near)};
    return await withImages(svgText(svg, told));
  } finally {
    if (visiting) svg.remove();
  }
}

/** The colour that an element stands on. @param {Element | null} element */
function paperBehind(element) {
  for (let one = element; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (!/^transparent$|[,/]\s*0\)$/.test(colour)) return colour;
  }
  return "white";
}

/** Images of the page become part of the file. @param {string} text */
async function withImages(text) {
  const addresses = new Set([...text.matchAll(/<image\b[^>]*?\bhref="([^"]*)"/g)].map(([, address]) => address));
  for (const address of addresses) {
    if (address.startsWith("data:")) continue;
    const image = await loadedImage(address.replaceAll("&amp;", "&"));
    const canvas = h("canvas", {width: image.naturalWidth, height: image.naturalHeight});
    canvas.getContext("2d")?.drawImage(image, 0, 0);
    text = text.replaceAll(`href="${address}"`, `href="${canvas.toDataURL("image/png")}"`);
  }
  return text;
}

/** @param {string} address @returns {Promise<HTMLImageElement>} */
function loadedImage(address) {
  const image = new Image();
  return new Promise((resolve, reject) => {
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("the drawing can't be read as an image"));
    image.src = address;
  });
}

/** The same on a canvas, two pixels to one. @param {HTMLElement} near @param {string} name @param {() => SVGSVGElement | null} make @returns {Promise<Blob | null>} */
async function viewPng(near, name, make) {
  const text = await viewSvg(near, name, make);
  if (text === null) return null;
  const address = URL.createObjectURL(new Blob([text], {type: "image/svg+xml"}));
  try {
    const image = await loadedImage(address);
    const scale = pngScale(image.naturalWidth, image.naturalHeight);
    const canvas = h("canvas", {width: Math.round(image.naturalWidth * scale), height: Math.round(image.naturalHeight * scale)});
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser makes no PNG of this size")))));
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Pixels to one of a drawing's: two, or as many as browsers allow. @param {number} width @param {number} height */
export function pngScale(width, height) {
  return Math.min(2, MOST_PIXELS.side / Math.max(width, height), Math.sqrt(MOST_PIXELS.all / (width * height)));
}

/** Hand a file to the reader; whether there was one. @param {string} file @param {string | Blob | null} what @param {string} type */
function offered(file, what, type) {
  if (what === null) return false;
  const address = URL.createObjectURL(new Blob([what], {type}));
  const link = h("a", {href: address, download: file, hidden: true});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), UNTIL_REVOKED);
  return true;
}
