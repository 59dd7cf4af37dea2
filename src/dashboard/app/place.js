// @ts-check
// Puts what the server has drawn into the page. The one place that makes HTML of text: what comes
// here is escaped already.

const policy = /** @type {any} */ (window).trustedTypes?.createPolicy('toril', {
  createHTML: (/** @type {string} */ html) => html,
}) ?? { createHTML: (/** @type {string} */ html) => html };

/** @param {string} html @returns {DocumentFragment} */
function parse(html) {
  const template = document.createElement('template');
  template.innerHTML = policy.createHTML(html);
  return template.content;
}

/** What a dialog says. @param {HTMLElement} dialog @param {string} html */
export function dialog(dialog, html) {
  dialog.replaceChildren(parse(html));
}

/** Something was done: what is shown is to be fetched, and the focus goes back to its row, or to the
 * one that has come in its place. */
export function refresh() {
  const row = document.activeElement?.closest('tr');
  const at = row ? [...document.querySelectorAll('#main tbody tr')].indexOf(row) : -1;
  document.dispatchEvent(new CustomEvent('stale', { detail: () => {
    const rows = document.querySelectorAll('#main tbody tr');
    if (at >= 0) /** @type {HTMLElement | null} */ (rows[Math.min(at, rows.length - 1)]?.querySelector('a'))?.focus();
  } }));
}

const FOCUSABLE = 'a, button, input, summary';

/** What is held back under the focus comes so long after that has gone: a click is over by then. */
const LATE_MS = 400;

let shown = '';
let isLate = false;

document.addEventListener('focusout', () => {
  if (!isLate) return;
  isLate = false;
  setTimeout(() => document.dispatchEvent(new Event('stale')), LATE_MS);
});

/** A whole view. @param {string} html */
export function view(html) {
  const drawn = parse(html);
  const main = /** @type {HTMLElement} */ (drawn.querySelector('#main'));
  const before = document.getElementById('main');
  const isSame = shown === location.hash;
  if (before && isSame) keepOpen(before, main);
  const refocus = isSame ? focused() : () => {};
  shown = location.hash;
  isLate = false;
  document.getElementById('nav')?.replaceWith(/** @type {Node} */ (drawn.querySelector('#nav')));
  document.getElementById('main')?.replaceWith(main);
  const server = document.querySelector('#nav [aria-label="Server"] a');
  const door = document.getElementById('server');
  if (server && door) door.setAttribute('href', document.querySelector('#nav [aria-label="Server"] [aria-current]')?.getAttribute('href') ?? server.getAttribute('href') ?? '');
  for (const link of document.querySelectorAll('#sections a')) {
    if (link.getAttribute('href') === (location.hash.replace(/\?.*/, '') || '#/overview')) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    // What the user may not see does not stand at the side either.
    /** @type {HTMLElement} */ (link).hidden = !document.querySelector(`#nav a[href="${link.getAttribute('href')}"]`);
  }
  document.title = `${main.dataset.title} · toril`;
  const port = document.getElementById('nav')?.dataset.port;
  const told = document.getElementById('port');
  if (told) told.textContent = `:${port}`;
  document.dispatchEvent(new Event('placed'));
  refocus();
}

/** What gives the focus back to what has it now, once that has come anew. */
function focused() {
  const holder = document.activeElement;
  const part = /** @type {HTMLElement | null} */ (holder?.closest('#main [data-key]'));
  if (!holder || !part?.dataset.key) return () => {};
  const key = part.dataset.key;
  const at = [...part.querySelectorAll(FOCUSABLE)].indexOf(holder);
  return () => /** @type {HTMLElement | undefined} */ (find(key)?.querySelectorAll(FOCUSABLE)[at])?.focus();
}

/** Whether a part is under the pointer or holds the focus or an open choice of its reader.
 * @param {Element} part */
function isHeld(part) {
  return part.contains(document.activeElement) || (part.matches('tr') && part.matches(':hover'));
}

/** Opens what was open. @param {Element} from @param {Element} to */
function keepOpen(from, to) {
  const before = from.querySelectorAll('details');
  to.querySelectorAll('details').forEach((details, at) => {
    if (before[at]) details.open = before[at].open;
  });
}

/** @param {string} key @param {ParentNode} [root] */
function find(key, root = document) {
  return root.querySelector(`[data-key="${CSS.escape(key)}"]`);
}

/** What has changed. False if it does not fit what is shown: then the view is to be fetched.
 * @param {Record<string, string>} parts @param {Record<string, string[]>} lists */
export function changes(parts, lists) {
  for (const [key, html] of Object.entries(parts)) {
    const old = find(key);
    if (!old) continue;
    const fresh = parse(html).firstElementChild;
    if (!fresh || old.outerHTML === fresh.outerHTML) continue;
    if (isHeld(old)) {
      isLate = true;
      continue;
    }
    keepOpen(old, fresh);
    old.replaceWith(fresh);
  }
  for (const [name, keys] of Object.entries(lists)) {
    const list = document.querySelector(`[data-list="${name}"]`);
    if (!list) return false;
    if (list.matches(':hover')) {
      held(list, keys);
      continue;
    }
    order(list, keys, parts);
  }
  document.dispatchEvent(new Event('placed'));
  return true;
}

/** Rows under the pointer do not move: how many have come is told instead.
 * @param {Element} list @param {string[]} keys */
function held(list, keys) {
  const fresh = keys.filter((key) => !find(key, list)).length;
  const head = /** @type {HTMLElement | null} */ (list.closest('table')?.querySelector('th:not(.c-check)') ?? null);
  if (head && fresh > 0) head.dataset.fresh = `${fresh} new`;
  list.addEventListener('mouseleave', () => document.dispatchEvent(new Event('stale')), { once: true });
}

/** @param {Element} list @param {string[]} keys @param {Record<string, string>} parts */
function order(list, keys, parts) {
  const wanted = new Set(keys);
  for (const row of [...list.children]) {
    if (wanted.has(/** @type {HTMLElement} */ (row).dataset.key ?? '')) continue;
    // The focus goes to the row that comes in the place of its own.
    const next = row.contains(document.activeElement) && (row.nextElementSibling ?? row.previousElementSibling);
    row.remove();
    if (next) /** @type {HTMLElement | null} */ (next.querySelector('a'))?.focus();
  }
  let next = list.firstElementChild;
  for (const key of keys) {
    if (next && /** @type {HTMLElement} */ (next).dataset.key === key) {
      next = next.nextElementSibling;
      continue;
    }
    const row = find(key, list) ?? (parts[key] ? parse(parts[key]).firstElementChild : null);
    if (row) list.insertBefore(row, next);
  }
}

/** Why there is nothing to see. @param {string} text */
export function problem(text) {
  const main = /** @type {HTMLElement} */ (document.getElementById('main'));
  const told = document.createElement('p');
  told.className = 'problem';
  told.textContent = text;
  const back = document.createElement('a');
  back.href = '#/overview';
  back.className = 'btn';
  back.textContent = 'All queues';
  main.replaceChildren(told, back);
}

/** A line above everything, or none. @param {string} text */
export function banner(text) {
  const bar = /** @type {HTMLElement} */ (document.getElementById('banner'));
  bar.hidden = text === '';
  bar.textContent = text;
  document.documentElement.dataset.lost = text === '' ? '' : 'yes';
}
