// @ts-check
/** Telescope, maps and flow on one axis of depth: the first view. */

import {besideClean, layerPlace, unitTold} from "./app.js";
import {across, lineChart} from "./charts.js";
import {depthDrawn} from "./depthfile.js";
import {fill, h, list, s, short} from "./elements.js";
import {legendShown} from "./legend.js";
import {conditionNamed, refill} from "./links.js";
import {CanvasPainter} from "./painter.js";
import {colouringShown, paintMap, sharp} from "./painting.js";
import {lacking, panel} from "./panels.js";
import {pathsDrawn, pathsTold} from "./paths.js";
import {whenSized} from "./watching.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./charts.js").Line} Line */

const LEFT = 52;
const RIGHT = 132;
const NARROWEST = 92;
const WIDEST = 190;
const TRAVEL = ["flip_rate", "grid_shift", "shift_over_gap", "amplification", "wrong_class_log_odds"];
/** What stands beside the trained network's line, and how it is drawn. */
const NULLS = [["untrained", "untrained"], ["shuffled", "labels shuffled"], ["codebook", "random codebook"], ["reduction", "reduction alone"]];

/** @param {App} app */
export function depthView(app) {
  const inner = h("div", {class: "depth-inner", tabindex: -1});
  const scroll = h("div", {class: "depth", tabindex: 0, role: "group", "aria-label": "Layers, from input to logits; scrolls sideways"}, inner);
  const tip = h("div", {class: "tip", hidden: true});
  const made = panel({
    id: "depth",
    title: "Through the depth",
    how: "One column per layer, from the input to the logits. Click a layer's name, or a cell of a map. Bands are 95 % intervals.",
    body: h("div", {class: "depth-body"}, scroll, tip),
    svg: () => whole(app, inner, room),
    csv: () => depthTable(app),
  });
  let room = 0;
  const draw = () => drawDepth(app, inner, room, tip);
  app.state.follow(({changed}) => {
    if (!room) return;
    if (["reduction", "measure", "travel", "condition", "colour"].some((name) => changed.has(/** @type {any} */ (name)))) draw();
    else markSelected(app, inner);
  });
  app.onTheme(() => room && draw());
  app.onFound(() => room && app.state.selection.colour === "found" && draw());
  whenSized(app, scroll, () => {
    const now = Math.floor(scroll.clientWidth);
    if (now && Math.abs(now - room) > 4) {
      room = now;
      draw();
    }
  });
  return made;
}

/** @param {App} app @param {number} room */
function framed(app, room) {
  const layers = app.bundle.layers(app.state.selection.reduction).length;
  const step = Math.min(WIDEST, Math.max(NARROWEST, (room - LEFT - RIGHT) / layers));
  return {left: LEFT, step, width: LEFT + step * layers + RIGHT, layers};
}

/** @param {App} app @param {HTMLElement} inner @param {number} room @param {HTMLElement} tip */
function drawDepth(app, inner, room, tip) {
  const frame = framed(app, room);
  inner.style.setProperty("width", `${frame.width}px`);
  refill(inner, h("div", {class: "depth-band", "aria-hidden": "true"}), layerNames(app, frame), telescopePart(app, frame), mapsPart(app, frame, tip), travelPart(app, frame));
  markSelected(app, inner);
}

/** @param {App} app @param {import("./charts.js").Frame | any} frame */
function layerNames(app, frame) {
  const names = app.bundle.layers(app.state.selection.reduction);
  return h("div", {class: "layer-names", role: "group", "aria-label": "Layers"}, names.map((name, layer) =>
    h("button", {
      type: "button", class: "layer-name", "data-layer": name, "data-key": `layer/${name}`, title: name,
      style: {left: `${frame.left + layer * frame.step}px`, width: `${frame.step}px`},
      onclick: () => app.state.select({layer: name, unit: null}),
    }, short(name, Math.floor(frame.step / 8)))));
}

