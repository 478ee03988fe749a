// @ts-check
/** A layer's map in one of its colourings, on any painter. */

import {besideClean} from "./app.js";
import {amount, between, css, mixed} from "./colours.js";
import {conditionTitle} from "./conditions.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./painter.js").Painter} Painter */
/** @typedef {import("./painter.js").Point} Point */

/** Of fewer samples the entropy of their classes is far too low. */
const FEW = 10;
/** Of a cell that no sample has: its outline alone, and smaller, so that it is no pale colour. */
const OUTLINE = 0.84;
/** A canvas that browsers paint, in pixels a side. */
const MOST_ACROSS = 16000;

/** How a map may be coloured: by name, what it is called, how to read it, and what its scale counts. */
export const COLOURINGS = {
  class: {title: "class", how: "Colour: the commonest class. Pale: classes mix.", unit: ""},
  pies: {title: "class mix", how: "Pie: the mix of classes. Size: how many samples.", unit: ""},
  hits: {title: "hits", how: "From dark (few) to yellow (most): how many samples have the code.", unit: "samples"},
  umatrix: {title: "U-matrix", how: "From dark to yellow: how far a code's prototype lies from its neighbours'. Yellow ridges part regions.", unit: "spreads"},
  homogeneity: {title: "homogeneity", how: `From dark (one class) to yellow (many classes share the code): entropy of its samples' classes, not corrected for few samples. Struck through: fewer than ${FEW} samples, far too low.`, unit: "bits"},
  flips: {title: "flips", how: "From dark (none) to yellow (all): share of a code's samples that the condition moves to another code.", unit: "of the samples"},
  shift: {title: "shift", how: "From dark (none) to yellow (most): how many grid steps the condition moves a code's samples, mean.", unit: "steps"},
  found: {title: "found", how: "From dark (none) to yellow (all): share of a code's samples that the search has found.", unit: "of the samples"},
};

/** @typedef {keyof typeof COLOURINGS} Colouring */

/** What maps show now: the chosen colouring, or hits where the run has not what that shows; and how to read it. @param {App} app */
export function colouringShown(app) {
  const {colour} = app.state.selection;
  const name = /** @type {Colouring} */ (colourable(app, colour) ? colour : "hits");
  const {title, how, unit} = COLOURINGS[name];
  const answers = app.bundle.json.class_source === "predictions" && ["class", "pies", "homogeneity"].includes(name);
  const condition = besideClean(app);
  const more = [
    answers ? "Classes are the network's answers." : "",
    (name === "flips" || name === "shift") && condition ? `Condition: ${conditionTitle(app.bundle.conditions, condition)}.` : "",
    name === "found" ? `Found: ${app.found.told}.` : "",
    name === "umatrix" ? "" : "Outline alone: no sample has the code.",
  ];
  return {name, title, unit, how: [how, ...more].filter(Boolean).join(" ")};
}

/** Whether the run has what a colouring shows. @param {App} app @param {string} name */
export function colourable(app, name) {
  if (name === "flips" || name === "shift") return besideClean(app) !== null;
  if (name === "found") return app.found.sets !== null;
  if (["class", "pies", "homogeneity"].includes(name)) return app.bundle.json.class_source !== null;
  return Object.hasOwn(COLOURINGS, name);
}

/**
 * What a colouring by amount shows of each unit, NaN where it has none, and the most of all layers: the same colour is
 * the same amount on every map.
 * @param {App} app @param {string} name @param {string} reduction @param {number} layer
 * @returns {{values: ArrayLike<number>, most: number}}
 */
export function amountsOf(app, name, reduction, layer) {
  const {hits, entropy} = app.counts.mix(reduction, layer);
  const used = (/** @type {ArrayLike<number>} */ all) => Float32Array.from(all, (value, unit) => (hits[unit] ? value : NaN));
  const condition = besideClean(app);
  if (name === "hits") return {values: used(hits), most: mostHits(app, reduction)};
  if (name === "umatrix") {
    const of = (/** @type {number} */ one) => app.bundle.umatrix(reduction, one);
    return {values: of(layer), most: mostOfLayers(app, `umatrix ${reduction}`, reduction, of)};
  }
  if (name === "homogeneity") {
    const values = used(entropy);
    return {values, most: Math.log2(Math.max(2, app.counts.classes))};
  }
  if (name === "flips" && condition) return {values: app.counts.moved(condition, reduction, layer).flips, most: 1};
  if (name === "shift" && condition) {
    const of = (/** @type {number} */ one) => app.counts.moved(condition, reduction, one).shift;
    return {values: of(layer), most: mostOfLayers(app, `shift ${condition} ${reduction}`, reduction, of)};
  }
  const rows = app.found.sets ?? new Set();
  const values = new Float32Array(app.bundle.units);
  const codes = app.bundle.codes("clean", reduction, layer);
  for (const row of rows) values[codes[row]] += 1;
  return {values: used(values.map((some, unit) => some / (hits[unit] || 1))), most: 1};
}

