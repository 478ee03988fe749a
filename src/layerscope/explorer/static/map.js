// @ts-check
/** One layer's map, large. */

import {besideClean, layerPlace, sampleRow} from "./app.js";
import {amounts} from "./colours.js";
import {hover, mapKeys} from "./depth.js";
import {choice, fill, h, number, s} from "./elements.js";
import {CanvasPainter, SvgPainter} from "./painter.js";
import {COLOURINGS, amountsOf, colourable, paintMap, sharp} from "./painting.js";
import {panel} from "./panels.js";

/** @typedef {import("./app.js").App} App */

const LARGE = 380;

/** @param {App} app */
export function mapView(app) {
  const canvas = h("canvas", {});
  const overlay = s("svg", {class: "rings", "aria-hidden": "true"});
  const tip = h("div", {class: "tip", hidden: true});
  const legend = h("div", {class: "map-legend"});
  const colours = h("div", {});
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
    svg: () => mapSvg(app, size, overlay),
    csv: () => mapTable(app),
  });
  const draw = () => {
    const {layer, colour} = app.state.selection;
    made.retitle(`Map of ${layer}`);
    made.explain("Solid ring: the selected code. Dashed ring: where the condition moves the selected sample. Arrow keys move between codes.");
    area.setAttribute("aria-label", `Map of ${layer}: arrow keys move between codes, page up and page down between layers`);
    fill(colours, choice("Colour by", Object.entries(COLOURINGS).filter(([name]) => colourable(app, name)).map(([value, {title, how}]) => ({value, title, note: how})), colour, (value) => app.state.select({colour: value})));
    paintMap(app, new CanvasPainter(sharp(canvas, size, size)), colour, app.state.selection.reduction, layerPlace(app), [0, 0], size);
    fill(legend, mapLegend(app));
    rings(app, overlay, size);
  };
  app.state.follow(({changed}) => {
    if (["reduction", "layer", "colour", "condition"].some((name) => changed.has(/** @type {any} */ (name)))) draw();
    else rings(app, overlay, size);
  });
  app.onTheme(draw);
  app.onFound(draw);
  new ResizeObserver(() => {
    const now = Math.min(520, Math.max(220, Math.floor(/** @type {HTMLElement} */ (area.parentElement).clientWidth)));
    if (Math.abs(now - size) > 4) {
      size = now;
      draw();
    }
  }).observe(/** @type {HTMLElement} */ (area.parentElement));
  return made;
}

/** @param {App} app @param {SVGSVGElement} overlay @param {number} size */
function rings(app, overlay, size) {
  const {unit, reduction} = app.state.selection;
  const {centre, scale} = app.grid.fitted(size);
  const [row, condition, layer] = [sampleRow(app), besideClean(app), layerPlace(app)];
  const ring = (/** @type {number} */ at, /** @type {string} */ kind) => s("circle", {class: kind, cx: centre(at)[0], cy: centre(at)[1], r: scale * (kind === "ring" ? 0.8 : 0.95)});
  const own = row === null ? null : app.bundle.codes("clean", reduction, layer)[row];
  const moved = row === null || !condition ? null : app.bundle.codes(condition, reduction, layer)[row];
  for (const name of ["width", "height"]) overlay.setAttribute(name, String(size));
  fill(overlay, own === null ? null : ring(own, "sample-ring"), moved === null || moved === own ? null : ring(moved, "moved-ring"), unit === null ? null : ring(unit, "ring"));
}

/** @param {App} app */
function mapLegend(app) {
  const {colour, reduction, condition} = app.state.selection;
  const name = /** @type {keyof typeof COLOURINGS} */ (colourable(app, colour) ? colour : "hits");
  const how = h("p", {class: "how"}, COLOURINGS[name].how, name === "found" ? ` Found: ${app.found.told}.` : name === "flips" || name === "shift" ? ` Condition: ${condition === "clean" ? besideClean(app) : condition}.` : "");
  if (name === "class" || name === "pies") return [how];
  const {most} = amountsOf(app, name, reduction, layerPlace(app));
  const bar = h("div", {class: "amounts", style: {background: `linear-gradient(to right, ${amounts().join(", ")})`}});
  return [how, bar, h("div", {class: "ends"}, h("span", {}, "0"), h("span", {}, number(most)))];
}

/** @param {App} app @param {number} size @param {SVGSVGElement} overlay */
function mapSvg(app, size, overlay) {
  const painter = new SvgPainter();
  paintMap(app, painter, app.state.selection.colour, app.state.selection.reduction, layerPlace(app), [0, 0], size);
  return s("svg", {width: size, height: size, viewBox: `0 0 ${size} ${size}`}, painter.drawn, overlay.cloneNode(true));
}

/** @param {App} app */
function mapTable(app) {
  const {reduction, layer} = app.state.selection;
  const {hits, commonest, purity, entropy} = app.counts.mix(reduction, layerPlace(app));
  const rows = Array.from(hits, (some, unit) => [layer, String(unit), String(some), app.bundle.className(commonest[unit]), String(purity[unit]), String(entropy[unit])]);
  return [["layer", "unit", "samples", "commonest class", "purity", "class entropy, bits"], ...rows];
}
