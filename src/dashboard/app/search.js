// @ts-check
// The field of the view `search`: each word that is typed becomes the address after a moment, and
// what is typed meanwhile is kept when the view comes.

const WAIT_MS = 150;

/** What stands in the field, and where in it, while it has the focus. @type {{ text: string, at: number } | null} */
let typed = null;
let timer = 0;

const field = () => /** @type {HTMLInputElement | null} */ (document.getElementById('q'));
const isHere = () => /^#\/search(\?|$)/.test(location.hash);
const address = (/** @type {string} */ text) => (text.trim() ? `#/search?q=${encodeURIComponent(text)}` : '#/search');

/** The question goes into the address, unless somebody has left. Those on the way to it are no places to come back to. */
function go() {
  clearTimeout(timer);
  if (isHere()) location.replace(address(typed?.text ?? field()?.value ?? ''));
}

/** Opens the view, or goes to its field. */
export function open() {
  if (!isHere()) {
    // Takes what is typed until the view comes.
    const early = document.createElement('input');
    early.id = 'q';
    early.className = 'visually-hidden';
    document.getElementById('main')?.append(early);
    early.focus();
    location.hash = '#/search';
  }
  field()?.select();
}

document.addEventListener('input', (event) => {
  const input = /** @type {HTMLInputElement} */ (event.target);
  if (input.id !== 'q') return;
  typed = { text: input.value, at: input.selectionStart ?? input.value.length };
  clearTimeout(timer);
  timer = setTimeout(go, WAIT_MS);
});

// The field is left when something else has the focus or is clicked: that it comes anew is not.
for (const event of ['focusin', 'pointerdown']) {
  document.addEventListener(event, ({ target }) => {
    const input = field();
    if (target !== input) typed = null;
    else if (input && !typed) typed = { text: input.value, at: input.value.length };
  });
}

document.addEventListener('submit', (event) => {
  if (!(/** @type {HTMLFormElement} */ (event.target).dataset.search)) return;
  event.preventDefault();
  if (address(field()?.value ?? '') === location.hash) first();
  else go();
});

/** The first that was found gets the focus. */
function first() {
  /** @type {HTMLElement | null} */ (document.querySelector('#main .hits tbody a'))?.focus();
}

document.addEventListener('keydown', (event) => {
  const input = field();
  if (event.target !== input || !input) return;
  if (event.key === 'ArrowDown') first();
  else if (event.key === 'Escape') {
    typed = null;
    input.blur();
  } else return;
  event.preventDefault();
});

let shown = '';
document.addEventListener('placed', () => {
  const input = field();
  if (!input) {
    shown = '';
    typed = null;
    return;
  }
  if (typed && document.activeElement !== input) {
    input.value = typed.text;
    input.focus();
    input.setSelectionRange(typed.at, typed.at);
  } else if (shown === '' && !location.hash.includes('?')) {
    input.focus();
  }
  shown = location.hash;
});
