// @ts-check
/** Colours of classes and of amounts, as the printed figures have them. */

/** Ten that colour-blind readers can tell apart (after P. Tol's bright and vibrant schemes), as in the figures. */
const TEN = ["#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#dd8833", "#7755bb", "#885544"];
/** From little to much, rising evenly in lightness (cividis, J. Nuñez et al. 2018, at nine places). */
const AMOUNT = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8779", "#a69d75", "#c4b56c", "#fee838"];

/** @typedef {[number, number, number]} Rgb 0 to 255. */

/** A colour per class. @param {number} many @returns {Rgb[]} */
export function palette(many) {
  if (many <= TEN.length) return TEN.slice(0, many).map(rgb);
  return Array.from({length: many}, (_, place) => hsv(place / many, 0.65, 0.7 + 0.2 * (place % 2)));
}

/** @param {string} hex @returns {Rgb} */
export function rgb(hex) {
  const part = (/** @type {number} */ at) => Number.parseInt(hex.slice(at, at + 2), 16);
  return [part(1), part(3), part(5)];
}

/** @param {Rgb} colour */
export function css([red, green, blue]) {
  return `rgb(${Math.round(red)} ${Math.round(green)} ${Math.round(blue)})`;
}

/** @param {number} hue @param {number} saturation @param {number} value @returns {Rgb} */
function hsv(hue, saturation, value) {
  const part = (/** @type {number} */ n) => {
    const k = (n + hue * 6) % 6;
    return 255 * (value - value * saturation * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [part(5), part(3), part(1)];
}

/** Between two colours. @param {Rgb} one @param {Rgb} other @param {number} share Of the other. @returns {Rgb} */
export function between(one, other, share) {
  const part = (/** @type {number} */ place) => one[place] + share * (other[place] - one[place]);
  return [part(0), part(1), part(2)];
}

/** The colour of an amount. @param {number} share From 0 to 1. @returns {Rgb} */
export function amount(share) {
  const place = Math.max(0, Math.min(1, share)) * (AMOUNT.length - 1);
  const low = Math.min(Math.floor(place), AMOUNT.length - 2);
  return between(rgb(AMOUNT[low]), rgb(AMOUNT[low + 1]), place - low);
}

/** The stops of `amount`, for a legend. */
export function amounts() {
  return AMOUNT;
}

/**
 * A unit's colour: its commonest class, the paler the smaller that class's share; as `drawing.mixed` prints it.
 * @param {Rgb} colour Of the commonest class.
 * @param {number} purity
 * @param {number} classes
 * @param {Rgb} paper What it pales to.
 * @returns {Rgb}
 */
export function mixed(colour, purity, classes, paper) {
  const chance = 1 / Math.max(classes, 2);
  const strength = 0.12 + 0.88 * Math.max(0, Math.min(1, (purity - chance) / (1 - chance)));
  return between(paper, colour, strength);
}
