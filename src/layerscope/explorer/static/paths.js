// @ts-check
/** The paths of the selected sample: what they are in words, and how they are drawn. */

import {besideClean, layerPlace, sampleRow} from "./app.js";
import {conditionNamed} from "./links.js";
import {s} from "./elements.js";

/** @typedef {import("./app.js").App} App */

/** How what a condition does is drawn: red where it attacks, grey where it is noise. @param {App} app @param {string} condition @returns {"attacked" | "noisy"} */
export function pathKind(app, condition) {
  return app.bundle.conditions[app.bundle.place(condition)]?.kind === "noise" ? "noisy" : "attacked";
}

/** What is set beside the clean sample, with why where nobody chose it; null where there is nothing. @param {App} app */
export function besideTold(app) {
  const condition = besideClean(app);
  if (!condition) return null;
  return `${conditionNamed(app, condition)}${app.state.selection.condition === "clean" ? ", the run's last attack" : ""}`;
}

/** What the lines over the maps are. @param {App} app @param {string} [sample] Who it is. */
export function pathsTold(app, sample = "the selected sample") {
  const condition = besideClean(app);
  const dashed = condition ? `; dashed ${pathKind(app, condition) === "noisy" ? "grey" : "red"}: under ${besideTold(app)}` : "";
  const torus = app.grid.torus ? " Opposite edges of a map touch: a line may take the long way between codes that are near." : "";
  return `Solid line: ${sample}, clean${dashed}.${torus}`;
}

/** The paths of the selected sample over its maps. @param {App} app @param {(layer: number, unit: number) => number[]} point Where a unit lies. */
export function pathsDrawn(app, point) {
  const {reduction} = app.state.selection;
  const [row, condition] = [sampleRow(app), besideClean(app)];
  if (row === null) return [];
  const shown = /** @type {[string, string][]} */ ([...(condition ? [[condition, pathKind(app, condition)]] : []), ["clean", "clean"]]);
  return shown.map(([name, kind]) =>
    pathDrawn(app.bundle.layers(reduction).map((_, at) => point(at, app.bundle.codes(name, reduction, at)[row])), kind));
}

/** @param {number[][]} points @param {string} kind */
function pathDrawn(points, kind) {
  const d = points.map(([x, y], place) => {
    if (!place) return `M${x.toFixed(1)} ${y.toFixed(1)}`;
    const [before, height] = points[place - 1];
    const middle = ((before + x) / 2).toFixed(1);
    return `C${middle} ${height.toFixed(1)} ${middle} ${y.toFixed(1)} ${x.toFixed(1)} ${y.toFixed(1)}`;
  }).join("");
  return s("g", {class: `path ${kind}`}, s("path", {d}), points.map(([cx, cy]) => s("circle", {cx, cy, r: 3.5})));
}

/** Around codes of the selected layer: the sample's, where the condition moves it, and the selected one. @param {App} app @param {number} size Of the map. */
export function ringsDrawn(app, size) {
  const {unit, reduction} = app.state.selection;
  const {centre, scale} = app.grid.fitted(size);
  const [row, condition, layer] = [sampleRow(app), besideClean(app), layerPlace(app)];
  const ring = (/** @type {number} */ at, /** @type {string} */ kind) => s("circle", {class: kind, cx: centre(at)[0], cy: centre(at)[1], r: scale * (kind === "ring" ? 0.8 : 0.95)});
  const own = row === null ? null : app.bundle.codes("clean", reduction, layer)[row];
  const moved = row === null || !condition ? null : app.bundle.codes(condition, reduction, layer)[row];
  return [
    own === null ? null : ring(own, "sample-ring"),
    moved === null || moved === own || !condition ? null : ring(moved, `moved-ring ${pathKind(app, condition)}`),
    unit === null ? null : ring(unit, "ring"),
  ];
}

/** What the rings are. @param {App} app */
export function ringsTold(app) {
  const condition = besideClean(app);
  const dashed = condition ? ` Dashed ring, ${pathKind(app, condition) === "noisy" ? "grey" : "red"}: where ${besideTold(app)} moves it.` : "";
  return `Blue ring: the selected code. Dark ring: the selected sample's code.${dashed}`;
}
