// @ts-check
/** A panel: its name, one line on how to read it, what saves it, and what it shows. */

import {fill, h} from "./elements.js";
import {saveButtons} from "./saving.js";

/**
 * @param {object} told
 * @param {string} told.id Of the section, `panel-ID`.
 * @param {string} told.title
 * @param {string} told.how One line on how to read it.
 * @param {HTMLElement} told.body
 * @param {HTMLElement} [told.tools] Choices, beside the title.
 * @param {() => SVGSVGElement | null} [told.svg] The view as a picture to save.
 * @param {() => string[][]} [told.csv] What is selected as a table to save, its header first.
 */
export function panel({id, title, how, body, tools, svg, csv}) {
  const heading = h("h2", {id: `title-${id}`}, title);
  const line = h("p", {class: "how"}, how);
  const element = h("section", {id: `panel-${id}`, class: "panel", "aria-labelledby": `title-${id}`},
    h("header", {}, h("div", {class: "titles"}, heading, line), h("div", {class: "tools"}, tools, saveButtons(id, svg, csv))), body);
  return {element, retitle: (/** @type {string} */ words) => fill(heading, words), explain: (/** @type {string} */ words) => fill(line, words)};
}

/** What is not in the run, and the command that makes it. @param {{told: string, command: string} | null} missing @param {string} [otherwise] */
export function lacking(missing, otherwise = "Nothing to show.") {
  if (!missing) return h("p", {class: "lacking"}, otherwise);
  return h("div", {class: "lacking"}, h("p", {}, missing.told), missing.command ? h("pre", {tabindex: 0}, missing.command) : null);
}
