// @ts-check
/** From one layer to the next: samples as ribbons between the codes of both. */

import {classWord, layerPlace, ofShown, unitTold} from "./app.js";
import {between, css, mixed} from "./colours.js";
import {count, fill, h, number, percent, s, short} from "./elements.js";
import {codeButton, refill} from "./links.js";
import {CanvasPainter, SvgPainter} from "./painter.js";
import {sharp} from "./painting.js";
import {lacking, panel} from "./panels.js";
import {columnOf, gatheredStreams, placedStreams, streamsBetween, unitAtHeight} from "./streams.js";
import {whenSeen, whenSized} from "./watching.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./painter.js").Painter} Painter */
/** @typedef {import("./streams.js").Stream} Stream */
/** @typedef {import("./streams.js").Placed} Placed */
/** @typedef {{from: number, to: number, placed: Placed[], drawn: Placed[],
 *   left: import("./streams.js").Column, right: import("./streams.js").Column}} Step Two layers' places, and what goes between them. */

const RIBBONS_HOW = "Block: a code, as high as it has samples. Ribbon: samples that go from code to code; colour: their commonest class, pale where classes mix. Click a block.";
const RIBBON_KEYS = "Arrow up and down: codes of the selected layer. Left and right: where most of its samples come from and go.";
const RIBBONS_HIGH = 420;
const RIBBONS_TOP = 22;
const NAMES_WIDE = 92;
const BLOCK_WIDE = 12;
const LISTED = 12;
/** Drawn one by one; of more, those that lie close are drawn as one: so many take a browser without a graphics card 30 ms. */
const MOST_RIBBONS = 1200;
/** Shades of a colour, from mixed to pure. */
const PURITIES = 5;
const DIMMED = 0.13;
/** Of the selected code's ribbons, in pixels. */
const THINNEST = 1.2;

/** @param {App} app */
export function ribbonsView(app) {
  const words = h("p", {class: "ribbons-words"});
  const listed = h("div", {class: "ribbons-list", tabindex: -1});
  const stepNow = keptSteps(app);
  const {place, area, paint, room} = ribbonsDrawn(app, stepNow);
  const none = lacking(null, "One layer alone has no step to show.");
  const made = panel({
    id: "ribbons", title: "From layer to layer", how: RIBBONS_HOW,
    body: h("div", {class: "ribbons-body"}, words, place, none, listed),
    svg: () => ribbonsSvg(app, stepNow(), Math.max(room(), 480)),
    csv: () => ribbonsTable(app, stepNow()),
  });
  const tell = (/** @type {Step} */ step) => {
    const [from, to] = [layerName(app, step.from), layerName(app, step.to)];
    const gathered = step.drawn.length < step.placed.length;
    made.retitle(`From ${from} to ${to}`);
    made.explain(gathered ? `${RIBBONS_HOW} Of the ${count(step.placed.length)} ribbons, those that lie close are drawn as one.` : RIBBONS_HOW);
    area.setAttribute("aria-label", `Ribbons from ${from} to ${to}. ${RIBBON_KEYS}`);
    fill(words, fanWords(app, step));
  };
  app.state.follow(({changed}) => {
    const turned = changed.has("reduction") || changed.has("layer");
    if (!turned && !changed.has("unit")) return;
    const step = stepNow();
    place.hidden = !step;
    none.hidden = Boolean(step);
    if (step && turned) tell(step);
    paint();
    refill(listed, step ? ribbonsList(app, step) : null);
  });
  app.onTheme(paint);
  return made;
}

/** The canvas, what happens on it, and what paints it. @param {App} app @param {() => Step | null} stepNow */
function ribbonsDrawn(app, stepNow) {
  const canvas = h("canvas", {});
  const tip = h("div", {class: "tip", hidden: true});
  let [room, seen, stale] = [0, false, true];
  const under = (/** @type {MouseEvent} */ event) => ribbonUnitAt(app, stepNow(), canvas, room, event);
  const area = h("div", {
    class: "ribbons", role: "application", tabindex: 0, "aria-label": "Ribbons between two layers",
    onclick: (/** @type {MouseEvent} */ event) => {
      const found = under(event);
      if (found) app.state.select({layer: layerName(app, found.layer), unit: found.unit});
    },
    onpointermove: (/** @type {PointerEvent} */ event) => ribbonTip(app, tip, under(event), event),
    onpointerleave: () => tip.toggleAttribute("hidden", true),
    onkeydown: (/** @type {KeyboardEvent} */ event) => ribbonKeys(app, stepNow(), event),
  }, canvas);
  const place = h("div", {class: "ribbons-place"}, area, tip);
  const paint = () => {
    const step = stepNow();
    stale = !seen;
    if (step && room && seen) paintRibbons(app, new CanvasPainter(sharp(canvas, room, RIBBONS_HIGH + RIBBONS_TOP)), step, room);
  };
  whenSized(app, place, () => {
    const now = Math.floor(place.clientWidth);
    if (!now || Math.abs(now - room) < 4) return;
    room = now;
    paint();
  });
  // Out of sight nothing is painted: other views need not wait for it.
  whenSeen(app, place, (now) => {
    seen = now;
    if (seen && stale) paint();
  }, "120px");
  return {place, area, paint, room: () => room};
}

