// @upstash/redis: Upstash's own client, with the options that it ships with.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Redis, errors } from '@upstash/redis';
import { Redis as CloudflareRedis } from '@upstash/redis/cloudflare';
import { sleep, uniqueName, until } from '../support.js';
import { connectTcp, readonlyToken, rest, run, send } from './rest.js';

const redis = new Redis(rest);

/** Whether the client asks for strings in base64, which is its default. */
const ENCODINGS = [
  ['base64', undefined],
  ['plain text', false],
];

// Each has been a bug in some server that answers this client: `OK` and `8` are also base64, and
// text that looks like a number must come back as it was written.
const TEXTS = [
  'OK',
  'PONG',
  '8',
  '',
  ' ',
  '💜 Ünïcode',
  '%%12',
  '%2F+&=?#',
  'a/b,c',
  'line\r\nline',
  '"quoted" \\ \u0001',
  'null',
  'true',
  '{"a":[1,null]}',
  '007',
  '1.0',
  '1e-07',
  '0.10000000000000001',
  '12345678901234567890',
  '9007199254740993',
];

for (const [name, responseEncoding] of ENCODINGS) {
  const plain = new Redis({ ...rest, responseEncoding, automaticDeserialization: false });

  test(`@upstash/redis in ${name}: text comes back as it was`, async () => {
    const key = uniqueName('text');
    for (const text of TEXTS) {
      assert.equal(await plain.set(key, text), 'OK');
      assert.equal(await plain.get(key), text);
    }
    await plain.rpush(`${key}:list`, ...TEXTS);
    assert.deepEqual(await plain.lrange(`${key}:list`, 0, -1), TEXTS, 'within an array');
    const piped = plain.pipeline();
    for (const text of TEXTS) piped.set(key, text).get(key);
    assert.deepEqual(
      await piped.exec(),
      TEXTS.flatMap((text) => ['OK', text]),
      'in a pipeline',
    );
    const nested = await plain.eval('return {{{ARGV[1]}, ARGV[2], false, 7}}', [], ['OK', '8']);
    assert.deepEqual(nested, [[['OK'], '8', null, 7]], 'within arrays of arrays');
    const statuses = "return { redis.status_reply('OK'), redis.status_reply('PONG') }";
    assert.deepEqual(await plain.eval(statuses, [], []), ['OK', 'PONG'], 'statuses in an array');
    assert.equal(await plain.ping(), 'PONG');
    assert.equal(await plain.type(`${key}:list`), 'list');
  });

  test(`@upstash/redis in ${name}: three megabytes`, async () => {
    const key = uniqueName('large');
    const text = '💜 OK 8 \\" '.repeat(250_000);
    assert.ok(Buffer.byteLength(text) > 3_000_000);

    assert.equal(await plain.set(key, text), 'OK');
    assert.ok((await plain.get(key)) === text);
    assert.equal(await plain.strlen(key), Buffer.byteLength(text));
  });

  test(`@upstash/redis in ${name}: values of every kind`, async () => {
    const typed = new Redis({ ...rest, responseEncoding });
    const key = uniqueName('kind');
    const user = { name: 'Ada 💜', tags: ['a', 8, null], isAdmin: true };

    await typed.set(key, user);
    assert.deepEqual(await typed.get(key), user);
    await typed.set(key, 8);
    assert.equal(await typed.get(key), 8);
    await typed.set(key, true);
    assert.equal(await typed.get(key), true);
    assert.equal(await typed.get(uniqueName('none')), null);
    assert.equal(await typed.set(key, 'second', { nx: true }), null);
    assert.equal(await typed.set(key, 'second', { get: true, ex: 100 }), true);
    assert.equal(await typed.ttl(key), 100);

    await typed.hset(`${key}:hash`, { ...user, OK: 'OK', eight: '8' });
    assert.deepEqual(await typed.hgetall(`${key}:hash`), { ...user, OK: 'OK', eight: 8 });
    assert.equal(await typed.hgetall(uniqueName('none')), null);
    assert.deepEqual(await typed.hmget(`${key}:hash`, 'isAdmin', 'none'), {
      isAdmin: true,
      none: null,
    });
    assert.deepEqual(await typed.mget(key, uniqueName('none')), ['second', null]);

    await typed.sadd(`${key}:set`, 'OK', 8, 'x');
    assert.deepEqual((await typed.smembers(`${key}:set`)).map(String).sort(), ['8', 'OK', 'x']);
    assert.deepEqual(await typed.smismember(`${key}:set`, ['OK', 'none']), [1, 0]);

    const id = await typed.xadd(`${key}:stream`, '*', { user, n: 8 });
    assert.match(id, /^\d+-0$/);
    assert.deepEqual(await typed.xrange(`${key}:stream`, '-', '+'), { [id]: { user, n: 8 } });
    assert.deepEqual(await typed.xread(`${key}:stream`, '0'), [
      [`${key}:stream`, [[id, ['user', user, 'n', 8]]]],
    ]);
  });

  test(`@upstash/redis in ${name}: scores are numbers`, async () => {
    const typed = new Redis({ ...rest, responseEncoding });
    const key = uniqueName('scores');
    const scores = [0, 0.1, 1e-7, 0.1 + 0.2, 1.5, 3, 1e21, 123456789.123, Number.MAX_SAFE_INTEGER];

    await typed.zadd(key, ...scores.map((score, i) => ({ score, member: `m${i}` })));
    for (const [i, score] of scores.entries()) {
      assert.equal(Number(await typed.zscore(key, `m${i}`)), score);
    }
    // What prints the same as JavaScript prints it arrives as a number, else as text.
    for (const [i, score] of [0.1, 1e-7, 0.1 + 0.2].entries()) {
      assert.equal(await typed.zscore(key, `m${i + 1}`), score);
    }
    const sorted = scores.map((score, i) => [`m${i}`, score]).sort(([, a], [, b]) => a - b);
    const answered = await typed.zrange(key, 0, -1, { withScores: true });
    assert.deepEqual(
      answered.map((item, i) => (i % 2 ? Number(item) : item)),
      sorted.flat(),
    );
    assert.deepEqual(await typed.zmscore(key, ['m1', 'none']), [0.1, null]);
    assert.equal(await typed.zincrby(key, 0.2, 'm1'), 0.1 + 0.2);
    assert.equal(await typed.incrbyfloat(`${key}:float`, 0.1), 0.1);
  });
}

