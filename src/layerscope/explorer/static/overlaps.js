// @ts-check
/** How much of their mass classes have on the same codes, beside what few samples let even one class share with itself. */

/** @typedef {{one: number, other: number, overlaps: number[], ceilings: number[], shared: number[], mean: number,
 *   ceiling: number}} Pair Two classes; overlap and ceiling layer by layer; the layers' places where the overlap is at
 *   least half of the ceiling; means over all layers. */
/** @typedef {{pairs: Pair[], classes: number[], scarce: number, crowded: number, own: Float64Array[]}} Sharing The classes
 *   that are compared; how many have too few samples, and how many others are too many; by layer, each one's own ceiling. */

/** Samples that a class must have, and the most classes: the work goes with their square. */
export const LEAST_OF_CLASS = 30;
export const MOST_CLASSES = 40;
const HALVINGS = 2;
/** More than a class has samples, and not too many for a number of 53 bits beside one of 32. */
const PLACES = 2 ** 21;

/**
 * The overlap of two classes at a layer is the sum over codes of the smaller of their shares, from 0 (no code in common)
 * to 1. Of few samples it is too low, even of one class with itself: so it is that of random halves of both classes, the
 * mean of the four, and its ceiling is that of both classes' halves with each other, the mean of the two; all over
 * `HALVINGS` halvings that are always the same. The pairs that share in most layers come first, then by mean overlap.
 * @param {ArrayLike<number>[]} codes By layer, (n).
 * @param {ArrayLike<number>} classOf (n), -1: none.
 * @param {number} units
 * @returns {Sharing}
 */
export function sharedMass(codes, classOf, units) {
  const {classes, scarce, crowded} = comparedClasses(classOf);
  const many = classes.length;
  const own = codes.map(() => new Float64Array(many));
  const cross = codes.map(() => new Float64Array(many * many));
  for (let halving = 0; halving < HALVINGS; halving += 1) {
    const halves = halvesOf(classOf, classes, halving);
    codes.forEach((layer, place) => addOverlaps(sharesOf(layer, halves, 2 * many, units), units, own[place], cross[place]));
  }
  const pairs = [];
  for (let one = 0; one < many; one += 1) for (let other = one + 1; other < many; other += 1) {
    const overlaps = cross.map((all) => all[one * many + other] / HALVINGS);
    const ceilings = own.map((all) => (all[one] + all[other]) / 2 / HALVINGS);
    pairs.push({one: classes[one], other: classes[other], ...toldOfPair(overlaps, ceilings)});
  }
  pairs.sort((one, other) => other.shared.length - one.shared.length || other.mean - one.mean);
  return {pairs, classes, scarce, crowded, own: own.map((all) => all.map((some) => some / HALVINGS))};
}

/** @param {number[]} overlaps @param {number[]} ceilings */
function toldOfPair(overlaps, ceilings) {
  const mean = (/** @type {number[]} */ all) => all.reduce((sum, one) => sum + one, 0) / all.length;
  const shared = [...overlaps.keys()].filter((layer) => overlaps[layer] > 0 && overlaps[layer] >= ceilings[layer] / 2);
  return {overlaps, ceilings, shared, mean: mean(overlaps), ceiling: mean(ceilings)};
}

/** The commonest classes; of equally common ones those of lower number. @param {ArrayLike<number>} classOf */
function comparedClasses(classOf) {
  /** @type {Map<number, number>} */
  const totals = new Map();
  for (let row = 0; row < classOf.length; row += 1) if (classOf[row] >= 0) totals.set(classOf[row], (totals.get(classOf[row]) ?? 0) + 1);
  const enough = [...totals].filter(([, total]) => total >= LEAST_OF_CLASS).sort((one, other) => other[1] - one[1] || one[0] - other[0]);
  const classes = enough.slice(0, MOST_CLASSES).map(([one]) => one).sort((one, other) => one - other);
  return {classes, scarce: totals.size - enough.length, crowded: enough.length - classes.length};
}

/** Of every row its half, twice its class's place or one more; -1: of no class that is compared. @param {ArrayLike<number>} classOf @param {number[]} classes @param {number} halving */
function halvesOf(classOf, classes, halving) {
  const halves = new Int32Array(classOf.length).fill(-1);
  const placeOf = new Map(classes.map((one, place) => [one, place]));
  /** @type {number[][]} */
  const members = classes.map(() => []);
  for (let row = 0; row < classOf.length; row += 1) {
    const place = placeOf.get(classOf[row]);
    if (place !== undefined) members[place].push(row);
  }
  members.forEach((rows, place) => {
    // A number drawn, and behind it the row's place: numbers alone are sorted several times as fast.
    const drawn = Float64Array.from(rows, (row, at) => scattered(row * HALVINGS + halving) * PLACES + at).sort();
    drawn.forEach((one, at) => (halves[rows[one % PLACES]] = 2 * place + Number(at >= rows.length >> 1)));
  });
  return halves;
}

/** A whole number to another as if drawn, below 2^32; no two to the same (the end of MurmurHash3). @param {number} value */
function scattered(value) {
  let bits = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** Of each half, its share of every unit (halves x units). @param {ArrayLike<number>} layer @param {Int32Array} halves @param {number} many @param {number} units */
function sharesOf(layer, halves, many, units) {
  const shares = new Float64Array(many * units);
  const sizes = new Uint32Array(many);
  for (let row = 0; row < halves.length; row += 1) {
    if (halves[row] < 0) continue;
    sizes[halves[row]] += 1;
    shares[halves[row] * units + layer[row]] += 1;
  }
  return shares.map((some, at) => some / sizes[Math.floor(at / units)]);
}

/** @param {Float64Array} shares Of one half. */
function usedUnits(shares) {
  const units = [];
  for (let unit = 0; unit < shares.length; unit += 1) if (shares[unit]) units.push(unit);
  return units;
}

/** @param {Float64Array} shares @param {number} units @param {Float64Array} own @param {Float64Array} cross Both are added to. */
function addOverlaps(shares, units, own, cross) {
  const used = Array.from({length: 2 * own.length}, (_, half) => usedUnits(shares.subarray(half * units, (half + 1) * units)));
  const overlap = (/** @type {number} */ half, /** @type {number} */ another) => {
    const [from, to] = [half * units, another * units];
    let sum = 0;
    for (const unit of used[half]) sum += Math.min(shares[from + unit], shares[to + unit]);
    return sum;
  };
  for (let one = 0; one < own.length; one += 1) {
    own[one] += overlap(2 * one, 2 * one + 1);
    for (let other = one + 1; other < own.length; other += 1) {
      let four = 0;
      for (const half of [2 * one, 2 * one + 1]) for (const another of [2 * other, 2 * other + 1]) four += overlap(half, another);
      cross[one * own.length + other] += four / 4;
    }
  }
}

/** Where a pair shares, in words. @param {Pair} pair @param {string[]} layers */
export function sharedTold({shared}, layers) {
  const runs = [];
  for (let place = 0; place < shared.length; place += 1) {
    const first = place;
    while (shared[place + 1] === shared[place] + 1) place += 1;
    runs.push(first === place ? layers[shared[first]] : `${layers[shared[first]]} to ${layers[shared[place]]}`);
  }
  return `in ${shared.length || "none"} of ${layers.length} layers${runs.length ? ` (${runs.join(", ")})` : ""}`;
}
