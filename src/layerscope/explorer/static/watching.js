// @ts-check
/** What follows an element's size, whether it is seen, and the screen's next frame, until the page is let go of. */

/** @typedef {import("./app.js").App} App */

/** @param {App} app @param {Element} element @param {() => void} follower Called when its size changes, and once soon. */
export function whenSized(app, element, follower) {
  const watching = new ResizeObserver(follower);
  watching.observe(element);
  app.signal.addEventListener("abort", () => watching.disconnect());
}

/** @param {App} app @param {Element} element @param {(seen: boolean) => void} follower Called when it comes near to what is seen, or leaves. @param {string} margin What is near. */
export function whenSeen(app, element, follower, margin) {
  const watching = new IntersectionObserver((entries) => follower(entries.some((one) => one.isIntersecting)), {rootMargin: margin});
  watching.observe(element);
  app.signal.addEventListener("abort", () => watching.disconnect());
}

/**
 * Calls something once the next frame is on the screen, so that what is seen first need not wait for it: once, however often
 * it is asked for until then; or at once, where that is still to come.
 * @param {App} app @param {() => void} work
 */
export function afterFrame(app, work) {
  let waiting = false;
  const now = () => {
    if (waiting && !app.signal.aborted) work();
    waiting = false;
  };
  const soon = () => {
    if (!waiting) requestAnimationFrame(() => setTimeout(now));
    waiting = true;
  };
  return {soon, now};
}
