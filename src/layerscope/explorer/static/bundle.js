// @ts-check
/** The bundle of a run as the views read it: names, numbers, code tables, pictures. Nothing else is known of a run. */

import {idOf} from "./state.js";

/** @typedef {{json: any, read: (name: string) => Promise<ArrayBuffer>, url: (name: string) => string | Promise<string>,
 *   probe?: (asked: {kind: "image" | "text", body: Blob | string}) => Promise<any>, address?: boolean}} Source */
/** @typedef {{measure: string, layer: string, layer_index: number, condition: string, reduction: string, value: number,
 *   low: number, high: number, null_untrained: number, null_shuffled: number, n: number, unit: string}} Row */
/** @typedef {{name: string, kind: "clean" | "attack" | "noise", control: string | null}} Condition */
/** @typedef {{url: string, x: number, y: number, width: number, height: number, sheetWidth: number, sheetHeight: number}} Picture */
/** @typedef {Uint16Array | Int32Array | Float32Array | Float64Array} Numbers */

export const SCHEMA = 2;
/** @type {Record<string, any>} */
const TYPES = {uint16: Uint16Array, int32: Int32Array, float32: Float32Array, float64: Float64Array};

export class Bundle {
  /**
   * @param {any} json
   * @param {Map<string, Numbers>} arrays
   * @param {Map<string, string>} sheets
   * @param {string[] | null} texts
   */
  constructor(json, arrays, sheets, texts) {
    this.json = json;
    this.texts = texts;
    this.samples = /** @type {number} */ (json.samples);
    this.classes = /** @type {string[]} */ (json.classes);
    this.conditions = /** @type {Condition[]} */ (json.conditions);
    this.attacks = this.conditions.filter((one) => one.kind === "attack");
    this.units = /** @type {number} */ (json.grid.rows * json.grid.columns);
    /** By row; those that no number holds exactly as digits. @type {import("./state.js").Id[]} */
    this.ids = json.ids ? json.ids.map((/** @type {string} */ one) => idOf(one)) : Array.from(this.#array(arrays, "id"));
    this.labels = this.#array(arrays, "label");
    this.smallest = arrays.get("smallest") ?? null;
    this.rowOf = new Map(this.ids.map((id, row) => [id, row]));
    /** Of the sample to begin with, where it is shown. @type {import("./state.js").Id | null} */
    this.example = json.example === null || json.example === undefined ? null : idOf(String(json.example)) ?? null;
    /** What maps are coloured by: labels, or answers where there are none. */
    this.classOf = json.class_source === "labels" ? this.labels : this.#array(arrays, "prediction/0");
    this.columns = new Map(json.results.columns.map((/** @type {string} */ name, /** @type {number} */ place) => [name, place]));
    this.rows = /** @type {Row[]} */ (json.results.rows.map((/** @type {any[]} */ row) => this.#row(row)));
    this.#arrays = arrays;
    this.#sheets = sheets;
  }

  /** @type {Map<string, Numbers>} */ #arrays;
  /** @type {Map<string, string>} */ #sheets;

  /** @param {Map<string, Numbers>} arrays @param {string} name */
  #array(arrays, name) {
    const found = arrays.get(name);
    if (!found) throw new Error(`The bundle lacks the array ${name}; make the report again.`);
    return found;
  }

  /** @param {any[]} values @returns {any} */
  #row(values) {
    const told = ["measure", "layer", "condition", "reduction", "unit"];
    return Object.fromEntries([...this.columns].map(([name, place]) => [name, told.includes(name) ? values[place] : unpacked(values[place])]));
  }

  /** The names of a reduction's layers, in order of depth. @param {string} reduction @returns {string[]} */
  layers(reduction) {
    return this.json.reductions.find((/** @type {any} */ one) => one.name === reduction).layers;
  }

  /** Rows of the results, in order of depth. @param {Partial<Row>} where */
  find(where) {
    const wanted = Object.entries(where);
    return this.rows
      .filter((row) => wanted.every(([name, value]) => /** @type {any} */ (row)[name] === value))
      .sort((one, other) => one.layer_index - other.layer_index);
  }

  /** Codes (n) of a condition at a layer. @param {string} condition @param {string} reduction @param {number} layer */
  codes(condition, reduction, layer) {
    return this.#part(`code/${this.place(condition)}/${this.reduction(reduction)}`, layer, this.samples);
  }

  /** Distances (n) of clean samples to their prototypes, in steps of the array's own scale. @param {string} reduction @param {number} layer */
  distances(reduction, layer) {
    return this.#part(`distance/0/${this.reduction(reduction)}`, layer, this.samples);
  }

  /** (K). @param {string} reduction @param {number} layer */
  umatrix(reduction, layer) {
    return this.#part(`umatrix/${this.reduction(reduction)}`, layer, this.units);
  }

  /** The answers (n) under a condition. @param {string} condition */
  predictions(condition) {
    return this.#array(this.#arrays, `prediction/${this.place(condition)}`);
  }

  /** (n). @param {string} condition */
  confidences(condition) {
    return this.#array(this.#arrays, `confidence/${this.place(condition)}`);
  }

  /** @param {string} name @param {number} layer @param {number} size */
  #part(name, layer, size) {
    return this.#array(this.#arrays, name).subarray(layer * size, (layer + 1) * size);
  }

  /** A condition's number. @param {string} name */
  place(name) {
    return this.conditions.findIndex((one) => one.name === name);
  }