test('@upstash/redis: large ids keep their digits', async (t) => {
  const key = uniqueName('id');
  const id = '9007199254740993';

  await redis.set(key, id);
  assert.equal(await redis.get(key), id);
  await redis.hset(`${key}:hash`, { id });
  assert.deepEqual(await redis.hgetall(`${key}:hash`), { id });
  assert.deepEqual(await redis.mget(key), [id]);

  // An integer of a reply goes through the client as a number, so the digits are looked at bare.
  const { text } = await send('/', { body: ['INCRBY', key, '0'] });
  assert.equal(text, `{"result":${id}}`);
  const literal = await send('/', { body: `["SET", "${key}", 12345678901234567890]` });
  assert.deepEqual(literal.json, { result: 'OK' });
  assert.equal(await redis.get(key), '12345678901234567890');
  await connectTcp(t).set(key, '-9223372036854775808');
  assert.equal(await redis.get(key), '-9223372036854775808');
});

test('@upstash/redis: numbers arrive as JavaScript prints them', async () => {
  const key = uniqueName('number');
  for (const [number, text] of [
    [1e21, '1e+21'],
    [-0, '0'],
    [1e-7, '1e-7'],
    [0.1 + 0.2, '0.30000000000000004'],
  ]) {
    await redis.set(key, number);
    assert.deepEqual(await run(['GET', key]), { result: text });
  }
});

test('@upstash/redis: what JSON cannot say is refused, not stored', async () => {
  const key = uniqueName('null');
  for (const value of [undefined, NaN, Infinity]) {
    await assert.rejects(redis.set(key, value), /ERR null args are not supported/);
  }
  assert.equal(await redis.exists(key), 0);
});

