// @ts-check
// What buttons do: one acts at once, another opens a dialog first. Of a whole state the server takes
// a piece at a time, so this asks until all is done or somebody stops it.

import * as place from './place.js';
import { Refused, request } from './session.js';

/** As many sentences of one answer are shown. */
const TOLD_MAX = 3;
const TOAST_MS = 8000;

/** The jobs that are chosen, by their ids as they stand in addresses. */
const chosen = new Set();

/** Says something at the foot of the page. @param {string} text @param {boolean} [isBad] */
function toast(text, isBad = false) {
  const box = document.createElement('div');
  box.className = 'toast';
  const dot = document.createElement('span');
  dot.className = `dot ${isBad ? 'failed' : 'done'}`;
  const told = document.createElement('p');
  told.textContent = text;
  box.append(dot, told);
  document.getElementById('toasts')?.append(box);
  setTimeout(() => box.remove(), TOAST_MS);
  return box;
}

/** @param {HTMLElement} box @param {string} label @param {() => void} press */
function withButton(box, label, press) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'btn quiet small';
  button.textContent = label;
  button.onclick = press;
  box.append(button);
}

/** Asks for one piece after another. @param {string} path @param {any} order */
async function perform(path, order) {
  let { count } = order;
  let [before, skip, isStopped] = [0, 0, false];
  /** @type {HTMLElement | null} */
  let progress = null;
  for (;;) {
    const body = JSON.stringify({ ...order, count, before, skip });
    const told = await (await request(`/_toril/${path}`, { method: 'POST', body })).json();
    if (count !== undefined) count -= told.looked;
    const isDone = !told.left || !told.looked || count <= 0 || isStopped;
    if (isDone) {
      progress?.remove();
      return told;
    }
    ({ done: before, skip } = told);
    if (!progress) {
      progress = toast('');
      withButton(progress, 'Stop', () => { isStopped = true; });
    }
    const text = progress.querySelector('p');
    if (text) text.textContent = `${before.toLocaleString()} done, ${(count ?? told.left).toLocaleString()} left`;
  }
}

/** Does it, and says what was done. True if it was not refused. @param {string} path @param {any} order */
async function act(path, order) {
  try {
    const told = await perform(path, order);
    if (told.told) {
      const box = toast(told.told);
      if (told.id) {
        const address = `#/job/${path.split('/')[1]}/${encodeURIComponent(told.id)}`;
        withButton(box, 'Show', () => { location.hash = address; });
      }
    }
    for (const text of told.refused.slice(0, TOLD_MAX)) toast(text, true);
    if (told.refused.length > TOLD_MAX) toast(`and ${told.refused.length - TOLD_MAX} more are left as they were`, true);
    if (!told.told && told.refused.length === 0) toast('Nothing was there to be done');
    chosen.clear();
    show();
    place.refresh();
    return true;
  } catch (refused) {
    toast(refused instanceof Refused ? refused.message : 'toril does not answer', true);
    return false;
  }
}

/** A view as JSON, to be pasted elsewhere. @param {string} view */
async function copy(view) {
  try {
    const answer = await request(`/_toril/view/${view}`, { headers: { accept: 'application/json' } });
    await navigator.clipboard.writeText(await answer.text());
    toast('Copied as JSON');
  } catch (refused) {
    toast(`Not copied: ${/** @type {Error} */ (refused).message}`, true);
  }
}

/** Opens a dialog. @param {string} path */
async function ask(path) {
  try {
    const html = await (await request(`/_toril/view/ask/${path}`)).text();
    const dialog = /** @type {HTMLDialogElement} */ (document.getElementById('ask'));
    place.dialog(dialog, html);
    dialog.showModal();
    /** @type {HTMLElement | null} */ (dialog.querySelector('input, textarea, .primary, .stop'))?.focus();
  } catch (refused) {
    toast(/** @type {Error} */ (refused).message, true);
  }
}

/** What chooses jobs. */
const all = () => /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll('[data-id]')]);

/** Shows which jobs are chosen, in rows that may have come anew. */
function show() {
  const boxes = all();
  const there = new Set(boxes.map((box) => box.dataset.id));
  for (const id of [...chosen]) if (!there.has(id)) chosen.delete(id);
  for (const box of boxes) box.checked = chosen.has(box.dataset.id);
  const head = /** @type {HTMLInputElement | null} */ (document.getElementById('all'));
  if (head) {
    head.checked = boxes.length > 0 && chosen.size === boxes.length;
    head.indeterminate = chosen.size > 0 && !head.checked;
  }
  const bar = document.getElementById('chosen');
  if (!bar) return;
  bar.hidden = chosen.size === 0;
  const count = bar.querySelector('b');
  if (count) count.textContent = String(chosen.size);
}

document.addEventListener('change', (event) => {
  const box = /** @type {HTMLInputElement} */ (event.target);
  const boxes = all();
  if (box.id === 'all') boxes.forEach((one) => (box.checked ? chosen.add(one.dataset.id) : chosen.delete(one.dataset.id)));
  else if (box.dataset.id) box.checked ? chosen.add(box.dataset.id) : chosen.delete(box.dataset.id);
  else return;
  show();
});

document.addEventListener('click', (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    if (!menu.contains(target) || target.closest('button')) menu.removeAttribute('open');
  }
  const button = /** @type {HTMLElement | null} */ (target.closest('button'));
  if (button?.dataset.close !== undefined) button.closest('dialog')?.close();
  if (button?.dataset.ask) void ask(button.dataset.ask.replace('?chosen', () => `?ids=${[...chosen].join(',')}`));
  if (button?.dataset.copy) void copy(button.dataset.copy);
  if (button?.dataset.act) {
    const order = JSON.parse(button.dataset.order ?? '{}');
    if (order.chosen) order.ids = [...chosen];
    void act(button.dataset.act, order);
  }
});

document.addEventListener('submit', async (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!form.dataset.act) return;
  event.preventDefault();
  const order = { ...JSON.parse(form.dataset.order ?? '{}'), ...Object.fromEntries(new FormData(form)) };
  if (await act(form.dataset.act, order)) form.closest('dialog')?.close();
});

// A form that looks for something: what it asks for becomes the address.
document.addEventListener('submit', (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!form.dataset.go) return;
  event.preventDefault();
  const fields = /** @type {[string, string][]} */ ([...new FormData(form)]);
  location.hash = `#/${form.dataset.go}?${new URLSearchParams(fields)}`;
});

document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    menu.removeAttribute('open');
    menu.querySelector('summary')?.focus();
  }
});

addEventListener('hashchange', () => chosen.clear());
document.addEventListener('placed', show);
