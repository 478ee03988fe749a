// @ts-check
/** One sample: clean and perturbed, its answers, and its path through the maps. */

import {besideClean, classWord, ofShown, sampleRow} from "./app.js";
import {count, fill, h, number, percent} from "./elements.js";
import {answered, codeButton, conditionNamed, refill, sampleTold, swatch} from "./links.js";
import {lacking, panel} from "./panels.js";
import {changePicture, thumbnail} from "./pictures.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {"yes" | "no" | "empty" | ""} Own Whether the sample's own class is the commonest of a code; empty: no clean
 *  sample has the code. */
/** @typedef {{layer: number, clean: number, other: number | null, steps: number, ownClean: Own, ownOther: Own}} Step A layer of a path. */

const SAMPLE_PICTURE = 96;

/** @param {App} app */
export function sampleView(app) {
  const body = h("div", {class: "sample-body", tabindex: -1});
  const made = panel({
    id: "sample",
    title: "Sample",
    how: "One sample, clean and under a condition. Steps: how far apart the two codes lie on the map. Press a code to see it.",
    body,
    tools: sampleSteps(app),
    csv: () => pathTable(app),
  });
  const draw = () => {
    const row = sampleRow(app);
    made.retitle(row === null ? "Sample" : `Sample ${app.bundle.ids[row]}`);
    refill(body, row === null ? sampleHint(app) : sampleParts(app, row));
    markPath(app, body);
  };
  app.state.follow(({changed}) => {
    if (["sample", "reduction", "condition"].some((name) => changed.has(/** @type {any} */ (name)))) draw();
    else if (changed.has("layer") || changed.has("unit")) markPath(app, body);
  });
  return made;
}

/** @param {App} app */
function sampleHint(app) {
  const missing = app.state.selection.sample === null ? "" : `The bundle shows no sample ${app.state.selection.sample}. `;
  return h("p", {class: "hint"}, `${missing}No sample is selected. Press a picture among a code's samples, search for one, or press Next, Random or Most changed.`);
}

/** Buttons to other samples; of what a search has found, where there is one. @param {App} app */
function sampleSteps(app) {
  const note = h("span", {class: "note"});
  const all = () => {
    const {sets} = app.found;
    return sets?.size ? [...sets].sort((one, other) => one - other) : Array.from({length: app.bundle.samples}, (_, row) => row);
  };
  const go = (/** @type {number | undefined} */ row) => {
    if (row === undefined) return;
    app.state.select({sample: app.bundle.ids[row]});
    app.announce(sampleTold(app, row));
  };
  const beside = (/** @type {1 | -1} */ step) => {
    const [rows, row] = [all(), sampleRow(app)];
    if (row === null) return go(rows.at(step > 0 ? 0 : -1));
    return go((step > 0 ? rows.find((one) => one > row) : rows.findLast((one) => one < row)) ?? rows.at(step > 0 ? 0 : -1));
  };
  const random = () => {
    const rows = all().filter((row) => row !== sampleRow(app));
    return go(rows[Math.floor(Math.random() * rows.length)]);
  };
  const condition = () => besideClean(app);
  const most = h("button", {type: "button", onclick: () => {
    const changes = app.counts.changes(condition() ?? "clean", app.state.selection.reduction);
    go(all().reduce((best, row) => (changes[row] > changes[best] ? row : best)));
  }}, "Most changed");
  const tell = () => fill(note, app.found.sets?.size ? `among ${count(app.found.sets.size)} found` : "");
  app.onFound(tell);
  app.state.follow(() => {
    most.disabled = condition() === null;
    most.title = condition() ? `The sample whose path lies furthest from its clean one under ${conditionNamed(app, condition() ?? "clean")}` : "The run has no attack";
  });
  tell();
  return h("div", {class: "sample-steps", role: "group", "aria-label": "Another sample"},
    h("button", {type: "button", onclick: () => beside(-1)}, "Previous"),
    h("button", {type: "button", onclick: () => beside(1)}, "Next"),
    h("button", {type: "button", onclick: random}, "Random"), most, note);
}

