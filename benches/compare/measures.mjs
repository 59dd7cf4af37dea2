// Every figure that is printed: where it is found among those of a part, what it is called, and
// what it is to be. A target is a bound on toril's own figure, or on its ratio to the best other.

const LESS = { isMoreBetter: false };
const MORE = { isMoreBetter: true };

const atMost = (bound) => ({ text: `≤ ${bound}`, isMet: ({ value }) => value <= bound });
const timesAtMost = (bound) => ({ text: `≤ ${bound} ×`, isMet: ({ ratio }) => ratio <= bound });
const timesAtLeast = (bound) => ({ text: `≥ ${bound} ×`, isMet: ({ ratio }) => ratio >= bound });

/** [key, title, digits, which way is better, target] */
const row = (key, title, digits, better, target) => ({ key, title, digits, ...better, target });

const REQUESTS = ['set', 'get', 'incr', 'lpush', 'rpop', 'sadd', 'hset', 'zadd', 'xadd'];
/** What the client's own speed and the kernel leave of a request with -P 16. */
const CHEAP = ['set', 'get', 'incr'];

export const TABLES = [
  {
    part: 'jobs',
    title: 'BullMQ: server CPU µs per job, and jobs per second',
    rows: [
      row('add.cpu', 'add, 64 in flight', 1, LESS, timesAtMost(0.35)),
      row('bulk.cpu', 'addBulk, 500 per call', 1, LESS),
      row('process50.cpu', 'process, concurrency 50', 1, LESS),
      row('both.cpu', 'add + process, concurrency 50', 1, LESS, timesAtMost(0.35)),
      row('process1.cpu', 'process, concurrency 1', 1, LESS, timesAtMost(0.5)),
      row('flow.cpu', 'flow of a parent with 10 children', 1, LESS, timesAtMost(0.35)),
      row('add.rate', 'add, 64 in flight: per second', 0, MORE),
      row('bulk.rate', 'addBulk, 500 per call: per second', 0, MORE),
      row('process50.rate', 'process, concurrency 50: per second', 0, MORE),
      row('process1.rate', 'process, concurrency 1: per second', 0, MORE),
      row('flow.rate', 'flow of a parent with 10 children: per second', 0, MORE),
    ],
  },
  {
    part: 'delayed',
    title: 'Lateness of delayed jobs',
    rows: [
      ['idle', 'idle'],
      ['busy', 'beside a second queue'],
    ].flatMap(([condition, when]) => [
      row(`${condition}.due.p50`, `${when}: p50 ms`, 2, LESS, atMost(1)),
      row(`${condition}.due.p99`, `${when}: p99 ms`, 2, LESS, atMost(2)),
      row(`${condition}.due.max`, `${when}: max ms`, 2, LESS, atMost(5)),
      row(`${condition}.asked.p50`, "... after BullMQ's own time-out: p50 ms", 2, LESS),
      row(`${condition}.asked.p99`, "... after BullMQ's own time-out: p99 ms", 2, LESS),
      row(`${condition}.asked.max`, "... after BullMQ's own time-out: max ms", 2, LESS),
      row(`${condition}.cpu.busy`, `${when}: the server's CPU %`, 0, LESS),
    ]),
  },
  {
    part: 'memory',
    title: 'Memory',
    rows: [
      row('delayed.bytes', 'delayed job, 250 bytes of JSON: bytes', 0, LESS, timesAtMost(0.5)),
      row('delayed.restedBytes', '... after a rest: bytes', 0, LESS, timesAtMost(0.4)),
      row('delayed.restCpu', '... server CPU µs per job meanwhile', 2, LESS),
      row('kept.bytes', 'completed job, 2 KB of JSON: bytes', 0, LESS),
      row('kept.restedBytes', '... after a rest: bytes', 0, LESS, timesAtMost(0.5)),
      row('kept.restCpu', '... server CPU µs per job meanwhile', 2, LESS),
    ],
  },
  {
    part: 'depth',
    title: 'Beside many delayed jobs in the queue',
    rows: [
      ['add', 'add'],
      ['process', 'process, concurrency 50'],
      ['delay', 'add a delayed job'],
    ].flatMap(([key, title]) => [
      ...['1k', '100k', '1M'].map((depth) =>
        row(`${depth}.${key}`, `${title}, ${depth} delayed: server CPU µs`, 1, LESS),
      ),
      row(`growth.${key}`, '... the most of these to that with 1k', 2, LESS, atMost(1.25)),
    ]),
  },
  {
    part: 'requests',
    title: 'redis-benchmark, 50 connections',
    rows: [
      ...REQUESTS.flatMap((test) => [
        row(`${test}.rate`, `${test.toUpperCase()}: per second`, 0, MORE, timesAtLeast(1)),
        row(`${test}.cpu`, `${test.toUpperCase()}: server CPU µs`, 2, LESS, timesAtMost(1)),
      ]),
      ...REQUESTS.flatMap((test) => [
        row(`${test}16.rate`, `${test.toUpperCase()} -P 16: per second`, 0, MORE, timesAtLeast(1)),
        row(`${test}16.cpu`, `${test.toUpperCase()} -P 16: server CPU µs`, 2, LESS,
          timesAtMost(CHEAP.includes(test) ? 0.75 : 0.5)),
      ]),
    ],
  },
  {
    part: 'types',
    title: 'Other types',
    rows: [
      row('pendingBytes', 'group with 10,000 pending entries, 10 consumers: bytes per entry', 0, LESS,
        timesAtMost(1)),
      row('ttlFieldBytes', 'hash of 1,000 fields that have a TTL: bytes per field', 0, LESS,
        timesAtMost(1)),
      row('bitmapBytes', 'bitmap of 1 M bits: bytes', 0, LESS, timesAtMost(1)),
      row('sketchBytes', 'HyperLogLog of 400 elements: bytes', 0, LESS),
      row('placeBytes', 'geo index of 10,000 places: bytes per place', 0, LESS),
      ...[
        ['pfadd', 'PFADD to a dense HyperLogLog'],
        ['pfaddSparse', 'PFADD to 300 sparse ones'],
        ['bitcount', 'BITCOUNT of 1 M bits'],
        ['geosearch', 'GEOSEARCH, 50 km among 10,000 places'],
        ['xreadgroup', 'XREADGROUP COUNT 1'],
        ['fcall', 'FCALL of a function that calls INCR'],
      ].map(([key, title]) => row(key, `${title} -P 16: server CPU µs`, 2, LESS, timesAtMost(1))),
    ],
  },
  {
    part: 'connections',
    title: 'Connections',
    rows: [
      row('idleBytes', '10,000 idle: bytes each', 0, LESS, atMost(1536)),
      row('idleCpuPercent', '10,000 idle: server CPU %', 2, LESS, atMost(0.1)),
      row('parkedBytes', '10,000 on BZPOPMIN: bytes each', 0, LESS, atMost(1536)),
      row('parkedCpuPercent', '10,000 on BZPOPMIN: server CPU %', 2, LESS, atMost(0.1)),
      row('pushTo1Us', 'push to 1 parked worker: server CPU µs', 1, LESS),
      row('pushToManyUs', 'push to 4,000 parked workers: server CPU µs', 1, LESS),
      row('pushGrowth', '... to that with 1', 2, LESS, atMost(1.25)),
    ],
  },
  {
    part: 'stalls',
    title: 'Largest stall',
    rows: [
      row('idleMs', 'longest wait for a PONG, idle: ms', 2, LESS),
      ...[
        ['growKeys', '0 to 5 M keys'],
        ['growTtls', '... each of which gets a TTL'],
        ...['List', 'Hash', 'Set', 'Zset'].flatMap((type) => [
          [`grow${type}`, `${type.toLowerCase()} to 1 M elements`],
          [`delete${type}`, `${type.toLowerCase()} of 1 M elements is deleted`],
        ]),
      ].map(([key, title]) => row(`above.${key}Ms`, `${title}: ms above idle`, 2, LESS, atMost(5))),
    ],
  },
  {
    part: 'start',
    title: 'Start and size',
    rows: [
      row('firstPongMs', 'exec to the first PONG: ms', 1, LESS, atMost(3)),
      row('programMb', 'program, stripped: MB', 1, LESS, atMost(8)),
      row('residentMb', 'idle: MB resident', 1, LESS, atMost(5)),
    ],
  },
  {
    part: 'script',
    title: 'Scripts',
    rows: [row('us', 'script of 24 calls like moveToFinished: µs', 2, LESS, atMost(10))],
  },
  {
    part: 'timeouts',
    title: 'Lateness of BZPOPMIN',
    rows: ['idle', 'busy'].flatMap((condition) => [
      ...['P50', 'P99', 'Max'].map((name) =>
        row(`${condition}${name}Us`, `${condition}: ${name.toLowerCase()} µs`, 0, LESS),
      ),
      ...(condition === 'busy' ? [row('busyPercent', "busy: the server's CPU %", 0, LESS)] : []),
    ]),
  },
  {
    part: 'http',
    title: 'HTTP, 50 connections that stay open',
    rows: [
      ['get', 'GET in the path'],
      ['set', 'SET in the path'],
      ['postGet', 'GET as JSON'],
      ['postSet', 'SET as JSON'],
      ['pipeline', 'pipeline of 100 GETs'],
    ].flatMap(([key, title]) => [
      row(`${key}.rate`, `${title}: per second`, 0, MORE),
      row(`${key}.cpu`, `${title}: server CPU µs`, 2, LESS),
    ]),
  },
];

/** What the picture shows. */
export const PICTURED = [
  {
    part: 'delayed', key: 'idle.due.p99', unit: 'ms', digits: 1,
    title: 'Delayed jobs start late by', detail: 'BullMQ, p99',
  },
  {
    part: 'jobs', key: 'both.cpu', unit: 'µs', digits: 0,
    title: 'Server CPU per job', detail: 'BullMQ, add + process, concurrency 50',
  },
  {
    part: 'memory', key: 'delayed.bytes', unit: 'bytes', digits: 0,
    title: 'Memory per delayed job', detail: 'BullMQ, delayed, 250 bytes of JSON',
  },
];
