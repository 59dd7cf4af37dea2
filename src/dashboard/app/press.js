// @ts-check
// A view may come anew while a button is pressed, and then the browser makes no click of it. It is
// made here, on what has come in the button's place.

/** So far a hand moves that means to stay where it is. */
const NEAR_PX = 4;

/** What a control is called by, however it looks. */
const NAMES = ['id', 'href', 'data-act', 'data-ask', 'data-copy', 'data-id'];

/** @param {Element} control */
function identity(control) {
  const part = control.closest('[data-key]')?.getAttribute('data-key');
  return [part, control.tagName, ...NAMES.map((name) => control.getAttribute(name))].join('\n');
}

/** What has come in the place of a control: the one that is alike, or the only one of its name.
 * @param {Element} gone @param {string} name */
function successor(gone, name) {
  const all = [...document.querySelectorAll(gone.tagName)].filter((it) => identity(it) === name);
  return all.find((it) => it.outerHTML === gone.outerHTML) ?? (all.length === 1 ? all[0] : undefined);
}

document.addEventListener('mousedown', (press) => {
  const control = /** @type {Element} */ (press.target).closest('a, button, input, summary');
  if (!control) return;
  const name = identity(control);
  document.addEventListener('mouseup', (release) => {
    if (control.isConnected || Math.hypot(release.x - press.x, release.y - press.y) > NEAR_PX) return;
    // Behind the click that the browser makes of what both have in common.
    setTimeout(() => /** @type {HTMLElement | undefined} */ (successor(control, name))?.click());
  }, { capture: true, once: true });
}, true);