test('@upstash/redis: bytes that are no text', async (t) => {
  const key = uniqueName('bytes');
  await connectTcp(t).set(key, Buffer.from([0xff, 0x61, 0xc0, 0x00]));

  assert.deepEqual(await run(['GET', key]), { result: '\ufffda\ufffd\0' });
  assert.deepEqual(await run(['GET', key], { headers: { 'upstash-encoding': 'base64' } }), {
    result: '/2HAAA==',
  });
});

test('@upstash/redis: a thousand commands at once go as one pipeline', async () => {
  const automatic = new Redis(rest);
  const key = uniqueName('counter');

  const increments = Array.from({ length: 1000 }, () => automatic.incr(key));
  assert.deepEqual(
    await Promise.all(increments),
    Array.from({ length: 1000 }, (_, i) => i + 1),
  );
  assert.ok(automatic.pipelineCounter >= 1 && automatic.pipelineCounter <= 2);

  const texts = Array.from({ length: 1000 }, (_, i) => `${i} 💜`);
  await Promise.all(texts.map((text, i) => automatic.set(`${key}:${i}`, text)));
  assert.deepEqual(await Promise.all(texts.map((_, i) => automatic.get(`${key}:${i}`))), texts);
});

test('@upstash/redis: one failure in a pipeline by itself fails one call', async () => {
  const key = uniqueName('list');
  await redis.rpush(key, 'a');

  const [length, failed, text] = await Promise.allSettled([
    redis.rpush(key, 'b'),
    redis.incr(key),
    redis.echo('after'),
  ]);

  assert.equal(length.value, 2);
  assert.ok(failed.reason instanceof errors.UpstashError);
  assert.match(failed.reason.message, /WRONGTYPE Operation against a key/);
  assert.equal(text.value, 'after');
});

test('@upstash/redis: a pipeline runs on after an error', async () => {
  const key = uniqueName('list');

  const answers = await redis
    .pipeline()
    .rpush(key, 'a', 'b')
    .incr(key)
    .lrange(key, 0, -1)
    .exec({ keepErrors: true });

  assert.deepEqual(
    answers.map(({ result }) => result),
    [2, undefined, ['a', 'b']],
  );
  assert.match(answers[1].error, /^WRONGTYPE /);
  await assert.rejects(redis.pipeline().incr(key).exec(), /Command 1 \[ incr \] failed: WRONGTYPE/);
});

test('@upstash/redis: hundreds of transactions at once, none mixed', async () => {
  const key = uniqueName('mixed');

  const transactions = Array.from({ length: 300 }, (_, i) =>
    redis
      .multi()
      .set(key, `owner ${i}`)
      .incr(`${key}:first`)
      .get(key)
      .incr(`${key}:second`)
      .lpush(`${key}:log`, i)
      .exec(),
  );
  const answers = await Promise.all(transactions);

  const turns = answers.map(([ok, first, owner, second, length], i) => {
    assert.deepEqual([ok, owner], ['OK', `owner ${i}`]);
    assert.deepEqual([first, length], [second, second], 'nobody came between');
    return first;
  });
  assert.deepEqual(
    turns.sort((a, b) => a - b),
    Array.from({ length: 300 }, (_, i) => i + 1),
  );
});

test('@upstash/redis: a transaction fails in part, or as a whole', async () => {
  const key = uniqueName('transaction');

  const inPart = await redis.multi().set(key, 'text').incr(key).get(key).exec({ keepErrors: true });
  assert.deepEqual(
    inPart.map(({ result, error }) => error ?? result),
    ['OK', 'ERR value is not an integer or out of range', 'text'],
  );

  const unknown = redis.multi().set(key, 'lost').json.get(key, '$');
  await assert.rejects(unknown.exec(), (error) => {
    assert.ok(error instanceof errors.UpstashError);
    assert.match(error.message, /^ERR Command is not available: 'JSON.GET'\. See docs/);
    return true;
  });
  await assert.rejects(redis.multi().set(key, 'lost').set(key, undefined).exec(), /null args/);
  assert.equal(await redis.get(key), 'text', 'all was discarded');
});

