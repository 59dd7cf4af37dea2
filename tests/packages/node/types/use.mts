// Compiled, never run: what the types allow, and what they refuse.

import { start, toril, version, type Server, type StartOptions } from 'toril';
import { server as ofFile } from 'toril/vitest';
import { server as ofJest } from 'toril/jest';
import { inject } from 'vitest';
import type {} from 'toril/vitest/shared';

const options: StartOptions = { args: ['--maxmemory', '50mb'], clock: true, http: true };
await using server: Server = await toril.start(options);
const { host, port, maxRetriesPerRequest }: { host: string; port: number; maxRetriesPerRequest: null } =
  server.connection;
const token: string | undefined = server.http?.token;
await server.clock.advance('7d', { set: (ms) => void ms });
await server.clock.advanceTo(new Date());
await server.idle(['mail'], { timeout: 100, allowFailed: true });
await server.fault('reset evalsha count=1');
await server.fault({ action: 'reset', cmd: ['evalsha', 'eval'], count: 1 });
await server.expect.job('mail', { data: { to: 'ada' } }).toComplete();
await server.expect.job('mail').never.toFail();
await server.command('SET', 'key', 1);
const url: string = inject('torilUrl');
console.log(host, port, maxRetriesPerRequest, token, version, url, ofFile.url, ofJest.url);

// @ts-expect-error: there is no such option.
await start({ htpp: true });
// @ts-expect-error: the port is a number.
const wrong: string = server.port;
