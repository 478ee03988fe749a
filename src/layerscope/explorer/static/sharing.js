// @ts-check
/** Which classes share codes, how far into the depth, and which with which. */

import {layerPlace} from "./app.js";
import {amount, css} from "./colours.js";
import {fill, h, s, short} from "./elements.js";
import {leadTo} from "./glance.js";
import {refill} from "./links.js";
import {SvgPainter} from "./painter.js";
import {lacking, panel} from "./panels.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {{one: number, other: number, last: number, mean: number, overlaps: number[]}} Pair */

const SHOWN_PAIRS = 10;
const MOST_IN_MATRIX = 20;
const SPARK = {width: 132, height: 30, edge: 4};
const SHARING_HOW = "Overlap of two classes' codes at a layer: 1 = the same codes in the same shares, 0 = none in common.";

/** @param {App} app */
export function sharingView(app) {
  const pairs = h("ol", {class: "pairs"});
  const matrix = h("div", {class: "sharing-matrix", tabindex: -1});
  const none = app.bundle.json.class_source === null;
  const made = panel({
    id: "sharing", title: "Which classes share codes", how: `${SHARING_HOW} Click a pair to find its samples.`,
    body: none ? lacking(app.bundle.missing("labels"), "The run has no classes.") : h("div", {class: "sharing"}, pairs, matrix),
    svg: none ? undefined : () => sharingSvg(app),
    csv: none ? undefined : () => sharingTable(app),
  });
  if (none) return made;
  const search = (/** @type {number} */ one, /** @type {number} */ other) => {
    findPair(app, one, other);
    leadTo(made.element, "search");
  };
  app.state.follow(({changed}) => {
    const turned = changed.has("reduction");
    if (!turned && !changed.has("layer")) return;
    if (turned) fill(pairs, shownPairs(app).map((pair) => pairItem(app, pair, search)));
    markDepth(app, pairs);
    refill(matrix, matrixShown(app, search));
  });
  return made;
}

/** @param {App} app @returns {Pair[]} */
function shownPairs(app) {
  return app.counts.sharing(app.state.selection.reduction).slice(0, SHOWN_PAIRS);
}

/** Samples of both classes become what was found. @param {App} app @param {number} one @param {number} other */
function findPair(app, one, other) {
  const rows = new Set();
  app.bundle.classOf.forEach((own, row) => {
    if (own === one || own === other) rows.add(row);
  });
  app.find(rows, pairName(app, one, other));
}

/** @param {App} app @param {number} one @param {number} other */
function pairName(app, one, other) {
  return `${app.bundle.className(one)} and ${app.bundle.className(other)}`;
}

/** @param {App} app @param {Pair} pair @param {(one: number, other: number) => void} search */
function pairItem(app, pair, search) {
  const layers = app.bundle.layers(app.state.selection.reduction);
  const told = pair.last < 0 ? `nowhere half, mean ${pair.mean.toFixed(2)}` : `half or more up to ${layers[pair.last]}`;
  const name = pairName(app, pair.one, pair.other);
  return h("li", {}, h("button", {type: "button", class: "pair", "data-pair": `${pair.one}/${pair.other}`, "aria-label": `${name}: ${told}. Find their samples`, onclick: () => search(pair.one, pair.other)},
    h("span", {class: "pair-name"}, name), sparkOf(pair, name, layers), h("span", {class: "muted"}, told)));
}

/** Overlap over depth, with a line at a half. @param {Pair} pair @param {string} name @param {string[]} layers */
function sparkOf({overlaps}, name, layers) {
  const [x, y] = [sparkAcross(overlaps.length), sparkUp];
  return s("svg", {class: "spark", width: SPARK.width, height: SPARK.height, viewBox: `0 0 ${SPARK.width} ${SPARK.height}`, role: "img",
    "aria-label": `Overlap of ${name}: ${overlaps.map((one, layer) => `${layers[layer]} ${one.toFixed(2)}`).join(", ")}`},
  s("line", {class: "half", x1: 0, x2: SPARK.width, y1: y(0.5), y2: y(0.5)}),
  s("line", {class: "spark-depth", y1: 0, y2: SPARK.height}),
  s("polyline", {points: overlaps.map((one, layer) => `${x(layer).toFixed(1)},${y(one).toFixed(1)}`).join(" ")}),
  s("circle", {class: "spark-now", r: 3}));
}

