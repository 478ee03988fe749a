// @ts-check
/** Samples that go from a unit of one layer to a unit of another, and where they are drawn. */

import {commonestIn} from "./counts.js";

/** @typedef {{from: number, to: number, count: number, commonest: number, purity: number}} Stream `purity`: share of the commonest class. */
/** @typedef {{stream: Stream, top: number, bottom: number, otherTop: number, otherBottom: number}} Placed A stream, and its edges on both sides. */
/** @typedef {{order: number[], top: Float64Array, scale: number}} Column Units in order from the top; where each begins; height of a sample. */

const WIDEST_GAP = 2;

/**
 * Streams by their units, those of lower number first. Their commonest class is -1 where no sample has one.
 * @param {ArrayLike<number>} left Units (n) on the one layer.
 * @param {ArrayLike<number>} right Units (n) on the other.
 * @param {ArrayLike<number>} classOf (n), -1: none.
 * @param {number} units @param {number} classes
 * @returns {Stream[]}
 */
export function streamsBetween(left, right, classOf, units, classes) {
  const ends = new Uint32Array(units * units);
  for (let row = 0; row < left.length; row += 1) ends[left[row] * units + right[row]] += 1;
  const keys = [];
  let sum = 0;
  for (let key = 0; key < ends.length; key += 1) {
    if (!ends[key]) continue;
    keys.push(key);
    const own = ends[key];
    ends[key] = sum;
    sum += own;
  }
  const rows = new Uint32Array(left.length);
  for (let row = 0; row < left.length; row += 1) {
    const key = left[row] * units + right[row];
    rows[ends[key]] = row;
    ends[key] += 1;
  }
  const seen = new Uint32Array(classes);
  let first = 0;
  return keys.map((key) => {
    const own = rows.subarray(first, ends[key]);
    first = ends[key];
    return {from: Math.floor(key / units), to: key % units, count: own.length, ...commonestOf(own, classOf, seen)};
  });
}

/** @param {Uint32Array} rows @param {ArrayLike<number>} classOf @param {Uint32Array} seen Zeros, before and after. */
function commonestOf(rows, classOf, seen) {
  const among = [];
  for (const row of rows) {
    const one = classOf[row];
    if (one < 0) continue;
    if (!seen[one]) among.push(one);
    seen[one] += 1;
  }
  const {commonest, purity} = commonestIn(seen, among);
  for (const one of among) seen[one] = 0;
  return {commonest, purity};
}

/** Units in use from top to bottom: by commonest class, then by number. @param {import("./counts.js").Mix} mix @param {number} height @returns {Column} */
export function columnOf({hits, commonest}, height) {
  const order = [...hits.keys()].filter((unit) => hits[unit]).sort((one, other) => commonest[one] - commonest[other] || one - other);
  const samples = hits.reduce((sum, some) => sum + some, 0);
  const gap = order.length > 1 ? Math.min(WIDEST_GAP, (0.2 * height) / (order.length - 1)) : 0;
  const scale = (height - gap * (order.length - 1)) / samples;
  const top = new Float64Array(hits.length).fill(NaN);
  let at = 0;
  for (const unit of order) {
    top[unit] = at;
    at += hits[unit] * scale + gap;
  }
  return {order, top, scale};
}

/** The unit of a column at a height, or null. @param {Column} column @param {Uint32Array} hits @param {number} y */
export function unitAtHeight({order, top, scale}, hits, y) {
  return order.find((unit) => y >= top[unit] - 0.5 && y <= top[unit] + hits[unit] * scale + 0.5) ?? null;
}

/**
 * Where streams begin and end: on both sides in the order of the other side. The largest first, so that small ones lie on them.
 * @param {Stream[]} streams @param {Column} left @param {Column} right
 * @returns {Placed[]}
 */
export function placedStreams(streams, left, right) {
  const [leftAt, rightAt] = [left.top.slice(), right.top.slice()];
  const placed = streams.map((stream) => ({stream, top: 0, bottom: 0, otherTop: 0, otherBottom: 0}));
  for (const one of [...placed].sort((a, b) => right.top[a.stream.to] - right.top[b.stream.to])) {
    one.top = leftAt[one.stream.from];
    leftAt[one.stream.from] += one.stream.count * left.scale;
    one.bottom = leftAt[one.stream.from];
  }
  for (const one of [...placed].sort((a, b) => left.top[a.stream.from] - left.top[b.stream.from])) {
    one.otherTop = rightAt[one.stream.to];
    rightAt[one.stream.to] += one.stream.count * right.scale;
    one.otherBottom = rightAt[one.stream.to];
  }
  return placed.sort((a, b) => b.stream.count - a.stream.count);
}

/**
 * At most about so many, for drawing: neighbours are drawn as one, in bands as narrow as suffice. No sample is left out.
 * @param {Placed[]} placed @param {number} most @returns {Placed[]}
 */
export function gatheredStreams(placed, most) {
  let gathered = placed;
  for (let band = 2; gathered.length > most && band <= 64; band *= 2) gathered = inBands(placed, band);
  return gathered;
}

/** @param {Placed[]} placed @param {number} band Height in pixels. @returns {Placed[]} */
function inBands(placed, band) {
  /** @type {Map<number, Placed[]>} */
  const bands = new Map();
  for (const one of placed) {
    const key = Math.floor((one.top + one.bottom) / 2 / band) * 65536 + Math.floor((one.otherTop + one.otherBottom) / 2 / band);
    const own = bands.get(key);
    if (own) own.push(one);
    else bands.set(key, [one]);
  }
  return [...bands.values()].map((some) => (some.length === 1 ? some[0] : joined(some))).sort((a, b) => b.stream.count - a.stream.count);
}

/** Neighbours as one: as high as all together, around their middle, in the colour of the commonest class of all. @param {Placed[]} some @returns {Placed} */
function joined(some) {
  /** @type {Map<number, number>} */
  const classes = new Map();
  let [count, left, right, high, otherHigh] = [0, 0, 0, 0, 0];
  for (const {stream, top, bottom, otherTop, otherBottom} of some) {
    count += stream.count;
    left += (stream.count * (top + bottom)) / 2;
    right += (stream.count * (otherTop + otherBottom)) / 2;
    high += bottom - top;
    otherHigh += otherBottom - otherTop;
    classes.set(stream.commonest, (classes.get(stream.commonest) ?? 0) + stream.count * stream.purity);
  }
  const [commonest, own] = [...classes].reduce((best, one) => (one[1] > best[1] ? one : best));
  const [middle, otherMiddle] = [left / count, right / count];
  return {
    stream: {...some[0].stream, count, commonest, purity: own / count},
    top: middle - high / 2, bottom: middle + high / 2, otherTop: otherMiddle - otherHigh / 2, otherBottom: otherMiddle + otherHigh / 2,
  };
}
