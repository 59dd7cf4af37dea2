// node --import toril/clock: this process follows the clock of the server that $TORIL_CLOCK names.
// `toril/clock?timers=all` has all timers follow, for libraries that are bundled, and `timers=none`
// has none.
import { createRequire } from 'node:module';

const timers = new URL(import.meta.url).searchParams.get('timers') ?? 'libraries';
createRequire(import.meta.url)('./follow.cjs').follow(timers);
