// A registry of npm on loopback that knows the tarballs of some folders and nothing else, so that an
// installation from it is one without network. Prints its URL.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const packages = new Map();
const tarballs = new Map();
for (const folder of process.argv.slice(2)) {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.tgz'))) {
    const path = join(folder, file);
    const described = JSON.parse(execFileSync('tar', ['-xOzf', path, 'package/package.json']));
    const bytes = readFileSync(path);
    packages.set(described.name, { described, file, bytes });
    tarballs.set(file, bytes);
  }
}

function about({ described, file, bytes }, origin) {
  const { name, version } = described;
  const digest = (kind, form) => createHash(kind).update(bytes).digest(form);
  const dist = {
    tarball: `${origin}/-/${file}`,
    integrity: `sha512-${digest('sha512', 'base64')}`,
    shasum: digest('sha1', 'hex'),
  };
  const time = Object.fromEntries(
    ['created', 'modified', version].map((what) => [what, '2026-01-01T00:00:00.000Z']),
  );
  const versions = { [version]: { ...described, dist } };
  return { name, 'dist-tags': { latest: version }, versions, time };
}

const server = createServer((request, response) => {
  const path = decodeURIComponent(request.url.split('?')[0].slice(1));
  const origin = `http://${request.headers.host}`;
  if (tarballs.has(path.slice(2))) {
    response.end(tarballs.get(path.slice(2)));
  } else if (packages.has(path)) {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(about(packages.get(path), origin)));
  } else {
    response.statusCode = 404;
    response.end('{}');
  }
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
// It ends when whoever started it has.
process.stdin.on('end', () => process.exit()).resume();
