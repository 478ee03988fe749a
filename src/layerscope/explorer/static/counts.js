// @ts-check
/** What the code tables say, counted when it is first asked for. Numbers with intervals come from the results instead. */

/** @typedef {import("./bundle.js").Bundle} Bundle */
/** @typedef {import("./grid.js").Grid} Grid */
/** @typedef {{hits: Uint32Array, classes: Uint32Array, commonest: Int32Array, purity: Float32Array, entropy: Float32Array}} Mix */

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
        let [best, known] = [0, 0];
        const own = classes.subarray(unit * this.classes, (unit + 1) * this.classes);
        for (let one = 0; one < own.length; one += 1) {
          known += own[one];
          if (own[one] > best) [best, commonest[unit]] = [own[one], one];
        }
        purity[unit] = known ? best / known : 0;
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

  /**
   * Per class and layer, the share of each unit; then, of two classes at a layer, the overlap: sum over units of the
   * smaller of their shares, from 0 (no code in common) to 1. The pairs that share codes longest come first: by the last
   * layer where the overlap is at least a half, then by the mean over layers. Of many classes, pairs of the 40 commonest.
   * @param {string} reduction
   * @returns {{one: number, other: number, last: number, mean: number, overlaps: number[]}[]}
   */
  sharing(reduction) {
    return this.#once(`sharing ${reduction}`, () => {
      const layers = this.bundle.layers(reduction);
      const totals = new Uint32Array(this.classes);
      for (const one of this.bundle.classOf) if (one >= 0) totals[one] += 1;
      const common = [...totals.keys()].filter((one) => totals[one]).sort((one, other) => totals[other] - totals[one] || one - other).slice(0, 40);
      const shares = layers.map((_, layer) => {
        const {classes} = this.mix(reduction, layer);
        return common.map((one) => Float32Array.from({length: this.bundle.units}, (_, unit) => classes[unit * this.classes + one] / totals[one]));
      });
      const pairs = [];
      for (let one = 0; one < common.length; one += 1) for (let other = one + 1; other < common.length; other += 1) {
        const overlaps = shares.map((own) => own[one].reduce((sum, share, unit) => sum + Math.min(share, own[other][unit]), 0));
        const last = overlaps.findLastIndex((overlap) => overlap >= 0.5);
        pairs.push({one: common[one], other: common[other], last, mean: overlaps.reduce((sum, some) => sum + some, 0) / overlaps.length, overlaps});
      }
      return pairs.sort((one, other) => other.last - one.last || other.mean - one.mean);
    });
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
