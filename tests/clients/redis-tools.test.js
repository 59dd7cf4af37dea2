// redis-cli and redis-benchmark, in the modes that people use: what they print comes from the
// server's INFO, COMMAND, SCAN, MEMORY, TYPE and CONFIG.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { address, uniqueName, until, url } from './support.js';

const where = ['-h', address.host, '-p', String(address.port)];

/** Runs a tool to its end and answers what it printed. */
async function run(tool, args, input) {
  const running = promisify(execFile)(tool, [...where, ...args], { timeout: 30_000 });
  // Without input nothing is written: even an empty write fails once the tool has ended.
  running.child.stdin.end(input);
  const { stdout } = await running;
  return stdout;
}

const cli = (...args) => run('redis-cli', args);

/** Lets a tool that never ends run until it has printed what the pattern wants. */
async function printedBy(tool, args, pattern, meanwhile = () => {}) {
  const child = spawn(tool, [...where, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.on('data', (chunk) => {
    printed += chunk;
  });
  try {
    await until(
      async () => {
        await meanwhile(printed);
        return pattern.test(printed);
      },
      `${tool} ${args.join(' ')} prints ${pattern}`,
    );
  } finally {
    child.kill();
    await once(child, 'exit');
  }
  return printed;
}

describe('redis-cli', () => {
  const prefix = uniqueName('cli');

  before(async () => {
    await cli('SET', `${prefix}:string`, 'x'.repeat(5_000));
    await cli('RPUSH', `${prefix}:list`, ...Array(300).fill('element'));
    await cli('HSET', `${prefix}:hash`, 'a', '1', 'b', '2');
    await cli('ZADD', `${prefix}:zset`, '1', 'a');
    await cli('SADD', `${prefix}:set`, 'a', 'b', 'c');
    await cli('XADD', `${prefix}:stream`, '*', 'f', 'v');
  });
  after(() =>
    cli(
      'DEL',
      ...['string', 'list', 'hash', 'zset', 'set', 'stream'].map((type) => `${prefix}:${type}`),
    ),
  );

  test('prints replies', async () => {
    assert.equal(await cli('PING'), 'PONG\n');
    assert.equal(await cli('-u', url, 'PING'), 'PONG\n');
    assert.equal(await cli('-n', '3', 'GET', `${prefix}:string`), '\n');
    assert.equal(
      await cli('--no-raw', 'LRANGE', `${prefix}:list`, '0', '1'),
      '1) "element"\n2) "element"\n',
    );
    assert.equal(await cli('-3', '--json', 'HGETALL', `${prefix}:hash`), '{"a":"1","b":"2"}\n');
    assert.match(await cli('NOSUCH'), /^ERR unknown command 'NOSUCH'/);
  });

  test('runs a script from a file, and lines from standard input', async () => {
    assert.equal(
      await cli('EVAL', 'return {KEYS[1], ARGV[1]}', '1', 'key', 'argument'),
      'key\nargument\n',
    );
    const lines = `INCR ${prefix}:n\nINCR ${prefix}:n\nGETDEL ${prefix}:n\n`;
    assert.equal(await run('redis-cli', [], lines), '1\n2\n2\n');
  });

  test('--scan lists keys by pattern and type', async () => {
    const found = (await cli('--scan', '--pattern', `${prefix}:*`)).trim().split('\n');
    assert.deepEqual(
      found.sort(),
      ['hash', 'list', 'set', 'stream', 'string', 'zset'].map((type) => `${prefix}:${type}`),
    );
  });

  test('--bigkeys finds the biggest of each type', async () => {
    const printed = await cli('--bigkeys');
    assert.match(printed, /Biggest +string found .*:string.* has \d+ bytes/);
    assert.match(printed, /Biggest +list found .* has \d+ items/);
    assert.match(printed, /Biggest +stream found .* has \d+ entries/);
    assert.match(printed, /\d+ hashs with \d+ fields/);
  });

  test('--memkeys weighs keys', async () => {
    const printed = await cli('--memkeys');
    assert.match(printed, /Biggest +string found .* has \d+ bytes/);
    assert.match(printed, /Biggest +list found .* has \d+ bytes/);
  });

  test('--pipe loads commands in bulk', async () => {
    const command = `*3\r\n$6\r\nINCRBY\r\n$${prefix.length}\r\n${prefix}\r\n$1\r\n2\r\n`;
    const printed = await run('redis-cli', ['--pipe'], command.repeat(10_000));
    assert.match(printed, /errors: 0, replies: 10000\n/);
    assert.equal(await cli('GETDEL', prefix), '20000\n');
  });

  test('--latency measures', async () => {
    const [least, most, average, count] = (await cli('--latency', '-i', '0.3'))
      .trim()
      .split(' ')
      .map(Number);
    assert(least <= average && average <= most && count > 5);
  });

  test('--stat shows keys, memory, clients and requests', async () => {
    const printed = await printedBy('redis-cli', ['--stat', '-i', '0.05'], /(\n\d+ .*){3}/);
    assert.match(printed, /keys +mem +clients +blocked +requests +connections/);
    assert.match(printed, /\n\d+ +\d+(\.\d+)?[KMG] +\d+ +\d+ +\d+ \(\+\d+\) +\d+/);
  });

  test('SUBSCRIBE and MONITOR show what happens', async () => {
    await printedBy('redis-cli', ['SUBSCRIBE', prefix], /message\n.*\nhello\n/, () =>
      cli('PUBLISH', prefix, 'hello'),
    );
    await printedBy('redis-cli', ['MONITOR'], /"ECHO" "seen \\x00"/, () =>
      run('redis-cli', [], 'ECHO "seen \\x00"\n'),
    );
  });
});

describe('redis-benchmark', () => {
  const FIRST_TESTS = [
    'PING_INLINE',
    'PING_MBULK',
    'SET',
    'GET',
    'INCR',
    'LPUSH',
    'RPUSH',
    'LPOP',
    'RPOP',
  ];
  const LAST_TESTS = ['SADD', 'HSET', 'SPOP', 'ZADD', 'ZPOPMIN', 'MSET (10 keys)'];

  for (const pipeline of ['1', '16']) {
    test(`its whole list, -P ${pipeline}`, async () => {
      const printed = await run('redis-benchmark', [
        '--csv',
        '-n',
        '2000',
        '-c',
        '20',
        '-P',
        pipeline,
      ]);
      for (const name of [...FIRST_TESTS, ...LAST_TESTS]) {
        const [, rate] =
          printed.match(new RegExp(`^"${name.replace(/[()]/g, '\\$&')}","([0-9.]+)"`, 'm')) ?? [];
        assert(Number(rate) > 0, `${name} in ${printed}`);
      }
    });
  }

  test('a script and random keys', async () => {
    const key = uniqueName('bench');
    const args = [
      '-q',
      '-n',
      '2000',
      '-r',
      '100',
      'EVAL',
      `return redis.call('INCR', KEYS[1])`,
      '1',
      key,
    ];
    assert.match(await run('redis-benchmark', args), /requests per second/);
    assert.equal(await cli('GETDEL', key), '2000\n');
  });
});
