// `globalSetup: ['toril/vitest/shared']`: one server for all test files.
//
// Tests get its URL by `inject('torilUrl')` of vitest. Nothing is flushed, since the files run at
// the same time: each test names its queues for itself.
import { start } from '../index.mjs';

export default async function setup({ provide }) {
  const server = await start();
  provide('torilUrl', server.url);
  return () => server.stop();
}
