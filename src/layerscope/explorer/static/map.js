// @ts-check
/** One layer's map, large. */

import {classWord, layerPlace, ofShown} from "./app.js";
import {pressed} from "./conditions.js";
import {hover, mapKeys} from "./depth.js";
import {sampleName} from "./depthfile.js";
import {choice, fill, h, s} from "./elements.js";
import {legendDrawn, legendShown, wordsDrawn} from "./legend.js";
import {CanvasPainter, SvgPainter} from "./painter.js";
import {COLOURINGS, colourable, colouringShown, paintMap, sharp} from "./painting.js";
import {panel} from "./panels.js";
import {ringsDrawn, ringsTold} from "./paths.js";
import {whenSized} from "./watching.js";

/** @typedef {import("./app.js").App} App */

const LARGE = 380;

/** @param {App} app */
export function mapView(app) {
  const canvas = h("canvas", {});
  const overlay = s("svg", {class: "rings", "aria-hidden": "true"});
  const tip = h("div", {class: "tip", hidden: true});
  const legend = h("div", {class: "map-legend"});
  const named = Object.entries(COLOURINGS);
  const colours = choice("Colour by", named.map(([value, {title, how}]) => ({value, title, note: how})), "", (colour) => app.state.select({colour}));
  let size = LARGE;
  const unitAt = (/** @type {MouseEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    const unit = app.grid.at(size, event.clientX - box.left, event.clientY - box.top);
    return unit === null ? null : {layer: layerPlace(app), unit};
  };
  const area = h("div", {
    class: "large-map", role: "application", tabindex: 0, "aria-label": "Map of the selected layer",
    onclick: (/** @type {MouseEvent} */ event) => app.state.select({unit: unitAt(event)?.unit ?? null}),
    onpointermove: (/** @type {PointerEvent} */ event) => hover(app, tip, unitAt(event), event, app.state.selection.reduction),
    onpointerleave: () => tip.toggleAttribute("hidden", true),
    onkeydown: (/** @type {KeyboardEvent} */ event) => mapKeys(app, event),
  }, canvas, overlay);
  const body = h("div", {class: "map-body"}, h("div", {class: "map-place"}, area, tip), h("div", {class: "map-side"}, colours, legend));
  const made = panel({
    id: "map", title: "Map", how: "", body,
    svg: () => mapSvg(app, size),
    csv: () => mapTable(app),
  });
  const draw = () => {
    const {layer, reduction} = app.state.selection;
    const shown = colouringShown(app);
    made.retitle(`Map of ${layer}`);
    made.explain(`${ringsTold(app)} Arrow keys move between codes.`);
    area.setAttribute("aria-label", `Map of ${layer}: arrow keys move between codes, page up and page down between layers`);
    pressed(colours, named.findIndex(([name]) => name === shown.name));
    named.forEach(([name], place) => /** @type {HTMLElement} */ (colours.children[place]).toggleAttribute("hidden", !colourable(app, name)));
    paintMap(app, new CanvasPainter(sharp(canvas, size, size)), reduction, layerPlace(app), [0, 0], size);
    fill(legend, h("p", {class: "how"}, shown.how), legendShown(app).filter((one) => one.tagName !== "UL"));
    rings(app, overlay, size);
  };
  app.state.follow(({changed}) => {
    if (["reduction", "layer", "colour", "condition"].some((name) => changed.has(/** @type {any} */ (name)))) draw();
    else rings(app, overlay, size);
  });
  app.onTheme(draw);
  app.onFound(draw);
  whenSized(app, /** @type {HTMLElement} */ (area.parentElement), () => {
    const now = Math.min(520, Math.max(220, Math.floor(/** @type {HTMLElement} */ (area.parentElement).clientWidth)));
    if (Math.abs(now - size) > 4) {
      size = now;
      draw();
    }
  });
  return made;
}

/** @param {App} app @param {SVGSVGElement} overlay @param {number} size */
function rings(app, overlay, size) {
  for (const name of ["width", "height"]) overlay.setAttribute(name, String(size));
  fill(overlay, ringsDrawn(app, size));
}

/** The map with its rings, and what they and the colours mean. @param {App} app @param {number} size */
function mapSvg(app, size) {
  const {reduction, layer} = app.state.selection;
  const painter = new SvgPainter();
  paintMap(app, painter, reduction, layerPlace(app), [0, 0], size);
  const words = wordsDrawn(`${layer} under ${reduction}, ${sampleName(app)} selected. ${ringsTold(app)}`, 8, size - 16, app.theme().ink);
  const legend = legendDrawn(app, 8, size - 16);
  const below = (/** @type {SVGElement[]} */ drawn, /** @type {number} */ top) => s("g", {transform: `translate(0 ${top})`}, drawn);
  const top = size + 8;
  const high = top + words.height + legend.height;
  const out = size / 20; // rings around cells at the edge
  return s("svg", {width: size + 2 * out, height: high + out, viewBox: `${-out} ${-out} ${size + 2 * out} ${high + out}`},
    painter.drawn, s("g", {}, ringsDrawn(app, size)), below(words.drawn, top), below(legend.drawn, top + words.height));
}

/** @param {App} app */
function mapTable(app) {
  const {reduction, layer} = app.state.selection;
  const {hits, commonest, purity, entropy} = app.counts.mix(reduction, layerPlace(app));
  const rows = Array.from(hits, (some, unit) => [layer, String(unit), String(some), app.bundle.className(commonest[unit]), String(purity[unit]), String(entropy[unit])]);
  const what = classWord(app);
  return [["layer", "unit", `samples${ofShown(app)}`, `commonest ${what}`, "purity", `entropy of the ${what}, bits`], ...rows];
}
