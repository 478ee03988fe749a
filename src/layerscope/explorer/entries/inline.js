// @ts-check
/** Begins the explorer in a page that holds its bundle: each file is the text of an element of its own. */

import {start} from "./main.js";

function beginInline() {
  const held = /** @type {Map<string, string>} */ (new Map());
  for (const element of document.querySelectorAll("script[data-name]")) {
    held.set(element.getAttribute("data-name") ?? "", element.textContent ?? "");
  }
  const textOf = (/** @type {string} */ name) => {
    const text = held.get(name);
    if (text === undefined) throw new Error(`The page lacks the file ${name}; make it again.`);
    return text;
  };
  const read = async (/** @type {string} */ name) => {
    const letters = atob(textOf(name));
    const bytes = new Uint8Array(letters.length);
    for (let place = 0; place < letters.length; place += 1) bytes[place] = letters.charCodeAt(place);
    return bytes.buffer;
  };
  const root = /** @type {HTMLElement} */ (document.getElementById("explorer"));
  return start(root, {json: JSON.parse(textOf("bundle.json")), read, url: textOf});
}

beginInline();
