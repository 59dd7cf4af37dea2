// @upstash/queue: messages in a stream, read by consumers of one group who verify what they did.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Queue } from '@upstash/queue';
import { Redis } from '@upstash/redis';
import { sleep, uniqueName } from '../support.js';
import { rest } from './rest.js';

const redis = new Redis(rest);
const GROUP = 'Messages';

function queue(queueName, options = {}) {
  return new Queue({ redis, queueName, concurrencyLimit: 5, ...options });
}

const pending = (it) => redis.xpending(it.config.queueName, GROUP, '-', '+', 10);

test('@upstash/queue: each message is received once, in order', async () => {
  const name = uniqueName('queue');
  const [sender, receiver] = [queue(name), queue(name)];
  const sent = [];
  for (const n of [1, 2, 3]) sent.push(await sender.sendMessage({ n, text: '💜 OK 8' }));

  for (const [at, streamId] of sent.entries()) {
    const received = await receiver.receiveMessage();
    assert.deepEqual(received, { streamId, body: { n: at + 1, text: '💜 OK 8' } });
  }
  assert.equal(await receiver.receiveMessage(), null);
  assert.deepEqual(await pending(sender), [], 'what was received is verified');
});

test('@upstash/queue: two receivers share the messages', async () => {
  const name = uniqueName('queue');
  const sender = queue(name);
  for (let n = 0; n < 10; n++) await sender.sendMessage({ n });

  const work = async () => {
    const [receiver, received] = [queue(name), []];
    for (let it; (it = await receiver.receiveMessage()); ) received.push(it.body.n);
    return received;
  };
  const both = (await Promise.all([work(), work()])).flat();

  assert.deepEqual(
    both.sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
});

test('@upstash/queue: what nobody verified is received again', async () => {
  const options = { autoVerify: false, visibilityTimeout: 200 };
  const it = queue(uniqueName('queue'), options);
  const streamId = await it.sendMessage({ n: 1 });

  assert.equal((await it.receiveMessage()).streamId, streamId);
  assert.equal(await it.receiveMessage(), null, 'it is somebody else’s for now');
  assert.equal((await pending(it)).length, 1);
  await sleep(300);
  assert.deepEqual(await it.receiveMessage(), { streamId, body: { n: 1 } });
  const [[, , , deliveries]] = await pending(it);
  assert.equal(deliveries, 2);
  assert.equal(await it.verifyMessage(streamId), 'VERIFIED');
  assert.equal(await it.verifyMessage(streamId), 'NOT VERIFIED');
  await sleep(300);
  assert.equal(await it.receiveMessage(), null);
});

test('@upstash/queue: a message that is sent later', async () => {
  const it = queue(uniqueName('queue'));
  await it.sendMessage({ n: 1 }, 100);
  assert.equal(await it.receiveMessage(), null);
  await sleep(300);
  assert.deepEqual((await it.receiveMessage()).body, { n: 1 });
});

// As at Upstash, whose REST API has no commands that wait.
test('@upstash/queue: nobody waits over HTTP', async () => {
  const it = queue(uniqueName('queue'));
  await it.sendMessage({ n: 1 });
  await assert.rejects(it.receiveMessage(5000), /"XREADGROUP" is not allowed in REST/);
  assert.deepEqual((await it.receiveMessage()).body, { n: 1 });
});
