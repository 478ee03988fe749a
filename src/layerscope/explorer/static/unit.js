// @ts-check
/** What one code stands for: its samples, their classes, where they come from and go to. */

import {besideClean, classWord, entropyNamed, layerPlace, ofShown} from "./app.js";
import {css} from "./colours.js";
import {count, counted, h, number, percent} from "./elements.js";
import {codeButton, conditionNamed, pressSample, refill, sampleButton, swatch} from "./links.js";
import {lacking, panel} from "./panels.js";
import {thumbnail} from "./pictures.js";

/** @typedef {import("./app.js").App} App */

const EXEMPLARS = 12;
const UNIT_CLASSES = 8;
const UNIT_PARTNERS = 6;

/** @param {App} app */
export function unitView(app) {
  const body = h("div", {class: "unit-body", tabindex: -1});
  const moves = h("div", {class: "unit-part unit-moves", tabindex: -1});
  const made = panel({
    id: "unit",
    title: "Code",
    how: "Samples of one code, nearest to its prototype first. ✗ marks a wrong answer. Press a sample or a code to select it.",
    body,
    csv: () => unitTable(app),
  });
  app.state.follow(({selection, changed}) => {
    if (["reduction", "layer", "unit"].some((name) => changed.has(/** @type {any} */ (name)))) {
      made.retitle(selection.unit === null ? "Code" : `Code ${selection.unit} at ${selection.layer}`);
      refill(body, selection.unit === null ? unitHint() : unitParts(app, selection.unit, moves));
      if (selection.unit !== null) refill(moves, unitMoves(app, selection.unit));
    } else {
      if (changed.has("condition") && selection.unit !== null) refill(moves, unitMoves(app, selection.unit));
      if (changed.has("sample")) pressSample(app, body);
    }
  });
  return made;
}

function unitHint() {
  return h("p", {class: "hint"}, "No code is selected. Click a cell of a map, or give the map the focus and press the arrow keys.");
}

/** @param {App} app @param {number} unit @param {HTMLElement} moves */
function unitParts(app, unit, moves) {
  const {reduction} = app.state.selection;
  const layer = layerPlace(app);
  const layers = app.bundle.layers(reduction);
  const rows = app.counts.samplesOf(reduction, layer, unit);
  if (!rows.length) return [h("p", {class: "lacking"}, `No sample${ofShown(app)} has code ${unit} at ${layers[layer]}.`), unitInversion(app, unit)];
  return [
    unitFacts(app, layer, unit),
    unitMix(app, layer, unit),
    h("div", {class: "unit-shown"}, unitExemplars(app, rows), unitInversion(app, unit)),
    h("div", {class: "unit-partners"},
      layer > 0 ? unitPartners(app, layer, unit, layer - 1) : null,
      layer < layers.length - 1 ? unitPartners(app, layer, unit, layer + 1) : null),
    moves,
  ];
}

/** @param {App} app @param {number} layer @param {number} unit */
function unitFacts(app, layer, unit) {
  const {hits, purity, entropy, commonest} = app.counts.mix(app.state.selection.reduction, layer);
  const facts = [`${counted(hits[unit], "sample")}${ofShown(app)}`];
  if (commonest[unit] >= 0) facts.push(`purity ${purity[unit].toFixed(2)}`, `${entropyNamed(app)} ${entropy[unit].toFixed(2)} bits, not corrected for few samples`);
  return h("p", {class: "facts"}, facts.join(" · "));
}

/** The classes of a unit, the commonest first; beyond `UNIT_CLASSES` together. @param {App} app @param {number} layer @param {number} unit */
function unitClasses(app, layer, unit) {
  const {classes} = app.counts.mix(app.state.selection.reduction, layer);
  const own = classes.subarray(unit * app.counts.classes, (unit + 1) * app.counts.classes);
  const found = [...own.keys()].filter((one) => own[one]).sort((one, other) => own[other] - own[one] || one - other);
  const [first, rest] = found.length > UNIT_CLASSES ? [found.slice(0, UNIT_CLASSES - 1), found.slice(UNIT_CLASSES - 1)] : [found, []];
  const parts = first.map((one) => ({index: one, name: app.bundle.className(one), many: own[one]}));
  const others = rest.reduce((sum, one) => sum + own[one], 0);
  return others ? [...parts, {index: -1, name: `${rest.length} more classes`, many: others}] : parts;
}

/** @param {App} app @param {number} layer @param {number} unit */
function unitMix(app, layer, unit) {
  const parts = unitClasses(app, layer, unit);
  if (!parts.length) return lacking(app.bundle.missing("labels"), "The samples have neither labels nor answers.");
  const known = parts.reduce((sum, {many}) => sum + many, 0);
  const bar = h("div", {class: "mix-bar", "aria-hidden": "true"}, parts.map(({index, name, many}) => h("span", {
    title: `${name}: ${count(many)}`, class: index < 0 ? "rest" : null,
    style: {"flex-grow": many, ...(app.classes[index] ? {background: css(app.classes[index])} : {})},
  })));
  const legend = h("ul", {class: "mix-legend", "aria-hidden": "true"}, parts.map(({index, name, many}) =>
    h("li", {}, swatch(app, index), `${name} ${count(many)}`)));
  const what = classWord(app) === "answer" ? "Answers" : "Labels";
  const table = h("table", {class: "unseen"}, h("caption", {}, `${what} of the samples of this code`),
    h("thead", {}, h("tr", {}, ["class", "samples", "share"].map((one) => h("th", {scope: "col"}, one)))),
    h("tbody", {}, parts.map(({name, many}) =>
      h("tr", {}, h("th", {scope: "row"}, name), h("td", {}, count(many)), h("td", {}, percent(many / known))))));
  return h("div", {class: "unit-part"}, bar, legend, table);
}

