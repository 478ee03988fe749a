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

/** @param {App} app */
export function conditionChoice(app) {
  const element = h("div", {class: "conditions"});
  const families = familiesOf(app.bundle.conditions.map(({name}) => name));
  const draw = () => {
    const chosen = app.state.selection.condition;
    const own = families.find((family) => family.names.includes(chosen)) ?? families[0];
    fill(element,
      choice("Condition", families.map(({title, names}) => ({value: names[names.includes(chosen) ? names.indexOf(chosen) : names.length - 1], title, note: names.join(", ")})),
        chosen, (condition) => app.state.select({condition})),
      own.names.length > 1 ? budgetSlider(app, own.names, chosen) : null);
  };
  app.state.follow(({changed}) => changed.has("condition") && !element.contains(document.activeElement?.matches("input[type=range]") ? document.activeElement : null) && draw());
  return element;
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
    const {kind, title} = conditionTold(own[0]);
    return {names: sorted, title: own.length > 1 ? kind : title};
  });
}

/** @param {App} app @param {string[]} names @param {string} chosen */
function budgetSlider(app, names, chosen) {
  const told = h("output", {}, conditionTold(chosen).title);
  const slider = h("input", {
    type: "range", min: 0, max: names.length - 1, step: 1, value: names.indexOf(chosen), "aria-valuetext": conditionTold(chosen).title,
    oninput: () => {
      const name = names[Number(slider.value)];
      fill(told, conditionTold(name).title);
      slider.setAttribute("aria-valuetext", conditionTold(name).title);
      app.state.select({condition: name}, {step: false});
    },
  });
  return h("label", {class: "budget"}, h("span", {}, "Budget"), slider, told);
}
