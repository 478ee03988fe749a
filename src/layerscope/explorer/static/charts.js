// @ts-check
/** Lines over depth with their intervals, as SVG. */

import {number, s} from "./elements.js";

/** @typedef {import("./bundle.js").Row} Row */
/** @typedef {{rows: Row[], name: string, kind: string, dots?: boolean}} Line `kind` is a class of the style sheet. */
/** @typedef {{left: number, step: number, width: number, height: number, layers: number}} Frame `layers`: how many. */

/** Place of a layer on the shared axis. @param {Frame} frame @param {number} layer */
export function across({left, step}, layer) {
  return left + (layer + 0.5) * step;
}

/**
 * The chart, and the place of a value on it.
 * @param {Line[]} lines @param {Frame} frame @param {{share: boolean, log: boolean, title: string}} how
 */
export function lineChart(lines, frame, {share, log, title}) {
  const {low, high} = reach(lines, share, log);
  const [top, bottom] = [10, frame.height - 8];
  const at = (/** @type {number} */ value) => {
    const part = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    return bottom - part * (bottom - top);
  };
  const end = frame.left + frame.step * frame.layers;
  const axis = ticks(low, high, log).map((value) => s("g", {class: "tick"},
    s("line", {x1: frame.left, x2: end, y1: at(value), y2: at(value)}),
    s("text", {x: frame.left - 6, y: at(value) + 4, "text-anchor": "end"}, share ? `${Math.round(100 * value)} %` : number(value))));
  const drawn = lines.map((line) => lineDrawn(line, frame, at, low, high));
  const names = nameLines(lines, frame, at, top, bottom);
  const element = s("svg", {width: frame.width, height: frame.height, viewBox: `0 0 ${frame.width} ${frame.height}`, role: "img", "aria-label": spoken(title, lines)},
    axis, drawn, names);
  return {element, at};
}

/** @param {Line[]} lines @param {boolean} share @param {boolean} log */
function reach(lines, share, log) {
  // a null of two draws has a band as wide as it is uncertain: the axis is for what stands on it
  const told = lines.flatMap(({rows, kind}) => rows.flatMap((row) => (kind.startsWith("null-") ? [row.value] : [row.value, row.low, row.high])));
  const values = told.filter((value) => Number.isFinite(value) && (!log || value > 0));
  if (!values.length) return {low: log ? 0.1 : 0, high: 1};
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (log) return {low: least / 1.1, high: Math.max(most, least * 1.5) * 1.1};
  const low = Math.min(0, least);
  const high = share ? Math.max(1, most) : most > low ? most + (most - low) * 0.05 : low + 1;
  return {low, high};
}

/** Round values between two, at least two of them; on a log scale 1, 2 and 5 of each decade, where a range holds two of these. @param {number} low @param {number} high @param {boolean} log */
export function ticks(low, high, log) {
  if (log) {
    const decades = Array.from({length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1}, (_, place) => 10 ** (Math.floor(Math.log10(low)) + place));
    const steps = decades.length > 5 ? [1] : [1, 2, 5];
    const found = decades.flatMap((decade) => steps.map((step) => Number((step * decade).toPrecision(1)))).filter((one) => one >= low && one <= high);
    if (found.length > 1) return found;
  }
  const rough = (high - low) / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((one) => one * unit >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({length: Math.floor(high / step + 1e-9) - first + 1}, (_, place) => (first + place) * step);
}

/** @param {Line} line @param {Frame} frame @param {(value: number) => number} at @param {number} low @param {number} high */
function lineDrawn({rows, kind, dots = true}, frame, at, low, high) {
  const inside = (/** @type {number} */ value) => at(Math.max(low, Math.min(high, value)));
  const runs = pieces(rows);
  const bands = runs.map((run) => {
    const sure = run.filter((row) => Number.isFinite(row.low) && Number.isFinite(row.high));
    if (sure.length < 2) return null;
    const there = sure.map((row) => `${across(frame, row.layer_index)},${inside(row.high)}`);
    const back = sure.map((row) => `${across(frame, row.layer_index)},${inside(row.low)}`).reverse();
    return s("polygon", {class: "band", points: [...there, ...back].join(" ")});
  });
  const paths = runs.map((run) => s("polyline", {points: run.map((row) => `${across(frame, row.layer_index)},${inside(row.value)}`).join(" ")}));
  const marks = dots ? runs.flat().map((row) => s("circle", {cx: across(frame, row.layer_index), cy: inside(row.value), r: 3.5},
    s("title", {}, rowTold(row)))) : [];
  return s("g", {class: `line ${kind}`}, bands, paths, marks);
}

/** Stretches without gaps. @param {Row[]} rows */
function pieces(rows) {
  /** @type {Row[][]} */
  const found = [];
  let last = -2;
  for (const row of rows) {
    if (!Number.isFinite(row.value)) continue;
    if (row.layer_index !== last + 1) found.push([]);
    found[found.length - 1].push(row);
    last = row.layer_index;
  }
  return found;
}

/** Names at the right ends, pushed apart. @param {Line[]} lines @param {Frame} frame @param {(value: number) => number} at @param {number} top @param {number} bottom */
function nameLines(lines, frame, at, top, bottom) {
  const ends = lines.flatMap(({rows, name, kind}) => {
    const last = rows.filter((row) => Number.isFinite(row.value)).at(-1);
    return last ? [{name, kind, y: Math.max(top, Math.min(bottom, at(last.value)))}] : [];
  }).sort((one, other) => one.y - other.y);
  for (let place = 1; place < ends.length; place += 1) ends[place].y = Math.max(ends[place].y, ends[place - 1].y + 13);
  const over = Math.max(0, (ends.at(-1)?.y ?? 0) - bottom - 2);
  for (let place = ends.length - 1; place >= 0; place -= 1) {
    const most = place === ends.length - 1 ? ends[place].y - over : ends[place + 1].y - 13;
    ends[place].y = Math.min(ends[place].y, most);
  }
  const x = frame.left + frame.step * frame.layers - frame.step / 2 + 14;
  return ends.map(({name, kind, y}) => s("text", {class: `name ${kind}`, x: Math.max(x, frame.left + frame.step * (frame.layers - 0.5) + 12), y: y + 4}, name));
}

/** A number with its interval. @param {Row} row */
export function rowTold(row) {
  const interval = Number.isFinite(row.low) ? ` (95 %: ${number(row.low)} to ${number(row.high)})` : "";
  return `${row.layer}: ${number(row.value)}${interval}`;
}

/** @param {string} title @param {Line[]} lines */
function spoken(title, lines) {
  return `${title}. ${lines.map(({name, rows}) => `${name}: ${rows.map((row) => `${row.layer} ${number(row.value)}`).join(", ")}`).join(". ")}`;
}
