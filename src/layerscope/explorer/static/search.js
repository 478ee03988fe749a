// @ts-check
/** Samples by what they are and what befell them. */

import {classWord, layerPlace, ofShown} from "./app.js";
import {count, counted, fill, h, list} from "./elements.js";
import {ANYTHING, ORDERS, askedTold, firstInOrder, foolingAttack, isAsked, orderTold, rowsAsked} from "./finding.js";
import {pressSample, sampleButton} from "./links.js";
import {lacking, panel} from "./panels.js";
import {idOf} from "./state.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./finding.js").Asked} Asked */
/** @typedef {import("./finding.js").Given} Given */
/** @typedef {{asked: Asked, given: Given | null, rows: Uint32Array, shown: number}} Search */

const AT_ONCE = 48;

/** @param {App} app */
export function searchView(app) {
  /** @type {Search} */
  const search = {asked: {...ANYTHING}, given: null, rows: new Uint32Array(), shown: AT_ONCE};
  const form = h("form", {class: "search", "aria-label": "What to search for", onsubmit: (/** @type {Event} */ event) => event.preventDefault()});
  const told = h("p", {class: "search-told", role: "status"});
  const results = h("div", {class: app.bundle.texts ? "search-results written" : "search-results", tabindex: -1, role: "group", "aria-label": "Samples found"});
  const more = h("div", {class: "search-more"});
  const made = panel({
    id: "search", title: "Search", how: "Filters hold together. What is found can be shown on the maps: colour by “found”.",
    body: h("div", {class: "search-body"}, form, told, results, more),
    csv: () => foundTable(app, search),
  });
  let own = app.found.sets;
  const show = () => showFound(app, search, results, more);
  const look = () => {
    search.shown = AT_ONCE;
    search.rows = rowsAsked(app, search.asked, search.given);
    fill(told, foundTold(app, search));
    show();
    const {asked, given} = search;
    own = given && !isAsked(asked, null) ? given.rows : isAsked(asked, given) ? new Set(search.rows) : null;
    if (app.found.sets !== own) app.find(own, askedTold(app, asked, given));
  };
  const ask = (/** @type {Partial<Asked>} */ wanted) => {
    Object.assign(search.asked, wanted);
    look();
  };
  const clear = () => {
    Object.assign(search.asked, ANYTHING);
    search.given = null;
    fillForm();
    look();
    form.querySelector("input")?.focus();
  };
  const fillForm = () => fill(form, searchFields(app, search, ask, clear));
  app.onFound(() => {
    if (app.found.sets === own) return;
    const {sets, told: words} = app.found;
    search.given = sets && {rows: sets, told: words};
    Object.assign(search.asked, {...ANYTHING, order: search.asked.order});
    fillForm();
    look();
  });
  app.state.follow(({changed}) => {
    if (changed.has("condition")) {
      keepKeyboard(form, fillForm);
      look();
    } else if ((changed.has("layer") || changed.has("reduction")) && ["typical", "changed"].includes(search.asked.order)) show();
    else if (changed.has("sample")) pressSample(app, results);
  });
  return made;
}

/** The first of what was found, and a button for more. @param {App} app @param {Search} search @param {HTMLElement} results @param {HTMLElement} more */
function showFound(app, search, results, more) {
  const rows = firstInOrder(app, search.rows, search.asked.order, search.shown);
  const showMore = () => {
    search.shown += AT_ONCE;
    showFound(app, search, results, more);
    /** @type {HTMLElement | undefined} */ (results.children[rows.length])?.focus();
  };
  const left = search.rows.length - rows.length;
  fill(results, rows.map((row) => foundButton(app, search.asked.order, row)));
  fill(more, left > 0 ? h("button", {type: "button", onclick: showMore}, `${count(Math.min(AT_ONCE, left))} more of ${count(left)}`) : null);
}

/** @param {HTMLElement} form @param {() => void} refillForm */
function keepKeyboard(form, refillForm) {
  const held = form.contains(document.activeElement) ? document.activeElement?.getAttribute("name") : null;
  refillForm();
  if (held) /** @type {HTMLElement | null} */ (form.querySelector(`[name="${held}"]`))?.focus();
}

