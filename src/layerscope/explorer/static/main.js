// @ts-check
/** The explorer: a bundle becomes a page. */

import {open} from "./bundle.js";
import {palette, rgb} from "./colours.js";
import {conditionChoice, conditionTitle, pressed} from "./conditions.js";
import {Counts} from "./counts.js";
import {depthView} from "./depth.js";
import {choice, count, counted, fill, h, percent} from "./elements.js";
import {glanceView} from "./glance.js";
import {Grid} from "./grid.js";
import {hints} from "./hints.js";
import {mapView} from "./map.js";
import {COLOURINGS} from "./painting.js";
import {probeView} from "./probe.js";
import {ribbonsView} from "./ribbons.js";
import {sampleView} from "./sample.js";
import {searchView} from "./search.js";
import {sharingView} from "./sharing.js";
import {State} from "./state.js";
import {unitView} from "./unit.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./state.js").Selection} Selection */
/** @typedef {import("./bundle.js").Bundle} Bundle */

/**
 * Show a bundle.
 * @param {HTMLElement} root What it is shown in; its contents are replaced.
 * @param {import("./bundle.js").Source} source
 */
export async function start(root, source) {
  root.classList.add("layerscope");
  fill(root, h("p", {class: "loading", role: "status"}, "Reading the run…"));
  try {
    const bundle = await open(source);
    return shownIn(root, bundle, source);
  } catch (error) {
    fill(root, h("p", {class: "failed", role: "alert"}, error instanceof Error ? error.message : String(error)));
    throw error;
  }
}

/** @param {HTMLElement} root @param {Bundle} bundle @param {import("./bundle.js").Source} source */
function shownIn(root, bundle, source) {
  const state = new State(beginning(bundle), (wanted) => settled(bundle, wanted), source.address !== false);
  const live = h("p", {class: "spoken", role: "status", "aria-live": "polite"});
  const living = new AbortController();
  const app = appOf(root, bundle, source, state, living.signal, (words) => fill(live, words));
  const probe = source.probe ? probeView(app).element : null;
  fill(root,
    topOf(app), glanceView(app).element, depthView(app).element,
    h("div", {class: "cards"}, sampleView(app).element, mapView(app).element, unitView(app).element),
    h("div", {class: "cards two"}, ribbonsView(app).element, sharingView(app).element),
    searchView(app).element, probe, live);
  hints(app, root);
  root.dataset.ready = "true";
  performance.mark("layerscope-ready");
  return {
    select: (/** @type {Partial<Selection>} */ wanted) => state.select(wanted),
    selection: () => state.selection,
    onselect: (/** @type {(selection: Selection) => void} */ follower) => state.follow(({selection}) => follower(selection)),
    destroy: () => {
      state.end();
      living.abort();
      fill(root);
    },
  };
}

/** How the page begins: the last block's map, the sample whose path the last attack changes most. @param {Bundle} bundle @returns {Selection} */
function beginning(bundle) {
  const reduction = bundle.json.reductions[0].name;
  const layers = bundle.layers(reduction);
  const attack = bundle.attacks.at(-1)?.name ?? "clean";
  const layer = bundle.departure(reduction, attack) ?? layers.at(-2) ?? layers[0];
  const known = (/** @type {string} */ name) => Object.hasOwn(bundle.json.measures, name);
  const measure = ["label_information", "participation_ratio"].find(known) ?? Object.keys(bundle.json.measures)[0];
  const {example} = bundle;
  const sample = example !== null && bundle.rowOf.has(example) ? example : bundle.ids[0] ?? null;
  return {reduction, layer, unit: null, sample, condition: attack, measure, travel: known("flip_rate") ? "flip_rate" : null, colour: bundle.json.class_source ? "class" : "hits"};
}

/** What is asked for to what there is: an address may name anything. @param {Bundle} bundle @param {Selection} wanted @returns {Selection} */
function settled(bundle, wanted) {
  const first = beginning(bundle);
  const reductions = bundle.json.reductions.map((/** @type {any} */ one) => one.name);
  const reduction = reductions.includes(wanted.reduction) ? wanted.reduction : first.reduction;
  const layers = bundle.layers(reduction);
  const layer = layers.includes(wanted.layer) ? wanted.layer : layers.at(-2) ?? layers[0];
  const unit = wanted.unit !== null && wanted.unit >= 0 && wanted.unit < bundle.units ? wanted.unit : null;
  const sample = wanted.sample === null || bundle.rowOf.has(wanted.sample) ? wanted.sample : first.sample;
  const condition = bundle.place(wanted.condition) >= 0 ? wanted.condition : first.condition;
  const measure = Object.hasOwn(bundle.json.measures, wanted.measure) ? wanted.measure : first.measure;
  const travel = wanted.travel !== null && Object.hasOwn(bundle.json.measures, wanted.travel) ? wanted.travel : first.travel;
  const colour = Object.hasOwn(COLOURINGS, wanted.colour) ? wanted.colour : first.colour;
  return {reduction, layer, unit, sample, condition, measure, travel, colour};
}