  /** A reduction's number. @param {string} name */
  reduction(name) {
    return this.json.reductions.findIndex((/** @type {any} */ one) => one.name === name);
  }

  /** A class's name, or a dash. @param {number} index */
  className(index) {
    return index < 0 ? "none" : this.classes[index] ?? String(index);
  }

  /** The picture of a row under a condition, or null. @param {string} condition @param {number} row @returns {Picture | null} */
  picture(condition, row) {
    const shown = held(this.json.pictures, condition);
    if (!shown) return null;
    const cell = shown.rows ? this.#cells(condition, shown.rows).get(row) : row;
    return cell === undefined ? null : this.#cell(shown, cell);
  }

  /** @type {Map<string, Map<number, number>>} */ #shown = new Map();

  /** @param {string} condition @param {number[]} rows */
  #cells(condition, rows) {
    const made = this.#shown.get(condition) ?? new Map(rows.map((row, cell) => [row, cell]));
    this.#shown.set(condition, made);
    return made;
  }

  /** @param {any} shown @param {number} cell @returns {Picture | null} */
  #cell(shown, cell) {
    const sheet = shown.sheets.find((/** @type {any} */ one) => cell >= one.first && cell < one.first + one.count);
    if (!sheet) return null;
    const place = cell - sheet.first;
    return {
      url: this.#sheets.get(sheet.name) ?? "",
      x: (place % shown.columns) * shown.width,
      y: Math.floor(place / shown.columns) * shown.height,
      width: shown.width,
      height: shown.height,
      sheetWidth: Math.min(shown.columns, sheet.count) * shown.width,
      sheetHeight: Math.ceil(sheet.count / shown.columns) * shown.height,
    };
  }

  /** What decoding says of a layer, or null. @param {string} reduction @param {string} layer */
  decoded(reduction, layer) {
    return held(held(this.json.decoding, reduction), layer) ?? null;
  }

  /** The inversion of a unit, or null. @param {string} reduction @param {string} layer @param {number} unit @returns {Picture | null} */
  inversion(reduction, layer, unit) {
    const found = this.decoded(reduction, layer);
    const place = found ? found.units.indexOf(unit) : -1;
    if (place < 0 || !found.sheet || !found.inverted[place]) return null;
    return this.#cell({...found, sheets: [{name: found.sheet, first: 0, count: found.units.length}]}, place);
  }

  /** The layer where an attack parts from noise, or null. @param {string} reduction @param {string} attack @returns {string | null} */
  departure(reduction, attack) {
    return held(held(this.json.departure, reduction), attack) ?? null;
  }

  /** What the run lacks, by its name, or null. @param {string} what @returns {{told: string, command: string} | null} */
  missing(what) {
    return this.json.missing.find((/** @type {any} */ one) => one.what === what) ?? null;
  }
}

/**
 * What a record holds under a name that a user gave; `constructor` is no name of a record's.
 * @template T
 * @param {Record<string, T> | null | undefined} record
 * @param {string} name
 * @returns {T | undefined}
 */
export function held(record, name) {
  return record && Object.hasOwn(record, name) ? record[name] : undefined;
}

/** NaN is null in JSON, and infinities are words. @param {any} value @returns {number} */
function unpacked(value) {
  return value === null ? NaN : value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
}

/** Read everything but the pictures, whose addresses are enough. @param {Source} source @returns {Promise<Bundle>} */
export async function open(source) {
  const {json} = source;
  if (!json || typeof json !== "object" || json.schema === undefined) throw new Error("This is no bundle of a run: it has no schema. Make the report again.");
  if (json.schema !== SCHEMA) {
    const todo = json.schema > SCHEMA ? "A newer Layerscope made it: look at it with that" : "Make the report again with one version of Layerscope";
    throw new Error(`The bundle has schema ${json.schema}, and this page reads schema ${SCHEMA}. ${todo}.`);
  }
  const arrays = new Map(await Promise.all(Object.entries(json.arrays).map(async ([name, told]) =>
    /** @type {[string, Numbers]} */ ([name, typed(name, told, await source.read(`arrays/${name}.bin`))]))));
  const names = new Set(Object.values(json.pictures ?? {}).flatMap((shown) => shown.sheets.map((/** @type {any} */ one) => one.name)));
  for (const layers of Object.values(json.decoding ?? {})) for (const one of Object.values(layers)) if (one.sheet) names.add(one.sheet);
  const sheets = new Map(await Promise.all([...names].map(async (name) => /** @type {[string, string]} */ ([name, await source.url(`sheets/${name}.png`)]))));
  const texts = json.texts ? JSON.parse(new TextDecoder().decode(await source.read("texts.json"))) : null;
  return new Bundle(json, arrays, sheets, texts);
}

/** @param {string} name @param {any} told @param {ArrayBuffer} bytes @returns {Numbers} */
function typed(name, told, bytes) {
  const Type = held(TYPES, told.type);
  const wanted = told.shape.reduce((/** @type {number} */ all, /** @type {number} */ one) => all * one, 1);
  if (!Type || bytes.byteLength !== wanted * Type.BYTES_PER_ELEMENT) {
    throw new Error(`The bundle's array ${name} is damaged: ${bytes.byteLength} bytes for ${told.shape.join(" x ")} of ${told.type}. Make the report again.`);
  }
  return new Type(bytes);
}
