// @ts-check
// Moments, told in the reader's zone and counted on each second by the server's clock.

let ahead = 0;

/** The server's clock says this now. @param {number} now */
export function set(now) {
  ahead = now - Date.now();
}

const UNITS = /** @type {[number, string][]} */ ([[86_400_000, 'd'], [3_600_000, 'h'], [60_000, 'min'], [1000, 's']]);

/** @param {number} ms */
function span(ms) {
  const at = UNITS.findIndex(([unit]) => ms >= unit);
  if (at < 0) return '0 s';
  const [unit, name] = UNITS[at];
  const whole = Math.floor(ms / unit);
  const next = UNITS[at + 1];
  const rest = next && whole < 10 ? Math.floor((ms % unit) / next[0]) : 0;
  return rest > 0 ? `${whole} ${name} ${rest} ${next[1]}` : `${whole} ${name}`;
}

/** @param {number} ms @param {string} form */
function tell(ms, form) {
  const now = Date.now() + ahead;
  if (form === 'ago') return now - ms < 1000 ? 'now' : `${span(now - ms)} ago`;
  if (form === 'left') return ms <= now ? 'due' : span(ms - now + 999);
  const date = new Date(ms);
  const clock = date.toLocaleTimeString([], { hour12: false }) + '.' + String(ms % 1000).padStart(3, '0');
  const isToday = new Date(now).toDateString() === date.toDateString();
  return isToday ? clock : `${date.toLocaleDateString()} ${clock}`;
}

/** Tells all moments that are shown. */
export function tick() {
  for (const time of document.querySelectorAll('time[data-ms]')) {
    const { ms, form } = /** @type {HTMLElement} */ (time).dataset;
    const text = tell(Number(ms), form ?? 'clock');
    if (time.textContent !== text) time.textContent = text;
    if (!time.getAttribute('datetime')) {
      time.setAttribute('datetime', new Date(Number(ms)).toISOString());
      time.setAttribute('title', new Date(Number(ms)).toLocaleString());
    }
  }
}