/** The step of the selection, made once for each. @param {App} app @returns {() => Step | null} */
function keptSteps(app) {
  /** @type {Map<string, Step | null>} */
  const kept = new Map();
  return () => {
    const {reduction} = app.state.selection;
    const from = Math.min(layerPlace(app), app.bundle.layers(reduction).length - 2);
    const key = `${reduction} ${from}`;
    if (!kept.has(key)) kept.set(key, from < 0 ? null : stepFrom(app, from));
    return kept.get(key) ?? null;
  };
}

/** @param {App} app @param {number} layer */
function layerName(app, layer) {
  return app.bundle.layers(app.state.selection.reduction)[layer];
}

/** The step from a layer to the next; where the last is selected, the views show that from the last but one. @param {App} app @param {number} from @returns {Step} */
function stepFrom(app, from) {
  const {reduction} = app.state.selection;
  const codes = (/** @type {number} */ layer) => app.bundle.codes("clean", reduction, layer);
  const streams = streamsBetween(codes(from), codes(from + 1), app.bundle.classOf, app.bundle.units, app.counts.classes);
  const [left, right] = [from, from + 1].map((layer) => columnOf(app.counts.mix(reduction, layer), RIBBONS_HIGH - 4));
  const placed = placedStreams(streams, left, right);
  return {from, to: from + 1, placed, drawn: gatheredStreams(placed, MOST_RIBBONS), left, right};
}

/** Fan-out and fan-in of the step in words. @param {App} app @param {Step} step */
function fanWords(app, {from, to}) {
  const {reduction} = app.state.selection;
  const row = (/** @type {string} */ measure) => app.bundle.find({measure, reduction, condition: "clean", layer: layerName(app, to)})[0];
  const [out, into] = [row("fan_out"), row("fan_in")];
  if (!out || !into) return `The run measured neither fan-out nor fan-in from ${layerName(app, from)} to ${layerName(app, to)}.`;
  const [here, there] = [layerName(app, from), layerName(app, to)];
  return `Fan-out: a code of ${here} divides into ${fanTold(out)} at ${there}. Fan-in: a code of ${there} joins ${fanTold(into)} of ${here}.`;
}

/** @param {import("./bundle.js").Row} row */
function fanTold({value, low, high, null_untrained: untrained}) {
  const beside = [Number.isFinite(low) ? `95 %: ${number(low)} to ${number(high)}` : "", Number.isFinite(untrained) ? `untrained weights: ${number(untrained)}` : ""];
  const told = beside.filter(Boolean).join("; ");
  return `${number(value)} codes${told ? ` (${told})` : ""}`;
}

/** Which side the selected unit is on. @param {App} app @param {Step} step @returns {"from" | "to" | null} */
function selectedSide(app, step) {
  const {unit} = app.state.selection;
  if (unit === null) return null;
  return layerPlace(app) === step.to ? "to" : "from";
}

