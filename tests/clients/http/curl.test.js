// The calls of Upstash's REST page by curl, one by one, and what else curl can ask.
//
// Two places differ from that page, as docs/http.md says: the header is spelled
// Upstash-Response-Format here (the page lacks an s), and errors have Redis's words.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { uniqueName, until } from '../support.js';
import { readonlyToken, rest, send } from './rest.js';

const execute = promisify(execFile);
const BEARER = ['-H', `Authorization: Bearer ${rest.token}`];

/** What curl prints for a path and options. */
async function curl(path, ...options) {
  const words = ['-sS', '--max-time', '20', rest.url + path, ...options];
  return (await execute('curl', words)).stdout;
}

/** The same as JSON, with the status. */
async function curlJson(path, ...options) {
  const printed = await curl(path, '-w', '\n%{http_code}', ...options);
  const [, text, status] = printed.match(/^(.*)\n(\d{3})$/s);
  return [Number(status), text && JSON.parse(text)];
}

/** curl of a stream: its lines so far, until the test has ended. */
function curlStream(t, path, ...options) {
  const child = spawn('curl', ['-sSN', rest.url + path, ...options]);
  t.after(() => child.kill());
  const stream = { printed: '', child };
  child.stdout.on('data', (bytes) => (stream.printed += bytes));
  return stream;
}

test('curl: a command in the path', async () => {
  const foo = uniqueName('foo');
  assert.equal(await curl(`/set/${foo}/bar`, ...BEARER), '{"result":"OK"}');
  assert.equal(await curl(`/get/${foo}`, ...BEARER), '{"result":"bar"}');
  assert.equal(await curl(`/get/${foo}?_token=${rest.token}`), '{"result":"bar"}');
  assert.equal(await curl(`/SET/${foo}/bar/EX/100`, ...BEARER), '{"result":"OK"}');
  assert.equal(await curl(`/ttl/${foo}`, ...BEARER), '{"result":100}');
  assert.equal(
    await curl(`/mget/${foo}/${foo}-2/${foo}`, ...BEARER),
    '{"result":["bar",null,"bar"]}',
  );
  assert.equal(await curl(`/hset/${foo}:23381/salary/8`, ...BEARER), '{"result":1}');
  assert.equal(await curl(`/hget/${foo}:23381/salary`, ...BEARER), '{"result":"8"}');
  assert.equal(await curl(`/zadd/${foo}:z/100/team-x/90/team-y`, ...BEARER), '{"result":2}');
  assert.equal(
    await curl(`/zrange/${foo}:z/0/-1/WITHSCORES`, ...BEARER),
    '{"result":["team-y","90","team-x","100"]}',
  );
  assert.equal(await curl(`/get/${uniqueName('none')}`, ...BEARER), '{"result":null}');
});

test('curl: a segment is decoded by itself', async () => {
  const key = `${uniqueName('a')}/b c`;
  const encoded = encodeURIComponent(key);
  assert.equal(await curl(`/set/${encoded}/100%25%2F+%F0%9F%92%9C`, ...BEARER), '{"result":"OK"}');
  assert.equal(await curl(`/get/${encoded}`, ...BEARER), '{"result":"100%/+💜"}');
  assert.equal(await curl(`/set/${encoded}/..`, '--path-as-is', ...BEARER), '{"result":"OK"}');
  assert.equal(await curl(`/get/${encoded}`, ...BEARER), '{"result":".."}');
  assert.deepEqual((await send('/', { body: ['GET', key] })).json, { result: '..' });
});

test('curl: the body is the last argument, the query comes after it', async () => {
  const foo = uniqueName('foo');
  const value = '{"json": [1, "💜"]} & more=of it/?';
  assert.equal(await curl(`/set/${foo}`, '-X', 'POST', '-d', value, ...BEARER), '{"result":"OK"}');
  assert.equal(JSON.parse(await curl(`/get/${foo}`, ...BEARER)).result, value);
  assert.equal(await curl(`/set/${foo}?EX=100`, '-d', value, ...BEARER), '{"result":"OK"}');
  assert.equal(await curl(`/ttl/${foo}`, ...BEARER), '{"result":100}');
  assert.equal(await curl(`/set/${foo}?NX`, '-d', 'second', ...BEARER), '{"result":null}');
  assert.equal(
    await curl(`/set/${foo}?_token=${rest.token}&PX=9000&GET`, '-X', 'PUT', '-d', 'third'),
    JSON.stringify({ result: value }),
  );
  const left = JSON.parse(await curl(`/pttl/${foo}`, ...BEARER)).result;
  assert.ok(left > 0 && left <= 9000);
});

