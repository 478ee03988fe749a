// @ts-check
/** HTML and SVG elements. Text is only ever text: nothing here reads markup. */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, any>} Attributes `on...` are listeners, `style` an object of CSS properties. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  return /** @type {HTMLElementTagNameMap[K]} */ (filled(document.createElement(tag), attributes, children));
}

/**
 * An SVG element.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, attributes = {}, ...children) {
  return /** @type {SVGElementTagNameMap[K]} */ (filled(document.createElementNS(SVG, tag), attributes, children));
}

/**
 * @param {HTMLElement | SVGElement} element
 * @param {Attributes} attributes
 * @param {(Child | Child[])[]} children
 */
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, to] of Object.entries(value)) element.style.setProperty(key, String(to));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter(shown).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** @param {Child} child @returns {child is Node | string | number} */
function shown(child) {
  return child !== null && child !== undefined && child !== false;
}

/**
 * Put new children in the place of the old ones.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter(shown).map((child) => (child instanceof Node ? child : String(child))));
}

/**
 * Buttons of which one is pressed.
 * @param {string} label What is chosen.
 * @param {{value: string, title: string, note?: string}[]} choices
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function choice(label, choices, chosen, choose) {
  return h("div", {class: "choice", role: "group", "aria-label": label}, choices.map(({value, title, note}) =>
    h("button", {type: "button", "aria-pressed": String(value === chosen), title: note, onclick: () => choose(value)}, title)));
}

/**
 * A list to choose from, with its name before it.
 * @param {string} label
 * @param {{value: string, title: string}[]} choices
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function list(label, choices, chosen, choose) {
  const select = h("select", {onchange: () => choose(select.value)}, choices.map(({value, title}) =>
    h("option", {value, selected: value === chosen}, title)));
  return h("label", {class: "list"}, h("span", {}, label), select);
}

/** A share with one decimal; none and all only where it is exactly that. @param {number} value From 0 to 1. */
export function percent(value) {
  if (!Number.isFinite(value)) return "unknown";
  if (value === 0 || value === 1) return `${100 * value} %`;
  if (value > 0 && value < 0.0005) return "<0.1 %";
  if (value < 1 && value >= 0.9995) return ">99.9 %";
  return `${(100 * value).toFixed(1)} %`;
}

/** @param {number | null} value Three significant digits; whole from 1,000 on. */
export function number(value) {
  if (value === null || Number.isNaN(value)) return "";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "minus infinite";
  return Math.abs(value) >= 1000 ? count(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** @param {number} value A whole number with its thousands told apart. */
export function count(value) {
  return value.toLocaleString("en");
}

/** So many of something: `1 sample`, `2 samples`. @param {number} many @param {string} noun */
export function counted(many, noun) {
  return `${count(many)} ${noun}${many === 1 ? "" : "s"}`;
}

/** @param {string} name At most so many letters: the end of a long name tells more. @param {number} most */
export function short(name, most = 14) {
  return name.length <= most ? name : `…${name.slice(name.length - most + 1)}`;
}