/** @param {App} app @param {Painter} painter @param {Step} step @param {number} width */
function paintRibbons(app, painter, step, width) {
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

/** @param {App} app @param {Step | null} step @param {HTMLCanvasElement} canvas @param {number} width @param {MouseEvent} event */
function ribbonUnitAt(app, step, canvas, width, event) {
  if (!step) return null;
  const box = canvas.getBoundingClientRect();
  const side = event.clientX - box.left < width / 2 ? "from" : "to";
  const {hits} = app.counts.mix(app.state.selection.reduction, step[side]);
  const unit = unitAtHeight(side === "from" ? step.left : step.right, hits, event.clientY - box.top - RIBBONS_TOP);
  return unit === null ? null : {layer: step[side], unit};
}

/** @param {App} app @param {HTMLElement} tip @param {{layer: number, unit: number} | null} found @param {PointerEvent} event */
function ribbonTip(app, tip, found, event) {
  tip.hidden = !found;
  if (!found) return;
  fill(tip, unitTold(app, app.state.selection.reduction, found.layer, found.unit));
  const box = /** @type {HTMLElement} */ (tip.parentElement).getBoundingClientRect();
  tip.style.setProperty("left", `${Math.max(0, Math.min(event.clientX - box.left + 14, box.width - 220))}px`);
  tip.style.setProperty("top", `${event.clientY - box.top + 16}px`);
}

/** @param {App} app @param {Step | null} step @param {KeyboardEvent} event */
function ribbonKeys(app, step, event) {
  if (!step) return;
  const {reduction, unit} = app.state.selection;
  const layer = layerPlace(app);
  const {order} = layer === step.to ? step.right : step.left;
  /** @type {{layer: number, unit: number | null}} */
  let next = {layer, unit};
  if (event.key === "Escape") next = {layer, unit: null};
  else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    const at = unit === null ? -1 : order.indexOf(unit);
    next = {layer, unit: at < 0 ? order[0] : order[Math.max(0, Math.min(order.length - 1, at + (event.key === "ArrowUp" ? -1 : 1)))]};
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const other = layer + (event.key === "ArrowLeft" ? -1 : 1);
    if (unit === null || !layerName(app, other)) return;
    next = {layer: other, unit: app.counts.partners(reduction, layer, unit, other)[0]?.[0] ?? null};
  } else return;
  event.preventDefault();
  app.state.select({layer: layerName(app, next.layer), unit: next.unit}, {step: false});
  if (next.unit !== null) app.announce(unitTold(app, reduction, next.layer, next.unit));
}

/** The selected unit's ribbons, or the largest of all. @param {App} app @param {Step} step */
function toldStreams(app, step) {
  const {unit} = app.state.selection;
  const side = selectedSide(app, step);
  return step.placed.map(({stream}) => stream).filter((stream) => side === null || stream[side] === unit);
}

/** @param {App} app @param {Step} step */
function ribbonsList(app, step) {
  const streams = toldStreams(app, step);
  const {unit} = app.state.selection;
  const [from, to] = [layerName(app, step.from), layerName(app, step.to)];
  const side = selectedSide(app, step);
  const what = side === null ? "The largest ribbons" : side === "from" ? `Where the samples of code ${unit} go` : `Where the samples of code ${unit} come from`;
  const many = streams.length > LISTED ? `, ${LISTED} of ${count(streams.length)}` : "";
  if (!streams.length) return [h("p", {class: "lacking"}, `No sample${ofShown(app)} has code ${unit} at ${side === "to" ? to : from}.`)];
  return [h("table", {class: "ribbons-table"},
    h("caption", {}, `${what}${many}`),
    h("thead", {}, h("tr", {}, [`code at ${from}`, `code at ${to}`, `samples${ofShown(app)}`, `commonest ${classWord(app)}`].map((title) => h("th", {scope: "col"}, title)))),
    h("tbody", {}, streams.slice(0, LISTED).map((stream) => h("tr", {},
      h("td", {}, codeButton(app, step.from, stream.from)), h("td", {}, codeButton(app, step.to, stream.to)),
      h("td", {}, count(stream.count)), h("td", {}, stream.commonest < 0 ? "none" : `${app.bundle.className(stream.commonest)}, ${percent(stream.purity)}`)))))];
}

/** @param {App} app @param {Step | null} step */
function ribbonsTable(app, step) {
  if (!step) return [];
  const [from, to] = [layerName(app, step.from), layerName(app, step.to)];
  return [["layer", "code", "next layer", "next code", `samples${ofShown(app)}`, `commonest ${classWord(app)}`, "its share"], ...toldStreams(app, step).map((stream) =>
    [from, stream.from, to, stream.to, stream.count, app.bundle.className(stream.commonest), stream.purity.toFixed(4)].map(String))];
}

/** @param {App} app @param {Step | null} step @param {number} width */
function ribbonsSvg(app, step, width) {
  if (!step) return null;
  const painter = new SvgPainter();
  paintRibbons(app, painter, step, width);
  return s("svg", {viewBox: `0 0 ${width} ${RIBBONS_HIGH + RIBBONS_TOP}`}, painter.drawn);
}
