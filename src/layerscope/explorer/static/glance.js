// @ts-check
/** At a glance: five questions, answered in a line each from the run's own numbers. */

import {besideClean} from "./app.js";
import {fill, h, number} from "./elements.js";
import {pairOf} from "./depth.js";
import {lacking, panel} from "./panels.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./elements.js").Child} Child */
/** @typedef {import("./bundle.js").Row} Row */
/** @typedef {{answer: Child | Child[], go?: () => void, to?: string, title?: string}} Answer `to`: the panel that the button leads to. */

/** @type {[string, string, (app: App) => Answer][]} */
const QUESTIONS = [
  ["compress", "Where does this network compress?", compressAnswer],
  ["expand", "Where does it expand?", expandAnswer],
  ["depart", "Where does the attack part from noise?", departAnswer],
  ["share", "Which two classes share codes longest?", shareAnswer],
  ["change", "Which sample changed its path most under the attack?", changeAnswer],
];

/** @param {App} app */
export function glanceView(app) {
  const answers = h("dl", {class: "glance"});
  const made = panel({
    id: "glance", title: "At a glance", how: "Five questions to begin with; each button leads to the view that answers it.", body: answers,
    csv: () => [["question", "answer"], ...[...answers.children].map((one) => [".glance-question", ".glance-answer"].map((name) => one.querySelector(name)?.textContent ?? ""))],
  });
  app.state.follow(({changed}) => {
    if (!changed.has("reduction") && !changed.has("condition")) return;
    fill(answers, QUESTIONS.map(([name, question, answer]) => glanceItem(made.element, name, question, answer(app))));
  });
  return made;
}

/** @param {HTMLElement} panelElement @param {string} name @param {string} question @param {Answer} told */
function glanceItem(panelElement, name, question, {answer, go, to, title}) {
  const press = () => {
    go?.();
    leadTo(panelElement, /** @type {string} */ (to));
  };
  return h("div", {"data-question": name},
    h("dt", {class: "glance-question"}, question),
    h("dd", {}, h("div", {class: "glance-answer"}, answer)),
    to ? h("dd", {class: "glance-go"}, h("button", {type: "button", onclick: press, "aria-label": `${title ?? "Show it"}: ${question}`}, title ?? "Show it")) : null);
}

/** Bring another panel into view, and the keyboard with it. @param {HTMLElement} from @param {string} panelName */
export function leadTo(from, panelName) {
  const heading = /** @type {HTMLElement | null | undefined} */ (from.closest(".layerscope")?.querySelector(`#title-${panelName}`));
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({preventScroll: true});
  heading.closest("section")?.scrollIntoView({block: "start"});
}

/** A finding of the summary: what holds, without the numbers behind it. @param {App} app @param {string} about What the bracket begins with. */
function verdictOf(app, about) {
  const {reduction} = app.state.selection;
  const begins = `Under ${reduction}: `;
  const own = app.bundle.json.sentences.find((/** @type {any} */ one) => one.reduction === reduction && one.text.startsWith(begins) && one.text.includes(` (${about} `));
  if (!own) return null;
  const told = own.text.slice(begins.length, own.text.indexOf(` (${about} `));
  return `${told[0].toUpperCase()}${told.slice(1)}`;
}

/** A measure over depth: its first layer, and the blocks between that and the logits. @param {App} app @param {string} measure */
function profileOf(app, measure) {
  const rows = app.bundle.find({measure, reduction: app.state.selection.reduction, condition: "clean"}).filter((row) => row.layer_index >= 0 && Number.isFinite(row.value));
  return {first: rows[0], blocks: rows.slice(1).filter((row) => row.layer !== "logits")};
}

/** @param {Row[]} rows */
function lowestRow(rows) {
  return rows.reduce((best, row) => (row.value < best.value ? row : best));
}

/** What untrained weights do from one layer to another. @param {Row} from @param {Row} to */
function untrainedTold(from, to) {
  const [before, after] = [from.null_untrained, to.null_untrained];
  if (!Number.isFinite(before) || !Number.isFinite(after)) return "The run has no untrained network to set beside it.";
  const fact = Math.sign(after - before) === Math.sign(to.value - from.value) ? "Untrained weights go the same way" : "Untrained weights do not";
  return `${fact}: ${number(before)} to ${number(after)}.`;
}

/** @param {App} app @returns {Answer} */
function compressAnswer(app) {
  const {first, blocks} = profileOf(app, "participation_ratio");
  if (!first || !blocks.length) return {answer: "The run measured no participation ratio in two layers or more."};
  const low = lowestRow(blocks);
  const verdict = verdictOf(app, "participation ratio");
  const numbers = `participation ratio ${number(first.value)} in ${first.layer}, ${number(low.value)} at its lowest, in `;
  return {
    answer: [verdict ? [h("b", {}, verdict), ": "] : null, numbers, h("b", {}, low.layer), ". ", untrainedTold(first, low)].flat(),
    go: () => app.state.select({measure: "participation_ratio", layer: low.layer, unit: null}), to: "depth", title: `Show ${low.layer}`,
  };
}