/** @param {App} app @param {number[]} rows */
function unitExemplars(app, rows) {
  const {bundle} = app;
  const heading = h("h3", {}, "Nearest to the prototype");
  const shown = rows.slice(0, EXEMPLARS).map((row) => h("li", {}, sampleButton(app, row)));
  const kind = bundle.texts ? "written" : bundle.json.pictures?.clean ? "" : "bare";
  return h("div", {class: "unit-part"}, heading,
    kind === "bare" ? lacking(bundle.missing("pictures"), "The run holds no pictures.") : null, h("ul", {class: `exemplars ${kind}`}, shown));
}

/** @param {App} app @param {number} unit */
function unitInversion(app, unit) {
  const {reduction, layer} = app.state.selection;
  const told = app.bundle.decoded(reduction, layer);
  const place = told ? told.units.indexOf(unit) : -1;
  const shown = [];
  if (!told) shown.push(lacking(app.bundle.missing("decoding"), `No code of ${layer} was decoded.`));
  else if (place < 0) shown.push(lacking(null, `This code was not decoded: of ${layer}, ${count(told.units.length)} of ${count(app.bundle.units)} were.`));
  else {
    const picture = app.bundle.inversion(reduction, layer, unit);
    if (told.names?.[place]) shown.push(h("p", {class: "facts"}, `Named ${told.names[place]}`));
    const without = told.inverted[place] ? "Its picture was left out to keep the file small." : "This code was not inverted.";
    shown.push(picture ? thumbnail(picture, {label: `Input made for code ${unit}`, size: 112}) : lacking(null, without));
    shown.push(told.inverted[place] && unitFidelity(told.reencoded?.[place], told.residual?.[place]));
  }
  return h("div", {class: "unit-part unit-inversion"}, h("h3", {}, "Made for this code"), shown);
}

/** @param {boolean | null | undefined} again @param {number | null | undefined} residual */
function unitFidelity(again, residual) {
  const sign = again ? "✓ encoded back to this code" : "✗ encoded to another code";
  const known = typeof residual === "number" && Number.isFinite(residual);
  return h("p", {class: "facts"}, again === null || again === undefined ? "Encoding back was not measured" : sign,
    known ? ` · ${number(residual)} spreads from the prototype` : "");
}

/** @param {App} app @param {number} layer @param {number} unit @param {number} other */
function unitPartners(app, layer, unit, other) {
  const {reduction} = app.state.selection;
  const found = app.counts.partners(reduction, layer, unit, other);
  const name = app.bundle.layers(reduction)[other];
  const codes = counted(found.length, "code");
  return h("div", {class: "unit-part"}, h("h3", {}, other < layer ? `From ${codes} of ${name}` : `To ${codes} of ${name}`),
    unitLinks(app, other, found));
}

/** @param {App} app @param {number} layer @param {[number, number][]} found */
function unitLinks(app, layer, found) {
  const links = found.slice(0, UNIT_PARTNERS).map(([unit, many]) =>
    h("li", {}, codeButton(app, layer, unit, {note: `(${count(many)})`, told: counted(many, "sample")})));
  const more = found.length - links.length;
  return h("ul", {class: "code-links"}, links, more > 0 ? h("li", {class: "note"}, `and ${count(more)} more`) : null);
}

/** Where a condition moves the samples. @param {App} app @param {number} unit */
function unitMoves(app, unit) {
  const {reduction} = app.state.selection;
  const condition = besideClean(app);
  const layer = layerPlace(app);
  if (!condition) return [h("h3", {}, "Under an attack"), lacking(app.bundle.missing("attack"))];
  const [before, after] = [app.bundle.codes("clean", reduction, layer), app.bundle.codes(condition, reduction, layer)];
  /** @type {Map<number, number>} */
  const to = new Map();
  let [all, moved] = [0, 0];
  for (let row = 0; row < before.length; row += 1) {
    if (before[row] !== unit) continue;
    all += 1;
    if (after[row] === unit) continue;
    moved += 1;
    to.set(after[row], (to.get(after[row]) ?? 0) + 1);
  }
  const found = /** @type {[number, number][]} */ ([...to].sort((one, other) => other[1] - one[1] || one[0] - other[0]));
  const share = `${percent(moved / all)} change their code (${count(moved)} of ${count(all)}${ofShown(app) && ` samples${ofShown(app)}`})`;
  const where = found.length ? `, to ${counted(found.length, "code")}:` : ".";
  return [h("h3", {}, `Under ${conditionNamed(app, condition)}`), h("p", {class: "facts"}, share, where), found.length ? unitLinks(app, layer, found) : null];
}

/** @param {App} app @returns {string[][]} */
function unitTable(app) {
  const {bundle} = app;
  const {reduction, unit} = app.state.selection;
  const layer = layerPlace(app);
  const names = bundle.conditions.map(({name}) => name);
  const header = [`id${ofShown(app)}`, "label", "prediction", "confidence", "distance",
    ...names.map((name) => `prediction under ${name}`), ...names.map((name) => `code under ${name}`)];
  if (unit === null) return [header];
  const scale = bundle.json.arrays[`distance/0/${bundle.reduction(reduction)}`].scale;
  const distances = bundle.distances(reduction, layer);
  return [header, ...app.counts.samplesOf(reduction, layer, unit).map((row) => [
    String(bundle.ids[row]), bundle.className(bundle.labels[row]), bundle.className(bundle.predictions("clean")[row]),
    String(bundle.confidences("clean")[row]), String(distances[row] * scale),
    ...names.map((name) => bundle.className(bundle.predictions(name)[row])),
    ...names.map((name) => String(bundle.codes(name, reduction, layer)[row])),
  ])];
}
