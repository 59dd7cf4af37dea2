// Rules of faults as TORIL FAULT ADD reads them: words of the form key=value.
'use strict';

/** What words without a key mean, in this order: `reset evalsha count=1`. */
const BARE = ['action', 'cmd'];

/** The words of a rule, which is a text, or an object such as { action: 'reset', count: 1 }. */
function faultWords(rule) {
  if (typeof rule !== 'string') {
    return Object.entries(rule).map(([key, value]) => `${key}=${[value].flat().join(',')}`);
  }
  const keys = [...BARE];
  return split(rule).map((word) => {
    if (word.includes('=')) return word;
    const key = keys.shift();
    if (key === undefined) {
      throw new TypeError(`toril: '${word}' in the fault '${rule}' has no key, such as cmd=${word}`);
    }
    return `${key}=${word}`;
  });
}

/** A line as words: quotes keep spaces together, as in text="ERR try again". */
function split(line) {
  const words = line.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
  return words.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, '$1$2'));
}

module.exports = { faultWords };
