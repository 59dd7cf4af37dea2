// BullMQ's scripts, from the package that tests/clients installs.
//
// As a program it prints each one's name and source, with the source's length in bytes between.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(new URL('../../../tests/clients/package.json', import.meta.url));
export const bullmq = require('bullmq-6');

/** Pairs of a name and a source. */
export function scripts() {
  const entries = Object.values(require('bullmq-6/dist/cjs/scripts/index.js'));
  return entries.map(({ name, content }) => [name, content]);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [name, source] of scripts()) {
    process.stdout.write(`${name} ${Buffer.byteLength(source)}\n${source}`);
  }
}