/** @param {App} app @param {any} frame */
function telescopePart(app, frame) {
  const {reduction, measure} = app.state.selection;
  const known = Object.keys(app.bundle.json.measures).filter((name) => app.bundle.rows.some((row) => row.measure === name && row.layer_index >= 0 && row.condition === "clean"));
  const told = app.bundle.json.measures[measure];
  const chooser = keyed("measure", list("Measure", known.map((value) => ({value, title: app.bundle.json.measures[value].title})), measure, (value) => app.state.select({measure: value})));
  const lines = telescopeLines(app);
  const title = `${told?.title ?? measure} under ${reduction}`;
  const share = Boolean(told?.unit.startsWith("share"));
  return h("div", {class: "part telescope"}, h("div", {class: "part-head"}, chooser, h("span", {class: "how"}, told ? `${told.meaning}${told.unit ? ` (${told.unit})` : ""}` : "")),
    lines.length ? lineChart(lines, {...frame, height: 150}, {share, log: false, title}).element : lacking(app.bundle.missing("labels"), `The run holds no ${told?.title ?? measure} under ${reduction}.`));
}

/** A list that keeps the keyboard when it is drawn anew. @param {string} key @param {HTMLElement} label */
function keyed(key, label) {
  label.querySelector("select")?.setAttribute("data-key", key);
  return label;
}

/** @param {App} app @returns {Line[]} */
function telescopeLines(app) {
  const {reduction, measure} = app.state.selection;
  const of = (/** @type {string} */ condition) => app.bundle.find({measure, reduction, condition}).filter((row) => row.layer_index >= 0);
  const nulls = NULLS.map(([condition, name]) => ({rows: of(condition), name, kind: `null-${condition}`, dots: false}));
  return [...nulls, {rows: of("clean"), name: "trained", kind: "trained"}].filter(({rows}) => rows.length);
}

/** How large the maps are, and how much of their squares stays empty above. @param {App} app @param {any} frame */
function mapsSize(app, frame) {
  const size = frame.step * 0.9;
  const high = size * Math.min(1, app.grid.height / Math.max(app.grid.width, app.grid.height)) + 6;
  return {size, high, drop: (size - high) / 2};
}

/** @param {App} app @param {any} frame @param {HTMLElement} tip */
function mapsPart(app, frame, tip) {
  const {reduction} = app.state.selection;
  const names = app.bundle.layers(reduction);
  const {size, high, drop} = mapsSize(app, frame);
  const canvas = h("canvas", {class: "maps-canvas"});
  const context = sharp(canvas, frame.width, high);
  const painter = new CanvasPainter(context);
  names.forEach((_, layer) => paintMap(app, painter, reduction, layer, [corner(frame, layer, size), -drop], size));
  const overlay = s("svg", {class: "paths", width: frame.width, height: high, "aria-hidden": "true", "data-size": size, "data-drop": drop});
  const place = (/** @type {PointerEvent | MouseEvent} */ event) => placeAt(app, frame, size, drop, event, canvas);
  const area = h("div", {
    class: "maps", "data-key": "maps", role: "application", tabindex: 0, "aria-label": "Maps of all layers. Arrow keys: between codes. Page up and page down: between layers.",
    onclick: (/** @type {MouseEvent} */ event) => {
      const found = place(event);
      if (found) app.state.select({layer: names[found.layer], unit: found.unit});
    },
    onpointermove: (/** @type {PointerEvent} */ event) => hover(app, tip, place(event), event, reduction),
    onpointerleave: () => tip.toggleAttribute("hidden", true),
    onkeydown: (/** @type {KeyboardEvent} */ event) => mapKeys(app, event),
  }, canvas, overlay);
  return h("div", {class: "part"}, h("div", {class: "part-head"}, h("b", {}, "Maps and the path of one sample"), h("span", {class: "how"},
    `A cell is a code. ${colouringShown(app).how} ${pathsTold(app)}`)), area, h("div", {class: "maps-legend"}, legendShown(app)));
}

/** @param {any} frame @param {number} layer @param {number} size */
function corner(frame, layer, size) {
  return across(frame, layer) - size / 2;
}