/** @param {App} app @param {Search} search @param {(wanted: Partial<Asked>) => void} ask @param {() => void} clear */
function searchFields(app, {asked, given}, ask, clear) {
  const {bundle} = app;
  const {condition} = app.state.selection;
  const attack = foolingAttack(app);
  const classes = [{value: "-1", title: "any"}, ...bundle.classes.map((title, one) => ({value: String(one), title}))];
  const orders = Object.entries(ORDERS).filter(([, {has}]) => has(app)).map(([value, {title}]) => ({value, title}));
  const under = condition === "clean" ? "" : ` under ${condition}`;
  const lack = bundle.smallest ? null : bundle.missing("smallest");
  const labelled = bundle.json.class_source === "labels";
  return [
    idField(app),
    bundle.texts ? wordsField(asked, ask) : null,
    bundle.json.class_source === null ? null : namedList("class", classWord(app) === "answer" ? "Clean answer" : "Class", classes, String(asked.label), (value) => ask({label: Number(value)})),
    namedList("condition", "Condition", bundle.conditions.map(({name}) => ({value: name, title: name})), condition, (value) => app.state.select({condition: value})),
    bundle.classes.length ? namedList("answer", `Answer${under}`, classes, String(asked.answer), (value) => ask({answer: Number(value)})) : null,
    labelled ? tick("mistakes", `Mistakes${under} only`, asked.mistakes, (mistakes) => ask({mistakes})) : null,
    labelled && attack !== null ? tick("fooled", `Fooled by ${attack} only`, asked.fooled, (fooled) => ask({fooled})) : null,
    namedList("order", "Order by", orders, asked.order, (order) => ask({order})),
    lack ? h("details", {class: "search-lack"}, h("summary", {}, "Order by smallest perturbation?"), lacking(lack)) : null,
    h("button", {type: "button", name: "clear", onclick: clear}, given ? `Clear, and forget “${given.told}”` : "Clear"),
  ];
}

/** @param {string} name @param {string} label @param {{value: string, title: string}[]} choices @param {string} chosen @param {(value: string) => void} choose */
function namedList(name, label, choices, chosen, choose) {
  const made = list(label, choices, chosen, choose);
  made.querySelector("select")?.setAttribute("name", name);
  return made;
}

/** @param {string} name @param {string} label @param {boolean} on @param {(on: boolean) => void} turn */
function tick(name, label, on, turn) {
  const box = h("input", {type: "checkbox", name, checked: on, onchange: () => turn(box.checked)});
  return h("label", {class: "tick"}, box, label);
}

/** Enter goes to the sample of an id. @param {App} app */
function idField(app) {
  const problem = h("span", {class: "search-problem", role: "alert"});
  const go = () => {
    const id = idOf(input.value.trim());
    const known = id !== undefined && app.bundle.rowOf.has(id);
    fill(problem, known ? null : `No sample${ofShown(app)} has the id ${input.value.trim() || "nothing"}.`);
    if (known) {
      app.state.select({sample: id});
      app.announce(`Sample ${id} selected`);
    }
  };
  const input = h("input", {type: "text", inputmode: "numeric", name: "id", size: 8, onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && go()});
  return h("span", {class: "search-id"}, h("label", {class: "list"}, h("span", {}, "Go to id"), input), h("button", {type: "button", onclick: go}, "Go"), problem);
}

/** @param {Asked} asked @param {(wanted: Partial<Asked>) => void} ask */
function wordsField(asked, ask) {
  const input = h("input", {type: "search", name: "words", value: asked.words, oninput: () => ask({words: input.value.trim()})});
  return h("label", {class: "list"}, h("span", {}, "Text has"), input);
}

/** @param {App} app @param {Search} search */
function foundTold(app, {asked, given, rows}) {
  const {samples, json: {total}} = app.bundle;
  const many = `${count(rows.length)} of ${counted(samples, "sample")}${samples < total ? " shown" : ""}`;
  const all = samples < total ? `All ${counted(samples, "sample")} that are shown of ${count(total)}.` : `All ${counted(samples, "sample")}.`;
  const told = isAsked(asked, given) ? `${many}: ${askedTold(app, asked, given)}.` : all;
  return rows.length ? told : `${told} Nothing has all of this.`;
}

/** @param {App} app @param {string} order @param {number} row */
function foundButton(app, order, row) {
  const {bundle} = app;
  const {condition} = app.state.selection;
  const [before, after] = [bundle.predictions("clean")[row], bundle.predictions(condition)[row]];
  const kind = bundle.conditions[bundle.place(condition)].kind;
  const note = [orderTold(app, order, row), after !== before && after >= 0 ? `${kind === "noise" ? "with noise" : "attacked"}: ${bundle.className(after)}` : ""].filter(Boolean).join(", ");
  return sampleButton(app, row, {note});
}

/** @param {App} app @param {Search} search */
function foundTable(app, {rows, asked}) {
  const {bundle} = app;
  const {reduction, condition, layer} = app.state.selection;
  const codes = bundle.codes("clean", reduction, layerPlace(app));
  const [clean, under] = [bundle.predictions("clean"), bundle.predictions(condition)];
  const other = condition !== "clean";
  const changes = other ? app.counts.changes(condition, reduction) : null;
  const header = [`id${ofShown(app)}`, "label", "answer", "confidence", `code at ${layer}`, ...(other ? [`answer under ${condition}`, `path's change under ${condition} in grid steps`] : []), ...(bundle.smallest ? ["smallest perturbation"] : [])];
  return [header, ...firstInOrder(app, rows, asked.order, rows.length).map((row) => [
    String(bundle.ids[row]), bundle.labels[row] < 0 ? "" : bundle.className(bundle.labels[row]), bundle.className(clean[row]), bundle.confidences("clean")[row].toFixed(6), String(codes[row]),
    ...(changes ? [bundle.className(under[row]), changes[row].toFixed(4)] : []), ...(bundle.smallest ? [Number.isNaN(bundle.smallest[row]) ? "" : String(bundle.smallest[row])] : [])])];
}
