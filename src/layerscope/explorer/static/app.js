// @ts-check
/** What every view is given. */

import {count, counted, percent} from "./elements.js";

/** @typedef {import("./bundle.js").Bundle} Bundle */
/** @typedef {import("./grid.js").Grid} Grid */
/** @typedef {import("./counts.js").Counts} Counts */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./colours.js").Rgb} Rgb */

/**
 * @typedef {object} App
 * @property {Bundle} bundle
 * @property {Grid} grid
 * @property {Counts} counts
 * @property {State} state
 * @property {Rgb[]} classes A colour per class.
 * @property {() => Theme} theme The colours of the page as it is now, light or dark.
 * @property {(follower: () => void) => void} onTheme Called when they change.
 * @property {(words: string) => void} announce Read out by screen readers.
 * @property {{sets: Set<number> | null, told: string}} found What the search has found, as rows; null where nothing is asked.
 * @property {(rows: Set<number> | null, told: string) => void} find Set it; the maps show it under the colour `found`.
 * @property {(follower: () => void) => void} onFound
 * @property {import("./bundle.js").Source} source
 * @property {AbortSignal} signal Aborted when the page is let go of: whatever watches the world outside ends then.
 */

/** @typedef {{ink: string, muted: string, line: string, paper: Rgb, empty: string, attack: string, noise: string, accent: string}} Theme */

/** The place of the selected layer. @param {App} app */
export function layerPlace(app) {
  const {reduction, layer} = app.state.selection;
  return app.bundle.layers(reduction).indexOf(layer);
}

/** The row of the selected sample, or null. @param {App} app */
export function sampleRow(app) {
  const {sample} = app.state.selection;
  return sample === null ? null : app.bundle.rowOf.get(sample) ?? null;
}

/** The condition that is set beside `clean`: the selected one, or the run's last attack; null where it has none. @param {App} app */
export function besideClean(app) {
  const {condition} = app.state.selection;
  return condition !== "clean" ? condition : app.bundle.attacks.at(-1)?.name ?? null;
}

/** What counts of samples are out of where the bundle has only some of them, else nothing. @param {App} app */
export function ofShown({bundle}) {
  return bundle.samples < bundle.json.total ? ` of the ${count(bundle.samples)} shown` : "";
}

/** What classes are: a sample's label, or the network's answer where there are no labels. @param {App} app */
export function classWord({bundle}) {
  return bundle.json.class_source === "predictions" ? "answer" : "class";
}

/** A unit's entropy by name: a plug-in estimate. @param {App} app */
export function entropyNamed({bundle}) {
  return `H(${bundle.json.class_source === "predictions" ? "answer" : "label"} | this code)`;
}

/** A unit in words. @param {App} app @param {string} reduction @param {number} layer @param {number} unit */
export function unitTold(app, reduction, layer, unit) {
  const {hits, commonest, purity} = app.counts.mix(reduction, layer);
  const name = app.bundle.layers(reduction)[layer];
  if (!hits[unit]) return `Code ${unit} at ${name}: no samples${ofShown(app)}`;
  const many = `Code ${unit} at ${name}: ${counted(hits[unit], "sample")}${ofShown(app)}`;
  if (commonest[unit] < 0) return many;
  const kind = app.bundle.json.class_source === "predictions" ? "answered " : "";
  return `${many}, ${percent(purity[unit])} ${kind}${app.bundle.className(commonest[unit])}`;
}
