// `setupFiles: ['toril/vitest']`: a server for each test file, emptied after each test.
//
// Tests get it by `import { server } from 'toril/vitest'`. vitest runs a setup file once for each
// test file and gives the test the same module. Its hooks run last, after those of the file.
import { afterAll, afterEach } from 'vitest';
import { start } from '../index.mjs';

export const server = await start();

afterEach(() => server.flush());
afterAll(() => server.stop());
