// @ts-check
// Who looks: a session, which this tab alone keeps, and the requests that show it.

const KEY = 'toril-session';

/** What an answer refuses, in the server's words. */
export class Refused extends Error {
  /** @param {number} status @param {string} text */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** A token in the address goes into a session, and out of the address. */
function tokenOfAddress() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, '', '/#/overview');
  return decodeURIComponent(found[1]);
}

/** @param {string | null} token */
export async function open(token) {
  const answer = await fetch('/_toril/session', {
    method: 'POST',
    headers: { 'x-toril': '1', 'content-type': 'application/json' },
    body: token === null ? undefined : JSON.stringify({ token }),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, told.error);
  sessionStorage.setItem(KEY, JSON.stringify(told));
  rights();
}

/** What the page's user may not do is not shown. */
function rights() {
  document.documentElement.dataset.rights = JSON.parse(sessionStorage.getItem(KEY) ?? '{}').rights;
}

/** Asks for a token until one is right. */
async function login() {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById('login'));
  const form = /** @type {HTMLFormElement} */ (document.getElementById('login-form'));
  const field = /** @type {HTMLInputElement} */ (document.getElementById('token'));
  const problem = /** @type {HTMLElement} */ (document.getElementById('login-problem'));
  if (!dialog.open) dialog.showModal();
  await new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        await open(field.value);
        field.value = '';
        problem.textContent = '';
        dialog.close();
        resolve(null);
      } catch (refused) {
        problem.textContent = /** @type {Error} */ (refused).message;
      }
    };
    dialog.oncancel = (event) => event.preventDefault();
  });
}

/** Makes sure that there is a session. */
export async function enter() {
  const token = tokenOfAddress();
  if (token === null && sessionStorage.getItem(KEY)) return rights();
  try {
    await open(token);
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    await login();
  }
}

/** A request with the session; once it is over, another one is asked for.
 * @param {string} path @param {RequestInit} [init] @returns {Promise<Response>} */
export async function request(path, init = {}) {
  const { session } = JSON.parse(sessionStorage.getItem(KEY) ?? '{}');
  const headers = { ...init.headers, authorization: `Bearer ${session}` };
  const answer = await fetch(path, { ...init, headers });
  if (answer.status === 401) {
    sessionStorage.removeItem(KEY);
    await enter();
    return request(path, init);
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({ error: answer.statusText }));
    throw new Refused(answer.status, told.error);
  }
  return answer;
}