test('curl: a command in the body', async () => {
  const foo = uniqueName('foo');
  const body = JSON.stringify(['SET', foo, 'bar', 'EX', 100]);
  assert.equal(await curl('', '-X', 'POST', '-d', body, ...BEARER), '{"result":"OK"}');
  assert.equal(await curl('/', '-d', JSON.stringify(['TTL', foo]), ...BEARER), '{"result":100}');
  const chunked = ['-H', 'Transfer-Encoding: chunked', '-d', JSON.stringify(['GET', foo])];
  assert.equal(await curl('/', ...chunked, ...BEARER), '{"result":"bar"}');
});

test('curl: it waits for 100 Continue before a large body, and gets it', async () => {
  const foo = uniqueName('foo');
  const large = 'x'.repeat(90_000);
  const options = ['-H', 'Expect: 100-continue', '--expect100-timeout', '20'];
  const began_ms = Date.now();
  assert.equal(await curl(`/set/${foo}`, ...options, '-d', large, ...BEARER), '{"result":"OK"}');
  assert.ok(Date.now() - began_ms < 10_000, 'nobody waited for the other');
  assert.equal(await curl(`/strlen/${foo}`, ...BEARER), '{"result":90000}');
});

test('curl: statuses', async () => {
  const key = uniqueName('status');
  const [status, answer] = await curlJson(`/get/${key}/${key}`, ...BEARER);
  assert.equal(status, 400);
  assert.deepEqual(answer, { error: "ERR wrong number of arguments for 'get' command" });
  assert.deepEqual(await curlJson(`/set/${key}/text`, ...BEARER), [200, { result: 'OK' }]);
  const notInteger = 'ERR value is not an integer or out of range';
  assert.deepEqual(await curlJson(`/incr/${key}`, ...BEARER), [400, { error: notInteger }]);
  const unknown = await curlJson('/json.get/doc', ...BEARER);
  assert.equal(unknown[0], 400);
  assert.match(unknown[1].error, /^ERR Command is not available: 'JSON.GET'\. See /);

  const wrong = [[], ['-H', 'Authorization: Bearer wrong'], ['-u', `default:${rest.token}`]];
  for (const given of wrong) {
    const [status, { error }] = await curlJson(`/get/${key}`, ...given);
    assert.equal(status, 401);
    assert.match(error, /^WRONGPASS invalid or missing auth token/);
  }
  assert.equal((await curlJson(`/get/${key}?_token=wrong`, ...BEARER))[0], 401, 'it goes first');
  assert.equal((await curlJson(`/get/${key}?_token=${rest.token}`, '-u', 'a:b'))[0], 200);
  assert.equal((await curlJson(`/get/${key}`, '-H', `Authorization: ${rest.token}`))[0], 200);

  for (const method of ['DELETE', 'PATCH', 'TRACE']) {
    assert.deepEqual(await curlJson(`/del/${key}`, '-X', method, ...BEARER), [405, '']);
  }
  const head = await curl(`/del/${key}`, '-I', ...BEARER);
  assert.match(head, /^HTTP\/1\.1 200 /);
  assert.deepEqual(await curlJson(`/get/${key}`, ...BEARER), [200, { result: 'text' }]);

  for (const [body, error] of [
    [undefined, /EOF/],
    ['{"get": 1}', /expected JSON array/],
    ['"get"', /expected JSON array/],
    ['[]', /ERR empty command/],
    ['[["GET", "a"]]', /ERR unsupported arg type: "\[": json\.Delim/],
    ['["GET", {"a": 1}]', /ERR unsupported arg type: "\{": json\.Delim/],
    ['["GET", null]', /ERR null args are not supported/],
    ['["GET", ', /./],
  ]) {
    const answer = await send('/', { body });
    assert.equal(answer.status, 400, body);
    assert.match(answer.json.error, error, body);
  }
});

