// @ts-check
/** All that stands over the depth as one picture, with what its lines and colours mean. */

import {layerPlace, sampleRow} from "./app.js";
import {across} from "./charts.js";
import {s, short} from "./elements.js";
import {legendDrawn, wordsDrawn} from "./legend.js";
import {SvgPainter} from "./painter.js";
import {paintMap} from "./painting.js";
import {pathsDrawn, pathsTold} from "./paths.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {{chart: SVGSVGElement | null, told: string}} Chart */
/** @typedef {{left: number, step: number, width: number, height: number, layers: number, size: number, high: number, drop: number}} Place Of the maps. */

const BESIDE = 12;

/** @param {App} app @param {Place} place @param {Chart} telescope @param {Chart} travel */
export function depthDrawn(app, place, telescope, travel) {
  const {ink} = app.theme();
  const room = Math.max(240, Math.min(place.width, 1200) - 2 * BESIDE);
  const words = (/** @type {string} */ text) => wordsDrawn(text, BESIDE, room, ink);
  const chart = (/** @type {Chart} */ {chart: own}, /** @type {number} */ height) => ({drawn: own ? [/** @type {SVGElement} */ (own.cloneNode(true))] : [], height: own ? height : 0});
  const parts = [
    namesDrawn(app, place), words(telescope.told), chart(telescope, 150), words(`${pathsTold(app, sampleName(app))} Maps under ${app.state.selection.reduction}.`),
    mapsDrawn(app, place), legendDrawn(app, BESIDE, room), words(travel.told), chart(travel, 130),
  ];
  let top = 0;
  const placed = parts.map(({drawn, height}) => {
    const group = s("g", {transform: `translate(0 ${top})`}, drawn);
    top += height;
    return group;
  });
  return s("svg", {width: place.width, height: top, viewBox: `0 0 ${place.width} ${top}`}, placed);
}

/** @param {App} app */
export function sampleName(app) {
  const row = sampleRow(app);
  return row === null ? "no sample" : `sample ${app.bundle.ids[row]}`;
}

/** @param {App} app @param {Place} place */
function namesDrawn(app, place) {
  const {ink, accent} = app.theme();
  const own = layerPlace(app);
  const drawn = app.bundle.layers(app.state.selection.reduction).map((name, layer) =>
    s("text", {x: across(place, layer), y: 14, "text-anchor": "middle", "font-size": 12, "font-weight": 600, fill: layer === own ? accent : ink}, short(name)));
  return {drawn, height: 24};
}

/** @param {App} app @param {Place} place */
function mapsDrawn(app, {left, step, size, high, drop, ...rest}) {
  const {reduction} = app.state.selection;
  const painter = new SvgPainter();
  const corner = (/** @type {number} */ layer) => across({left, step, ...rest}, layer) - size / 2;
  app.bundle.layers(reduction).forEach((_, layer) => paintMap(app, painter, reduction, layer, [corner(layer), -drop], size));
  const {centre} = app.grid.fitted(size);
  const paths = pathsDrawn(app, (layer, unit) => {
    const [x, y] = centre(unit);
    return [corner(layer) + x, y - drop];
  });
  return {drawn: [...painter.drawn, ...paths], height: high + 10};
}