/** @param {App} app @returns {Answer} */
function expandAnswer(app) {
  const {blocks} = profileOf(app, "label_information");
  if (blocks.length < 2) {
    return {answer: app.bundle.missing("labels") ? lacking(app.bundle.missing("labels")) : "The run measured no label information in two blocks or more."};
  }
  const last = blocks[blocks.length - 1];
  const low = lowestRow(blocks.slice(0, -1));
  const verdict = verdictOf(app, "label information");
  const numbers = `label information ${number(low.value)} at its lowest, in `;
  return {
    answer: [verdict ? [h("b", {}, verdict), ": "] : null, numbers, h("b", {}, low.layer), `, and from there to ${number(last.value)} in `, h("b", {}, last.layer), ". ", untrainedTold(low, last)].flat(),
    go: () => app.state.select({measure: "label_information", layer: last.layer, unit: null}), to: "depth", title: `Show ${last.layer}`,
  };
}

/** @param {App} app */
function askedAttack(app) {
  const condition = besideClean(app);
  const attack = condition === null ? null : pairOf(app, condition).attack;
  return app.bundle.attacks.some((one) => one.name === attack) ? attack : app.bundle.attacks.at(-1)?.name ?? null;
}

/** @param {App} app @returns {Answer} */
function departAnswer(app) {
  const attack = askedAttack(app);
  const missing = "The run has no attack.";
  if (attack === null) return {answer: lacking(app.bundle.missing("attack"), missing)};
  const {reduction} = app.state.selection;
  const {control} = pairOf(app, attack);
  if (control === null) return {answer: `Beside ${attack} the run has no noise of the same size, so this can't be told.`};
  const layer = app.bundle.json.departure?.[reduction]?.[attack] ?? null;
  const rate = (/** @type {string} */ condition, /** @type {string | null} */ at) => {
    const rows = app.bundle.find({measure: "flip_rate", reduction, condition});
    return (at === null ? rows.at(-1) : rows.find((row) => row.layer === at)) ?? null;
  };
  const [own, noisy] = [rate(attack, layer), rate(control, layer)];
  const numbers = own && noisy ? ` It flips ${Math.round(100 * own.value)} % of the codes in ${own.layer}, noise of the same size ${Math.round(100 * noisy.value)} %.` : "";
  const go = () => app.state.select({condition: attack, travel: "flip_rate", ...(layer === null ? {} : {layer, unit: null})});
  if (layer === null) return {answer: [`${attack} parts from noise in no layer.`, numbers], go, to: "depth", title: "Show the flow"};
  return {answer: [`${attack} parts from noise from `, h("b", {}, layer), ` on.${numbers}`], go, to: "depth", title: `Show ${layer}`};
}

/** @param {App} app @returns {Answer} */
function shareAnswer(app) {
  const {bundle, counts} = app;
  if (bundle.json.class_source === null) return {answer: lacking(bundle.missing("labels"), "The run has no classes.")};
  const {reduction} = app.state.selection;
  const pairs = counts.sharing(reduction);
  const pair = pairs[0];
  if (!pair) return {answer: "There are fewer than two classes."};
  if (!pair.mean) return {answer: "No two classes have a code in common, in any layer."};
  const compared = new Set(pairs.flatMap(({one, other}) => [one, other])).size;
  const among = compared < bundle.classes.length ? `Of the ${compared} commonest classes: ` : null;
  const names = [among, h("b", {}, bundle.className(pair.one)), " and ", h("b", {}, bundle.className(pair.other))];
  const layer = bundle.layers(reduction)[pair.last];
  const told = pair.last < 0
    ? `, and even they nowhere half of them (mean overlap over the layers ${pair.mean.toFixed(2)}).`
    : `, at least half of them up to ${layer} (overlap there ${pair.overlaps[pair.last].toFixed(2)}; 1 is all, 0 none).`;
  return {answer: [...names, told], go: () => layer && app.state.select({layer, unit: null}), to: "sharing", title: "Show the pairs"};
}

/** @param {App} app @returns {Answer} */
function changeAnswer(app) {
  const attack = askedAttack(app);
  if (attack === null) return {answer: lacking(app.bundle.missing("attack"), "The run has no attack.")};
  const {bundle, counts} = app;
  const {reduction} = app.state.selection;
  const changes = counts.changes(attack, reduction);
  let row = 0;
  for (let other = 1; other < changes.length; other += 1) if (changes[other] > changes[row]) row = other;
  const departs = bundle.layers(reduction)[counts.departure(attack, reduction, row)];
  const label = bundle.labels[row] < 0 ? "" : `, ${bundle.className(bundle.labels[row])}`;
  const answers = `answer ${bundle.className(bundle.predictions("clean")[row])}, under ${attack} ${bundle.className(bundle.predictions(attack)[row])}`;
  return {
    answer: ["Sample ", h("b", {}, String(bundle.ids[row])), `${label}: its path moves ${number(changes[row])} grid steps in all`,
      departs ? `, for good from ${departs} on; ${answers}.` : `; ${answers}.`],
    go: () => app.state.select({sample: bundle.ids[row], condition: attack}), to: "sample", title: `Show ${bundle.ids[row]}`,
  };
}
