// @ts-check
/** What the colours of the maps mean: in the page, and drawn into what is saved. */

import {amount, amounts, css} from "./colours.js";
import {h, number, s} from "./elements.js";
import {amountsOf, colouringShown} from "./painting.js";

/** @typedef {import("./app.js").App} App */

/** So many classes are named; and of so many, the colours are told apart by everybody. */
const NAMED_CLASSES = {most: 20, apart: 10};
const LEGEND_SIZE = 11;
/** About how wide a letter is, for its size. */
const LETTER = 0.56;
const LEGEND_LINE = 16;
const SHADES = 40;

/** Whether colours stand for classes. @param {string} name A colouring. */
function byClass(name) {
  return name === "class" || name === "pies";
}

/** What colours alone don't tell, where there are many classes; else nothing. @param {App} app */
function closeColours(app) {
  const many = app.counts.classes;
  if (many <= NAMED_CLASSES.apart) return "";
  return `${many} classes: their colours lie close to one another; point at a code, or go there by the arrow keys, for its commonest class.`;
}

/** The classes' colours, or the scale of an amount, with its ends: the same for all layers. @param {App} app @returns {HTMLElement[]} */
export function legendShown(app) {
  const {name, unit} = colouringShown(app);
  if (byClass(name)) {
    const close = closeColours(app);
    return [...(close ? [h("p", {class: "how close-colours"}, close)] : []), ...classesShown(app)];
  }
  const {most} = amountsOf(app, name, app.state.selection.reduction, 0);
  const bar = h("div", {class: "amounts", style: {background: `linear-gradient(to right, ${amounts().join(", ")})`}});
  return [h("div", {class: "scale"}, bar, h("div", {class: "ends"}, h("span", {}, "0"), h("span", {}, `${number(most)} ${unit}`)))];
}

/** @param {App} app */
function classesShown(app) {
  const names = classNames(app);
  return names.length ? [h("ul", {class: "legend", "aria-label": "Colours of the classes"}, names.map((name, one) =>
    h("li", {}, h("i", {style: {background: css(app.classes[one])}}), name)))] : [];
}

/** Of the classes that a legend names: all, or none where they are many. @param {App} app */
function classNames(app) {
  const {classes} = app.counts;
  return classes > NAMED_CLASSES.most ? [] : Array.from({length: classes}, (_, one) => app.bundle.className(one));
}

/**
 * The same as a drawing, with the colouring's name and how it is read.
 * @param {App} app @param {number} left @param {number} width
 * @returns {{drawn: SVGElement[], height: number}}
 */
export function legendDrawn(app, left, width) {
  const {name, title, unit, how} = colouringShown(app);
  const {ink} = app.theme();
  const words = wordsDrawn(`Colour: ${title}. ${how}${byClass(name) ? ` ${closeColours(app)}` : ""}`, left, width, ink);
  if (byClass(name)) {
    const classes = classesDrawn(app, left, width, words.height);
    return {drawn: [...words.drawn, ...classes.drawn], height: words.height + classes.height};
  }
  const {most} = amountsOf(app, name, app.state.selection.reduction, 0);
  const [y, wide] = [words.height, Math.min(240, width)];
  const scale = Array.from({length: SHADES}, (_, one) => s("rect", {
    x: left + (one * wide) / SHADES, y, width: wide / SHADES + 0.3, height: 10, fill: css(amount(one / (SHADES - 1)))}));
  const ends = [["0", 0, "start"], [`${number(most)} ${unit}`, wide, "end"]].map(([told, x, anchor]) =>
    s("text", {x: left + Number(x), y: y + 22, "text-anchor": anchor, "font-size": LEGEND_SIZE, fill: ink}, told));
  return {drawn: [...words.drawn, ...scale, ...ends], height: y + 30};
}

/** @param {App} app @param {number} left @param {number} width @param {number} top */
function classesDrawn(app, left, width, top) {
  /** @type {SVGElement[]} */
  const drawn = [];
  let [x, y] = [left, top];
  classNames(app).forEach((name, one) => {
    const wide = 20 + name.length * LEGEND_SIZE * LETTER;
    if (x > left && x + wide > left + width) [x, y] = [left, y + LEGEND_LINE];
    drawn.push(s("rect", {x, y, width: 10, height: 10, fill: css(app.classes[one])}),
      s("text", {x: x + 14, y: y + 9, "font-size": LEGEND_SIZE, fill: app.theme().ink}, name));
    x += wide + 10;
  });
  return {drawn, height: drawn.length ? y - top + LEGEND_LINE + 4 : 0};
}

/** A text in lines of a width. @param {string} text @param {number} left @param {number} width @param {string} fill @returns {{drawn: SVGElement[], height: number}} */
export function wordsDrawn(text, left, width, fill) {
  const most = Math.max(20, Math.floor(width / (LEGEND_SIZE * LETTER)));
  const lines = [""];
  for (const word of text.trim().split(/\s+/)) {
    const last = lines[lines.length - 1];
    if (last && last.length + word.length + 1 > most) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  const drawn = lines.map((line, place) => s("text", {x: left, y: LEGEND_SIZE + place * LEGEND_LINE, "font-size": LEGEND_SIZE, fill}, line));
  return {drawn, height: lines.length * LEGEND_LINE + 4};
}
