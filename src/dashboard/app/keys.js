// @ts-check
// What the keyboard does: j and k go through rows, Enter opens one, g q goes to all queues.

let before = '';

/** @param {number} step */
function move(step) {
  const links = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('#main tbody a')]);
  const at = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
}

const KEYS = /** @type {Record<string, () => void>} */ ({
  j: () => move(1),
  k: () => move(-1),
  'g q': () => { location.hash = '#/overview'; },
});

document.addEventListener('keydown', (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.metaKey || event.ctrlKey || event.altKey || target.matches('input, textarea, select')) return;
  const action = KEYS[`${before} ${event.key}`] ?? KEYS[event.key];
  before = event.key;
  if (!action) return;
  event.preventDefault();
  before = '';
  action();
});
