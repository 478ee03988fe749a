// @ts-check
/** What the code tables say, counted when it is first asked for. Numbers with intervals come from the results instead. */

import {sharedMass} from "./overlaps.js";

/** @typedef {import("./bundle.js").Bundle} Bundle */
/** @typedef {import("./grid.js").Grid} Grid */
/** @typedef {{hits: Uint32Array, classes: Uint32Array, commonest: Int32Array, purity: Float32Array, entropy: Float32Array}} Mix */

/**
 * The commonest class (of equally common ones that of the lowest number, -1: none), its share, and the sum of all.
 * @param {Uint32Array} counts By class.
 * @param {Iterable<number>} [among] The classes that occur, where that is known.
 */
export function commonestIn(counts, among = counts.keys()) {
  let [commonest, most, known] = [-1, 0, 0];
  for (const one of among) {
    known += counts[one];
    if (counts[one] > most || (counts[one] === most && one < commonest)) [commonest, most] = [one, counts[one]];
  }
  return {commonest, purity: known ? most / known : 0, known};
}

export class Counts {
  /** @param {Bundle} bundle @param {Grid} grid */
  constructor(bundle, grid) {
    this.bundle = bundle;
    this.grid = grid;
    let most = bundle.classes.length;
    for (const one of bundle.classOf) if (one >= most) most = one + 1;
    this.classes = Math.max(1, most);
  }

  /** @type {Map<string, any>} */ #kept = new Map();

  /** @template T @param {string} key @param {() => T} make @returns {T} */
  #once(key, make) {
    if (!this.#kept.has(key)) this.#kept.set(key, make());
    return this.#kept.get(key);
  }

  /** Samples and classes of every unit (clean). Entropy in bits. @param {string} reduction @param {number} layer @returns {Mix} */
  mix(reduction, layer) {
    return this.#once(`mix ${reduction} ${layer}`, () => {
      const {units, classOf} = this.bundle;
      const codes = this.bundle.codes("clean", reduction, layer);
      const hits = new Uint32Array(units);
      const classes = new Uint32Array(units * this.classes);
      for (let row = 0; row < codes.length; row += 1) {
        hits[codes[row]] += 1;
        if (classOf[row] >= 0) classes[codes[row] * this.classes + classOf[row]] += 1;
      }
      const commonest = new Int32Array(units).fill(-1);
      const purity = new Float32Array(units);
      const entropy = new Float32Array(units);
      for (let unit = 0; unit < units; unit += 1) {
        const own = classes.subarray(unit * this.classes, (unit + 1) * this.classes);
        const {known, ...found} = commonestIn(own);
        commonest[unit] = found.commonest;
        purity[unit] = found.purity;
        for (const some of own) if (some) entropy[unit] -= (some / known) * Math.log2(some / known);
      }
      return {hits, classes, commonest, purity, entropy};
    });
  }

  /** Per unit: the share of its clean samples whose code a condition changes, and how far, in mean grid steps. @param {string} condition @param {string} reduction @param {number} layer */
  moved(condition, reduction, layer) {
    return this.#once(`moved ${condition} ${reduction} ${layer}`, () => {
      const before = this.bundle.codes("clean", reduction, layer);
      const after = this.bundle.codes(condition, reduction, layer);
      const flips = new Float32Array(this.bundle.units);
      const shift = new Float32Array(this.bundle.units);
      for (let row = 0; row < before.length; row += 1) {
        if (before[row] === after[row]) continue;
        flips[before[row]] += 1;
        shift[before[row]] += this.grid.distance(before[row], after[row]);
      }
      const {hits} = this.mix(reduction, layer);
      return {flips: flips.map((some, unit) => some / (hits[unit] || NaN)), shift: shift.map((some, unit) => some / (hits[unit] || NaN))};
    });
  }

  /** Clean samples of a unit, nearest to its prototype first. @param {string} reduction @param {number} layer @param {number} unit @returns {number[]} */
  samplesOf(reduction, layer, unit) {
    const codes = this.bundle.codes("clean", reduction, layer);
    const distances = this.bundle.distances(reduction, layer);
    const rows = [];
    for (let row = 0; row < codes.length; row += 1) if (codes[row] === unit) rows.push(row);
    return rows.sort((one, other) => distances[one] - distances[other]);
  }

  /** The units that a unit's samples have on another layer, the commonest first. @param {string} reduction @param {number} layer @param {number} unit @param {number} other @returns {[number, number][]} */
  partners(reduction, layer, unit, other) {
    const here = this.bundle.codes("clean", reduction, layer);
    const there = this.bundle.codes("clean", reduction, other);
    /** @type {Map<number, number>} */
    const found = new Map();
    for (let row = 0; row < here.length; row += 1) if (here[row] === unit) found.set(there[row], (found.get(there[row]) ?? 0) + 1);
    return [...found].sort((one, two) => two[1] - one[1]);
  }

  /** How far each sample's path under a condition lies from its clean one: grid steps, summed over the layers. @param {string} condition @param {string} reduction @returns {Float32Array} */
  changes(condition, reduction) {
    return this.#once(`changes ${condition} ${reduction}`, () => {
      const total = new Float32Array(this.bundle.samples);
      const steps = this.#steps();
      this.bundle.layers(reduction).forEach((_, layer) => {
        const before = this.bundle.codes("clean", reduction, layer);
        const after = this.bundle.codes(condition, reduction, layer);
        for (let row = 0; row < total.length; row += 1) if (before[row] !== after[row]) total[row] += steps(before[row], after[row]);
      });
      return total;
    });
  }

  #steps() {
    const {units} = this.bundle;
    if (units > 1024) return (/** @type {number} */ one, /** @type {number} */ other) => this.grid.distance(one, other);
    const all = this.#once("steps", () => {
      const made = new Float32Array(units * units);
      for (let one = 0; one < units; one += 1) for (let other = 0; other < units; other += 1) made[one * units + other] = this.grid.distance(one, other);
      return made;
    });
    return (/** @type {number} */ one, /** @type {number} */ other) => all[one * units + other];
  }

  /** Which classes have mass on the same codes (clean). @param {string} reduction @returns {import("./overlaps.js").Sharing} */
  sharing(reduction) {
    const codes = () => this.bundle.layers(reduction).map((_, layer) => this.bundle.codes("clean", reduction, layer));
    return this.#once(`sharing ${reduction}`, () => sharedMass(codes(), this.bundle.classOf, this.bundle.units));
  }

  /** The layer from which on a sample's codes under a condition are others than its clean ones, or -1. @param {string} condition @param {string} reduction @param {number} row */
  departure(condition, reduction, row) {
    const layers = this.bundle.layers(reduction);
    let first = -1;
    for (let layer = layers.length - 1; layer >= 0; layer -= 1) {
      if (this.bundle.codes("clean", reduction, layer)[row] === this.bundle.codes(condition, reduction, layer)[row]) break;
      first = layer;
    }
    return first;
  }
}
