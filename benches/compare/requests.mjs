// redis-benchmark: one command at a time, with and without pipelines, and what each costs.

import { cpuUs, HOST, run } from './servers.mjs';

const CONNECTIONS = 50;
const PIPELINE = 16;
/** Different keys, members and fields that redis-benchmark chooses among. */
const KEYSPACE = 100_000;
/** What BullMQ tells of each change of a job. */
const XADD = 'XADD events MAXLEN ~ 10000 * event waiting jobId __rand_int__';

export const TESTS = {
  set: ['-t', 'set'], get: ['-t', 'get'], incr: ['-t', 'incr'], lpush: ['-t', 'lpush'],
  rpop: ['-t', 'rpop'], sadd: ['-t', 'sadd'], hset: ['-t', 'hset'], zadd: ['-t', 'zadd'],
  xadd: XADD.split(' '),
};

/** `set: {rate, cpu}`, and `set16` for those in pipelines. */
export async function measureRequests({ port, pid }, program, { requests, pipelined }) {
  const figures = {};
  for (const [depth, count, suffix] of [[1, requests, ''], [PIPELINE, pipelined, PIPELINE]]) {
    for (const [test, words] of Object.entries(TESTS)) {
      const options = {
        '-h': HOST, '-p': port, '-n': count, '-c': CONNECTIONS, '-P': depth, '-r': KEYSPACE,
      };
      const before = cpuUs(pid);
      const printed = await run(program, [...Object.entries(options).flat(), '--csv', ...words]);
      const rate = Number(/^"[^"]*","([\d.]+)"/m.exec(printed.split('\n')[1])[1]);
      figures[`${test}${suffix}`] = { rate, cpu: (cpuUs(pid) - before) / count };
    }
  }
  return figures;
}