/** @param {App} app @param {any} frame @param {number} size @param {number} drop @param {MouseEvent} event @param {HTMLElement} canvas */
function placeAt(app, frame, size, drop, event, canvas) {
  const box = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const layer = Math.floor((x - frame.left) / frame.step);
  if (layer < 0 || layer >= frame.layers) return null;
  const unit = app.grid.at(size, x - corner(frame, layer, size), y + drop);
  return unit === null ? null : {layer, unit};
}

/** Show what lies under the pointer. @param {App} app @param {HTMLElement} tip @param {{layer: number, unit: number} | null} found @param {PointerEvent} event @param {string} reduction */
export function hover(app, tip, found, event, reduction) {
  tip.toggleAttribute("hidden", !found);
  if (!found) return;
  fill(tip, unitTold(app, reduction, found.layer, found.unit));
  const box = /** @type {HTMLElement} */ (tip.parentElement).getBoundingClientRect();
  tip.style.setProperty("left", `${Math.min(event.clientX - box.left + 14, box.width - 220)}px`);
  tip.style.setProperty("top", `${event.clientY - box.top + 16}px`);
}

/** Move between codes and layers by keys. @param {App} app @param {KeyboardEvent} event */
export function mapKeys(app, event) {
  const {reduction, unit} = app.state.selection;
  const names = app.bundle.layers(reduction);
  const layer = layerPlace(app);
  if (event.key === "PageUp" || event.key === "PageDown") {
    const next = Math.max(0, Math.min(names.length - 1, layer + (event.key === "PageUp" ? -1 : 1)));
    app.state.select({layer: names[next], unit});
  } else if (event.key.startsWith("Arrow")) {
    const next = unit === null ? 0 : app.grid.beside(unit, event.key);
    app.state.select({unit: next}, {step: false});
    app.announce(unitTold(app, reduction, layer, next));
  } else if (event.key === "Escape") app.state.select({unit: null});
  else return;
  event.preventDefault();
}

/** @param {App} app @param {any} frame */
function travelPart(app, frame) {
  const {reduction} = app.state.selection;
  const condition = besideClean(app);
  const head = (/** @type {import("./elements.js").Child[]} */ ...parts) => h("div", {class: "part-head"}, parts);
  if (!condition) return h("div", {class: "part"}, head(h("b", {}, "Flow")), lacking(app.bundle.missing("attack")));
  const {attack, known, shown, lines} = travelLines(app, condition);
  if (!known.length) return h("div", {class: "part"}, head(h("b", {}, "Flow")), lacking(null, `The run measured no flow of ${attack} under ${reduction}.`));
  const told = app.bundle.json.measures[shown];
  const chooser = keyed("travel", list("Flow", known.map((value) => ({value, title: app.bundle.json.measures[value].title})), shown, (value) => app.state.select({travel: value})));
  const chart = lineChart(lines, {...frame, height: 130}, {share: told?.unit === "share", log: shown === "amplification", title: `${told?.title} under ${reduction}`});
  const departure = app.bundle.departure(reduction, attack);
  if (departure !== null) chart.element.append(departureMark(app, frame, departure));
  return h("div", {class: "part travel"}, head(chooser, h("span", {class: "how"}, travelTold(app, attack, shown))), chart.element);
}

/** What is measured of the flow under an attack. @param {App} app @param {string} condition */
function travelLines(app, condition) {
  const {reduction, travel} = app.state.selection;
  const {attack, control} = pairOf(app, condition);
  const known = TRAVEL.filter((name) => app.bundle.find({measure: name, reduction, condition: attack}).length);
  const shown = travel !== null && known.includes(travel) ? travel : known[0];
  const noisy = control ? app.bundle.find({measure: shown, reduction, condition: control}) : [];
  const lines = [{rows: noisy, name: "noise, same size", kind: "noise"}, {rows: app.bundle.find({measure: shown, reduction, condition: attack}), name: conditionNamed(app, attack), kind: "attack"}];
  return {attack, known, shown, lines: lines.filter(({rows}) => rows.length)};
}

