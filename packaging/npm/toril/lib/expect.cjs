// `server.expect`: TORIL EXPECT, with a method for each state that a job can be expected in.
'use strict';

const STATES = {
  toBeAdded: 'added',
  toBeActive: 'active',
  toComplete: 'completed',
  toFail: 'failed',
  toBeDelayed: 'delayed',
};

/** Words of TORIL EXPECT, and how each is said. */
const WORDS = {
  name: String,
  data: JSON.stringify,
  count: String,
  within: String,
  by: (time) => (time instanceof Date ? time.toISOString() : time),
};

function expectationsOf(run) {
  function job(queue, what = {}, never = false) {
    const words = ['TORIL', 'EXPECT', 'QUEUE', queue];
    for (const [name, value] of Object.entries(what)) {
      if (!Object.hasOwn(WORDS, name)) {
        const names = Object.keys(WORDS).join(', ');
        throw new TypeError(`toril: a job is not expected by '${name}'. There are ${names}`);
      }
      if (value !== undefined) words.push(name.toUpperCase(), WORDS[name](value));
    }
    if (never) words.push('NEVER');
    const states = Object.entries(STATES).map(([method, state]) => [
      method,
      async () => {
        const answer = await run(...words, 'STATE', state);
        if (answer.met !== 1) throw new Error(answer.why);
        return answer;
      },
    ]);
    const expectation = Object.fromEntries(states);
    if (!never) expectation.never = job(queue, what, true);
    return expectation;
  }
  return { job: (queue, what) => job(queue, what) };
}

module.exports = { expectationsOf };
