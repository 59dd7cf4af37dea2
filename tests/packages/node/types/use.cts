// Compiled, never run: the CommonJS form.

import toril = require('toril');

toril.start({ strict: 'elasticache' }).then((server: toril.Server) => server.stop());
// @ts-expect-error: there is no such function.
toril.begin();