/** @param {number} layers */
function sparkAcross(layers) {
  return (/** @type {number} */ layer) => SPARK.edge + (layer / Math.max(1, layers - 1)) * (SPARK.width - 2 * SPARK.edge);
}

/** @param {number} overlap */
function sparkUp(overlap) {
  return SPARK.height - SPARK.edge - overlap * (SPARK.height - 2 * SPARK.edge);
}

/** Mark the selected layer on every line. @param {App} app @param {HTMLElement} pairs */
function markDepth(app, pairs) {
  const layer = layerPlace(app);
  const shown = shownPairs(app);
  [...pairs.querySelectorAll(".spark")].forEach((spark, place) => {
    const {overlaps} = shown[place];
    const x = sparkAcross(overlaps.length)(layer).toFixed(1);
    const line = /** @type {Element} */ (spark.querySelector(".spark-depth"));
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    const dot = /** @type {Element} */ (spark.querySelector(".spark-now"));
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", sparkUp(overlaps[layer]).toFixed(1));
  });
}

/** Overlaps of every class with every other at the selected layer. @param {App} app */
function overlapsAt(app) {
  const layer = layerPlace(app);
  const found = new Map(app.counts.sharing(app.state.selection.reduction).map(({one, other, overlaps}) => [`${one}/${other}`, overlaps[layer]]));
  const classes = [...app.bundle.classes.keys()].filter((one) => [...found.keys()].some((key) => key.split("/").map(Number).includes(one)));
  const of = (/** @type {number} */ one, /** @type {number} */ other) => found.get(`${one}/${other}`) ?? found.get(`${other}/${one}`) ?? NaN;
  return {classes, of};
}

/** @param {App} app @param {(one: number, other: number) => void} search */
function matrixShown(app, search) {
  const many = app.bundle.classes.length;
  if (many > MOST_IN_MATRIX) return h("p", {class: "how"}, `Class by class is shown for at most ${MOST_IN_MATRIX} classes; this run has ${many}.`);
  const {classes, of} = overlapsAt(app);
  if (classes.length < 2) return null;
  const {layer} = app.state.selection;
  const name = (/** @type {number} */ one) => h("th", {scope: "col", title: app.bundle.className(one)}, h("span", {}, short(app.bundle.className(one), 9)));
  const rows = classes.slice(1).map((one, place) => h("tr", {}, h("th", {scope: "row", title: app.bundle.className(one)}, short(app.bundle.className(one), 12)),
    classes.slice(0, -1).map((other, column) => (column > place ? h("td", {}) : matrixCell(app, one, other, of(one, other), search)))));
  rows[0].querySelector("td")?.setAttribute("tabindex", "0");
  return h("table", {class: "matrix", role: "grid", "aria-label": `Overlap of classes at ${layer}`, onkeydown: matrixKeys},
    h("caption", {}, `Overlap at ${layer}, in hundredths; arrow keys move, Enter finds the samples`),
    h("thead", {}, h("tr", {}, h("td", {}), classes.slice(0, -1).map(name))), h("tbody", {}, rows));
}

/** One cell is reached by the tabulator, the others from it by arrows. @param {App} app @param {number} one @param {number} other @param {number} overlap @param {(one: number, other: number) => void} search */
function matrixCell(app, one, other, overlap, search) {
  const colour = amount(overlap);
  const label = `${pairName(app, other, one)}: ${overlap.toFixed(2)}`;
  return h("td", {
    tabindex: -1, "data-key": `${one}/${other}`, "aria-label": label, title: label, style: {background: css(colour), color: textOn(colour)}, onclick: () => search(other, one),
  }, String(Math.round(100 * overlap)));
}

