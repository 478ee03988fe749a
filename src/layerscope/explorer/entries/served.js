// @ts-check
/** Begins the explorer in the page of a server: each file of the bundle has an address. */

import {start} from "./main.js";

function beginServed() {
  const root = /** @type {HTMLElement} */ (document.getElementById("explorer"));
  const address = (/** @type {string} */ name) => `/bundle/${name}`;
  const fetched = async (/** @type {string} */ name) => {
    const answer = await fetch(address(name));
    if (!answer.ok) throw new Error(`The server has no ${name}; it says ${answer.status}.`);
    return answer;
  };
  const probe = async (/** @type {{kind: "image" | "text", body: Blob | string}} */ {kind, body}) => {
    const type = kind === "image" ? "application/octet-stream" : "text/plain;charset=utf-8";
    const answer = await fetch("/probe", {method: "POST", headers: {"Content-Type": type}, body});
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    return told;
  };
  const read = async (/** @type {string} */ name) => (await fetched(name)).arrayBuffer();
  const begun = async () => {
    const json = await (await fetched("bundle.json")).json();
    const source = {json, read, url: address};
    return start(root, "probe" in root.dataset ? {...source, probe} : source);
  };
  return begun().catch((error) => {
    if (!root.dataset.ready) root.textContent = error instanceof Error ? error.message : String(error);
    throw error;
  });
}

beginServed();