test('curl: strings in base64', async () => {
  const foo = uniqueName('foo');
  const base64 = ['-H', 'Upstash-Encoding: base64', ...BEARER];
  assert.equal(await curl(`/SET/${foo}/bar`, ...base64), '{"result":"OK"}');
  assert.equal(await curl(`/GET/${foo}`, ...base64), '{"result":"YmFy"}');
  assert.equal(await curl(`/SET/${foo}/OK`, ...base64), '{"result":"OK"}');
  assert.equal(await curl(`/GET/${foo}`, ...base64), '{"result":"T0s="}', 'a value, no status');
  assert.equal(await curl(`/MGET/${foo}/none`, ...base64), '{"result":["T0s=",null]}');
  assert.equal(await curl(`/STRLEN/${foo}`, ...base64), '{"result":2}');
  assert.match(await curl(`/INCR/${foo}`, ...base64), /^\{"error":"ERR value is not an integer/);
});

test('curl: answers in RESP2', async () => {
  const foo = uniqueName('foo');
  const resp2 = ['-H', 'Upstash-Response-Format: resp2', ...BEARER];
  assert.equal(await curl(`/SET/${foo}/bar`, ...resp2), '+OK\r\n');
  assert.equal(await curl(`/GET/${foo}`, ...resp2), '$3\r\nbar\r\n');
  assert.equal(await curl(`/MGET/${foo}/none-${foo}`, ...resp2), '*2\r\n$3\r\nbar\r\n$-1\r\n');
  const type = await curl(`/GET/${foo}`, '-o', '/dev/null', '-w', '%{content_type}', ...resp2);
  assert.equal(type, 'application/octet-stream');
  const pipeline = JSON.stringify([['GET', foo], ['INCR', foo], ['STRLEN', foo]]);
  assert.equal(
    await curl('/pipeline', '-d', pipeline, ...resp2),
    '$3\r\nbar\r\n-ERR value is not an integer or out of range\r\n:3\r\n',
  );
  const transaction = await curlJson('/multi-exec', '-d', JSON.stringify([['GET', foo]]), ...resp2);
  assert.deepEqual(transaction, [200, [{ result: 'bar' }]], 'JSON all the same');

  const other = ['-H', 'Upstash-Response-Format: resp3', ...BEARER];
  assert.equal((await curlJson(`/GET/${foo}`, ...other))[0], 400);
  const both = await curlJson(`/GET/${foo}`, '-H', 'Upstash-Encoding: base64', ...resp2);
  assert.equal(both[0], 400);
  const json = ['-H', 'Upstash-Response-Format: json', ...BEARER];
  assert.deepEqual(await curlJson(`/GET/${foo}`, ...json), [200, { result: 'bar' }]);
});

for (const path of ['/pipeline', '/multi-exec']) {
  test(`curl: ${path}`, async () => {
    const [key1, key2, set] = [uniqueName('key1'), uniqueName('key2'), uniqueName('set')];
    const commands = `
      [
        ["SET", "${key1}", "valuex"],
        ["SETEX", "${key2}", 13, "valuez"],
        ["INCR", "${key1}"],
        ["ZADD", "${set}", 11, "item1", 22, "item2"]
      ]
    `;
    assert.deepEqual(await curlJson(path, '-X', 'POST', '-d', commands, ...BEARER), [
      200,
      [
        { result: 'OK' },
        { result: 'OK' },
        { error: 'ERR value is not an integer or out of range' },
        { result: 2 },
      ],
    ]);
    assert.equal(await curl(`/ttl/${key2}`, ...BEARER), '{"result":13}');
    for (const wrong of ['', '{}', '7', '[["GET"']) {
      const [status, answer] = await curlJson(path, '-d', wrong, ...BEARER);
      assert.equal(status, 400, wrong);
      assert.ok(answer.error, wrong);
    }
  });
}

test('curl: a malformed command of a pipeline fails alone, that of a transaction all', async () => {
  const key = uniqueName('malformed');
  const body = JSON.stringify([['SET', key, 1], ['SET', key, null], [], ['INCR', key]]);

  const [status, piped] = await curlJson('/pipeline', '-d', body, ...BEARER);
  assert.equal(status, 200);
  assert.deepEqual(
    piped.map(({ result }) => result),
    ['OK', undefined, undefined, 2],
  );
  assert.match(piped[1].error, /null args are not supported/);
  assert.match(piped[2].error, /empty command/);

  const [refused, whole] = await curlJson('/multi-exec', '-d', body, ...BEARER);
  assert.equal(refused, 400);
  assert.match(whole.error, /null args are not supported/);
  assert.equal(await curl(`/get/${key}`, ...BEARER), '{"result":"2"}', 'nothing was run');
});

test('curl: MONITOR as an event stream', async (t) => {
  const key = uniqueName('monitored');
  const accept = ['-H', 'Accept:text/event-stream'];
  const stream = curlStream(t, '/monitor', '-X', 'POST', ...BEARER, ...accept);
  await until(() => stream.printed.includes('\n'));
  assert.match(stream.printed, /^data: "OK"\n/);

  await curl(`/set/${key}/v`, ...BEARER);
  await until(() => stream.printed.includes(key));
  const line = stream.printed.split('\n').find((line) => line.includes(key));
  assert.match(line, /^data: \d+\.\d{6} \[0 [^\]]+\] "(?:set|SET)" "[^"]+" "v"$/);
  assert.ok(!stream.printed.includes(rest.token), 'tokens are told to nobody');
});

test('curl: SUBSCRIBE as an event stream, and PUBLISH', async (t) => {
  const chat = uniqueName('chat');
  const accept = ['-H', 'Accept:text/event-stream'];
  const stream = curlStream(t, `/subscribe/${chat}`, '-X', 'POST', ...BEARER, ...accept);
  await until(() => stream.printed.includes('\n'));

  assert.equal(await curl(`/publish/${chat}/hello`, '-X', 'POST', ...BEARER), '{"result":1}');
  await curl(`/publish/${chat}`, '-d', 'how are you today?', ...BEARER);
  await until(() => stream.printed.includes('today'));
  assert.deepEqual(stream.printed.split('\n').filter(Boolean), [
    `data: subscribe,${chat},1`,
    `data: message,${chat},hello`,
    `data: message,${chat},how are you today?`,
  ]);

  const gone = once(stream.child, 'exit');
  stream.child.kill();
  await gone;
  await until(async () => (await curl(`/publish/${chat}/x`, ...BEARER)) === '{"result":0}');
});

test('curl: several channels in one stream, and patterns', async (t) => {
  const name = uniqueName('several');
  const both = curlStream(t, `/subscribe/${name}-a/${name}-b?_token=${rest.token}`);
  const pattern = curlStream(t, `/psubscribe/${name}-?`, ...BEARER);
  await until(() => both.printed.includes(`${name}-b,2`) && pattern.printed.includes(',1'));

  assert.equal(await curl(`/publish/${name}-b/hello`, ...BEARER), '{"result":2}');
  await until(() => both.printed.includes('hello') && pattern.printed.includes('hello'));
  assert.deepEqual(both.printed.split('\n').filter(Boolean), [
    `data: subscribe,${name}-a,1`,
    `data: subscribe,${name}-b,2`,
    `data: message,${name}-b,hello`,
  ]);
  assert.deepEqual(pattern.printed.split('\n').filter(Boolean), [
    `data: psubscribe,${name}-?,1`,
    `data: pmessage,${name}-?,${name}-b,hello`,
  ]);
});

test('curl: INFO, by header and by _token', async () => {
  for (const given of [['/info', ...BEARER], [`/info?_token=${rest.token}`]]) {
    const { result } = JSON.parse(await curl(given[0], '-X', 'POST', ...given.slice(1)));
    assert.match(result, /redis_version:7\.4/);
  }
});

test('curl: the read-only token', async () => {
  const key = uniqueName('readonly');
  const reader = ['-H', `Authorization: Bearer ${readonlyToken}`];
  await curl(`/set/${key}/text`, ...BEARER);
  assert.deepEqual(await curlJson(`/get/${key}`, ...reader), [200, { result: 'text' }]);
  for (const path of [`/set/${key}/x`, '/keys/*', '/scan/0', '/eval/return 1/0', '/config/get/*']) {
    const [status, { error }] = await curlJson(encodeURI(path), ...reader);
    assert.equal(status, 400);
    const name = path.split('/')[1];
    assert.match(error, new RegExp(`^NOPERM this user has no permissions to run the '${name}`));
  }
  assert.equal((await curlJson('/monitor', ...reader))[0], 400);
});
