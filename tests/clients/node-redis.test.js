// node-redis 6, in both protocols: RESP3 has types of its own, RESP2 lowers them.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WatchError, createClient, defineScript } from 'redis';
import { sleep, uniqueName, until, url } from './support.js';

for (const RESP of [2, 3]) {
  describe(`node-redis on RESP${RESP}`, () => {
    async function connect(t, options = {}) {
      const client = createClient({ url, RESP, ...options });
      client.on('error', () => {});
      await client.connect();
      t.after(() => client.isOpen && client.destroy());
      return client;
    }

    test('values of every type', async (t) => {
      const client = await connect(t);
      const key = uniqueName('key');

      await client.set(key, 'value', { expiration: { type: 'PX', value: 60_000 } });
      assert.equal(await client.get(key), 'value');
      assert((await client.pTTL(key)) > 50_000);
      await client.hSet(`${key}:h`, { name: 'toril', legs: 4 });
      assert.deepEqual({ ...(await client.hGetAll(`${key}:h`)) }, { name: 'toril', legs: '4' });
      await client.zAdd(`${key}:z`, [
        { score: 2.5, value: 'b' },
        { score: -Infinity, value: 'a' },
      ]);
      assert.equal(await client.zScore(`${key}:z`, 'b'), 2.5);
      assert.deepEqual(await client.zRangeWithScores(`${key}:z`, 0, -1), [
        { value: 'a', score: -Infinity },
        { value: 'b', score: 2.5 },
      ]);
      await client.sAdd(`${key}:s`, ['x', 'y']);
      assert.deepEqual([...(await client.sMembers(`${key}:s`))].sort(), ['x', 'y']);
    });

    test('the protocol is the one asked for', async (t) => {
      const client = await connect(t);
      const hello = await client.sendCommand(['CONFIG', 'GET', 'maxmemory-policy']);

      // A raw reply shows what travelled: a map, or a list twice as long.
      const pairs = Array.isArray(hello) ? [[hello[0], hello[1]]] : Object.entries(hello);
      assert.equal(Array.isArray(hello), RESP === 2);
      assert.deepEqual(pairs, [['maxmemory-policy', 'noeviction']]);
    });

    test('commands of one tick are pipelined and answered in order', async (t) => {
      const client = await connect(t);
      const key = uniqueName('counter');

      const answers = await Promise.all(Array.from({ length: 1_000 }, () => client.incr(key)));

      assert.deepEqual(
        answers,
        Array.from({ length: 1_000 }, (_, index) => index + 1),
      );
    });

    test('MULTI runs all or, after WATCH, nothing', async (t) => {
      const [client, other] = [await connect(t), await connect(t)];
      const key = uniqueName('watched');

      assert.deepEqual(await client.multi().set(key, '1').incr(key).exec(), ['OK', 2]);

      await client.watch(key);
      await other.set(key, 'changed');
      await assert.rejects(client.multi().set(key, 'lost').exec(), WatchError);
      assert.equal(await client.get(key), 'changed');
    });

    test('messages reach channel and pattern subscribers', async (t) => {
      const [subscriber, publisher] = [await connect(t), await connect(t)];
      const channel = uniqueName('news');
      const heard = [];
      await subscriber.subscribe(channel, (message) => heard.push(message));
      await subscriber.pSubscribe(`${channel}*`, (message, from) => heard.push([from, message]));

      assert.equal(await publisher.publish(channel, 'one'), 2);
      await until(() => heard.length === 2);
      assert.deepEqual(heard, ['one', [channel, 'one']]);

      await subscriber.unsubscribe(channel);
      assert.equal(await publisher.publish(channel, 'two'), 1);
    });

    test('a script is loaded when the server has forgotten it', async (t) => {
      const client = await connect(t, {
        scripts: {
          double: defineScript({
            SCRIPT: `-- ${uniqueName('script')}\nreturn { ARGV[1] * 2, false, 'text' }`,
            NUMBER_OF_KEYS: 0,
            parseCommand: (parser, number) => parser.push(String(number)),
            transformReply: (reply) => reply,
          }),
        },
      });

      assert.deepEqual(await client.double(21), [42, null, 'text']);
      assert.deepEqual(await client.double(4), [8, null, 'text']);
      await assert.rejects(client.eval("return redis.error_reply('OURS went wrong')"), {
        message: 'OURS went wrong',
      });
    });

    test('blocking pops wait for their element', async (t) => {
      const [waiter, pusher] = [await connect(t), await connect(t)];
      const key = uniqueName('queue');

      const popped = waiter.blPop(key, 20);
      await sleep(100);
      await pusher.rPush(key, 'element');
      assert.deepEqual({ ...(await popped) }, { key, element: 'element' });

      const smallest = waiter.bzPopMin(key, 20);
      await sleep(100);
      await pusher.zAdd(key, { score: 1.5, value: 'member' });
      assert.deepEqual({ ...(await smallest) }, { key, value: 'member', score: 1.5 });
      assert.equal(await waiter.blPop(key, 0.05), null);
    });

    test('a stream is read and waited for', async (t) => {
      const [reader, writer] = [await connect(t), await connect(t)];
      const key = uniqueName('stream');

      const waiting = reader.xRead({ key, id: '$' }, { BLOCK: 20_000 });
      await sleep(100);
      const id = await writer.xAdd(key, '*', { field: 'value' });
      const [{ name, messages }] = await waiting;

      assert.equal(name, key);
      assert.equal(messages[0].id, id);
      assert.deepEqual({ ...messages[0].message }, { field: 'value' });
      assert.equal(await reader.xRead({ key, id: '$' }, { BLOCK: 20 }), null);
    });

    test('a scan finds every member once', async (t) => {
      const client = await connect(t);
      const key = uniqueName('set');
      await client.sAdd(
        key,
        Array.from({ length: 1_000 }, (_, index) => `member ${index}`),
      );

      const found = [];
      for await (const members of client.sScanIterator(key)) found.push(...members);

      assert.equal(new Set(found).size, 1_000);
    });

    test('errors keep their texts', async (t) => {
      const client = await connect(t);
      const key = uniqueName('list');
      await client.rPush(key, 'a');

      await assert.rejects(client.incr(key), {
        message: 'WRONGTYPE Operation against a key holding the wrong kind of value',
      });
      await assert.rejects(
        client.sendCommand(['GET']),
        /^Error: ERR wrong number of arguments for 'get' command$/,
      );
      await assert.rejects(
        client.sendCommand(['NOSUCH', 'x']),
        /ERR unknown command 'NOSUCH', with args beginning with: 'x'/,
      );
    });

    test('a lost connection is made again', async (t) => {
      const [client, killer] = [await connect(t), await connect(t)];
      const id = await client.clientId();
      const ready = new Promise((resolve) => client.once('ready', resolve));

      await killer.sendCommand(['CLIENT', 'KILL', 'ID', String(id)]);
      await ready;

      assert.equal(await client.ping(), 'PONG');
      assert.notEqual(await client.clientId(), id);
    });
  });
}
