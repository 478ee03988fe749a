// @ts-check
/** Shows the explorer in a notebook: a widget's traits hold the bundle, and the selection goes both ways. */

import {start} from "./main.js";

/** @typedef {{get: (name: string) => any, set: (name: string, value: any) => void, save_changes: () => void,
 *   on: (event: string, follower: () => void) => void, off: (event: string, follower: () => void) => void}} Model */

/** What anywidget calls for each place where the widget is shown; what it gives back lets go of that place. */
export async function render(/** @type {{model: Model, el: HTMLElement}} */ {model, el}) {
  const root = document.createElement("div");
  el.append(root);
  const light = document.body.dataset.jpThemeLight;
  if (light) root.dataset.theme = light === "true" ? "light" : "dark";
  const files = filesOf(model.get("files"));
  const source = {json: model.get("bundle"), read: files.read, url: files.url, address: false};
  const shown = await start(root, source);
  shown.select(model.get("selection"));
  let here = true;
  shown.onselect((/** @type {any} */ selection) => {
    if (!here || same(selection, model.get("selection"))) return;
    model.set("selection", {...selection});
    model.save_changes();
  });
  const asked = () => shown.select(model.get("selection"));
  model.on("change:selection", asked);
  return () => {
    here = false;
    model.off("change:selection", asked);
    shown.destroy();
    files.release();
    root.remove();
  };
}

/** The bundle's files as the page reads them. A view's bytes may lie anywhere in a longer buffer; the page's may not. */
function filesOf(/** @type {Record<string, DataView>} */ views) {
  const addresses = /** @type {Map<string, string>} */ (new Map());
  const bytes = (/** @type {string} */ name) => {
    const view = views[name];
    if (!view) throw new Error(`The widget lacks the file ${name}; make it again.`);
    return /** @type {ArrayBuffer} */ (view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  };
  const url = (/** @type {string} */ name) => {
    const address = addresses.get(name) ?? URL.createObjectURL(new Blob([bytes(name)]));
    addresses.set(name, address);
    return address;
  };
  return {
    url, read: async (/** @type {string} */ name) => bytes(name), release: () => addresses.forEach((one) => URL.revokeObjectURL(one)),
  };
}

/** Whether a selection is the one that Python has. */
function same(/** @type {Record<string, any>} */ one, /** @type {Record<string, any>} */ other) {
  return Object.entries(one).every(([name, value]) => other[name] === value);
}
