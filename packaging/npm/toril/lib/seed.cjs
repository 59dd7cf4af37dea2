// Data in a file: `server.save` writes it, and `start({ snapshot })` begins with it.
//
// The first line tells the version. Each other line is a key: its database, its name and its value
// as DUMP has it, both in hexadecimal since they need not be text, and the milliseconds that it has
// to live, or 0.
'use strict';

const { readFile, writeFile } = require('node:fs/promises');

const HEADER = JSON.stringify({ toril: 'seed', version: 1 });

/** As many keys travel at once. */
const KEYS_MAX = 1_000;

const SAVE = `
  local function hex(text)
    return (text:gsub('.', function(byte) return ('%02x'):format(byte:byte()) end))
  end
  redis.call('SELECT', ARGV[1])
  local page = redis.call('SCAN', ARGV[2], 'COUNT', ARGV[3])
  local found = {}
  for _, key in ipairs(page[2]) do
    local value = redis.call('DUMP', key)
    if value then
      table.insert(found, { hex(key), hex(value), math.max(redis.call('PTTL', key), 0) })
    end
  end
  return { page[1], found }`;

const LOAD = `
  local function text(hex)
    return (hex:gsub('..', function(byte) return string.char(tonumber(byte, 16)) end))
  end
  redis.call('SELECT', ARGV[1])
  for at = 2, #ARGV, 3 do
    redis.call('RESTORE', text(ARGV[at]), ARGV[at + 2], text(ARGV[at + 1]), 'REPLACE')
  end`;

async function save(run, path) {
  const lines = [HEADER];
  const keyspace = await run('INFO', 'keyspace');
  for (const [, db] of keyspace.matchAll(/^db(\d+):/gm)) {
    // A key that SCAN tells twice is written once.
    const keys = new Map();
    let cursor = '0';
    do {
      const [next, found] = await run('EVAL', SAVE, 0, db, cursor, KEYS_MAX);
      for (const [key, value, left_ms] of found) keys.set(key, [Number(db), key, value, left_ms]);
      cursor = next;
    } while (cursor !== '0');
    for (const line of keys.values()) lines.push(JSON.stringify(line));
  }
  await writeFile(path, `${lines.join('\n')}\n`);
}

async function load(run, path) {
  const text = await readFile(path, 'utf8').catch((error) => {
    throw new Error(`toril: the snapshot ${path} cannot be read: ${error.message}`);
  });
  const [header, ...lines] = text.trimEnd().split('\n');
  if (header !== HEADER) {
    throw new Error(`toril: ${path} is no snapshot of this version: server.save(path) writes one`);
  }
  const dbs = new Map();
  for (const [db, ...words] of lines.map((line) => JSON.parse(line))) {
    if (!dbs.has(db)) dbs.set(db, []);
    dbs.get(db).push(words);
  }
  for (const [db, keys] of dbs) {
    for (let at = 0; at < keys.length; at += KEYS_MAX) {
      await run('EVAL', LOAD, 0, db, ...keys.slice(at, at + KEYS_MAX).flat());
    }
  }
}

module.exports = { load, save };
