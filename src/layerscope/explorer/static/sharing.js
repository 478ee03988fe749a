// @ts-check
/** Which classes share codes, in how many layers, and which with which. */

import {layerPlace, ofShown} from "./app.js";
import {amount, css} from "./colours.js";
import {count, fill, h, s, short} from "./elements.js";
import {leadTo} from "./glance.js";
import {refill} from "./links.js";
import {LEAST_OF_CLASS, sharedTold} from "./overlaps.js";
import {SvgPainter} from "./painter.js";
import {lacking, panel} from "./panels.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./overlaps.js").Pair} Pair */

const SHOWN_PAIRS = 10;
const MOST_IN_MATRIX = 20;
const SPARK = {width: 132, height: 30, edge: 4};
const SHARING_HOW = "Overlap of the mass of two classes at a layer (thick line): 1 = the same codes in the same shares, 0 = none in common. Few samples overlap less than many, so it is that of random halves, beside the ceiling (thin line): what halves of one class overlap with each other. A layer is shared from half of the ceiling on (dashed).";

/** @param {App} app */
export function sharingView(app) {
  const pairs = h("ol", {class: "pairs"});
  const notes = h("p", {class: "how sharing-notes"});
  const matrix = h("div", {class: "sharing-matrix", tabindex: -1});
  const none = app.bundle.json.class_source === null;
  const made = panel({
    id: "sharing", title: "Which classes share codes", how: `${SHARING_HOW} Click a pair to find its samples.`,
    body: none ? lacking(app.bundle.missing("labels"), "The run has no classes.") : h("div", {class: "sharing"}, pairs, notes, matrix),
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
    if (turned) fill(notes, sharingNotes(app));
    markDepth(app, pairs);
    refill(matrix, matrixShown(app, search));
  });
  return made;
}

/** @param {App} app @returns {Pair[]} */
function shownPairs(app) {
  return app.counts.sharing(app.state.selection.reduction).pairs.slice(0, SHOWN_PAIRS);
}

/** Which classes are compared, and over which samples. @param {App} app */
function sharingNotes(app) {
  const {classes, scarce, crowded} = app.counts.sharing(app.state.selection.reduction);
  const left = `${count(scarce)} ${scarce === 1 ? "class" : "classes"} of fewer than ${LEAST_OF_CLASS} samples ${scarce === 1 ? "is" : "are"} left out.`;
  const notes = [
    classes.length < 2 ? `There are fewer than two classes of at least ${LEAST_OF_CLASS} samples${ofShown(app)}.` : "",
    scarce ? left : "",
    crowded ? `Compared are the ${classes.length} commonest classes, of equally common ones those of lower number; ${count(crowded)} others are left out.` : "",
    app.bundle.json.class_source === "predictions" ? "A sample's class is the network's answer." : "",
    ofShown(app) && classes.length > 1 ? `Counted are the samples${ofShown(app)}.` : "",
  ];
  return notes.filter(Boolean).join(" ");
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
  const told = `${sharedTold(pair, layers)}; mean ${pair.mean.toFixed(2)}, ceiling ${pair.ceiling.toFixed(2)}`;
  const name = pairName(app, pair.one, pair.other);
  return h("li", {}, h("button", {type: "button", class: "pair", "data-pair": `${pair.one}/${pair.other}`, "aria-label": `${name}: ${told}. Find their samples`, onclick: () => search(pair.one, pair.other)},
    h("span", {class: "pair-name"}, name), sparkOf(pair, name, layers), h("span", {class: "muted"}, told)));
}