/** Black or white, whichever is read better. @param {import("./colours.js").Rgb} colour */
function textOn(colour) {
  const [red, green, blue] = colour.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}

/** @param {KeyboardEvent} event */
function matrixKeys(event) {
  const step = /** @type {Record<string, [number, number]>} */ ({ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]})[event.key];
  const cell = /** @type {HTMLTableCellElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("td[data-key]"));
  if (!cell || (!step && ![" ", "Enter"].includes(event.key))) return;
  event.preventDefault();
  if (!step) {
    cell.click();
    return;
  }
  const row = /** @type {HTMLElement} */ (cell.parentElement);
  const next = /** @type {HTMLElement | undefined} */ (row.parentElement?.children[[...row.parentElement.children].indexOf(row) + step[0]]?.children[cell.cellIndex + step[1]]);
  if (!next?.dataset.key) return;
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

/** @param {App} app */
function sharingTable(app) {
  const {reduction} = app.state.selection;
  return [["class", "other class", "last layer with half", "mean", ...app.bundle.layers(reduction)], ...app.counts.sharing(reduction).map(({one, other, last, mean, overlaps}) =>
    [app.bundle.className(one), app.bundle.className(other), app.bundle.layers(reduction)[last] ?? "", mean.toFixed(4), ...overlaps.map((some) => some.toFixed(4))])];
}

/** Lines of the pairs, and the matrix where it is shown. @param {App} app */
function sharingSvg(app) {
  const theme = app.theme();
  const painter = new SvgPainter();
  const shown = shownPairs(app);
  const lines = shown.map(({one, other, overlaps}, place) => {
    const top = place * (SPARK.height + 6);
    painter.text([0, top + 19], short(pairName(app, one, other), 34), theme.ink, "start", 11);
    const x = sparkAcross(overlaps.length);
    return s("g", {transform: `translate(210 ${top})`, fill: "none"},
      s("line", {x1: 0, x2: SPARK.width, y1: sparkUp(0.5), y2: sparkUp(0.5), stroke: theme.line, "stroke-dasharray": "3 3"}),
      s("polyline", {points: overlaps.map((some, layer) => `${x(layer).toFixed(1)},${sparkUp(some).toFixed(1)}`).join(" "), stroke: theme.ink, "stroke-width": 1.6}));
  });
  const high = shown.length * (SPARK.height + 6);
  const side = app.bundle.classes.length <= MOST_IN_MATRIX ? matrixPainted(app, painter, [380, 20]) : 0;
  return s("svg", {viewBox: `-8 -8 ${side ? 396 + side : 360} ${Math.max(high, side + 20) + 16}`}, painter.drawn, lines);
}

/** Its width. @param {App} app @param {SvgPainter} painter @param {[number, number]} corner */
function matrixPainted(app, painter, [left, top]) {
  const {classes, of} = overlapsAt(app);
  const theme = app.theme();
  const size = 26;
  const names = 84;
  painter.text([left, top - 8], `Overlap at ${app.state.selection.layer}, in hundredths`, theme.ink, "start", 11);
  classes.forEach((one, row) => {
    painter.text([left + names - 6, top + row * size + 17], short(app.bundle.className(one), 12), theme.ink, "end", 11);
    classes.slice(0, row).forEach((other, column) => {
      const colour = amount(of(one, other));
      const [x, y] = [left + names + column * size, top + row * size];
      painter.polygon([[x, y], [x + size, y], [x + size, y + size], [x, y + size]], css(colour), css(theme.paper), 1);
      painter.text([x + size / 2, y + 17], String(Math.round(100 * of(one, other))), textOn(colour), "middle", 10);
    });
    painter.text([left + names + row * size + 4, top + row * size + 17], short(app.bundle.className(one), 12), theme.muted, "start", 10);
  });
  return names + classes.length * size + 60;
}
