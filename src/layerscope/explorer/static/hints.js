// @ts-check
/** First-time hints, beside what they are about. They go away one by one, or all for good. */

import {h} from "./elements.js";

/** @typedef {import("./app.js").App} App */

const HINTS_KEY = "layerscope-hints";
const ALL_CLOSED = "all";
/** Name, the panel beside whose head it stands, what it says, and whether the run has what it is about. @type {{name: string, beside: string, words: string, holds: (app: App) => boolean}[]} */
const HINTS = [
  {name: "layer", beside: "#panel-depth > header", words: "Click a layer's name: all views below go to that layer.", holds: () => true},
  {name: "code", beside: "#panel-map > header", words: "Click a cell of the map, a code: beside it you see which samples share it.", holds: () => true},
  {name: "compare", beside: ".top-line", words: "Choose clean or an attack: maps, paths and pictures show what the attack changes.", holds: (app) => app.bundle.conditions.length > 1},
];

/** @param {App} app @param {HTMLElement} root */
export function hints(app, root) {
  const closed = closedHints();
  if (closed.includes(ALL_CLOSED)) return;
  for (const {name, beside, words, holds} of HINTS) {
    const place = root.querySelector(beside);
    if (place && holds(app) && !closed.includes(name)) place.after(hintShown(app, root, name, words));
  }
}

/** @param {App} app @param {HTMLElement} root @param {string} name @param {string} words */
function hintShown(app, root, name, words) {
  const close = () => {
    keepClosed(name);
    withoutHints(app, [element]);
  };
  const closeAll = () => {
    keepClosed(ALL_CLOSED);
    withoutHints(app, [...root.querySelectorAll(".first-hint")]);
  };
  const element = h("div", {class: "first-hint", role: "note", "data-hint": name, "aria-label": "Hint"},
    h("span", {class: "hint-sign", "aria-hidden": "true"}, "→"), h("p", {}, words),
    h("button", {type: "button", onclick: close, "aria-label": `Got it: ${words}`}, "Got it"),
    h("button", {type: "button", onclick: closeAll}, "No more hints"));
  return element;
}

/** Take them away; who closed one by the keyboard goes on from its panel's name. @param {App} app @param {Element[]} elements */
function withoutHints(app, elements) {
  const held = elements.find((one) => one.contains(document.activeElement));
  const next = held?.closest("section")?.querySelector("h2") ?? held?.parentElement?.querySelector("h1") ?? null;
  for (const one of elements) one.remove();
  if (next) {
    next.tabIndex = -1;
    next.focus({preventScroll: true});
  }
  app.announce(elements.length > 1 ? "Hints closed" : "Hint closed");
}

/** The names of what was closed; none where the browser keeps nothing, as from files and in sandboxes. @returns {string[]} */
function closedHints() {
  try {
    const kept = JSON.parse(localStorage.getItem(HINTS_KEY) ?? "[]");
    return Array.isArray(kept) ? kept.map(String) : [];
  } catch {
    return [];
  }
}

/** @param {string} name */
function keepClosed(name) {
  try {
    localStorage.setItem(HINTS_KEY, JSON.stringify([...new Set([...closedHints(), name])]));
  } catch {
    // The hint is gone for this visit.
  }
}
