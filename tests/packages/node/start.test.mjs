// `start()` as a program uses it, with the packages as npm has installed them.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { start, toril, version } from 'toril';
import { runs, until } from './support.mjs';

const require = createRequire(import.meta.url);
const library = dirname(require.resolve('toril/package.json'));

/** Runs Node on a text, and resolves to what it said and its status. */
async function node(text, { cwd = import.meta.dirname, env = {} } = {}) {
  const options = { cwd, env: { ...process.env, ...env }, timeout: 20_000 };
  try {
    const said = await promisify(execFile)(process.execPath, ['-e', text], options);
    return { status: 0, ...said };
  } catch (error) {
    return { status: error.code, stdout: error.stdout, stderr: error.stderr };
  }
}

async function withServer(options, body) {
  const server = await start(options);
  try {
    await body(server);
  } finally {
    await server.stop();
  }
}

test('a job of BullMQ runs on it', () =>
  withServer({}, async (server) => {
    const queue = new Queue('mail', { connection: server.connection });
    const done = new Promise((resolve) => {
      const worker = new Worker('mail', async (job) => job.data.to, { connection: server.connection });
      worker.on('completed', async (job, answer) => {
        await worker.close();
        resolve(answer);
      });
    });
    await queue.add('welcome', { to: 'ada@example.com' });
    assert.equal(await done, 'ada@example.com');
    await queue.close();
  }));

test('the ES module and the CommonJS module are one', () => {
  assert.equal(require('toril').start, start);
  assert.equal(toril.start, start);
  assert.equal(version, require('toril/package.json').version);
});

test('it says where it is', () =>
  withServer({ http: true }, async (server) => {
    assert.equal(server.host, '127.0.0.1');
    assert.equal(server.url, `redis://127.0.0.1:${server.port}`);
    assert.deepEqual(server.connection, {
      host: '127.0.0.1',
      port: server.port,
      maxRetriesPerRequest: null,
    });
    assert.notEqual(server.connection, server.connection);
    const info = await server.command('INFO', 'server');
    assert.match(info, new RegExp(`process_id:${server.pid}\r`));
    const answer = await fetch(`${server.http.url}/ping`, {
      headers: { authorization: `Bearer ${server.http.token}` },
    });
    assert.deepEqual(await answer.json(), { result: 'PONG' });
    assert.deepEqual(server.env, {
      REDIS_URL: server.url,
      REDIS_HOST: '127.0.0.1',
      REDIS_PORT: String(server.port),
      TORIL_URL: server.url,
      UPSTASH_REDIS_REST_URL: server.http.url,
      UPSTASH_REDIS_REST_TOKEN: server.http.token,
    });
  }));

test('without http there is none', () =>
  withServer({}, async (server) => assert.equal(server.http, undefined)));