/** @param {HTMLElement} root @param {Bundle} bundle @param {import("./bundle.js").Source} source @param {State} state @param {AbortSignal} signal @param {(words: string) => void} announce @returns {App} */
function appOf(root, bundle, source, state, signal, announce) {
  const grid = new Grid(bundle.json.grid);
  /** @type {(() => void)[]} */ const themed = [];
  /** @type {(() => void)[]} */ const finders = [];
  const counts = new Counts(bundle, grid);
  const theme = () => themeOf(root);
  let now = theme();
  const turned = () => {
    now = theme();
    themed.forEach((follower) => follower());
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", turned, {signal});
  root.addEventListener("themechange", turned, {signal});
  /** @type {App} */
  const app = {
    bundle, grid, counts, state, announce, source, signal, classes: palette(counts.classes), theme: () => now,
    onTheme: (follower) => themed.push(follower),
    found: {sets: null, told: ""},
    find: (sets, told) => {
      app.found = {sets, told};
      finders.forEach((follower) => follower());
    },
    onFound: (follower) => finders.push(follower),
  };
  return app;
}

/** @param {HTMLElement} root @returns {import("./app.js").Theme} */
function themeOf(root) {
  const look = getComputedStyle(root);
  const of = (/** @type {string} */ name) => look.getPropertyValue(`--${name}`).trim();
  return {ink: of("ink"), muted: of("muted"), line: of("line"), paper: rgb(of("panel")), empty: of("empty"), attack: of("attack"), noise: of("noise"), accent: of("accent")};
}

/** @param {App} app */
function topOf(app) {
  const {bundle, state} = app;
  const {title, headline, sentences, warnings, run} = bundle.json;
  const named = bundle.json.reductions.map((/** @type {any} */ one) => one.name);
  const reductions = choice("Reduction", named.map((/** @type {string} */ name) => ({value: name, title: name})), "", (reduction) => state.select({reduction, unit: null}));
  const found = h("ul", {class: "sentences"});
  state.follow(({selection, changed}) => {
    if (!changed.has("reduction")) return;
    pressed(reductions, named.indexOf(selection.reduction));
    fill(found, sentences.filter((/** @type {any} */ one) => !one.reduction || one.reduction === selection.reduction).map((/** @type {any} */ one) => sentenceItem(one)));
  });
  const numbers = headline.map((/** @type {any} */ one) => headlineItem(bundle, one));
  const many = bundle.samples < bundle.json.total ? `${count(bundle.samples)} of ${counted(bundle.json.total, "sample")} shown` : counted(bundle.samples, "sample");
  return h("header", {class: "top"},
    h("div", {class: "top-line"}, h("h1", {}, "Layerscope"),
      h("p", {class: "muted"}, `${title} · ${counted(bundle.layers(state.selection.reduction).length, "layer")} · ${many} · ${run.folder}`),
      conditionChoice(app), reductions, themeButton(app), h("div", {class: "headline"}, numbers)),
    bundle.json.left_out.map((/** @type {string} */ words) => h("p", {class: "muted left-out"}, words)),
    warnings.length ? h("details", {class: "warnings", open: true}, h("summary", {}, `Read this first: ${counted(warnings.length, "warning")}`),
      h("ul", {}, warnings.map((/** @type {string} */ words) => h("li", {}, words)))) : null,
    h("div", {"aria-label": "What was found", role: "group"}, found));
}

/** @param {Bundle} bundle @param {{condition: string, value: number, low: number, high: number, n: number}} accuracy */
function headlineItem({conditions}, {condition, value, low, high, n}) {
  const under = condition === "clean" ? "" : ` under ${conditionTitle(conditions, condition)}`;
  return h("div", {title: condition}, h("b", {}, percent(value)), h("span", {}, `accuracy${under}, ${percent(low)} to ${percent(high)}, ${counted(n, "sample")}`));
}

/** A finding: what holds in bold, then what it stands on. @param {{verdict: string, text: string}} sentence */
function sentenceItem({verdict, text}) {
  const end = verdict ? text.indexOf(verdict) + verdict.length : 0;
  return h("li", {}, end ? h("b", {}, text.slice(0, end)) : null, h("span", {class: end ? "muted" : null}, text.slice(end)));
}

/** @param {App} app */
function themeButton(app) {
  const button = h("button", {type: "button", class: "theme", onclick: () => {
    const root = /** @type {HTMLElement} */ (button.closest(".layerscope"));
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    root.dispatchEvent(new Event("themechange"));
    app.announce(dark ? "Light" : "Dark");
  }}, "Light or dark");
  return button;
}