/** Overlap over depth, with its ceiling and a line at half of that. @param {Pair} pair @param {string} name @param {string[]} layers */
function sparkOf({overlaps, ceilings}, name, layers) {
  return s("svg", {class: "spark", width: SPARK.width, height: SPARK.height, viewBox: `0 0 ${SPARK.width} ${SPARK.height}`, role: "img",
    "aria-label": `Overlap of ${name}: ${overlaps.map((one, layer) => `${layers[layer]} ${one.toFixed(2)} of ${ceilings[layer].toFixed(2)}`).join(", ")}`},
  s("polyline", {class: "half", points: sparkLine(ceilings.map((one) => one / 2))}),
  s("polyline", {class: "ceiling", points: sparkLine(ceilings)}),
  s("line", {class: "spark-depth", y1: 0, y2: SPARK.height}),
  s("polyline", {points: sparkLine(overlaps)}),
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

/** @param {number[]} shares By layer. */
function sparkLine(shares) {
  const x = sparkAcross(shares.length);
  return shares.map((one, layer) => `${x(layer).toFixed(1)},${sparkUp(one).toFixed(1)}`).join(" ");
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

/** At the selected layer, the overlap and the ceiling of every class with every other, and with itself: both its ceiling. @param {App} app */
function overlapsAt(app) {
  const layer = layerPlace(app);
  const {pairs, classes, own} = app.counts.sharing(app.state.selection.reduction);
  const found = new Map(pairs.map(({one, other, overlaps, ceilings}) => [`${one}/${other}`, [overlaps[layer], ceilings[layer]]]));
  classes.forEach((one, place) => found.set(`${one}/${one}`, [own[layer][place], own[layer][place]]));
  const of = (/** @type {number} */ one, /** @type {number} */ other) => found.get(`${Math.min(one, other)}/${Math.max(one, other)}`) ?? [NaN, NaN];
  return {classes, of};
}

/** @param {App} app @param {(one: number, other: number) => void} search */
function matrixShown(app, search) {
  const {classes, of} = overlapsAt(app);
  if (classes.length > MOST_IN_MATRIX) return h("p", {class: "how"}, `Class by class is shown for at most ${MOST_IN_MATRIX} classes; here ${classes.length} are compared.`);
  if (classes.length < 2) return null;
  const {layer} = app.state.selection;
  const name = (/** @type {number} */ one) => h("th", {scope: "col", title: app.bundle.className(one)}, h("span", {}, short(app.bundle.className(one), 9)));
  const rows = classes.map((one, place) => h("tr", {}, h("th", {scope: "row", title: app.bundle.className(one)}, short(app.bundle.className(one), 12)),
    classes.map((other, column) => {
      if (column > place) return h("td", {});
      return column === place ? ownCell(app, one, of(one, one)[0]) : matrixCell(app, one, other, of(one, other), search);
    })));
  rows[1].querySelector("td")?.setAttribute("tabindex", "0");
  const told = h("p", {class: "how"}, `Overlap at ${layer}, in hundredths; framed: halves of one class. Arrow keys move, Enter finds the samples.`);
  return [told, h("table", {class: "matrix", role: "grid", "aria-label": `Overlap of classes at ${layer}`, onkeydown: matrixKeys},
    h("thead", {}, h("tr", {}, h("td", {}), classes.map(name))), h("tbody", {}, rows))];
}

/** @param {App} app @param {number} one @param {number} ceiling */
function ownCell(app, one, ceiling) {
  const label = `Halves of ${app.bundle.className(one)}: ${ceiling.toFixed(2)}`;
  return h("td", {class: "own", "aria-label": label, title: label}, String(Math.round(100 * ceiling)));
}

/** One cell is reached by the tabulator, the others from it by arrows. @param {App} app @param {number} one @param {number} other @param {number[]} found @param {(one: number, other: number) => void} search */
function matrixCell(app, one, other, [overlap, ceiling], search) {
  const colour = amount(overlap);
  const label = `${pairName(app, other, one)}: ${overlap.toFixed(2)}, ceiling ${ceiling.toFixed(2)}`;
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
  const layers = app.bundle.layers(reduction);
  const header = ["class", "other class", "layers shared", `mean overlap${ofShown(app)}`, "mean ceiling", ...layers.map((name) => `overlap at ${name}`), ...layers.map((name) => `ceiling at ${name}`)];
  return [header, ...app.counts.sharing(reduction).pairs.map(({one, other, shared, mean, ceiling, overlaps, ceilings}) =>
    [app.bundle.className(one), app.bundle.className(other), String(shared.length), ...[mean, ceiling, ...overlaps, ...ceilings].map((some) => some.toFixed(4))])];
}

/** Lines of the pairs, and the matrix where it is shown. @param {App} app */
function sharingSvg(app) {
  const theme = app.theme();
  const painter = new SvgPainter();
  const shown = shownPairs(app);
  if (!shown.length) return null;
  const lines = shown.map((pair, place) => {
    const top = place * (SPARK.height + 6);
    painter.text([0, top + 19], short(pairName(app, pair.one, pair.other), 34), theme.ink, "start", 11);
    return s("g", {transform: `translate(210 ${top})`, fill: "none"},
      s("polyline", {points: sparkLine(pair.ceilings.map((some) => some / 2)), stroke: theme.noise, "stroke-dasharray": "3 3"}),
      s("polyline", {points: sparkLine(pair.ceilings), stroke: theme.noise}),
      s("polyline", {points: sparkLine(pair.overlaps), stroke: theme.ink, "stroke-width": 1.6}));
  });
  const high = shown.length * (SPARK.height + 6);
  const {classes} = app.counts.sharing(app.state.selection.reduction);
  const side = classes.length > 1 && classes.length <= MOST_IN_MATRIX ? matrixPainted(app, painter, [380, 20]) : 0;
  return s("svg", {viewBox: `-8 -8 ${side ? 396 + side : 360} ${Math.max(high, side + 20) + 16}`}, painter.drawn, lines);
}

/** Its width. @param {App} app @param {SvgPainter} painter @param {[number, number]} corner */
function matrixPainted(app, painter, [left, top]) {
  const {classes, of} = overlapsAt(app);
  const theme = app.theme();
  const size = 26;
  const names = 84;
  painter.text([left, top - 8], `Overlap at ${app.state.selection.layer}, in hundredths; framed: halves of one class`, theme.ink, "start", 11);
  classes.forEach((one, row) => {
    painter.text([left + names - 6, top + row * size + 17], short(app.bundle.className(one), 12), theme.ink, "end", 11);
    classes.slice(0, row + 1).forEach((other, column) => {
      const [overlap] = of(one, other);
      const colour = one === other ? theme.paper : amount(overlap);
      const [x, y] = [left + names + column * size, top + row * size];
      painter.polygon([[x, y], [x + size, y], [x + size, y + size], [x, y + size]], css(colour), one === other ? theme.noise : css(theme.paper), 1);
      painter.text([x + size / 2, y + 17], String(Math.round(100 * overlap)), textOn(colour), "middle", 10);
    });
    painter.text([left + names + (row + 1) * size + 4, top + row * size + 17], short(app.bundle.className(one), 12), theme.muted, "start", 10);
  });
  return names + (classes.length + 1) * size + 60;
}