test('@upstash/redis: scripts by their SHA, then by their text', async () => {
  const key = uniqueName('sum');
  const text = `-- ${key}\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])`;
  const script = redis.createScript(text);

  const sha1 = await redis.scriptLoad('return 1');
  assert.deepEqual(await redis.scriptExists(sha1), [1]);
  await assert.rejects(script.evalsha([key], ['5']), /NOSCRIPT No matching script/);
  assert.equal(await script.exec([key], ['5']), 5);
  assert.equal(await script.evalsha([key], ['5']), 10);
  assert.equal(await redis.scriptFlush(), 'OK');
  assert.deepEqual(await redis.scriptExists(sha1), [0]);
  assert.equal(await script.exec([key], ['5']), 15);

  const reading = redis.createScript(`return redis.call('GET', '${key}')`, { readonly: true });
  assert.equal(await reading.exec([], []), 15);
  assert.equal(await redis.get(key), 15);
});

test('@upstash/redis: a script is unknown in the middle of a pipeline', async () => {
  const key = uniqueName('noscript');
  const script = redis.createScript(`-- ${key}\nreturn redis.call('INCR', KEYS[1])`);

  const answers = await redis
    .pipeline()
    .set(key, 1)
    .evalsha('0'.repeat(40), [key], [])
    .incr(key)
    .exec({ keepErrors: true });
  assert.deepEqual(
    answers.map(({ result }) => result),
    ['OK', undefined, 2],
  );
  assert.equal(answers[1].error, 'NOSCRIPT No matching script. Please use EVAL.');

  // Those that go as a pipeline by themselves each fall back to the text.
  const sums = await Promise.all(Array.from({ length: 50 }, () => script.exec([key], [])));
  assert.deepEqual(
    sums.toSorted((a, b) => a - b),
    Array.from({ length: 50 }, (_, i) => i + 3),
  );
});

test('@upstash/redis: keys are scanned', async () => {
  const name = uniqueName('scanned');
  const keys = Array.from({ length: 250 }, (_, i) => `${name}:${i}`);
  await Promise.all(keys.map((key) => redis.set(key, 1)));

  const found = new Set();
  let cursor = '0';
  do {
    const [next, page] = await redis.scan(cursor, { match: `${name}:*`, count: 50 });
    assert.equal(typeof next, 'string');
    for (const key of page) found.add(key);
    cursor = next;
  } while (cursor !== '0');

  assert.deepEqual([...found].sort(), keys.toSorted());
  assert.equal((await redis.keys(`${name}:*`)).length, 250);
  assert.equal(await redis.del(...keys), 250);
  assert.equal(await redis.exists(...keys), 0);
});

test('@upstash/redis: the sync token changes with every write', async () => {
  const key = uniqueName('sync');
  const seen = new Set();
  const token = async (path, body, headers) => {
    const answer = await send(path, { body, headers });
    assert.equal(answer.status, 200);
    return answer.headers.get('upstash-sync-token');
  };
  for (let round = 0; round < 3; round += 1) {
    seen.add(await token('/', ['SET', key, round]));
    seen.add(await token('/pipeline', [['SET', key, round], ['GET', key]]));
    seen.add(await token('/multi-exec', [['INCR', key]]));
    seen.add(await token('/', ['EVAL', "return redis.call('INCR', KEYS[1])", 1, key]));
  }
  assert.equal(seen.size, 12, 'twelve writes, twelve tokens');
  assert.ok([...seen].every(Boolean));
  for (const given of ['', 'any', [...seen][0], 'x'.repeat(500)]) {
    assert.ok(await token('/', ['GET', key], { 'upstash-sync-token': given }));
  }

  const client = new Redis(rest);
  await client.set(key, 1);
  const before = client.readYourWritesSyncToken;
  await client.set(key, 2);
  assert.ok(before && client.readYourWritesSyncToken);
  assert.notEqual(client.readYourWritesSyncToken, before);
});

test('@upstash/redis: a wrong token opens nothing', async () => {
  for (const token of ['wrong', `${rest.token}x`, rest.token.slice(0, -1)]) {
    const stranger = new Redis({ ...rest, token });
    await assert.rejects(stranger.get('key'), (error) => {
      assert.ok(error instanceof errors.UpstashError);
      assert.match(error.message, /^WRONGPASS invalid or missing auth token/);
      assert.ok(!error.message.includes(rest.token));
      return true;
    });
  }
});

