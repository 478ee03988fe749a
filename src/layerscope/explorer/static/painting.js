// @ts-check
/** A layer's map in one of its colourings, on any painter. */

import {besideClean} from "./app.js";
import {amount, between, css, mixed} from "./colours.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./painter.js").Painter} Painter */
/** @typedef {import("./painter.js").Point} Point */

/** How a map may be coloured: by name, what it is called and how to read it. */
export const COLOURINGS = {
  class: {title: "class", how: "Colour: the commonest class. Pale: classes mix."},
  pies: {title: "class mix", how: "Pie: the mix of classes. Size: how many samples."},
  hits: {title: "hits", how: "From dark (none) to yellow (most): how many samples have the code."},
  umatrix: {title: "U-matrix", how: "From dark to yellow: how far a code's prototype lies from its neighbours'. Yellow ridges part regions."},
  homogeneity: {title: "homogeneity", how: "From dark (one class) to yellow (many classes share the code): H(label | this code), in bits."},
  flips: {title: "flips", how: "From dark (none) to yellow (all): share of a code's samples that the condition moves to another code."},
  shift: {title: "shift", how: "From dark (none) to yellow (most): how many grid steps the condition moves a code's samples, mean."},
  found: {title: "found", how: "From dark (none) to yellow (all): share of a code's samples that the search has found."},
};

/** Whether the run has what a colouring shows. @param {App} app @param {string} name */
export function colourable(app, name) {
  if (name === "flips" || name === "shift") return besideClean(app) !== null;
  if (name === "found") return app.found.sets !== null;
  if (["class", "pies", "homogeneity"].includes(name)) return app.bundle.json.class_source !== null;
  return name in COLOURINGS;
}

/**
 * What a colouring by amount shows of each unit, NaN where it has none, and the most.
 * @param {App} app @param {string} name @param {string} reduction @param {number} layer
 * @returns {{values: ArrayLike<number>, most: number}}
 */
export function amountsOf(app, name, reduction, layer) {
  const {hits, entropy} = app.counts.mix(reduction, layer);
  const used = (/** @type {ArrayLike<number>} */ all) => Float32Array.from(all, (value, unit) => (hits[unit] ? value : NaN));
  const largest = (/** @type {ArrayLike<number>} */ all) => Array.prototype.reduce.call(all, (most, one) => (/** @type {number} */ (one) > /** @type {number} */ (most) ? one : most), 0);
  const condition = besideClean(app);
  if (name === "hits") return {values: hits, most: Number(largest(hits))};
  if (name === "umatrix") {
    const values = app.bundle.umatrix(reduction, layer);
    return {values, most: Number(largest(values))};
  }
  if (name === "homogeneity") {
    const values = used(entropy);
    return {values, most: Math.log2(Math.max(2, app.counts.classes))};
  }
  if (name === "flips" && condition) return {values: app.counts.moved(condition, reduction, layer).flips, most: 1};
  if (name === "shift" && condition) {
    const values = app.counts.moved(condition, reduction, layer).shift;
    return {values, most: Number(largest(values))};
  }
  const rows = app.found.sets ?? new Set();
  const values = new Float32Array(app.bundle.units);
  const codes = app.bundle.codes("clean", reduction, layer);
  for (const row of rows) values[codes[row]] += 1;
  return {values: used(values.map((some, unit) => some / (hits[unit] || 1))), most: 1};
}

/**
 * Paint a map into a square.
 * @param {App} app @param {Painter} painter @param {string} name A colouring.
 * @param {string} reduction @param {number} layer @param {Point} corner @param {number} size
 */
export function paintMap(app, painter, name, reduction, layer, [left, top], size) {
  const {scale, centre} = app.grid.fitted(size);
  const theme = app.theme();
  const colouring = colourable(app, name) ? name : "hits";
  const mix = app.counts.mix(reduction, layer);
  const byAmount = !["class", "pies"].includes(colouring) ? amountsOf(app, colouring, reduction, layer) : null;
  const edge = size > 200 ? 1 : 0.4;
  const most = Math.max(1, ...mix.hits);
  for (let unit = 0; unit < app.grid.size; unit += 1) {
    const [x, y] = centre(unit);
    const outline = app.grid.cell.map(([dx, dy]) => /** @type {Point} */ ([left + x + dx * scale, top + y + dy * scale]));
    if (colouring === "pies") {
      painter.polygon(outline, theme.empty, css(theme.paper), edge);
      paintPie(app, painter, mix, unit, [left + x, top + y], scale * 0.52 * Math.sqrt(mix.hits[unit] / most));
      continue;
    }
    painter.polygon(outline, byAmount ? amountColour(byAmount, unit, theme.empty) : classColour(app, mix, unit), css(theme.paper), edge);
  }
}

/** @param {{values: ArrayLike<number>, most: number}} told @param {number} unit @param {string} empty */
function amountColour({values, most}, unit, empty) {
  return Number.isNaN(values[unit]) ? empty : css(amount(most > 0 ? values[unit] / most : 0));
}

/** @param {App} app @param {import("./counts.js").Mix} mix @param {number} unit */
function classColour(app, mix, unit) {
  const {paper, empty} = app.theme();
  const commonest = mix.commonest[unit];
  return commonest < 0 ? empty : css(mixed(app.classes[commonest], mix.purity[unit], app.counts.classes, paper));
}

/** @param {App} app @param {Painter} painter @param {import("./counts.js").Mix} mix @param {number} unit @param {Point} centre @param {number} radius */
function paintPie(app, painter, {classes, hits}, unit, centre, radius) {
  if (!hits[unit]) return;
  const own = classes.subarray(unit * app.counts.classes, (unit + 1) * app.counts.classes);
  let total = 0;
  for (const some of own) total += some;
  if (!total) return;
  let from = 0;
  own.forEach((some, one) => {
    if (!some) return;
    const to = from + some / total;
    painter.sector(centre, radius, from, to >= 1 - 1e-9 && from === 0 ? 1 : to, css(app.classes[one]));
    from = to;
  });
}

/** A colour paler than a class's. @param {App} app @param {number} one @param {number} share */
export function paler(app, one, share) {
  return css(between(app.theme().paper, app.classes[one], share));
}

/** A canvas of a size in CSS pixels, as sharp as the screen; and what draws on it. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function sharp(canvas, width, height) {
  const ratio = Math.min(3, globalThis.devicePixelRatio || 1);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.setProperty("width", `${width}px`);
  canvas.style.setProperty("height", `${height}px`);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