/** @param {App} app @param {string} attack @param {string} shown A measure. */
function travelTold(app, attack, shown) {
  return `Red: ${attack}. Grey: noise that changes every sample by as much. Shown: ${app.bundle.json.measures[shown]?.meaning}.`;
}

/** An attack and its noise, whichever of them is meant. @param {App} app @param {string} condition */
export function pairOf(app, condition) {
  const own = app.bundle.attacks.find((one) => one.name === condition || one.control === condition);
  return {attack: own?.name ?? condition, control: own?.control ?? null};
}

/** @param {App} app @param {any} frame @param {string} departure */
function departureMark(app, frame, departure) {
  const layer = app.bundle.layers(app.state.selection.reduction).indexOf(departure);
  const x = across(frame, layer);
  const right = layer < frame.layers / 2 || x + 180 < frame.left + frame.step * frame.layers;
  return s("g", {class: "departure"}, s("line", {x1: x, x2: x, y1: 4, y2: 128}),
    s("text", {x: x + (right ? 6 : -6), y: 124, "text-anchor": right ? "start" : "end"}, "the attack parts from noise here"));
}

/** Mark the layer and draw the paths, without drawing the maps anew. @param {App} app @param {HTMLElement} inner */
function markSelected(app, inner) {
  const {layer, reduction, unit} = app.state.selection;
  const frame = {left: LEFT, step: 0, width: 0, layers: 0};
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (inner.querySelectorAll(".layer-name"))) {
    const own = button.dataset.layer === layer;
    button.setAttribute("aria-pressed", String(own));
    frame.step = Number.parseFloat(button.style.width);
    if (own) {
      const band = /** @type {HTMLElement} */ (inner.querySelector(".depth-band"));
      band.style.setProperty("left", button.style.left);
      band.style.setProperty("width", button.style.width);
    }
  }
  const overlay = /** @type {SVGSVGElement | null} */ (inner.querySelector(".paths"));
  if (!overlay) return;
  const [size, drop] = [Number(overlay.dataset.size), Number(overlay.dataset.drop)];
  const {centre, scale} = app.grid.fitted(size);
  const point = (/** @type {number} */ at, /** @type {number} */ code) => {
    const [x, y] = centre(code);
    return [corner(frame, at, size) + x, y - drop];
  };
  const at = app.bundle.layers(reduction).indexOf(layer);
  const ring = unit === null ? null : s("circle", {class: "ring", cx: point(at, unit)[0], cy: point(at, unit)[1], r: scale * 0.75});
  fill(overlay, pathsDrawn(app, point), ring);
}

/** The whole panel as one picture. @param {App} app @param {HTMLElement} inner @param {number} room */
function whole(app, inner, room) {
  if (!room) return null;
  const {reduction, measure} = app.state.selection;
  const frame = framed(app, room);
  const condition = besideClean(app);
  const {attack, shown} = condition ? travelLines(app, condition) : {attack: "", shown: undefined};
  const titleOf = (/** @type {string} */ name) => `${app.bundle.json.measures[name]?.title ?? name} under ${reduction}`;
  const chart = (/** @type {string} */ part) => /** @type {SVGSVGElement | null} */ (inner.querySelector(`.part.${part} > svg`));
  return depthDrawn(app, {...frame, height: 0, ...mapsSize(app, frame)},
    {chart: chart("telescope"), told: `${titleOf(measure)}. Bands: 95 % intervals.`},
    {chart: chart("travel"), told: shown ? `${titleOf(shown)}. ${travelTold(app, attack, shown)}` : "No flow was measured."});
}

/** @param {App} app */
function depthTable(app) {
  const {reduction, measure, travel} = app.state.selection;
  const rows = app.bundle.rows.filter((row) => row.reduction === reduction && (row.measure === measure || row.measure === travel));
  const names = ["measure", "layer", "layer_index", "condition", "reduction", "value", "low", "high", "null_untrained", "null_shuffled", "n", "unit"];
  return [names, ...rows.map((row) => names.map((name) => String(/** @type {any} */ (row)[name])))];
}