test('@upstash/redis: the read-only token reads', async () => {
  const key = uniqueName('readonly');
  const reader = new Redis({ ...rest, token: readonlyToken });
  await redis.set(key, 'text');
  await redis.hset(`${key}:hash`, { field: 1 });

  assert.equal(await reader.get(key), 'text');
  assert.equal(await reader.ping(), 'PONG');
  assert.deepEqual(await reader.hgetall(`${key}:hash`), { field: 1 });
  assert.deepEqual(await reader.pipeline().get(key).ttl(key).exec(), ['text', -1]);
  assert.deepEqual(await reader.multi().get(key).exec(), ['text']);
  assert.equal(await reader.evalRo("return redis.call('GET', KEYS[1])", [key], []), 'text');

  const denied = (name) =>
    new RegExp(`NOPERM this user has no permissions to run the '${name}' command`);
  await assert.rejects(reader.set(key, 'changed'), denied('set'));
  await assert.rejects(reader.del(key), denied('del'));
  await assert.rejects(reader.eval('return 1', [], []), denied('eval'));
  await assert.rejects(reader.evalsha('0'.repeat(40), [], []), denied('evalsha'));
  await assert.rejects(reader.keys('*'), denied('keys'));
  await assert.rejects(reader.scan('0'), denied('scan'));
  await assert.rejects(reader.publish('channel', 'text'), denied('publish'));
  await assert.rejects(reader.flushall(), denied('flushall'));
  await assert.rejects(reader.multi().get(key).set(key, 'changed').exec(), denied('set'));
  const inScript = (text) => reader.evalRo(`return redis.call(${text})`, [key], []);
  await assert.rejects(inScript("'SET', KEYS[1], 'changed'"));
  await assert.rejects(inScript("'KEYS', '*'"), /no permissions to run the 'keys' command/);
  const answers = await reader.pipeline().get(key).set(key, 1).exec({ keepErrors: true });
  assert.equal(answers[0].result, 'text');
  assert.match(answers[1].error, denied('set'));
  assert.equal(await redis.get(key), 'text');
});

test('@upstash/redis: what needs a connection is refused at once', async () => {
  const key = uniqueName('refused');
  const special = (name) =>
    `ERR Command "${name}" is not allowed in REST or it has a special context path`;
  const refused = [
    ['AUTH', 'x'],
    ['HELLO', '3'],
    ['RESET'],
    ['SELECT', '1'],
    ['CLIENT', 'ID'],
    ['MULTI'],
    ['EXEC'],
    ['DISCARD'],
    ['WATCH', key],
    ['UNWATCH'],
    ['SUBSCRIBE', key],
    ['PSUBSCRIBE', key],
    ['UNSUBSCRIBE'],
    ['MONITOR'],
    ['BLPOP', key, '0'],
    ['BRPOP', key, '0'],
    ['BRPOPLPUSH', key, key, '0'],
    ['BLMOVE', key, key, 'LEFT', 'LEFT', '0'],
    ['BZPOPMIN', key, '0'],
    ['BZPOPMAX', key, '0'],
    ['XREAD', 'BLOCK', '0', 'STREAMS', key, '$'],
  ];
  for (const command of refused) {
    const error = special(command[0]);
    assert.deepEqual(await run(command), { error });
    const piped = await send('/pipeline', { body: [['PING'], command] });
    assert.deepEqual(piped.json, [{ result: 'PONG' }, { error }]);
    const whole = await send('/multi-exec', { body: [['SET', key, 1], command] });
    assert.deepEqual([whole.status, whole.json], [400, { error }]);
  }
  assert.equal(await redis.exists(key), 0, 'no transaction ran in part');
  const unknown = /ERR Command is not available: 'JSON\.SET'\. See /;
  await assert.rejects(redis.json.set(key, '$', {}), unknown);
});

