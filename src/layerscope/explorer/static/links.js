// @ts-check
/** Buttons that select a sample or a code, and the words that tell of them. */

import {css} from "./colours.js";
import {conditionTitle} from "./conditions.js";
import {fill, h} from "./elements.js";
import {thumbnail} from "./pictures.js";

/** @typedef {import("./app.js").App} App */

const EXCERPT = 160;

/** What a screen reader alone is told. @param {string} words */
export function unseen(words) {
  return h("span", {class: "unseen"}, words);
}

/** A class's colour beside its name. @param {App} app @param {number} index */
export function swatch(app, index) {
  const colour = app.classes[index];
  return h("span", {class: "swatch", "aria-hidden": "true", style: colour ? {background: css(colour)} : {}});
}

/** Whether an answer is right; null where that is not known. @param {App} app @param {number} row @param {string} condition */
export function right(app, row, condition) {
  const [label, answer] = [app.bundle.labels[row], app.bundle.predictions(condition)[row]];
  return label < 0 || answer < 0 ? null : label === answer;
}

/** An answer behind the sign of right or wrong. @param {App} app @param {number} row @param {string} condition */
export function answered(app, row, condition) {
  const [known, name] = [right(app, row, condition), app.bundle.className(app.bundle.predictions(condition)[row])];
  const sign = known === null ? null : h("span", {class: known ? "sign" : "sign wrong", "aria-hidden": "true"}, known ? "✓ " : "✗ ");
  return h("span", {class: "answer"}, sign, name, known === null ? null : unseen(known ? ", right" : ", wrong"));
}

/** A condition's short name. @param {App} app @param {string} name */
export function conditionNamed(app, name) {
  return conditionTitle(app.bundle.conditions, name);
}

/** The first letters of a text. @param {string} text */
export function excerpt(text) {
  const letters = Array.from(text);
  return letters.length <= EXCERPT ? text : `${letters.slice(0, EXCERPT).join("")}…`;
}

/** A sample in words. @param {App} app @param {number} row */
export function sampleTold(app, row) {
  const {bundle} = app;
  const known = right(app, row, "clean");
  const answer = bundle.predictions("clean")[row];
  const parts = [`Sample ${bundle.ids[row]}`];
  if (bundle.labels[row] >= 0) parts.push(`label ${bundle.className(bundle.labels[row])}`);
  if (answer >= 0) parts.push(`answer ${bundle.className(answer)}${known === null ? "" : known ? ", right" : ", wrong"}`);
  return parts.join(", ");
}

/**
 * A sample as a button that selects it: its picture or text, id, label and answer.
 * @param {App} app
 * @param {number} row
 * @param {{size?: number, note?: string}} [options] A note is put below.
 */
export function sampleButton(app, row, {size = 56, note = ""} = {}) {
  const {bundle} = app;
  const text = bundle.texts?.[row];
  const told = sampleTold(app, row);
  return h("button", {
    type: "button", class: text === undefined ? "sample-link" : "sample-link written", "data-sample": bundle.ids[row],
    "aria-pressed": String(app.state.selection.sample === bundle.ids[row]), title: told,
    "aria-label": [told, note, text === undefined ? "" : excerpt(text)].filter(Boolean).join(", "),
    onclick: () => app.state.select({sample: bundle.ids[row]}),
  },
  text === undefined ? bundle.json.pictures?.clean && thumbnail(bundle.picture("clean", row), {size}) : h("span", {class: "words"}, excerpt(text)),
  h("span", {class: "line"}, String(bundle.ids[row])),
  bundle.labels[row] < 0 || right(app, row, "clean") ? null : h("span", {class: "line"}, bundle.className(bundle.labels[row])),
  bundle.predictions("clean")[row] < 0 ? null : h("span", {class: "line"}, answered(app, row, "clean")),
  note ? h("span", {class: "line note"}, note) : null);
}

/** Show which of the samples' buttons is pressed. @param {App} app @param {Element} element */
export function pressSample(app, element) {
  for (const button of element.querySelectorAll("[data-sample]")) {
    button.setAttribute("aria-pressed", String(button.getAttribute("data-sample") === String(app.state.selection.sample)));
  }
}

/**
 * A code as a button that selects it and its layer.
 * @param {App} app
 * @param {number} layer Its place.
 * @param {number} unit
 * @param {{note?: string, told?: string}} [options] A note stands behind the number, and what is told is for screen readers.
 */
export function codeButton(app, layer, unit, {note = "", told = note} = {}) {
  const name = app.bundle.layers(app.state.selection.reduction)[layer];
  const label = `Code ${unit} at ${name}${told ? `: ${told}` : ""}`;
  return h("button", {
    type: "button", class: "code-link", "data-key": `${layer}/${unit}`, "aria-label": label, title: label,
    onclick: () => app.state.select({layer: name, unit}),
  }, String(unit), note ? h("span", {class: "note"}, ` ${note}`) : null);
}

/**
 * Put new children in the place of the old ones; who has the keyboard keeps it: the same button if it is there again,
 * else the element itself.
 * @param {HTMLElement} element With a tabindex.
 * @param {...(import("./elements.js").Child | import("./elements.js").Child[])} children
 */
export function refill(element, ...children) {
  const root = /** @type {Document | ShadowRoot} */ (element.getRootNode());
  const active = "activeElement" in root ? root.activeElement : null;
  const held = active && active !== element && element.contains(active);
  const key = held ? active.getAttribute("data-key") : null;
  fill(element, ...children);
  if (!held) return;
  const again = [...element.querySelectorAll("[data-key]")].find((one) => key && one.getAttribute("data-key") === key);
  if (again) /** @type {HTMLElement} */ (again).focus();
  else element.focus({preventScroll: true});
}
