// GET and SET over HTTP: toril beside what Debian has for it, webdis in front of Redis. wrk asks on
// connections that stay open; servers take turns as elsewhere.

import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { cpuUs, freePort, HOST, run, withProcess, withServer } from './servers.mjs';

const script = fileURLToPath(new URL('wrk.lua', import.meta.url));

const CONNECTIONS = 50;
const PIPELINE = 100;
const TOKEN = randomBytes(12).toString('hex');
const VALUE = 'x'.repeat(24);

/** What webdis can be asked for as well. */
const IN_PATH = {
  set: { method: 'GET', path: `/SET/key/${VALUE}`, answers: 'OK' },
  get: { method: 'GET', path: '/GET/key', answers: VALUE },
};

const IN_BODY = {
  postSet: { method: 'POST', path: '/', body: ['SET', 'key', VALUE], answers: 'OK' },
  postGet: { method: 'POST', path: '/', body: ['GET', 'key'], answers: VALUE },
  pipeline: {
    method: 'POST',
    path: '/pipeline',
    body: Array.from({ length: PIPELINE }, () => ['GET', 'key']),
    answers: VALUE,
  },
};

/** Who is asked, each with its measurement; nobody if a program is missing. */
export function httpContenders({ toril, tools }) {
  const redis = tools.has('redis-7.4') ? 'redis-7.4' : 'redis-7.0';
  const missing = ['wrk', 'webdis', redis].filter((name) => !tools.has(name));
  if (missing.length > 0) {
    console.error(`HTTP is not compared: ${missing.join(', ')} missing`);
    return [];
  }
  const ask = (port, pids, requests, { seconds }) =>
    askForAll({ wrk: tools.get('wrk'), port, pids, requests, seconds });
  const everything = { ...IN_PATH, ...IN_BODY };
  return [
    {
      name: 'toril',
      measure: (sizes) => withToril(toril, (port, pids) => ask(port, pids, everything, sizes)),
    },
    {
      name: `webdis + ${redis}`,
      measure: (sizes) =>
        withWebdis(tools.get('webdis'), { name: redis, program: tools.get(redis) }, (port, pids) =>
          ask(port, pids, IN_PATH, sizes),
        ),
    },
  ];
}

async function withToril({ name, program }, body) {
  const port = await freePort();
  const options = ['--http-port', port, '--http-token', TOKEN];
  return withServer({ name, program, options }, ({ pid }) => body(port, [pid]));
}

/** webdis has Debian's configuration, but for the ports and the log. */
async function withWebdis(program, redis, body) {
  const port = await freePort();
  return withServer(redis, (server) => {
    const settings = {
      redis_host: HOST,
      redis_port: server.port,
      http_host: HOST,
      http_port: port,
      threads: 2,
      database: 0,
      verbosity: 0,
      logfile: '/dev/null',
    };
    const webdis = {
      name: 'webdis',
      program,
      words: ['webdis.json'],
      files: { 'webdis.json': JSON.stringify(settings) },
      isReady: () => answers(port, IN_PATH.set),
    };
    return withProcess(webdis, (pid) => body(port, [pid, server.pid]));
  });
}

async function askForAll({ wrk, port, pids, requests, seconds }) {
  const figures = {};
  for (const [key, request] of Object.entries(requests)) {
    if (!(await answers(port, request))) throw new Error(`${request.path} is not understood`);
    const cpu = () => pids.reduce((sum, pid) => sum + cpuUs(pid), 0);
    const before = cpu();
    const options = ['-t', 1, '-c', CONNECTIONS, '-d', seconds, '-s', script];
    const { method, path, body } = request;
    const words = [TOKEN, method, ...(body ? [JSON.stringify(body)] : [])];
    const printed = await run(wrk, [...options, `http://${HOST}:${port}${path}`, ...words]);
    const { count, us, errors } = JSON.parse(printed.slice(printed.indexOf('{')));
    if (errors > 0) throw new Error(`${path}: ${errors} of ${count} requests have failed`);
    figures[key] = { rate: (count * 1e6) / us, cpu: (cpu() - before) / count };
  }
  return figures;
}

/** Whether a server does what it is asked for: each has its own shape of JSON. */
async function answers(port, { method, path, body, answers }) {
  try {
    const response = await fetch(`http://${HOST}:${port}${path}`, {
      method,
      headers: { authorization: `Bearer ${TOKEN}` },
      body: body && JSON.stringify(body),
    });
    return (await response.text()).includes(answers);
  } catch {
    return false;
  }
}
