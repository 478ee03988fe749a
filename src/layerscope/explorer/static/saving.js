// @ts-check
/** Views as SVG or PNG files, selections as CSV. */

import {h} from "./elements.js";

/** @param {string} name @param {(() => SVGSVGElement | null) | undefined} svg @param {(() => string[][]) | undefined} csv */
export function saveButtons(name, svg, csv) {
  return h("div", {class: "save", "data-name": name, hidden: !svg && !csv});
}
