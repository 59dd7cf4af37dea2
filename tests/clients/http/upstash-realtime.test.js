// @upstash/realtime: events in streams, told through Pub/Sub, served to browsers as event streams.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handle, Realtime } from '@upstash/realtime';
import { Redis } from '@upstash/redis';
import { z } from 'zod/v4';
import { sleep, uniqueName, until } from '../support.js';
import { listen, rest } from './rest.js';

const redis = new Redis(rest);
const schema = { chat: { message: z.object({ text: z.string() }) } };
const EVENT = 'chat.message';

// The server says something this often.
const KEEPALIVE_MS = 15_000;

// Node's fetch gives up on a body that is silent for 300 s. CI does not wait that long, and ends a
// suite after 180 s: to see a stream outlive it, start a server and run this file by itself,
// `TORIL_QUIET_STREAM_SECONDS=330 node --test http/upstash-realtime.test.js`.
const QUIET_MS = 1000 * Number(process.env.TORIL_QUIET_STREAM_SECONDS ?? 0);

// Both streams are opened at once, so that the tests between are not waited for twice.
const quiet = uniqueName('quiet');
let quietStream, quietSubscriber;
const heardByQuiet = [];

const subscribers = async (channel) => (await redis.exec(['PUBSUB', 'NUMSUB', channel]))[1];

test('@upstash/realtime: streams on which nothing happens are opened', async () => {
  const ignored = { after() {} };
  quietStream = await listen(ignored, `/subscribe/${quiet}`);
  quietSubscriber = redis.subscribe(quiet);
  quietSubscriber.on('message', ({ message }) => heardByQuiet.push(message));
  await until(async () => (await subscribers(quiet)) === 2);
  quietStream.opened_ms = Date.now();
});

test('@upstash/realtime: what is emitted is heard and kept', async (t) => {
  const realtime = new Realtime({ schema, redis, history: { maxLength: 3, expireAfterSecs: 100 } });
  const channel = realtime.channel(uniqueName('room'));
  const heard = [];
  t.after(await channel.subscribe({ events: [EVENT], onData: ({ data }) => heard.push(data) }));

  const texts = ['first', '💜, with, commas', 'line\nline', 'OK', '8'];
  for (const text of texts) await channel.emit(EVENT, { text });
  await until(() => heard.length === texts.length);

  assert.deepEqual(
    heard.map(({ text }) => text),
    texts,
  );
  const kept = await channel.history();
  assert.deepEqual(
    kept.map(({ event, data }) => [event, data.text]),
    texts.slice(-3).map((text) => [EVENT, text]),
  );
  await assert.rejects(channel.emit(EVENT, { text: 8 }), 'the schema is looked at');
});

test('@upstash/realtime: the history is replayed, then goes on', async (t) => {
  const name = uniqueName('room');
  const channel = new Realtime({ schema, redis }).channel(name);
  for (const text of ['one', 'two', 'three']) await channel.emit(EVENT, { text });
  const kept = await channel.history();

  const [all, later] = [[], []];
  t.after(
    await channel.subscribe({
      events: [EVENT],
      history: true,
      onData: ({ data }) => all.push(data.text),
    }),
  );
  const sinceFirst = { events: [EVENT], after: kept[0].id };
  const again = new Realtime({ schema, redis }).channel(name);
  t.after(await again.subscribe({ ...sinceFirst, onData: ({ data }) => later.push(data.text) }));
  await channel.emit(EVENT, { text: 'four' });
  await until(() => all.length === 4 && later.length === 3);

  assert.deepEqual(all, ['one', 'two', 'three', 'four']);
  assert.deepEqual(later, ['two', 'three', 'four']);
});

test('@upstash/realtime: none is lost or doubled between history and messages', async (t) => {
  const name = uniqueName('room');
  const emitting = new Realtime({ schema, redis }).channel(name);
  const heard = [];
  let isEmitting = true;
  const emitAll = (async () => {
    for (let n = 0; n < 200; n += 1) await emitting.emit(EVENT, { text: String(n) });
    isEmitting = false;
  })();
  await until(async () => (await emitting.history()).length > 20);

  assert.ok(isEmitting, 'some come before, some after');
  const listening = new Realtime({ schema, redis }).channel(name);
  t.after(
    await listening.subscribe({
      events: [EVENT],
      history: true,
      onData: ({ data }) => heard.push(Number(data.text)),
    }),
  );
  await emitAll;
  await until(() => heard.length >= 200);

  assert.deepEqual(
    heard,
    Array.from({ length: 200 }, (_, n) => n),
  );
});

