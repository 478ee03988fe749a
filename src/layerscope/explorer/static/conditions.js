// @ts-check
/** Which condition is set beside the clean one: buttons, and a slider where an attack has several budgets. */

import {choice, fill, h} from "./elements.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {{kind: string, norm: string, size: number, title: string, rest: string}} Told */

/** What a condition's name says: `pgd:linf=8/255,steps=50`. @param {string} name @returns {Told} */
export function conditionTold(name) {
  const noise = name.startsWith("noise:");
  const found = /^([^:]+):([a-z0-9]+)=([^,]+)(?:,(.*))?$/.exec(noise ? name.slice(6) : name);
  if (!found) return {kind: name, norm: "", size: NaN, title: name, rest: ""};
  const [, kind, norm, size, rest = ""] = found;
  const [over, under = "1"] = size.split("/");
  const family = `${noise ? "noise like " : ""}${kind.toUpperCase()}`;
  return {kind: family, norm, size: Number(over) / Number(under), title: `${family} ${size}`, rest};
}

/**
 * A condition's short name among others: with its norm where attacks of its kind have several, with its other options
 * where these differ.
 * @param {{name: string}[]} all @param {string} name
 */
export function conditionTitle(all, name) {
  const {family, size, options} = titleParts(all.map((one) => one.name), name);
  return [family, size].filter(Boolean).join(" ") + options;
}

/** @param {string[]} names @param {string} name @returns {{family: string, size: string, options: string}} */
function titleParts(names, name) {
  const own = conditionTold(name);
  if (!own.norm) return {family: name, size: "", options: ""};
  const alike = names.map(conditionTold).filter((one) => one.norm && one.kind === own.kind);
  const norms = new Set(alike.map(({norm}) => norm)).size > 1;
  const rests = new Set(alike.filter(({norm}) => norm === own.norm).map(({rest}) => rest)).size > 1;
  return {
    family: norms ? `${own.kind} ${own.norm}` : own.kind,
    size: own.title.slice(own.kind.length + 1),
    options: rests && own.rest ? `, ${own.rest}` : "",
  };
}

/** @param {App} app */
export function conditionChoice(app) {
  const {conditions} = app.bundle;
  const families = familiesOf(conditions.map(({name}) => name));
  const ofFamily = (/** @type {string} */ place) => families[Number(place)].names;
  const choose = (/** @type {string} */ place) => {
    const names = ofFamily(place);
    if (!names.includes(app.state.selection.condition)) app.state.select({condition: names[names.length - 1]});
  };
  const buttons = choice("Condition", families.map(({title, names}, place) => ({value: String(place), title, note: names.join(", ")})), "", choose);
  const budget = h("div", {class: "budgets"});
  const element = h("div", {class: "conditions"}, buttons, budget);
  app.state.follow(({selection: {condition}, changed}) => {
    if (!changed.has("condition")) return;
    const place = families.findIndex(({names}) => names.includes(condition));
    pressed(buttons, place);
    const {names} = families[place];
    const slider = budget.querySelector("input");
    if (slider && slider.dataset.family === String(place)) slideTo(app, budget, names, condition);
    else fill(budget, names.length > 1 ? budgetSlider(app, names, condition, place) : null);
  });
  return element;
}

/** Show which of a choice's buttons is pressed; who has the keyboard keeps it. @param {HTMLElement} buttons @param {number} place */
export function pressed(buttons, place) {
  [...buttons.children].forEach((button, one) => button.setAttribute("aria-pressed", String(one === place)));
}

/** Attacks that differ in their budget alone stand together, the smallest budget first. @param {string[]} names */
export function familiesOf(names) {
  /** @type {Map<string, string[]>} */
  const found = new Map();
  for (const name of names) {
    const {kind, norm, rest} = conditionTold(name);
    const key = `${kind} ${norm} ${rest}`;
    found.set(key, [...(found.get(key) ?? []), name]);
  }
  return [...found.values()].map((own) => {
    const sorted = own.toSorted((one, other) => conditionTold(one).size - conditionTold(other).size);
    const {family, size, options} = titleParts(names, own[0]);
    return {names: sorted, title: [family, own.length > 1 ? "" : size].filter(Boolean).join(" ") + options};
  });
}

/** @param {App} app @param {string[]} names @param {string} chosen @param {number} place Of the family. */
function budgetSlider(app, names, chosen, place) {
  const slider = h("input", {
    type: "range", min: 0, max: names.length - 1, step: 1, "data-family": place, value: names.indexOf(chosen),
    oninput: () => app.state.select({condition: names[Number(slider.value)]}, {step: false}),
  });
  const element = h("label", {class: "budget"}, h("span", {}, "Budget"), slider, h("output", {}));
  slideTo(app, element, names, chosen);
  return element;
}

/** @param {App} app @param {HTMLElement} within @param {string[]} names @param {string} chosen */
function slideTo(app, within, names, chosen) {
  const [slider, told] = [within.querySelector("input"), within.querySelector("output")];
  const title = conditionTitle(app.bundle.conditions, chosen);
  if (told) fill(told, title);
  if (!slider) return;
  slider.value = String(names.indexOf(chosen));
  slider.setAttribute("aria-valuetext", title);
}