/** @type {WeakMap<import("./bundle.js").Bundle, Map<string, number>>} */
const LARGEST = new WeakMap();

/** The largest value of all layers, sought once. @param {App} app @param {string} key @param {string} reduction @param {(layer: number) => ArrayLike<number>} of */
function mostOfLayers(app, key, reduction, of) {
  const kept = LARGEST.get(app.bundle) ?? new Map();
  LARGEST.set(app.bundle, kept);
  if (!kept.has(key)) {
    let most = 0;
    for (const layer of app.bundle.layers(reduction).keys()) {
      const values = of(layer);
      for (let unit = 0; unit < values.length; unit += 1) if (values[unit] > most) most = values[unit];
    }
    kept.set(key, most);
  }
  return /** @type {number} */ (kept.get(key));
}

/** The most samples of a unit, of all layers. @param {App} app @param {string} reduction */
function mostHits(app, reduction) {
  return mostOfLayers(app, `hits ${reduction}`, reduction, (layer) => app.counts.mix(reduction, layer).hits);
}

/**
 * Paint a map into a square, as `colouringShown` says.
 * @param {App} app @param {Painter} painter
 * @param {string} reduction @param {number} layer @param {Point} corner @param {number} size
 */
export function paintMap(app, painter, reduction, layer, [left, top], size) {
  const {scale, centre} = app.grid.fitted(size);
  const theme = app.theme();
  const colouring = colouringShown(app).name;
  const mix = app.counts.mix(reduction, layer);
  const byAmount = !["class", "pies"].includes(colouring) ? amountsOf(app, colouring, reduction, layer) : null;
  const edge = size > 200 ? 1 : 0.4;
  const most = Math.max(1, mostHits(app, reduction));
  for (let unit = 0; unit < app.grid.size; unit += 1) {
    const [x, y] = centre(unit);
    const around = (/** @type {Point[]} */ points, part = 1) => points.map(([dx, dy]) => /** @type {Point} */ ([left + x + part * dx * scale, top + y + part * dy * scale]));
    const outline = around(app.grid.cell);
    if (byAmount ? Number.isNaN(byAmount.values[unit]) : mix.commonest[unit] < 0) {
      painter.polygon(around(app.grid.cell, OUTLINE), null, theme.muted, Math.max(0.6, 0.8 * edge));
      continue;
    }
    if (colouring === "pies") {
      painter.polygon(outline, theme.empty, css(theme.paper), edge);
      paintPie(app, painter, mix, unit, [left + x, top + y], scale * 0.52 * Math.sqrt(mix.hits[unit] / most));
      continue;
    }
    painter.polygon(outline, byAmount ? amountColour(byAmount, unit) : classColour(app, mix, unit), css(theme.paper), edge);
    if (colouring === "homogeneity" && mix.hits[unit] < FEW) painter.polygon(around([[-0.3, 0.3], [0.3, -0.3]]), null, css(theme.paper), 2 * edge);
  }
}

/** @param {{values: ArrayLike<number>, most: number}} told @param {number} unit */
function amountColour({values, most}, unit) {
  return css(amount(most > 0 ? values[unit] / most : 0));
}

/** @param {App} app @param {import("./counts.js").Mix} mix @param {number} unit */
function classColour(app, mix, unit) {
  return css(mixed(app.classes[mix.commonest[unit]], mix.purity[unit], app.counts.classes, app.theme().paper));
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
  const ratio = Math.min(3, globalThis.devicePixelRatio || 1, MOST_ACROSS / Math.max(width, height));
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.setProperty("width", `${width}px`);
  canvas.style.setProperty("height", `${height}px`);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
