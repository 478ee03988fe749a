// @ts-check
/** What is selected: one value that all views follow, kept in the page's address. */

/** @typedef {number | string} Id Of a sample: a number, or its digits where no number here is exact. */
/** @typedef {{reduction: string, layer: string, unit: number | null, sample: Id | null, condition: string,
 *   measure: string, travel: string | null, colour: string}} Selection */
/** @typedef {{selection: Selection, changed: Set<keyof Selection>}} Change */

const NUMBERS = ["unit", "sample"];
/** In an address: nothing is selected. */
const NOTHING = "none";

export class State {
  /**
   * @param {Selection} first How the page begins.
   * @param {(wanted: Selection) => Selection} settle What is asked for to what there is.
   * @param {boolean} address Whether the page's address follows.
   */
  constructor(first, settle, address) {
    this.first = first;
    this.#settle = settle;
    this.#address = address;
    this.selection = settle(address ? {...first, ...parsed(location.hash)} : first);
    this.#moved = () => this.#become(settle({...first, ...parsed(location.hash)}));
    if (address) addEventListener("popstate", this.#moved);
    if (address) addEventListener("hashchange", this.#moved);
  }

  #settle; #address; #moved;
  /** @type {((change: Change) => void)[]} */ #followers = [];

  /** Called after each change, and once now. @param {(change: Change) => void} follower */
  follow(follower) {
    this.#followers.push(follower);
    follower({selection: this.selection, changed: new Set(/** @type {(keyof Selection)[]} */ (Object.keys(this.selection)))});
  }

  /** Select. @param {Partial<Selection>} wanted @param {{step?: boolean}} [options] Not a step to go back by: a slider's moves. */
  select(wanted, {step = true} = {}) {
    const before = this.selection;
    this.#become(this.#settle({...before, ...wanted}));
    if (!this.#address || this.selection === before) return;
    const address = written(this.selection, this.first);
    if (step) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
  }

  /** @param {Selection} next */
  #become(next) {
    const before = this.selection;
    const changed = new Set(/** @type {(keyof Selection)[]} */ (Object.keys(next)).filter((name) => next[name] !== before[name]));
    if (!changed.size) return;
    this.selection = next;
    for (const follower of this.#followers) follower({selection: next, changed});
  }

  /** Let go of the page. */
  end() {
    removeEventListener("popstate", this.#moved);
    removeEventListener("hashchange", this.#moved);
    this.#followers = [];
  }
}

/** An address's selection; what is no name or no number of ours is left out. @param {string} hash @returns {Partial<Selection>} */
export function parsed(hash) {
  const found = new URLSearchParams(hash.replace(/^#/, ""));
  const named = ["reduction", "layer", "unit", "sample", "condition", "measure", "travel", "colour"];
  return Object.fromEntries(named.filter((name) => found.has(name)).map((name) => {
    const value = /** @type {string} */ (found.get(name));
    return [name, !NUMBERS.includes(name) ? value : value === NOTHING ? null : idOf(value)];
  }).filter(([, value]) => value !== undefined));
}

/** A whole number as it is told from others: past 2^53 its digits. @param {string} words @returns {Id | undefined} */
export function idOf(words) {
  if (!/^-?\d+$/.test(words)) return undefined;
  const value = Number(words);
  return Number.isSafeInteger(value) ? value : words;
}

/** A selection's address: what differs from how the page begins. @param {Selection} selection @param {Selection} first */
export function written(selection, first) {
  const told = Object.entries(selection).filter(([name, value]) => value !== /** @type {any} */ (first)[name]);
  return `#${new URLSearchParams(told.map(([name, value]) => [name, String(value ?? NOTHING)]))}`;
}
