// @ts-check
// What the keyboard does: the dialog `keys` of index.html lists it.

import * as search from './search.js';

let before = '';

/** @param {number} step */
function move(step) {
  const links = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('#main tbody a')]);
  const at = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
}

/** The row that the focus is in. */
const box = () => /** @type {HTMLInputElement | null} */ (document.activeElement?.closest('tr')?.querySelector('[data-id]'));

/** Presses a button that can be seen. @param {string} key */
function press(key) {
  const buttons = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(`#main [data-hot="${key}"]`)]);
  const row = box();
  if (row && key === 'r' && !document.querySelector('[data-id]:checked')) row.click();
  buttons.find((button) => button.checkVisibility())?.click();
}

const KEYS = /** @type {Record<string, () => void>} */ ({
  j: () => move(1),
  k: () => move(-1),
  x: () => box()?.click(),
  r: () => press('r'),
  p: () => press('p'),
  '/': search.open,
  '?': () => /** @type {HTMLDialogElement} */ (document.getElementById('keys')).showModal(),
  'g q': () => { location.hash = '#/overview'; },
  'g s': () => { location.hash = '#/schedulers'; },
  'g w': () => { location.hash = '#/workers'; },
  'g f': () => { location.hash = '#/flows'; },
  'g k': () => { location.hash = '#/keys'; },
  'g c': () => { location.hash = '#/clients'; },
});

document.addEventListener('keydown', (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.metaKey || event.ctrlKey || event.altKey || target.matches('input:not([type=checkbox]), textarea, select') || document.querySelector('dialog[open]')) return;
  const action = KEYS[`${before} ${event.key}`] ?? KEYS[event.key];
  before = event.key;
  if (!action) return;
  event.preventDefault();
  before = '';
  action();
});
