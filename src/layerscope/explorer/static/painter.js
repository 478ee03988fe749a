// @ts-check
/** One way to draw a map, on a canvas or as SVG: so that what is saved is what is seen. */

/** @typedef {[number, number]} Point */

/** Draws on a canvas. */
export class CanvasPainter {
  /** @param {CanvasRenderingContext2D} context */
  constructor(context) {
    this.context = context;
  }

  /** @param {Point[]} points @param {string | null} fill @param {string | null} [stroke] @param {number} [width] */
  polygon(points, fill, stroke = null, width = 1) {
    const {context} = this;
    context.beginPath();
    points.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    this.#finish(fill, stroke, width);
  }

  /** A sector from one angle to another, in turns from the top. @param {Point} centre @param {number} radius @param {number} from @param {number} to @param {string} fill */
  sector(centre, radius, from, to, fill) {
    const {context} = this;
    const turn = (/** @type {number} */ share) => (share - 0.25) * 2 * Math.PI;
    context.beginPath();
    if (to - from < 1) context.moveTo(...centre);
    context.arc(...centre, radius, turn(from), turn(to));
    context.closePath();
    this.#finish(fill, null, 0);
  }

  /** A curve of pieces between two vertical edges, as in a flow. @param {number[]} edge x, top and bottom of the left, x, top and bottom of the right. @param {string} fill */
  ribbon([x, top, bottom, otherX, otherTop, otherBottom], fill) {
    const {context} = this;
    const middle = (x + otherX) / 2;
    context.beginPath();
    context.moveTo(x, top);
    context.bezierCurveTo(middle, top, middle, otherTop, otherX, otherTop);
    context.lineTo(otherX, otherBottom);
    context.bezierCurveTo(middle, otherBottom, middle, bottom, x, bottom);
    context.closePath();
    this.#finish(fill, null, 0);
  }

  /** Curves between two vertical edges, thin ones of one colour at once. @param {number[][]} curves x and y of the left, x and y of the right. @param {string} stroke @param {number} width */
  threads(curves, stroke, width) {
    const {context} = this;
    context.beginPath();
    for (const [x, y, otherX, otherY] of curves) {
      const middle = (x + otherX) / 2;
      context.moveTo(x, y);
      context.bezierCurveTo(middle, y, middle, otherY, otherX, otherY);
    }
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.stroke();
  }

  /** @param {string | null} fill @param {string | null} stroke @param {number} width */
  #finish(fill, stroke, width) {
    if (fill) {
      this.context.fillStyle = fill;
      this.context.fill();
    }
    if (!stroke) return;
    this.context.strokeStyle = stroke;
    this.context.lineWidth = width;
    this.context.stroke();
  }

  /** @param {Point} at @param {string} words @param {string} fill @param {"start" | "middle" | "end"} [anchor] @param {number} [size] */
  text(at, words, fill, anchor = "start", size = 11) {
    this.context.fillStyle = fill;
    this.context.font = `${size}px system-ui, sans-serif`;
    this.context.textAlign = anchor === "middle" ? "center" : anchor;
    this.context.fillText(words, ...at);
  }
}

/** Draws the same as SVG. */
export class SvgPainter {
  /** @type {SVGElement[]} */ drawn = [];

  /** @param {string} tag @param {Record<string, string | number>} attributes */
  #add(tag, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
    this.drawn.push(made);
    return made;
  }

  /** @param {Point[]} points @param {string | null} fill @param {string | null} [stroke] @param {number} [width] */
  polygon(points, fill, stroke = null, width = 1) {
    this.#add("polygon", {points: points.map(rounded).join(" "), fill: fill ?? "none", ...(stroke ? {stroke, "stroke-width": width} : {})});
  }

  /** @param {Point} centre @param {number} radius @param {number} from @param {number} to @param {string} fill */
  sector(centre, radius, from, to, fill) {
    if (to - from >= 1) {
      this.#add("circle", {cx: centre[0].toFixed(2), cy: centre[1].toFixed(2), r: radius.toFixed(2), fill});
      return;
    }
    const at = (/** @type {number} */ share) => rounded([
      centre[0] + radius * Math.cos((share - 0.25) * 2 * Math.PI), centre[1] + radius * Math.sin((share - 0.25) * 2 * Math.PI)]);
    const arc = `A${radius.toFixed(2)} ${radius.toFixed(2)} 0 ${to - from > 0.5 ? 1 : 0} 1 ${at(to)}`;
    this.#add("path", {d: `M${rounded(centre)}L${at(from)}${arc}Z`, fill});
  }

  /** @param {number[]} edge @param {string} fill */
  ribbon([x, top, bottom, otherX, otherTop, otherBottom], fill) {
    const middle = (x + otherX) / 2;
    const there = `C${[[middle, top], [middle, otherTop], [otherX, otherTop]].map((one) => rounded(/** @type {Point} */ (one))).join(" ")}`;
    const back = `C${[[middle, otherBottom], [middle, bottom], [x, bottom]].map((one) => rounded(/** @type {Point} */ (one))).join(" ")}`;
    this.#add("path", {d: `M${rounded([x, top])}${there}L${rounded([otherX, otherBottom])}${back}Z`, fill});
  }

  /** @param {number[][]} curves @param {string} stroke @param {number} width */
  threads(curves, stroke, width) {
    const d = curves.map(([x, y, otherX, otherY]) => {
      const middle = (x + otherX) / 2;
      return `M${rounded([x, y])}C${rounded([middle, y])} ${rounded([middle, otherY])} ${rounded([otherX, otherY])}`;
    });
    this.#add("path", {d: d.join(""), fill: "none", stroke, "stroke-width": width});
  }

  /** @param {Point} at @param {string} words @param {string} fill @param {"start" | "middle" | "end"} [anchor] @param {number} [size] */
  text(at, words, fill, anchor = "start", size = 11) {
    this.#add("text", {x: at[0], y: at[1], fill, "font-size": size, "font-family": "system-ui, sans-serif", "text-anchor": anchor}).textContent = words;
  }
}

/** @typedef {CanvasPainter | SvgPainter} Painter */

/** @param {Point} point */
function rounded([x, y]) {
  return `${x.toFixed(2)},${y.toFixed(2)}`;
}
