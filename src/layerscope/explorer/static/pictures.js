// @ts-check
/** Pictures of samples and units out of their sheets, and what a condition changes in one. */

import {fill, h} from "./elements.js";

/** @typedef {import("./bundle.js").Picture} Picture */

const GREY = 128;
/** Of sheets that came inside the page: an address of megabytes in each picture's style would be read again and again. @type {Map<string, string>} */
const sheetAddresses = new Map();

/**
 * A picture with crisp pixels; a picture smaller than `size` is enlarged by a whole factor.
 * @param {Picture | null} picture Null: a frame that says so.
 * @param {{label?: string, size?: number}} [options] The label is for screen readers; none where a text beside tells it.
 */
export function thumbnail(picture, {label = "", size = 56} = {}) {
  const told = label ? {role: "img", "aria-label": label} : {"aria-hidden": "true"};
  if (!picture) return h("span", {...told, class: "thumbnail absent", style: squareOf(size, size)}, "no picture");
  const scale = pictureScale(picture, size);
  return h("span", {
    ...told,
    class: scale >= 1 ? "thumbnail crisp" : "thumbnail",
    style: {
      ...squareOf(picture.width * scale, picture.height * scale),
      "background-image": `url("${sheetAddress(picture.url)}")`,
      "background-size": `${picture.sheetWidth * scale}px ${picture.sheetHeight * scale}px`,
      "background-position": `${-picture.x * scale}px ${-picture.y * scale}px`,
    },
  });
}

/** Whole where the picture is enlarged: its neighbours on the sheet stay out. @param {{width: number, height: number}} picture @param {number} size */
function pictureScale({width, height}, size) {
  const fits = size / Math.max(width, height);
  return fits >= 1 ? Math.floor(fits) : fits;
}

/** A sheet's short address. @param {string} url */
function sheetAddress(url) {
  if (!url.startsWith("data:")) return url;
  const [told, comma] = [sheetAddresses.get(url), url.indexOf(",")];
  const made = told ?? URL.createObjectURL(new Blob([sheetBytes(atob(url.slice(comma + 1)))], {type: "image/png"}));
  sheetAddresses.set(url, made);
  return made;
}

/** @param {string} letters */
function sheetBytes(letters) {
  const bytes = new Uint8Array(letters.length);
  for (let place = 0; place < bytes.length; place += 1) bytes[place] = letters.charCodeAt(place);
  return bytes;
}

/** @param {number} width @param {number} height */
function squareOf(width, height) {
  return {width: `${width}px`, height: `${height}px`};
}

/**
 * What differs between two pictures, enlarged until the largest difference is black or white; grey: no change.
 * @param {Picture} clean
 * @param {Picture} other
 * @param {{size?: number}} [options]
 */
export function changePicture(clean, other, {size = 112} = {}) {
  const scale = pictureScale(clean, size);
  const canvas = h("canvas", {
    class: scale >= 1 ? "thumbnail crisp" : "thumbnail", width: clean.width, height: clean.height, role: "img",
    "aria-label": "change of the picture", style: squareOf(clean.width * scale, clean.height * scale),
  });
  const caption = h("figcaption", {}, "change");
  const draw = async () => {
    const [before, after] = await Promise.all([pixelsOf(clean), pixelsOf(other)]);
    const {pixels, factor} = enlargedChange(before, after);
    /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(new ImageData(pixels, clean.width, clean.height), 0, 0);
    const words = Number.isFinite(factor) ? `change ×${Number(factor.toPrecision(2))}` : "no change";
    fill(caption, words);
    canvas.setAttribute("aria-label", `${words}, around grey`);
  };
  draw().catch(() => fill(caption, "The pictures can't be read."));
  return h("figure", {class: "change"}, canvas, caption);
}

/**
 * Differences times the largest factor at which none leaves the range, around grey; infinite where there is none.
 * @param {Uint8ClampedArray} before Red, green, blue and opacity of every pixel.
 * @param {Uint8ClampedArray} after
 */
export function enlargedChange(before, after) {
  let most = 0;
  for (let at = 0; at < before.length; at += 1) if (at % 4 < 3) most = Math.max(most, Math.abs(after[at] - before[at]));
  const factor = (GREY - 1) / most;
  const pixels = new Uint8ClampedArray(before.length);
  for (let at = 0; at < before.length; at += 1) {
    pixels[at] = at % 4 === 3 ? 255 : most ? GREY + factor * (after[at] - before[at]) : GREY;
  }
  return {pixels, factor};
}

/** @param {Picture} picture */
async function pixelsOf(picture) {
  const sheet = new Image();
  sheet.src = sheetAddress(picture.url);
  await sheet.decode();
  const {x, y, width, height} = picture;
  const context = /** @type {CanvasRenderingContext2D} */ (h("canvas", {width, height}).getContext("2d", {willReadFrequently: true}));
  context.drawImage(sheet, x, y, width, height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}
