// `server.clock`: TORIL CLOCK, subcommand by subcommand.
'use strict';

/** A moment as the server reads it: a Date becomes ISO 8601. */
const moment = (time) => (time instanceof Date ? time.toISOString() : time);

function clockOf(run) {
  const clock = (...words) => run('TORIL', 'CLOCK', ...words);

  async function advance(where, { jump = false, timeout, locks = false, set } = {}) {
    const words = ['ADVANCE', ...where];
    if (jump) words.push('JUMP');
    if (timeout !== undefined) words.push('TIMEOUT', timeout);
    if (locks) words.push('LOCKS');
    const now = await clock(...words);
    // For fake timers that stand in front of the clock: vi.setSystemTime follows this way.
    set?.(Date.parse(now));
    return now;
  }

  return {
    /** Mode, time and offset, and who follows. */
    read: () => clock(),
    /** Goes ahead by a duration, from due moment to due moment. */
    advance: (duration, options) => advance([duration], options),
    /** The same, to a moment. */
    advanceTo: (time, options) => advance(['TO', moment(time)], options),
    freeze: (time) => clock('FREEZE', ...(time === undefined ? [] : ['AT', moment(time)])),
    resume: () => clock('RESUME'),
    auto: (until) => clock('AUTO', ...(until === undefined ? [] : ['UNTIL', moment(until)])),
    keep: (...globs) => clock('KEEP', ...globs.flat()),
    reset: () => clock('RESET'),
  };
}

module.exports = { clockOf };
