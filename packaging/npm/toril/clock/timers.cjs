// Timers that live in the server's time: those of queue libraries, which sleep through a limit or
// until the next check. All others stay real, and with them the test runner's time-outs,
// reconnects and sleeps in handlers.
'use strict';

const fs = require('node:fs');
const { promisify } = require('node:util');
const { realNow } = require('./file.cjs');

const real = { setTimeout, clearTimeout, setInterval, clearInterval };

/** Who calls decides: one of these within the nearest frames of the stack. */
const LIBRARIES = /[\\/]node_modules[\\/](?:bullmq|bull|bee-queue)(?:-\d+)?[\\/]/;
const FRAMES = 3;

/** Replies that a jump sets off come before what is overdue. */
const AFTER_JUMP_MS = 15;

/** The clock file is watched; where that does not work it is looked at so often. */
const LOOK_MS = 20;

/** What moves less is no jump, but two looks at two clocks. */
const JUMP_MS = 200;

let count = 0;

/** A timer of a library. In real time it is never later than it would be without all this. */
class FollowingTimer {
  constructor(clock, callback, ms, args, repeats) {
    this.clock = clock;
    this.callback = callback;
    this.ms = ms >= 1 && ms <= 2 ** 31 - 1 ? Math.trunc(ms) : 1;
    this.args = args;
    this.repeats = repeats;
    this.isHeld = true;
    this.start();
  }

  start() {
    this.due = this.clock.now() + this.ms;
    this.timer = real.setTimeout(() => this.fire(), this.ms);
    if (!this.isHeld) this.timer.unref();
    this.clock.running.add(this);
  }

  stop() {
    real.clearTimeout(this.timer);
    this.clock.running.delete(this);
    this.clock.byNumber.delete(this.number);
  }

  fire() {
    if (this.repeats) {
      real.clearTimeout(this.timer);
      this.start();
    } else {
      this.stop();
    }
    this.callback(...this.args);
  }

  refresh() {
    real.clearTimeout(this.timer);
    this.start();
    return this;
  }

  ref() {
    this.isHeld = true;
    this.timer.ref();
    return this;
  }

  unref() {
    this.isHeld = false;
    this.timer.unref();
    return this;
  }

  hasRef() {
    return this.isHeld;
  }

  close() {
    this.stop();
    return this;
  }

  /** As Node's own: a number by which clearTimeout knows it. */
  [Symbol.toPrimitive]() {
    this.number ??= -++count;
    this.clock.byNumber.set(this.number, this);
    return this.number;
  }

  [Symbol.dispose ?? Symbol.for('toril.dispose')]() {
    this.stop();
  }
}

/** The timers that run, and the look at the clock file while there are any. */
class TimerClock {
  constructor(file) {
    this.file = file;
    this.running = new Set();
    this.byNumber = new Map();
    this.ahead = this.now() - realNow();
    const look = () => this.look();
    // Neither keeps the process alive.
    try {
      fs.watch(file.path, { persistent: false }, look).on('error', () => {});
    } catch {
      // Looked at, then.
    }
    real.setInterval(look, LOOK_MS).unref();
  }

  now() {
    return this.file.now();
  }

  look() {
    const ahead = this.now() - realNow();
    const jumped = ahead - this.ahead > JUMP_MS;
    this.ahead = ahead;
    if (jumped && this.running.size > 0) real.setTimeout(() => this.fireDue(), AFTER_JUMP_MS);
  }

  fireDue() {
    const now = this.now();
    const due = [...this.running].filter((timer) => timer.due <= now);
    due.sort((left, right) => left.due - right.due);
    // One may have stopped another.
    for (const timer of due) if (this.running.has(timer)) timer.fire();
  }

  find(timer) {
    return timer instanceof FollowingTimer ? timer : this.byNumber.get(Number(timer));
  }
}

/** Whether a library has called the function that asks. */
function isCalledByLibrary(asker) {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = FRAMES;
  const at = {};
  Error.captureStackTrace(at, asker);
  const { stack } = at;
  Error.stackTraceLimit = limit;
  return LIBRARIES.test(stack);
}

/** Replaces the global timers; `all` has those follow that no library has set. */
function followWithTimers(file, all) {
  const clock = new TimerClock(file);

  const set = (realSet, repeats) => {
    const following = (callback, ms, ...args) =>
      all || isCalledByLibrary(following)
        ? new FollowingTimer(clock, callback, Number(ms), args, repeats)
        : realSet(callback, ms, ...args);
    return following;
  };
  const clear = (realClear) => (timer) => {
    const following = timer == null ? undefined : clock.find(timer);
    return following ? following.stop() : realClear(timer);
  };

  globalThis.setTimeout = set(real.setTimeout, false);
  globalThis.setTimeout[promisify.custom] = real.setTimeout[promisify.custom];
  globalThis.setInterval = set(real.setInterval, true);
  globalThis.clearTimeout = clear(real.clearTimeout);
  globalThis.clearInterval = clear(real.clearInterval);
}

module.exports = { followWithTimers };
