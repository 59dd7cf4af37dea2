// @ts-check
// The stream of what changes in the view that is open. Read with fetch, since an EventSource cannot
// show a session. A tab that cannot be seen has none.

import { request } from './session.js';

/** Calls `receive` with each frame until `signal` ends it or the server does.
 * @param {string} view @param {AbortSignal} signal @param {(frame: any) => void} receive */
export async function read(view, signal, receive) {
  const answer = await request(`/_toril/events?view=${encodeURIComponent(view)}`, { signal });
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const events = rest.split('\n\n');
    rest = /** @type {string} */ (events.pop());
    for (const event of events) {
      if (event.startsWith('data: ')) receive(JSON.parse(event.slice(6)));
    }
  }
}
