// The servers of the fault table, each with its control connection: toril, whose rules make the
// faults, and redis-7.4 (tests/oracles.sh), where their real causes do, if need be by a proxy.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

const free = () =>
  new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

const answers = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });

/** A server in a folder of its own, on a port that stays when it is started anew. */
export class Server {
  static async start(program, args = []) {
    const server = new Server();
    server.folder = mkdtempSync(join(tmpdir(), 'toril-faults-'));
    server.port = await free();
    server.program = program;
    server.args = args;
    await server.begin();
    server.control = await server.connect();
    return server;
  }

  async begin() {
    const { folder, port } = this;
    const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', ...this.args];
    this.child = spawn(this.program, args, { cwd: folder, stdio: 'ignore' });
    const failed = new Promise((_, reject) => this.child.once('error', reject));
    const ready = async () => {
      for (let tries = 0; !(await answers(port)); tries++) {
        if (tries > 1_000) throw new Error(`${this.program} does not start`);
        await sleep(10);
      }
    };
    await Promise.race([failed, ready()]);
  }

  /** Named so that no fault of toril's hits it. */
  async connect() {
    const redis = new Redis({ port: this.port, connectionName: 'toril', maxRetriesPerRequest: null });
    redis.on('error', () => {});
    await redis.ping();
    return redis;
  }

  async kill() {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }

  async stop() {
    this.control?.disconnect();
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * Stands between clients and a server. Requests that `rule.matches` go the way of `rule.act`, as
 * often as `rule.count` says.
 */
export class Proxy {
  static async before(port) {
    const proxy = new Proxy();
    proxy.server = net.createServer((client) => proxy.#serve(client, port));
    await new Promise((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  rule = null;

  #hit(text) {
    const { rule } = this;
    if (!rule?.matches.test(text) || rule.count === 0) return null;
    if (rule.count) rule.count -= 1;
    return rule;
  }

  #serve(client, port) {
    const server = net.connect(port, '127.0.0.1');
    let [is_mute, on_reply, last] = [false, null, Promise.resolve()];
    const destroy = () => [client, server].forEach((socket) => socket.destroy());
    client.on('data', (data) => {
      if (is_mute) return;
      const text = data.toString('latin1');
      const rule = this.#hit(text);
      if (!rule) return server.write(data);
      if (rule.error) {
        const requests = text.match(/^\*\d+\r\n/gm)?.length ?? 1;
        return client.write(`-${rule.error}\r\n`.repeat(requests));
      }
      if (rule.act === 'lose') is_mute = true;
      if (rule.act === 'reset') {
        client.resetAndDestroy();
        return server.destroy();
      }
      on_reply = rule;
      if (!is_mute) server.write(data);
    });
    server.on('data', (data) => {
      const rule = on_reply;
      on_reply = null;
      if (rule?.act === 'reset after') {
        client.resetAndDestroy();
        return server.destroy();
      }
      if (rule?.act === 'half') {
        client.end(data.subarray(0, data.length >> 1));
        return server.destroy();
      }
      if (rule?.act === 'half and hang') {
        client.write(data.subarray(0, data.length >> 1));
        is_mute = true;
        return server.removeAllListeners('data').resume();
      }
      if (rule?.delay_ms) last = last.then(() => sleep(rule.delay_ms));
      last = last.then(() => client.destroyed || client.write(data));
    });
    for (const socket of [client, server]) socket.on('close', destroy).on('error', () => {});
  }

  stop() {
    this.server.close();
  }
}
