// @ts-check
// The page: fetches the view that the address names, and keeps it as the server says.

import './act.js';
import { read } from './events.js';
import './keys.js';
import * as place from './place.js';
import './press.js';
import { Refused, enter, request } from './session.js';
import * as time from './time.js';

/** How long the page waits before it looks for a lost server again. */
const RETRY_MS = 1000;

let current = '';
/** @type {AbortController | null} */
let stream = null;

/** What stands behind `#/` in the address. */
function address() {
  return location.hash.replace(/^#\//, '') || 'overview';
}

async function show() {
  const view = address();
  const isNew = view !== current;
  const answer = await request(`/_toril/view/${view}`);
  const html = await answer.text();
  if (view !== address()) return;
  current = view;
  place.view(html);
  time.tick();
  if (isNew) scrollTo(0, 0);
}

/** What was shown cannot be shown any more. @param {unknown} refused */
function gone(refused) {
  if (refused instanceof Refused) place.problem(refused.message);
}

/** Shows the view, and says what is wrong if it cannot be shown. */
async function go() {
  try {
    await show();
  } catch (refused) {
    if (!(refused instanceof Refused)) return;
    gone(refused);
  }
  follow();
}

/** Follows what changes in the view that is open, as long as somebody can see it. */
function follow() {
  stream?.abort();
  if (document.hidden) return;
  const own = new AbortController();
  stream = own;
  const view = address();
  const receive = (/** @type {any} */ frame) => {
    if (own.signal.aborted) return;
    time.set(frame.now);
    place.banner('');
    if (frame.gone) place.problem('What was shown here is gone.');
    else if (frame.resync || !place.changes(frame.parts, frame.lists)) void show();
    time.tick();
  };
  read(view, own.signal, receive).then(
    () => lost(own),
    (problem) => problem instanceof Refused || lost(own),
  );
}

/** The server has gone: tries again until it is back. @param {AbortController} own */
function lost(own) {
  if (own.signal.aborted) return;
  const since = new Date().toLocaleTimeString([], { hour12: false });
  if (!document.documentElement.dataset.lost) place.banner(`Lost toril at ${since}, trying again`);
  setTimeout(async () => {
    if (own.signal.aborted) return;
    try {
      await show();
      place.banner('');
      follow();
    } catch (problem) {
      gone(problem);
      lost(own);
    }
  }, RETRY_MS);
}

/** @param {string | null} theme */
function paint(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

document.getElementById('theme')?.addEventListener('click', () => {
  const isDark = matchMedia('(prefers-color-scheme: dark)').matches;
  const before = document.documentElement.dataset.theme ?? (isDark ? 'dark' : 'light');
  const theme = before === 'dark' ? 'light' : 'dark';
  localStorage.setItem('toril-theme', theme);
  paint(theme);
});
document.getElementById('skip')?.addEventListener('click', (event) => {
  event.preventDefault();
  document.getElementById('main')?.focus();
});

paint(localStorage.getItem('toril-theme'));
await enter();
addEventListener('hashchange', () => void go());
document.addEventListener('visibilitychange', () => void (document.hidden ? stream?.abort() : go()));
document.addEventListener('stale', (event) => void show().then(/** @type {CustomEvent} */ (event).detail, gone));
setInterval(time.tick, 1000);
await go();
