// Where the binary is: TORIL_BINARY, or the package of this platform.
'use strict';

const { dirname, join } = require('node:path');
const { version, optionalDependencies } = require('../package.json');

function findBinary() {
  if (process.env.TORIL_BINARY) return process.env.TORIL_BINARY;
  const platform = `${process.platform}-${process.arch}`;
  const name = `@toril/${platform}`;
  if (!(name in optionalDependencies)) {
    throw new Error(
      `toril: there is no binary for ${platform}. ` +
        "Build one with 'cargo install toril' and set TORIL_BINARY.",
    );
  }
  let folder;
  try {
    folder = dirname(require.resolve(`${name}/package.json`));
  } catch {
    throw new Error(
      `toril: ${name}, which holds the binary for this machine, is not installed.\n` +
        'Usual causes: npm ran with --omit=optional, or package-lock.json was made on another ' +
        'system by an npm that forgets\nthe others (npm/cli#4828). ' +
        `Mend it: npm i -D ${name}@${version}. Or set TORIL_BINARY to a toril executable.`,
    );
  }
  return join(folder, 'bin/toril');
}

module.exports = { findBinary };
