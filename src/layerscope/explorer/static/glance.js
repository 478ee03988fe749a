// @ts-check
/** At a glance: five questions, answered in a line each from the run's own numbers. */

import {besideClean, classWord, ofShown} from "./app.js";
import {count, counted, fill, h, number, percent} from "./elements.js";
import {pairOf} from "./depth.js";
import {LEAST_OF_CLASS, sharedTold} from "./overlaps.js";
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

/** What the summary says of a subject, without the numbers behind it. @param {App} app @param {string} subject @returns {Child[]} */
function verdictOf(app, subject) {
  const {reduction} = app.state.selection;
  const own = app.bundle.json.sentences.find((/** @type {any} */ one) => one.reduction === reduction && one.subject === subject);
  return own ? [h("b", {}, `${own.verdict[0].toUpperCase()}${own.verdict.slice(1)}`), ": "] : [];
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

/** A value with its 95 % interval, where it has one. @param {Row} row @param {(value: number) => string} [written] */
function withInterval({value, low, high}, written = number) {
  return low < high ? `${written(value)} (${written(low)} to ${written(high)})` : written(value);
}

/** What untrained weights have in the same layers, over their draws. @param {App} app @param {Row} from @param {Row} to */
function untrainedTold(app, from, to) {
  const [before, after] = [from, to].map(({measure, reduction, layer}) => app.bundle.find({measure, reduction, layer, condition: "untrained"})[0]);
  if (!before || !after) return "The run has no untrained network to set beside it.";
  const {untrained: draws} = app.bundle.json.run.asked;
  return `Untrained weights, ${counted(draws, "draw")}: ${withInterval(before)} to ${withInterval(after)} in the same layers.`;
}

/** @param {App} app @returns {Answer} */
function compressAnswer(app) {
  const {first, blocks} = profileOf(app, "participation_ratio");
  if (!first || !blocks.length) return {answer: "The run measured no participation ratio in two layers or more."};
  const low = lowestRow(blocks);
  return {
    answer: [...verdictOf(app, "compression"), `participation ratio ${withInterval(first)} in ${first.layer}, ${withInterval(low)} at its lowest, in `,
      h("b", {}, low.layer), `, n = ${count(low.n)}. ${untrainedTold(app, first, low)}`],
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
  return {
    answer: [...verdictOf(app, "expansion"), `label information ${withInterval(low)} at its lowest, in `, h("b", {}, low.layer),
      `, and from there to ${withInterval(last)} in `, h("b", {}, last.layer), `, n = ${count(last.n)}. ${untrainedTold(app, low, last)}`],
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
  const numbers = own && noisy ? ` It flips ${withInterval(own, percent)} of the codes in ${own.layer}, noise of the same size ${withInterval(noisy, percent)}, n = ${count(own.n)}.` : "";
  const go = () => app.state.select({condition: attack, travel: "flip_rate", ...(layer === null ? {} : {layer, unit: null})});
  if (layer === null) return {answer: [`${attack} parts from noise in no layer.`, numbers], go, to: "depth", title: "Show the flow"};
  return {answer: [`${attack} parts from noise from `, h("b", {}, layer), ` on.${numbers}`], go, to: "depth", title: `Show ${layer}`};
}

/** @param {App} app @returns {Answer} */
function shareAnswer(app) {
  const {bundle, counts} = app;
  if (bundle.json.class_source === null) return {answer: lacking(bundle.missing("labels"), "The run has no classes.")};
  const {reduction} = app.state.selection;
  const {pairs: [pair], classes, scarce, crowded} = counts.sharing(reduction);
  if (!pair) return {answer: `There are fewer than two classes of at least ${LEAST_OF_CLASS} samples${ofShown(app)}.`};
  const some = scarce || crowded;
  if (!pair.mean) return {answer: `No two ${some ? "of the classes compared" : "classes"} have a code in common, in any layer.`};
  const kind = classWord(app) === "answer" ? "answers" : "classes";
  const among = some ? `Of the ${classes.length} commonest ${kind}${crowded ? " (of equally common ones those of lower number)" : ""}: ` : null;
  const layers = bundle.layers(reduction);
  const most = `at least half of the mass that they could share ${sharedTold(pair, layers)}`;
  const told = `${pair.shared.length ? most : "nowhere half of the mass that they could share"}; mean overlap${ofShown(app)} ${pair.mean.toFixed(2)} where halves of one ${classWord(app)} have ${pair.ceiling.toFixed(2)}.`;
  const layer = layers[pair.shared.at(-1) ?? -1];
  return {
    answer: [among, h("b", {}, bundle.className(pair.one)), " and ", h("b", {}, bundle.className(pair.other)), `: ${told}`],
    go: () => layer && app.state.select({layer, unit: null}), to: "sharing", title: "Show the pairs",
  };
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
  const label = bundle.labels[row] < 0 ? ofShown(app) : `, ${bundle.className(bundle.labels[row])}${ofShown(app) && `,${ofShown(app)}`}`;
  const answers = `answer ${bundle.className(bundle.predictions("clean")[row])}, under ${attack} ${bundle.className(bundle.predictions(attack)[row])}`;
  return {
    answer: ["Sample ", h("b", {}, String(bundle.ids[row])), `${label}: its path moves ${number(changes[row])} grid steps in all`,
      departs ? `, for good from ${departs} on; ${answers}.` : `; ${answers}.`],
    go: () => app.state.select({sample: bundle.ids[row], condition: attack}), to: "sample", title: `Show ${bundle.ids[row]}`,
  };
}