/** A browser's stream of events, through the library's handler for a web framework. */
async function browse(t, handler, query) {
  const leaving = new AbortController();
  const request = new Request(`http://site.example/api/realtime?${query}`, {
    signal: leaving.signal,
  });
  const response = await handler(request);
  assert.equal(response.status, 200);
  const browser = { events: [], leave: () => leaving.abort() };
  t.after(browser.leave);
  void (async () => {
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      for (const line of text.split('\n').filter(Boolean)) {
        browser.events.push(JSON.parse(line.replace(/^data: /, '')));
      }
    }
  })().catch(() => {});
  return browser;
}

test('@upstash/realtime: a browser hears two channels, leaves, and catches up', async (t) => {
  const realtime = new Realtime({ schema, redis });
  const handler = handle({ realtime });
  const [left, right] = [uniqueName('left'), uniqueName('right')];
  const query = `channel=${left}&channel=${right}`;

  const browser = await browse(t, handler, query);
  const connected = () => browser.events.filter(({ type }) => type === 'connected').length;
  await until(() => connected() === 2);
  assert.deepEqual([await subscribers(left), await subscribers(right)], [1, 1]);
  await realtime.channel(left).emit(EVENT, { text: 'to the left' });
  await realtime.channel(right).emit(EVENT, { text: 'to the right' });
  const told = () => browser.events.filter(({ event }) => event === EVENT);
  await until(() => told().length === 2);
  assert.deepEqual(
    told()
      .map(({ channel, data }) => [channel, data.text])
      .sort(),
    [
      [left, 'to the left'],
      [right, 'to the right'],
    ],
  );

  browser.leave();
  await until(async () => (await subscribers(left)) === 0 && (await subscribers(right)) === 0);
  await realtime.channel(left).emit(EVENT, { text: 'missed' });

  const last = told().find(({ channel }) => channel === left).id;
  const returned = await browse(t, handler, `channel=${left}&last_ack_${left}=${last}`);
  await until(() => returned.events.some(({ data }) => data?.text === 'missed'));
  assert.equal(returned.events.filter(({ event }) => event === EVENT).length, 1);
});

test('@upstash/realtime: a browser that vanishes is forgotten at once', async (t) => {
  const channel = uniqueName('gone');
  const stream = await listen(t, `/subscribe/${channel}`);
  await until(async () => (await subscribers(channel)) === 1);
  const left_ms = Date.now();
  stream.leave();
  await until(async () => (await subscribers(channel)) === 0);
  assert.ok(Date.now() - left_ms < 1000);
  assert.equal(await redis.publish(channel, 'nobody'), 0);
});

test('@upstash/realtime: quiet streams are kept alive', { timeout: 600_000 }, async () => {
  await sleep(Math.max(0, quietStream.opened_ms + QUIET_MS - Date.now()));
  const isComment = (line) => line.startsWith(':');
  await until(() => quietStream.lines.some(isComment), 'the server says that it is there');
  const silent_ms = Date.now() - quietStream.opened_ms;
  const comments = quietStream.lines.filter(isComment);
  assert.ok(comments.length >= Math.floor(silent_ms / KEEPALIVE_MS) - 1);

  // The client takes no notice of comments, and is still there.
  assert.deepEqual(heardByQuiet, []);
  assert.equal(await redis.publish(quiet, 'at last'), 2);
  await until(() => heardByQuiet.length === 1 && quietStream.lines.at(-1).endsWith(',at last'));
  assert.deepEqual(heardByQuiet, ['at last']);
  assert.equal(quietStream.hasEnded, false);
  quietStream.leave();
  await quietSubscriber.unsubscribe();
  await until(async () => (await subscribers(quiet)) === 0);
});
