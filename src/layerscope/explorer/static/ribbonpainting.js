// @ts-check
/** Ribbons between the codes of two layers, on any painter. */

import {layerPlace} from "./app.js";
import {between, css, mixed} from "./colours.js";
import {s, short} from "./elements.js";
import {SvgPainter} from "./painter.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./painter.js").Painter} Painter */
/** @typedef {import("./streams.js").Placed} Placed */
/** @typedef {{from: number, to: number, placed: Placed[], drawn: Placed[],
 *   left: import("./streams.js").Column, right: import("./streams.js").Column}} Step Two layers' places, and what goes between them. */

export const RIBBONS_HIGH = 420;
export const RIBBONS_TOP = 22;
const NAMES_WIDE = 92;
const BLOCK_WIDE = 12;
/** Shades of a colour, from mixed to pure. */
const PURITIES = 5;
const DIMMED = 0.13;
/** Of the selected code's ribbons, in pixels. */
const THINNEST = 1.2;

/** @param {App} app @param {number} layer */
export function layerName(app, layer) {
  return app.bundle.layers(app.state.selection.reduction)[layer];
}

/** Which side the selected unit is on. @param {App} app @param {Step} step @returns {"from" | "to" | null} */
export function selectedSide(app, step) {
  const {unit} = app.state.selection;
  if (unit === null) return null;
  return layerPlace(app) === step.to ? "to" : "from";
}

/** @param {App} app @param {Painter} painter @param {Step} step @param {number} width */
export function paintRibbons(app, painter, step, width) {
  const {unit} = app.state.selection;
  const side = selectedSide(app, step);
  const edges = /** @type {[number, number]} */ ([NAMES_WIDE + BLOCK_WIDE, width - NAMES_WIDE - BLOCK_WIDE]);
  if (side === null) paintStreams(app, painter, step.drawn, edges, {strength: 0.75, least: 0});
  else {
    paintStreams(app, painter, step.drawn, edges, {strength: DIMMED, least: 0});
    paintStreams(app, painter, step.placed.filter(({stream}) => stream[side] === unit), edges, {strength: 1, least: THINNEST});
  }
  paintColumn(app, painter, step, "from", edges[0] - BLOCK_WIDE);
  paintColumn(app, painter, step, "to", edges[1]);
}

/**
 * Broad streams as ribbons; those thinner than a pixel as threads, all of a colour and a width at once.
 * @param {App} app @param {Painter} painter @param {Placed[]} placed @param {[number, number]} edges
 * @param {{strength: number, least: number}} how `least`: width in pixels.
 */
function paintStreams(app, painter, placed, [x, otherX], {strength, least}) {
  const {paper} = app.theme();
  /** @type {Map<string, {curves: number[][], colour: string, width: number}>} */
  const threads = new Map();
  for (const {stream, top, bottom, otherTop, otherBottom} of placed) {
    const purity = Math.round(stream.purity * PURITIES) / PURITIES;
    const width = (bottom - top + otherBottom - otherTop) / 2;
    if (Math.max(width, least) >= 1) {
      const colour = css(between(paper, streamColour(app, stream.commonest, purity), strength));
      const [low, otherLow] = [Math.max(bottom, top + least), Math.max(otherBottom, otherTop + least)];
      painter.ribbon([x, RIBBONS_TOP + top, RIBBONS_TOP + low, otherX, RIBBONS_TOP + otherTop, RIBBONS_TOP + otherLow], colour);
      continue;
    }
    const thin = 2 ** Math.round(Math.log2(width));
    const key = `${stream.commonest} ${purity} ${thin}`;
    const own = threads.get(key) ?? {curves: [], colour: css(between(paper, streamColour(app, stream.commonest, purity), strength)), width: thin};
    own.curves.push([x, RIBBONS_TOP + (top + bottom) / 2, otherX, RIBBONS_TOP + (otherTop + otherBottom) / 2]);
    threads.set(key, own);
  }
  for (const {curves, colour, width} of threads.values()) painter.threads(curves, colour, width);
}

/** @param {App} app @param {number} commonest @param {number} purity */
function streamColour(app, commonest, purity) {
  const {paper} = app.theme();
  return commonest < 0 ? between(paper, [120, 120, 120], 0.6) : mixed(app.classes[commonest], purity, app.counts.classes, paper);
}

/** Blocks of a layer's units, and the names of their classes beside them. @param {App} app @param {Painter} painter @param {Step} step @param {"from" | "to"} side @param {number} x */
function paintColumn(app, painter, step, side, x) {
  const {reduction, unit} = app.state.selection;
  const {hits, commonest, purity} = app.counts.mix(reduction, step[side]);
  const {order, top, scale} = side === "from" ? step.left : step.right;
  const theme = app.theme();
  const chosen = selectedSide(app, step) === side ? unit : null;
  for (const one of order) {
    const [high, low] = [RIBBONS_TOP + top[one], RIBBONS_TOP + top[one] + hits[one] * scale];
    painter.polygon([[x, high], [x + BLOCK_WIDE, high], [x + BLOCK_WIDE, low], [x, low]], css(streamColour(app, commonest[one], purity[one])),
      one === chosen ? theme.ink : null, 2.5);
  }
  const [outside, anchor] = side === "from" ? [x - 6, /** @type {const} */ ("end")] : [x + BLOCK_WIDE + 6, /** @type {const} */ ("start")];
  painter.text([side === "from" ? x + BLOCK_WIDE : x, 13], short(layerName(app, step[side]), 18), theme.ink, side === "from" ? "end" : "start", 12);
  const middle = chosen === null || !hits[chosen] ? null : RIBBONS_TOP + top[chosen] + (hits[chosen] * scale) / 2 + 4;
  if (middle !== null) painter.text([outside, middle], `code ${chosen}`, theme.ink, anchor, 12);
  for (const {name, at} of classPlaces(app, step, side)) {
    if (middle === null || Math.abs(at - middle) > 13) painter.text([outside, at], short(name, 13), theme.muted, anchor, 11);
  }
}

/** Where classes' names stand: at the middle of their units, where there is room. @param {App} app @param {Step} step @param {"from" | "to"} side */
function classPlaces(app, step, side) {
  const {hits, commonest} = app.counts.mix(app.state.selection.reduction, step[side]);
  const {order, top, scale} = side === "from" ? step.left : step.right;
  /** @type {Map<number, [number, number]>} */
  const spans = new Map();
  for (const unit of order) {
    const end = top[unit] + hits[unit] * scale;
    spans.set(commonest[unit], [spans.get(commonest[unit])?.[0] ?? top[unit], end]);
  }
  let last = -Infinity;
  return [...spans].flatMap(([one, [high, low]]) => {
    const at = RIBBONS_TOP + (high + low) / 2 + 4;
    if (one < 0 || at - last < 13) return [];
    last = at;
    return [{name: app.bundle.className(one), at}];
  });
}

/** @param {App} app @param {Step | null} step @param {number} width */
export function ribbonsSvg(app, step, width) {
  if (!step) return null;
  const painter = new SvgPainter();
  paintRibbons(app, painter, step, width);
  return s("svg", {viewBox: `0 0 ${width} ${RIBBONS_HIGH + RIBBONS_TOP}`}, painter.drawn);
}