/** @param {App} app @param {number} row */
function sampleParts(app, row) {
  const {bundle} = app;
  const label = bundle.labels[row];
  return [
    label < 0 ? null : h("p", {class: "facts"}, "label ", swatch(app, label), bundle.className(label)),
    bundle.texts ? h("blockquote", {class: "words", tabindex: 0}, bundle.texts[row]) : samplePictures(app, row),
    sampleAnswers(app, row),
    sampleFacts(app, row),
    besideClean(app) ? null : lacking(bundle.missing("attack")),
    samplePath(app, row),
  ];
}

/** @param {App} app @param {number} row */
function samplePictures(app, row) {
  const {bundle} = app;
  if (!bundle.json.pictures?.clean) return lacking(bundle.missing("pictures"), "The run holds no pictures.");
  const condition = besideClean(app);
  const [clean, other] = [bundle.picture("clean", row), condition ? bundle.picture(condition, row) : null];
  const shown = (/** @type {typeof clean} */ picture, /** @type {string} */ name) => h("figure", {},
    thumbnail(picture, {label: picture ? `Sample ${bundle.ids[row]}, ${name}` : `no picture, ${name}`, size: SAMPLE_PICTURE}), h("figcaption", {}, name));
  return h("div", {class: "sample-pictures"},
    shown(clean, "clean"), clean && other ? changePicture(clean, other, {size: SAMPLE_PICTURE}) : null, condition ? shown(other, conditionNamed(app, condition)) : null);
}

/** @param {App} app @param {number} row */
function sampleAnswers(app, row) {
  const {bundle} = app;
  const chosen = besideClean(app);
  const answers = bundle.conditions.filter(({name}) => bundle.predictions(name)[row] >= 0);
  if (!answers.length) return null;
  return h("table", {class: "answers"}, h("caption", {}, "Answers, and how sure the network is of them"),
    h("thead", {class: "unseen"}, h("tr", {}, ["condition", "answer", "confidence"].map((one) => h("th", {scope: "col"}, one)))),
    h("tbody", {}, answers.map(({name, kind}) => {
      const sure = bundle.confidences(name)[row];
      return h("tr", {class: name === chosen ? `${kind} chosen` : kind},
        h("th", {scope: "row", title: name}, conditionNamed(app, name)), h("td", {}, swatch(app, bundle.predictions(name)[row]), answered(app, row, name)),
        h("td", {class: "sure"}, h("span", {class: "bar", "aria-hidden": "true"}, h("span", {style: {width: `${100 * (sure || 0)}%`}})), percent(sure)));
    })));
}

/** @param {App} app @param {number} row */
function sampleFacts(app, row) {
  const facts = [];
  const {reduction} = app.state.selection;
  const condition = besideClean(app);
  if (condition) {
    const changes = app.counts.changes(condition, reduction);
    const more = changes.reduce((sum, one) => sum + Number(one > changes[row]), 0);
    const first = app.counts.departure(condition, reduction, row);
    facts.push(`Its path under ${conditionNamed(app, condition)} lies ${number(changes[row])} grid steps from its clean one, summed over the layers: number ${count(more + 1)}${ofShown(app) || ` of ${count(changes.length)}`}.`);
    facts.push(first < 0 ? "It ends in the clean path's code." : `It leaves the clean path for good at ${app.bundle.layers(reduction)[first]}.`);
  }
  const smallest = smallestTold(app, row);
  return h("p", {class: "facts"}, [...facts, smallest].filter(Boolean).join(" "));
}

/** @param {App} app @param {number} row */
function smallestTold(app, row) {
  const found = app.bundle.smallest?.[row];
  if (found === undefined || Number.isNaN(found)) return "";
  const asked = app.bundle.json.run.asked?.smallest;
  const by = asked ? ` (${asked})` : "";
  if (!Number.isFinite(found)) return `No perturbation was found that changes the answer${by}.`;
  const pixels = /linf/.test(asked ?? "") && app.bundle.json.pictures?.clean ? `, ${number(255 * found)}/255` : "";
  return `Smallest perturbation that was found to change the answer${by}: ${number(found)}${pixels}.`;
}