test('@upstash/redis: messages reach subscribers', async (t) => {
  const channel = uniqueName('news');
  const heard = [];
  const subscriber = redis.subscribe([channel, `${channel}-2`]);
  t.after(() => subscriber.unsubscribe());
  subscriber.on('message', ({ channel, message }) => heard.push([channel, message]));
  subscriber.on('error', (error) => heard.push(error));
  await until(async () => (await redis.exec(['PUBSUB', 'NUMSUB', channel]))[1] === 1);
  await until(async () => (await redis.exec(['PUBSUB', 'NUMSUB', `${channel}-2`]))[1] === 1);

  const messages = ['text', { json: [1, null], emoji: '💜' }, 8, 'with, commas', '', 'OK'];
  for (const message of messages) assert.equal(await redis.publish(channel, message), 1);
  await redis.publish(`${channel}-2`, 'other');
  await until(() => heard.length === messages.length + 1);

  assert.deepEqual(
    heard.filter(([name]) => name === channel).map(([, message]) => message),
    messages,
  );
  assert.ok(heard.some(([name, message]) => name === `${channel}-2` && message === 'other'));

  await subscriber.unsubscribe([channel]);
  await until(async () => (await redis.publish(channel, 'nobody')) === 0);
  assert.equal(await redis.publish(`${channel}-2`, 'still'), 1);
  await subscriber.unsubscribe();
  await until(async () => (await redis.publish(`${channel}-2`, 'nobody')) === 0);
});

test('@upstash/redis: line ends in a message do not end the frame', async (t) => {
  const channel = uniqueName('lines');
  const heard = [];
  const subscriber = redis.subscribe(channel);
  t.after(() => subscriber.unsubscribe());
  subscriber.on('message', ({ message }) => heard.push(message));
  await until(async () => (await redis.exec(['PUBSUB', 'NUMSUB', channel]))[1] === 1);

  const tcp = connectTcp(t);
  await tcp.publish(channel, '{\n  "json":\r\n "of many lines"\n}');
  await tcp.publish(channel, 'text\nof\r\nmany lines');
  await tcp.publish(channel, 'data: message,other,forged');
  await until(() => heard.length === 3);

  assert.deepEqual(heard, [
    { json: 'of many lines' },
    'text\nof\r\nmany lines',
    'data: message,other,forged',
  ]);
});

test('@upstash/redis: patterns, the question mark among them', async (t) => {
  const name = uniqueName('h');
  const heard = [];
  const subscriber = redis.psubscribe([`${name}?llo*`, `${name}:*`]);
  t.after(() => subscriber.unsubscribe());
  subscriber.on('pmessage', (message) => heard.push(message));
  await until(async () => (await redis.publish(`${name}ello`, { n: 1 })) === 1);
  await until(async () => (await redis.publish(`${name}:x`, { n: 2 })) === 1);
  await until(() => heard.length === 2);

  assert.deepEqual(heard, [
    { pattern: `${name}?llo*`, channel: `${name}ello`, message: { n: 1 } },
    { pattern: `${name}:*`, channel: `${name}:x`, message: { n: 2 } },
  ]);
  assert.equal(await redis.publish(`${name}llo`, 'nobody'), 0);
});

test('@upstash/redis: its environment, and its build for Cloudflare', async () => {
  const key = uniqueName('env');
  const given = { ...process.env };
  try {
    Object.assign(process.env, {
      UPSTASH_REDIS_REST_URL: `${rest.url}/`,
      UPSTASH_REDIS_REST_TOKEN: rest.token,
    });
    assert.equal(await Redis.fromEnv().set(key, 'from the environment'), 'OK');
    delete process.env.UPSTASH_REDIS_REST_URL;
    delete process.env.UPSTASH_REDIS_REST_TOKEN;
    Object.assign(process.env, { KV_REST_API_URL: rest.url, KV_REST_API_TOKEN: rest.token });
    assert.equal(await Redis.fromEnv().get(key), 'from the environment');
  } finally {
    process.env = given;
  }
  const worker = CloudflareRedis.fromEnv({
    UPSTASH_REDIS_REST_URL: rest.url,
    UPSTASH_REDIS_REST_TOKEN: rest.token,
  });
  assert.equal(await worker.get(key), 'from the environment');
});

test('@upstash/redis: expiry on time', async () => {
  const key = uniqueName('expiring');
  await redis.set(key, 'text', { px: 60 });
  assert.equal(await redis.get(key), 'text');
  await sleep(70);
  assert.equal(await redis.get(key), null);
});
