// docs/examples/api-and-worker: the API and the worker as processes, on the libraries that are
// installed here. What its README tells to type is typed by a test.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until, url } from '../support.js';
import { rest } from './rest.js';

const example = fileURLToPath(new URL('../../../docs/examples/api-and-worker/', import.meta.url));
const installed = fileURLToPath(new URL('../node_modules/', import.meta.url));

// Here several versions of BullMQ are installed, each under a name of its own.
const nameHere = (name) => (name === 'bullmq' ? 'bullmq-6' : name);

const readJson = async (path) => JSON.parse(await readFile(path, 'utf8'));

/** A copy of the example, with links where `npm install` would put its libraries. */
async function install() {
  const folder = 'api-and-worker';
  await cp(example, folder, { recursive: true });
  await mkdir(`${folder}/node_modules/@upstash`, { recursive: true });
  const { dependencies } = await readJson(`${example}package.json`);
  for (const [name, version] of Object.entries(dependencies)) {
    const here = `${installed}${nameHere(name)}`;
    assert.equal((await readJson(`${here}/package.json`)).version, version, `${name} is the same`);
    await symlink(here, `${folder}/node_modules/${name}`);
  }
  const env = {
    UPSTASH_REDIS_REST_URL: rest.url,
    UPSTASH_REDIS_REST_TOKEN: rest.token,
    REDIS_URL: url,
    PORT: 0,
    SIGNUPS_PER_MINUTE: 3,
  };
  const lines = Object.entries(env).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(`${folder}/.env`, lines.join(''));
  return folder;
}

/** Starts one of the two as its package.json does, and waits for what it prints. */
async function start(t, folder, script, sign) {
  const { scripts } = await readJson(`${folder}/package.json`);
  const [command, ...options] = scripts[script].split(' ');
  // The environment would win over .env.
  const env = { PATH: process.env.PATH };
  const child = spawn(command, options, { cwd: folder, env, stdio: ['ignore', 'pipe', 'inherit'] });
  const program = { child, printed: '' };
  t.after(() => child.kill('SIGKILL'));
  child.stdout.on('data', (bytes) => (program.printed += bytes));
  await until(() => sign.test(program.printed), `${script} prints ${sign}`);
  return program;
}

test('the example: an API over HTTP and a worker over TCP, on one server', async (t) => {
  const folder = await install();
  const api = await start(t, folder, 'api', /http:\/\/\S+\n/);
  const base = api.printed.match(/http:\/\/\S+/)[0];
  const call = async (path, { body, ...headers } = {}) => {
    const method = body ? 'POST' : 'GET';
    const options = { method, headers, body: body && JSON.stringify(body) };
    const response = await fetch(base + path, options);
    return [response.status, await response.json()];
  };

  // The worker is not there yet: jobs wait for it.
  const [status, first] = await call('/signups', { body: { email: 'ada@example.com' } });
  assert.deepEqual([status, first.count], [202, 1]);
  assert.deepEqual(await call(`/signup?id=${first.id}`), [
    200,
    { email: 'ada@example.com', state: 'waiting' },
  ]);

  const worker = await start(t, folder, 'worker', /waits/);
  const [, second] = await call('/signups', { body: { email: '💜@example.com' } });
  await until(async () => (await call('/signups'))[1].length === 2);
  const emails = (await call('/signups'))[1].map(({ email }) => email);
  assert.deepEqual(emails.sort(), ['ada@example.com', '💜@example.com']);
  const [, { state, attempts }] = await call(`/signup?id=${second.id}`);
  assert.deepEqual([state, attempts], ['welcomed', 2], 'the first attempt fails');
  assert.match(worker.printed, /trying again/);

  // The caller may sign up three times a minute, another caller too.
  const more = [];
  for (let n = 0; n < 3; n += 1) more.push(await call('/signups', { body: { email: 'more' } }));
  assert.ok(more.some(([status]) => status === 429));
  const other = await call('/signups', { body: { email: 'other' }, 'x-caller': 'other' });
  assert.equal(other[0], 202);

  const [, report] = await call('/report');
  assert.equal(report.isCached, false);
  assert.deepEqual((await call('/report'))[1], { ...report, isCached: true });

  const [, { token }] = await call('/login', { body: { name: 'Ada' } });
  assert.deepEqual(await call('/me', { authorization: `Bearer ${token}` }), [200, { name: 'Ada' }]);
  assert.equal((await call('/me', { authorization: 'Bearer other' }))[0], 401);

  worker.child.kill('SIGTERM');
  const [code] = await once(worker.child, 'exit');
  assert.equal(code, 0, 'it ends well');
});
