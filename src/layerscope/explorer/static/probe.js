// @ts-check
/** What the network makes of an input of the reader's own; where a server with the network answers. */

import {fill, h, percent} from "./elements.js";
import {codeButton, pressSample, refill, sampleButton, swatch} from "./links.js";
import {panel} from "./panels.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./elements.js").Child} Child */
/**
 * What comes back.
 * @typedef {object} Probed
 * @property {{class: number, name: string, confidence: number}[]} prediction The likeliest classes, the likeliest first.
 * @property {Record<string, number[]>} codes By reduction, the path: a unit per layer.
 * @property {Record<string, {id: import("./state.js").Id, shared: number, distance: number}[][]>} nearest By reduction and layer, samples
 *   of the run: those that share most codes of the path up to there, and of these the nearest.
 * @property {string | null} picture As the network got it: an address of a picture.
 */

/** @param {App} app */
export function probeView(app) {
  const told = h("p", {class: "probe-told", role: "status"});
  const answer = h("div", {class: "probe-answer", tabindex: -1});
  /** @type {Probed | null} */
  let probed = null;
  let asked = 0;
  const tell = (/** @type {string} */ words, failed = false) => {
    told.classList.toggle("failed", failed);
    fill(told, words);
  };
  const draw = () => refill(answer, probed ? probeParts(app, probed) : null);
  const ask = async (/** @type {"image" | "text"} */ kind, /** @type {Blob | string} */ body, /** @type {string} */ name) => {
    if (!app.source.probe) return;
    const turn = (asked += 1);
    tell(`Asking the network about ${name}…`);
    try {
      const found = await app.source.probe({kind, body});
      if (turn !== asked) return;
      probed = found;
      tell(`What the network makes of ${name}:`);
    } catch (error) {
      if (turn !== asked) return;
      probed = null;
      tell(error instanceof Error ? error.message : String(error), true);
    }
    draw();
  };
  const made = panel({
    id: "probe",
    title: "Probe",
    how: app.bundle.texts
      ? "Type a text of your own: the network's answer, its path through the maps, and the samples nearest to it."
      : "Drop a picture of your own: the network's answer, its path through the maps, and the samples nearest to it.",
    body: h("div", {class: "probe-body"}, app.bundle.texts ? probeText(ask) : probeFile(ask), told, answer),
  });
  app.state.follow(({changed}) => {
    if (!probed) return;
    if (changed.has("reduction") || changed.has("layer")) draw();
    else if (changed.has("sample")) pressSample(app, answer);
  });
  return made;
}

/** @param {(kind: "image", body: Blob, name: string) => void} ask */
function probeFile(ask) {
  const file = h("input", {type: "file", accept: "image/png,image/jpeg,image/webp,image/bmp,image/gif", onchange: () => {
    const chosen = file.files?.[0];
    if (chosen) ask("image", chosen, chosen.name);
    file.value = "";
  }});
  const zone = h("div", {
    class: "probe-ask",
    ondragover: (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      zone.classList.add("over");
    },
    ondragleave: () => zone.classList.remove("over"),
    ondrop: (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      zone.classList.remove("over");
      const dropped = event.dataTransfer?.files[0];
      if (dropped) ask("image", dropped, dropped.name);
    },
  }, h("label", {}, "A picture's file", file), h("span", {class: "note"}, "or drop it here"));
  return zone;
}

/** @param {(kind: "text", body: string, name: string) => void} ask */
function probeText(ask) {
  const text = h("textarea", {rows: 3, required: true});
  return h("form", {class: "probe-ask", onsubmit: (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    ask("text", text.value, "the text");
  }}, h("label", {class: "written"}, "A text", text), h("button", {type: "submit"}, "Ask the network"));
}

/** @param {App} app @param {Probed} probed @returns {Child[]} */
function probeParts(app, probed) {
  const {reduction, layer} = app.state.selection;
  const layers = app.bundle.layers(reduction);
  const place = layers.indexOf(layer);
  return [
    probed.picture ? h("figure", {}, h("img", {class: "probe-picture", src: probed.picture, alt: "The picture as the network got it"}), h("figcaption", {}, "as the network got it")) : null,
    probed.prediction.length ? probePrediction(app, probed) : null,
    h("div", {}, h("h3", {}, "Its path"), h("dl", {class: "probe-path"}, probed.codes[reduction].flatMap((unit, one) =>
      [h("dt", {}, layers[one]), h("dd", {}, codeButton(app, one, unit))]))),
    probeNearest(app, probed.nearest[reduction][place], place),
  ];
}

/** @param {App} app @param {Probed["nearest"][string][number]} nearest @param {number} place Of the layer. */
function probeNearest(app, nearest, place) {
  const {bundle, state} = app;
  const shown = nearest.filter(({id}) => bundle.rowOf.has(id));
  if (!shown.length) return h("p", {class: "lacking"}, "The samples nearest to it are not among those that are shown.");
  const kind = bundle.texts ? "written" : bundle.json.pictures?.clean ? "" : "bare";
  return h("div", {class: "probe-nearest"},
    h("h3", {}, `Samples that go the same way up to ${state.selection.layer}, the nearest there first`),
    h("ul", {class: `exemplars ${kind}`}, shown.map(({id, shared}) => h("li", {},
      sampleButton(app, /** @type {number} */ (bundle.rowOf.get(id)), {note: `${shared} of ${place + 1} ${place ? "codes" : "code"}`})))));
}

/** @param {App} app @param {Probed} probed */
function probePrediction(app, {prediction}) {
  return h("table", {class: "answers"}, h("caption", {}, "Answers, and how sure the network is of them"),
    h("thead", {class: "unseen"}, h("tr", {}, ["answer", "confidence"].map((one) => h("th", {scope: "col"}, one)))),
    h("tbody", {}, prediction.map(({class: index, name, confidence}) => h("tr", {},
      h("th", {scope: "row"}, swatch(app, index), name),
      h("td", {class: "sure"}, h("span", {class: "bar", "aria-hidden": "true"}, h("span", {style: {width: `${100 * confidence}%`}})), percent(confidence))))));
}
