// @ts-check
/** Which samples are asked for, and in which order. */

import {besideClean, classWord, layerPlace} from "./app.js";
import {pairOf} from "./depth.js";
import {number, percent} from "./elements.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {{label: number, answer: number, mistakes: boolean, fooled: boolean, words: string, order: string}} Asked -1: any. */
/** @typedef {{rows: Set<number>, told: string}} Given Rows that another view asked for. */

/** @type {Asked} */
export const ANYTHING = {label: -1, answer: -1, mistakes: false, fooled: false, words: "", order: "id"};

/** What samples may be ordered by: a title, and whether the run has it. @type {Record<string, {title: string, has: (app: App) => boolean}>} */
export const ORDERS = {
  id: {title: "id", has: () => true},
  changed: {title: "most changed path", has: (app) => besideClean(app) !== null},
  typical: {title: "most typical of its code", has: () => true},
  smallest: {title: "smallest perturbation", has: (app) => app.bundle.smallest !== null},
  surest: {title: "highest confidence", has: () => true},
  unsure: {title: "lowest confidence", has: () => true},
};

/** The attack that may have fooled the network: the selected one, or that of the selected noise; null where there is none. @param {App} app */
export function foolingAttack(app) {
  const condition = besideClean(app);
  return condition === null ? null : pairOf(app, condition).attack;
}

/** The rows (ascending) that are asked for. @param {App} app @param {Asked} asked @param {Given | null} given @returns {Uint32Array} */
export function rowsAsked(app, asked, given) {
  const {bundle} = app;
  const {condition} = app.state.selection;
  const answers = bundle.predictions(condition);
  const attack = foolingAttack(app);
  const [clean, fooled] = [bundle.predictions("clean"), attack === null ? null : bundle.predictions(attack)];
  const words = asked.words.toLowerCase();
  const found = [];
  for (let row = 0; row < bundle.samples; row += 1) {
    const label = bundle.labels[row];
    if (given && !given.rows.has(row)) continue;
    if (asked.label >= 0 && bundle.classOf[row] !== asked.label) continue;
    if (asked.answer >= 0 && answers[row] !== asked.answer) continue;
    if (asked.mistakes && (label < 0 || answers[row] === label)) continue;
    if (asked.fooled && (!fooled || label < 0 || clean[row] !== label || fooled[row] === label)) continue;
    if (words && !bundle.texts?.[row].toLowerCase().includes(words)) continue;
    found.push(row);
  }
  return Uint32Array.from(found);
}

/** Whether anything is asked. @param {Asked} asked @param {Given | null} given */
export function isAsked(asked, given) {
  return Boolean(given || asked.label >= 0 || asked.answer >= 0 || asked.mistakes || asked.fooled || asked.words);
}

/** What is asked in words. @param {App} app @param {Asked} asked @param {Given | null} given */
export function askedTold(app, asked, given) {
  const {condition} = app.state.selection;
  const under = condition === "clean" ? "" : ` under ${condition}`;
  const parts = [
    given && given.told,
    asked.label >= 0 && `${bundleClass(app)} ${app.bundle.className(asked.label)}`,
    asked.answer >= 0 && `answer ${app.bundle.className(asked.answer)}${under}`,
    asked.mistakes && `mistakes${under}`,
    asked.fooled && `fooled by ${foolingAttack(app)}`,
    asked.words && `with “${asked.words}”`,
  ];
  return parts.filter(Boolean).join(", ");
}

/** What the first filter asks for: a label, or a clean answer where there are none. @param {App} app */
function bundleClass(app) {
  return classWord(app) === "class" ? "class" : "clean answer";
}

/** What rows are ordered by (n), the least first; NaN comes last. Null: as they stand. @param {App} app @param {string} order @returns {((row: number) => number) | null} */
function keyOf(app, order) {
  const {bundle, counts} = app;
  const {reduction, condition} = app.state.selection;
  const beside = besideClean(app);
  if (order === "changed" && beside !== null) {
    const changes = counts.changes(beside, reduction);
    return (row) => -changes[row];
  }
  if (order === "typical") {
    const distances = bundle.distances(reduction, layerPlace(app));
    return (row) => distances[row];
  }
  if (order === "smallest" && bundle.smallest) {
    const {smallest} = bundle;
    return (row) => smallest[row];
  }
  const confidences = bundle.confidences(condition);
  if (order === "surest") return (row) => -confidences[row];
  if (order === "unsure") return (row) => confidences[row];
  return null;
}

/** The first rows in an order; those that are equal in it stand by their rows. @param {App} app @param {Uint32Array} rows @param {string} order @param {number} many @returns {number[]} */
export function firstInOrder(app, rows, order, many) {
  const key = keyOf(app, order);
  if (!key) return [...rows.subarray(0, many)];
  const of = (/** @type {number} */ row) => (Number.isNaN(key(row)) ? Infinity : key(row));
  let some = /** @type {ArrayLike<number>} */ (rows);
  if (rows.length > 4 * many) {
    const keys = Float64Array.from(rows, of).sort();
    const last = keys[many - 1];
    some = rows.filter((row) => of(row) <= last);
  }
  const unknown = (/** @type {number} */ row) => Number(Number.isNaN(key(row)));
  return Array.from(some).sort((one, other) => compared(of(one), of(other)) || unknown(one) - unknown(other) || one - other).slice(0, many);
}

/** @param {number} one @param {number} other */
function compared(one, other) {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** What a sample has of the order, in words. @param {App} app @param {string} order @param {number} row */
export function orderTold(app, order, row) {
  const {bundle} = app;
  const {reduction, condition} = app.state.selection;
  const beside = besideClean(app);
  if (order === "changed" && beside !== null) return `${number(app.counts.changes(beside, reduction)[row])} steps`;
  if (order === "smallest" && bundle.smallest) {
    const size = bundle.smallest[row];
    return Number.isNaN(size) ? "not looked for" : Number.isFinite(size) ? `at ${number(size)}` : "none found";
  }
  if (order === "surest" || order === "unsure") return percent(bundle.confidences(condition)[row]);
  return "";
}