/** A sample's codes, layer by layer. @param {App} app @param {number} row @returns {Step[]} */
function pathOf(app, row) {
  const {bundle, counts, grid} = app;
  const {reduction} = app.state.selection;
  const condition = besideClean(app);
  const own = bundle.classOf[row];
  return bundle.layers(reduction).map((_, layer) => {
    const {commonest, hits} = counts.mix(reduction, layer);
    const clean = bundle.codes("clean", reduction, layer)[row];
    const other = condition ? bundle.codes(condition, reduction, layer)[row] : null;
    const same = (/** @type {number | null} */ unit) => {
      if (own < 0 || unit === null) return "";
      return hits[unit] ? (commonest[unit] === own ? "yes" : "no") : "empty";
    };
    return {layer, clean, other, steps: other === null || other === clean ? 0 : grid.distance(clean, other), ownClean: same(clean), ownOther: same(other)};
  });
}

/** @param {App} app @param {number} row */
function samplePath(app, row) {
  const {reduction} = app.state.selection;
  const layers = app.bundle.layers(reduction);
  const condition = besideClean(app);
  const first = condition ? app.counts.departure(condition, reduction, row) : -1;
  const heads = condition ? ["layer", "clean code", `${conditionNamed(app, condition)}: code`, "steps"] : ["layer", "clean code"];
  return h("div", {class: "path-scroll", tabindex: 0, role: "group", "aria-label": "Path through the layers"},
    h("table", {class: "path"},
      h("caption", {}, `Path through the layers. ✓ and ✗: whether the sample's own ${classWord(app)} is the commonest of the code. ∅: no clean sample${ofShown(app)} has it.`),
      h("thead", {}, h("tr", {}, heads.map((one) => h("th", {scope: "col"}, one)))),
      h("tbody", {}, pathOf(app, row).map((step) => pathRow(app, layers[step.layer], step, step.layer === first)))));
}

/** @param {App} app @param {string} name @param {Step} step @param {boolean} departs */
function pathRow(app, name, {layer, clean, other, steps, ownClean, ownOther}, departs) {
  const onclick = (/** @type {MouseEvent} */ event) => {
    if (!(event.target instanceof Element && event.target.closest("button"))) app.state.select({layer: name, unit: clean});
  };
  return h("tr", {"data-layer": name, class: departs ? "departs" : null, onclick},
    h("th", {scope: "row"}, name, departs ? h("span", {class: "tag"}, " ▸ departs") : null),
    h("td", {}, codeButton(app, layer, clean, {told: ownTold(app, ownClean)}), ownSign(app, ownClean)),
    other === null ? null : h("td", {}, codeButton(app, layer, other, {told: ownTold(app, ownOther)}), ownSign(app, ownOther)),
    other === null ? null : h("td", {}, other === clean ? "same" : number(steps)));
}

/** @param {App} app @param {Own} own */
function ownTold(app, own) {
  const kind = classWord(app);
  return {yes: `own ${kind} commonest`, no: `another ${kind} commonest`, empty: `no clean sample${ofShown(app)} has it`, "": ""}[own];
}

/** @param {App} app @param {Own} own */
function ownSign(app, own) {
  const sign = {yes: " ✓", no: " ✗", empty: " ∅", "": ""}[own];
  return sign && h("span", {class: own === "yes" ? "sign" : "sign wrong", "aria-hidden": "true", title: ownTold(app, own)}, sign);
}

/** Show which layer is selected. @param {App} app @param {Element} body */
function markPath(app, body) {
  for (const line of body.querySelectorAll("tr[data-layer]")) {
    if (line.getAttribute("data-layer") === app.state.selection.layer) line.setAttribute("aria-current", "true");
    else line.removeAttribute("aria-current");
  }
}

/** @param {App} app @returns {string[][]} */
function pathTable(app) {
  const row = sampleRow(app);
  const {reduction} = app.state.selection;
  const [layers, condition] = [app.bundle.layers(reduction), besideClean(app)];
  const own = `own ${classWord(app)} commonest in it${ofShown(app)}`;
  const header = ["id", "layer", "clean code", `${own}, clean`,
    ...(condition ? [`code under ${condition}`, `${own}, ${condition}`, "grid steps between", "departs here"] : [])];
  if (row === null) return [header];
  const first = condition ? app.counts.departure(condition, reduction, row) : -1;
  return [header, ...pathOf(app, row).map(({layer, clean, other, steps, ownClean, ownOther}) => [
    String(app.bundle.ids[row]), layers[layer], String(clean), ownClean,
    ...(other === null ? [] : [String(other), ownOther, String(Number(steps.toFixed(4))), layer === first ? "yes" : "no"])])];
}
