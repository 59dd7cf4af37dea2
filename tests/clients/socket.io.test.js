// socket.io's three adapters, on node-redis and on ioredis: two servers, a client at each, and all
// that is said at one is heard at the other.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { describe, test } from 'node:test';
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import { io as connect } from 'socket.io-client';
import { address, uniqueName, until, url } from './support.js';

const PATIENCE_MS = 20_000;

const LIBRARIES = {
  'node-redis': {
    open: async () => createClient({ url }).connect(),
    close: (client) => client.close(),
  },
  ioredis: {
    open: async () => new Redis(address),
    close: (client) => client.quit(),
  },
};

/** How each adapter is made of what opens clients. Its channels and keys begin with `name`. */
const ADAPTERS = {
  'redis-adapter': async (name, open) => createAdapter(await open(), await open(), { key: name }),
  'sharded adapter': async (name, open) =>
    createShardedAdapter(await open(), await open(), {
      channelPrefix: name,
      subscriptionMode: 'dynamic-private',
    }),
  'redis-streams-adapter': async (name, open) =>
    createStreamsAdapter(await open(), {
      streamName: name,
      channelPrefix: name,
      sessionKeyPrefix: `${name}:session:`,
      blockTimeInMs: 100,
    }),
};

/** Two servers that know of each other, without clients. */
async function openServers(t, adapter, library, options = {}) {
  const name = uniqueName('socket.io');
  const clients = [];
  const open = async () => {
    const client = await LIBRARIES[library].open();
    clients.push(client);
    return client;
  };
  const servers = [];
  for (let count = 0; count < 2; count += 1) {
    const http = createServer().listen(0, '127.0.0.1');
    await once(http, 'listening');
    const server = new Server(http, { adapter: await ADAPTERS[adapter](name, open), ...options });
    server.url = `http://127.0.0.1:${http.address().port}`;
    servers.push(server);
  }
  t.after(async () => {
    await Promise.all(servers.map((server) => server.close()));
    await Promise.all(clients.map(LIBRARIES[library].close));
  });
  for (const server of servers) {
    await until(async () => (await server.of('/').adapter.serverCount()) === 2);
  }
  return servers;
}

/** A client, with all that it hears. */
async function openClient(t, server, options = {}) {
  const client = connect(server.url, { transports: ['websocket'], ...options });
  t.after(() => client.disconnect());
  client.heard = [];
  client.onAny((...said) => client.heard.push(said));
  await once(client, 'connect');
  return client;
}

for (const adapter of Object.keys(ADAPTERS)) {
  for (const library of Object.keys(LIBRARIES)) {
    describe(`${adapter} on ${library}`, () => {
      test('what one server says is heard at the other', async (t) => {
        const [here, there] = await openServers(t, adapter, library);
        const [ada, bob] = [await openClient(t, here), await openClient(t, there)];

        here.emit('to all', { text: 'ä', bytes: Buffer.from([0, 255]) });
        here.to(bob.id).emit('to bob');
        there.except(bob.id).emit('to all but bob');
        await here.in(bob.id).socketsJoin('room');
        await until(async () => (await here.in('room').fetchSockets()).length === 1);
        here.to('room').emit('to the room');
        await until(() => bob.heard.length === 3 && ada.heard.length === 2);

        const [said, { text, bytes }] = bob.heard[0];
        assert.deepEqual([said, text, [...bytes]], ['to all', 'ä', [0, 255]]);
        assert.deepEqual(bob.heard.slice(1), [['to bob'], ['to the room']]);
        // Two servers said it, so either may be first.
        assert.deepEqual(
          ada.heard.map(([event]) => event).toSorted(),
          ['to all', 'to all but bob'],
        );
      });

      test('questions are answered by clients and servers everywhere', async (t) => {
        const [here, there] = await openServers(t, adapter, library);
        const [ada, bob] = [await openClient(t, here), await openClient(t, there)];
        ada.on('who?', (answer) => answer('ada'));
        bob.on('who?', (answer) => answer('bob'));
        there.on('how many?', (answer) => answer(there.engine.clientsCount));

        const names = await here.timeout(PATIENCE_MS).emitWithAck('who?');
        assert.deepEqual(names.toSorted(), ['ada', 'bob']);
        assert.deepEqual(await here.serverSideEmitWithAck('how many?'), [1]);
        const sockets = await there.fetchSockets();
        assert.deepEqual(sockets.map(({ id }) => id).toSorted(), [ada.id, bob.id].toSorted());

        here.in(bob.id).disconnectSockets(true);
        await until(() => !bob.connected);
        assert.equal(ada.connected, true);
      });
    });
  }
}

for (const library of Object.keys(LIBRARIES)) {
  test(`redis-streams-adapter on ${library}: a client finds at the other server what it missed`, async (t) => {
    const connectionStateRecovery = { maxDisconnectionDuration: PATIENCE_MS };
    const servers = await openServers(t, 'redis-streams-adapter', library, {
      connectionStateRecovery,
    });
    const [here, there] = servers;
    const bob = await openClient(t, there, { reconnectionDelay: 10, reconnectionDelayMax: 10 });
    const id = bob.id;
    await here.in(id).socketsJoin('room');
    await until(async () => (await here.in('room').fetchSockets()).length === 1);
    here.to('room').emit('before');
    await until(() => bob.heard.length === 1);

    // The line breaks, and the balancer takes the client elsewhere.
    bob.io.reconnection(false);
    bob.io.engine.close();
    await until(() => !bob.connected);
    await until(async () => (await here.fetchSockets()).length === 0);
    here.to('room').emit('meanwhile', 1);
    here.to('room').emit('meanwhile', 2);
    here.to('elsewhere').emit('for others');
    bob.io.uri = here.url;
    bob.connect();
    await until(() => bob.heard.length === 3);

    assert.deepEqual([bob.recovered, bob.id], [true, id]);
    // What is told again has its place in the stream as a further argument.
    assert.deepEqual(
      bob.heard.slice(1).map(([event, number]) => [event, number]),
      [
        ['meanwhile', 1],
        ['meanwhile', 2],
      ],
    );
    here.to('room').emit('after');
    await until(() => bob.heard.at(-1)[0] === 'after');
  });
}
