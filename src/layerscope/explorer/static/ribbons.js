// @ts-check
/** From one layer to the next: samples as ribbons between the codes of both. */

import {classWord, layerPlace, ofShown, unitTold} from "./app.js";
import {count, fill, h, number, percent} from "./elements.js";
import {codeButton, refill} from "./links.js";
import {CanvasPainter} from "./painter.js";
import {sharp} from "./painting.js";
import {lacking, panel} from "./panels.js";
import {RIBBONS_HIGH, RIBBONS_TOP, layerName, paintRibbons, ribbonsSvg, selectedSide} from "./ribbonpainting.js";
import {columnOf, gatheredStreams, placedStreams, streamsBetween, unitAtHeight} from "./streams.js";
import {afterFrame, whenSeen, whenSized} from "./watching.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./streams.js").Stream} Stream */
/** @typedef {import("./ribbonpainting.js").Step} Step */

const RIBBONS_HOW = "Block: a code, as high as it has samples. Ribbon: samples that go from code to code; colour: their commonest class, pale where classes mix. Click a block.";
const RIBBON_KEYS = "Arrow up and down: codes of the selected layer. Left and right: where most of its samples come from and go.";
const LISTED = 12;
/** Drawn one by one; of more, those that lie close are drawn as one: so many take a browser without a graphics card 30 ms. */
const MOST_RIBBONS = 1200;

/** @param {App} app */
export function ribbonsView(app) {
  const words = h("p", {class: "ribbons-words"});
  const listed = h("div", {class: "ribbons-list", tabindex: -1});
  const stepNow = keptSteps(app);
  /** The step that is on the screen. @type {Step | null} */ let told = null;
  const {place, area, paint, room} = ribbonsDrawn(app, stepNow, () => told);
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
  const draw = afterFrame(app, () => {
    const step = stepNow();
    place.hidden = !step;
    none.hidden = Boolean(step);
    if (step && step !== told) tell(step);
    told = step;
    paint();
    refill(listed, step ? ribbonsList(app, step) : null);
  });
  app.state.follow(({changed}) => {
    if (["reduction", "layer", "unit"].some((name) => changed.has(/** @type {any} */ (name)))) draw.soon();
  });
  app.onTheme(() => paint());
  addEventListener("beforeprint", () => {
    draw.now();
    paint(true);
  }, {signal: app.signal});
  return made;
}

/** The canvas, what happens on it, and what paints it. @param {App} app @param {() => Step | null} stepNow @param {() => Step | null} onScreen */
function ribbonsDrawn(app, stepNow, onScreen) {
  const canvas = h("canvas", {});
  const tip = h("div", {class: "tip", hidden: true});
  let [room, seen, stale] = [0, false, true];
  const under = (/** @type {MouseEvent} */ event) => ribbonUnitAt(app, onScreen(), canvas, room, event);
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
  // Out of sight nothing is painted, which takes longest of all; on paper everything is in sight.
  const paint = (onPaper = false) => {
    const step = stepNow();
    stale = !seen && !onPaper;
    if (step && room && !stale) paintRibbons(app, new CanvasPainter(sharp(canvas, room, RIBBONS_HIGH + RIBBONS_TOP)), step, room);
  };
  whenSized(app, place, () => {
    const now = Math.floor(place.clientWidth);
    if (!now || Math.abs(now - room) < 4) return;
    room = now;
    paint();
  });
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
