// @ts-check
/** The lattice of the maps: where units lie, their outlines, and which of them touch. */

/** @typedef {[number, number]} Point */

export class Grid {
  /** @param {{kind: string, rows: number, columns: number, topology: string, positions: Point[]}} told */
  constructor({kind, rows, columns, topology, positions}) {
    this.kind = kind;
    this.rows = rows;
    this.columns = columns;
    this.torus = topology === "toroidal";
    this.positions = positions;
    this.size = positions.length;
    const [xs, ys] = [positions.map(([x]) => x), positions.map(([, y]) => y)];
    this.left = Math.min(...xs);
    this.right = Math.max(...xs);
    this.low = Math.min(...ys);
    this.high = Math.max(...ys);
    const corners = kind === "hexagonal" ? 6 : 4;
    const radius = kind === "hexagonal" ? 1 / Math.sqrt(3) : Math.SQRT1_2;
    const turn = kind === "hexagonal" ? 30 : 45;
    /** Corners of a cell around its centre, in grid steps, y downwards. @type {Point[]} */
    this.cell = Array.from({length: corners}, (_, k) => {
      const angle = ((k * 360) / corners + turn) * (Math.PI / 180);
      return /** @type {Point} */ ([radius * Math.cos(angle), radius * Math.sin(angle)]);
    });
    /** Extent of the whole map in grid steps. */
    this.width = this.right - this.left + 1;
    this.height = this.high - this.low + (kind === "hexagonal" ? 2 / Math.sqrt(3) : 1);
  }

  /** A map drawn as large as fits into a square of `size`: scale, and a unit's centre from the square's corner. @param {number} size */
  fitted(size) {
    const scale = size / Math.max(this.width, this.height);
    const [dx, dy] = [(size - this.width * scale) / 2, (size - this.height * scale) / 2];
    const lift = (this.height - (this.high - this.low)) / 2;
    /** @type {(unit: number) => Point} */
    const centre = (unit) => {
      const [x, y] = this.positions[unit];
      return [dx + (x - this.left + 0.5) * scale, dy + (this.high - y + lift) * scale];
    };
    return {scale, centre};
  }

  /** The unit at a place of such a square, or null beside the map. @param {number} size @param {number} x @param {number} y */
  at(size, x, y) {
    const {scale, centre} = this.fitted(size);
    let [best, least] = [-1, Infinity];
    for (let unit = 0; unit < this.size; unit += 1) {
      const [cx, cy] = centre(unit);
      const apart = (cx - x) ** 2 + (cy - y) ** 2;
      if (apart < least) [best, least] = [unit, apart];
    }
    const [cx, cy] = centre(best);
    return this.#covers(Math.abs(x - cx) / scale, Math.abs(y - cy) / scale) ? best : null;
  }

  /** Whether a cell reaches so far from its centre, in grid steps. @param {number} across @param {number} down */
  #covers(across, down) {
    const most = 0.5 + 1e-6;
    if (this.kind !== "hexagonal") return across <= most && down <= most;
    return across <= most && across / 2 + (down * Math.sqrt(3)) / 2 <= most;
  }

  /** Grid steps between two units; on a torus the shorter way. @param {number} one @param {number} other */
  distance(one, other) {
    let dx = Math.abs(this.positions[one][0] - this.positions[other][0]);
    let dy = Math.abs(this.positions[one][1] - this.positions[other][1]);
    if (this.torus) {
      const step = this.kind === "hexagonal" ? Math.sqrt(3) / 2 : 1;
      dx = Math.min(dx, this.columns - dx);
      dy = Math.min(dy, this.rows * step - dy);
    }
    return Math.hypot(dx, dy);
  }

  /** The unit one step from another in a direction of the keyboard; on a torus on, over the edge. @param {number} unit @param {string} key */
  beside(unit, key) {
    const [row, column] = [Math.floor(unit / this.columns), unit % this.columns];
    const [down, right] = /** @type {Record<string, Point>} */ ({ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]})[key] ?? [0, 0];
    const inside = (/** @type {number} */ place, /** @type {number} */ many) => (this.torus ? (place + many) % many : Math.max(0, Math.min(many - 1, place)));
    return inside(row + down, this.rows) * this.columns + inside(column + right, this.columns);
  }
}