test('it stops once, and may be told so again', async () => {
  const server = await start();
  assert.ok(runs(server.pid));
  await server.stop();
  assert.ok(!runs(server.pid));
  await server.stop();
  const disposed = await start();
  await disposed[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
  assert.ok(!runs(disposed.pid));
});

test('servers share nothing', () =>
  withServer({}, (one) =>
    withServer({}, async (other) => {
      await one.command('SET', 'key', 'value');
      assert.equal(await other.command('GET', 'key'), null);
    })));

test('commands have their replies as values', () =>
  withServer({ args: ['--maxmemory', '50mb'] }, async (server) => {
    const run = server.command.bind(server);
    assert.deepEqual(await run('CONFIG', 'GET', 'maxmemory'), { maxmemory: '52428800' });
    assert.equal(await run(['RPUSH', 'list', 1, 2]), 2);
    assert.deepEqual(await run('LRANGE', 'list', 0, -1), ['1', '2']);
    assert.equal(await run('ZADD', 'zset', '1.5', 'ä'), 1);
    assert.equal(await run('ZSCORE', 'zset', 'ä'), 1.5);
    // Longer than what arrives at once.
    const long = 'é'.repeat(1_000_000);
    assert.equal(await run('SET', 'long', long), 'OK');
    assert.equal(await run('GET', 'long'), long);
    await assert.rejects(run('LPUSH', 'long', 'x'), {
      message: 'WRONGTYPE Operation against a key holding the wrong kind of value',
    });
    // Who asked is in the stack.
    const error = await run('NONE').catch((reason) => reason);
    assert.match(error.stack, /^Error: ERR unknown command 'NONE'.*start\.test\.mjs/s);
    // Asked at the same time, answered in order.
    const echoes = Array.from({ length: 100 }, (_, index) => String(index));
    assert.deepEqual(await Promise.all(echoes.map((text) => run('ECHO', text))), echoes);
  }));

test('a server that has gone rejects what is asked of it', async () => {
  const server = await start();
  await server.command('PING');
  process.kill(server.pid, 'SIGKILL');
  await until(() => !runs(server.pid));
  await assert.rejects(server.command('PING'));
  await server.stop();
});

test('flush empties it, and names the job that is active', () =>
  withServer({}, async (server) => {
    const { connection } = server;
    const queue = new Queue('mail', { connection });
    let finish;
    const held = new Promise((resolve) => (finish = resolve));
    const worker = new Worker('mail', () => held, { connection });
    await queue.add('welcome', {});
    await until(() => queue.getActiveCount());
    await assert.rejects(server.flush(), {
      message: 'job 1 of mail is active for 1.0 s: close the worker, or await it, before flush()',
    });
    finish();
    await server.flush();
    assert.equal(await queue.getCompletedCount(), 0);
    await worker.close();
    await queue.close();
  }));

test('a fault fails others as it says, until flush ends it', () =>
  withServer({}, async (server) => {
    const queue = new Queue('mail', { connection: server.connection });
    await queue.waitUntilReady();
    const oom = /OOM command not allowed when used memory > 'maxmemory'\./;
    assert.equal(await server.fault('oom evalsha,eval count=1 name=full'), 'full');
    await assert.rejects(queue.add('welcome', {}), oom);
    await queue.add('welcome', {});
    await server.fault({ action: 'error', text: 'ERR not now', cmd: ['evalsha', 'eval'] });
    await assert.rejects(queue.add('welcome', {}), /ERR not now/);
    // The connection that makes faults suffers none.
    assert.equal(await server.command('EVAL', 'return 1', 0), 1);
    await server.flush();
    await queue.add('welcome', {});
    assert.throws(() => server.fault('oom set get'), {
      message: "toril: 'get' in the fault 'oom set get' has no key, such as cmd=get",
    });
    await assert.rejects(server.fault('nonsense'), /nonsense/);
    await queue.close();
  }));

test('data is kept under a name and brought back', () =>
  withServer({}, async (server) => {
    const queue = new Queue('mail', { connection: server.connection });
    await queue.add('welcome', { to: 'ada@example.com' });
    await server.snapshot('seed');
    await server.snapshot();
    await queue.add('welcome', { to: 'bob@example.com' });
    await server.restore('seed');
    const jobs = await queue.getWaiting();
    assert.deepEqual(jobs.map(({ data }) => data.to), ['ada@example.com']);
    await server.flush();
    await server.restore();
    assert.equal(await queue.getWaitingCount(), 1);
    await assert.rejects(server.restore('sed'), {
      message: "ERR no snapshot 'sed': there are 'default', 'seed'",
    });
    await queue.close();
  }));

test('what is refused elsewhere is refused, or told', () =>
  withServer({ strict: 'keys=error', provider: 'redis-6.2' }, async (server) => {
    // The connection of the test itself may do all.
    const client = new Redis(server.connection);
    await assert.rejects(client.call('EXPIRETIME', 'key'), /ERR unknown command/);
    assert.match(await client.info('server'), /^redis_version:6\.2\.14\r$/m);
    await client.quit();
    const { strict } = await server.command('CONFIG', 'GET', 'strict');
    assert.match(strict, /keys=error/);
  }));

test('a server begins with the data that another has saved', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toril-'));
  const snapshot = join(folder, 'seed.toril');
  try {
    await withServer({}, async (server) => {
      const queue = new Queue('mail', { connection: server.connection });
      await queue.add('welcome', { to: 'ada@example.com' });
      await queue.close();
      await server.command('EVAL', "redis.call('SELECT', 3) redis.call('SET', 'k\\0\\255', '\\128', 'PX', 60000)", 0);
      const keys = Array.from({ length: 2_500 }, (_, index) => [`key:${index}`, index]);
      await server.command('MSET', ...keys);
      await server.save(snapshot);
    });
    await withServer({ snapshot }, async (server) => {
      const queue = new Queue('mail', { connection: server.connection });
      const [job] = await queue.getWaiting();
      assert.equal(job.data.to, 'ada@example.com');
      const script = "redis.call('SELECT', 3) return { redis.call('GET', 'k\\0\\255') == '\\128', redis.call('PTTL', 'k\\0\\255') }";
      const [isSame, left_ms] = await server.command('EVAL', script, 0);
      assert.ok(isSame === 1 && left_ms > 30_000 && left_ms <= 60_000, `${isSame} ${left_ms}`);
      assert.equal(await server.command('GET', 'key:2499'), '2499');
      await queue.obliterate();
      await server.restore();
      assert.equal(await queue.getWaitingCount(), 1);
      await queue.close();
    });
    await assert.rejects(start({ snapshot: join(folder, 'none') }), (error) => {
      assert.match(error.message, /^toril: the snapshot .*none cannot be read: ENOENT/);
      return true;
    });
    await writeFile(snapshot, 'REDIS0011');
    await assert.rejects(start({ snapshot }), {
      message: `toril: ${snapshot} is no snapshot of this version: server.save(path) writes one`,
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('idle waits, and says who failed and what is left', () =>
  withServer({}, async (server) => {
    const { connection } = server;
    const queue = new Queue('mail', { connection });
    const send = async (job) => {
      if (job.data.to === undefined) throw new Error('no address');
    };
    const worker = new Worker('mail', send, { connection });
    await queue.add('welcome', { to: 'ada@example.com' });
    const { queues } = await server.idle('mail');
    assert.deepEqual(queues, { mail: { completed: 1, failed: 0, delayed: 0 } });
    await queue.add('welcome', {});
    await assert.rejects(server.idle(), (error) => {
      assert.match(error.message, /^jobs have failed: 1\nmail: job 2 "welcome" \{\} failed, .*no address/);
      return true;
    });
    await queue.add('welcome', {});
    await server.idle(['mail'], { allowFailed: true });
    await worker.close();
    await queue.add('welcome', {});
    await assert.rejects(server.idle([], { timeout: 50 }), (error) => {
      assert.match(error.message, /^not idle after .*mail  1 waiting  no worker is connected/s);
      return true;
    });
    await queue.close();
  }));

test('expect looks back, waits, and says what came nearest', () =>
  withServer({}, async (server) => {
    const { connection } = server;
    const queue = new Queue('mail', { connection });
    await queue.add('welcome', { to: 'ada@example.com', tries: 1 });
    const ada = server.expect.job('mail', { name: 'welcome', data: { to: 'ada@example.com' } });
    await ada.toBeAdded();
    const completed = ada.toComplete();
    const worker = new Worker('mail', async () => {}, { connection });
    await completed;
    await server.expect.job('mail', { within: 50 }).never.toFail();
    const bob = server.expect.job('mail', { data: { to: 'bob@example.com' }, within: 50 });
    await assert.rejects(bob.toComplete(), (error) => {
      assert.match(error.message, /data\.to: expected "bob@example\.com", was "ada@example\.com"/);
      return true;
    });
    assert.throws(() => server.expect.job('mail', { nam: 'welcome' }), {
      message: "toril: a job is not expected by 'nam'. There are name, data, count, within, by",
    });
    await worker.close();
    await queue.close();
  }));

test('what start does not know it names', async () => {
  await assert.rejects(start({ htpp: true }), {
    message: "toril: start() has no option 'htpp'. It has args, clock, http, provider, snapshot, strict",
  });
});

test('an early end says what the server said', async () => {
  await assert.rejects(start({ args: ['--maxmemory', 'plenty'] }), (error) => {
    assert.match(error.message, /^toril ended with status 1 before it was ready: .*maxmemory/s);
    return true;
  });
});

test('TORIL_BINARY is taken, and named if it cannot be started', async () => {
  const { stderr } = await node("require('toril').start()", { env: { TORIL_BINARY: '/none' } });
  assert.match(stderr, /toril: \/none cannot be started: spawn \/none ENOENT/);
});

test('a platform without a package is named', async () => {
  const { stderr } = await node(`
    Object.defineProperty(process, 'platform', { value: 'freebsd' });
    Object.defineProperty(process, 'arch', { value: 'x64' });
    require('toril').start().catch((error) => console.error(error.message))`);
  const told = "toril: there is no binary for freebsd-x64. Build one with 'cargo install toril' and set TORIL_BINARY.\n";
  assert.equal(stderr, told);
});

test('a missing binary is named, with its cure and without a stack', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toril-'));
  try {
    await cp(library, join(folder, 'toril'), { recursive: true });
    const name = `@toril/${process.platform}-${process.arch}`;
    const { status, stderr } = await promisify(execFile)(process.execPath, [
      join(folder, 'toril/bin/toril.cjs'),
    ]).catch((error) => ({ status: error.code, stderr: error.stderr }));
    assert.equal(status, 1);
    assert.equal(
      stderr,
      `toril: ${name}, which holds the binary for this machine, is not installed.\n` +
        'Usual causes: npm ran with --omit=optional, or package-lock.json was made on another ' +
        'system by an npm that forgets\n' +
        `the others (npm/cli#4828). Mend it: npm i -D ${name}@${version}. ` +
        'Or set TORIL_BINARY to a toril executable.\n',
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a forgotten server keeps no process open', async () => {
  const { status, stdout } = await node(
    "require('toril').start().then((server) => server.command('PING').then(() => console.log(server.pid)))",
  );
  assert.equal(status, 0);
  await until(() => !runs(Number(stdout)));
});

test('an answer that is awaited keeps the process open', async () => {
  const { status, stdout } = await node(`
    require('toril').start().then(async (server) => {
      await server.command('BLPOP', 'nothing', '0.2');
      console.log('answered');
    })`);
  assert.deepEqual([status, stdout], [0, 'answered\n']);
});

test('fake timers that stop sockets are named', () =>
  withServer({}, async (server) => {
    process.nextTick.clock = {};
    try {
      await assert.rejects(server.command('PING'), {
        message:
          'toril: process.nextTick is faked, so sockets stand still. ' +
          "Use fake timers with toFake: ['Date']",
      });
    } finally {
      delete process.nextTick.clock;
    }
  }));

test('the command toril passes on arguments and status', async () => {
  const command = join(library, 'bin/toril.cjs');
  const { stdout } = await promisify(execFile)(process.execPath, [command, '--version']);
  assert.ok(stdout.includes(`(toril ${version}`), stdout);
  const wrong = promisify(execFile)(process.execPath, [command, '--maxmemory', 'plenty']);
  await assert.rejects(wrong, { code: 1 });
});
