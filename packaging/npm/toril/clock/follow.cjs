// Has Date show the server's time, and the timers of queue libraries follow it.
'use strict';

const { ClockFile } = require('./file.cjs');
const { followWithTimers } = require('./timers.cjs');

const WHICH = ['libraries', 'all', 'none'];

let isFollowing = false;

/** Follows the clock file that $TORIL_CLOCK names; without it time goes as ever. */
function follow(timers) {
  const path = process.env.TORIL_CLOCK;
  if (!path || isFollowing) return;
  if (!WHICH.includes(timers)) {
    throw new Error(`toril/clock: timers=${timers} is none of ${WHICH.join(', ')}`);
  }
  isFollowing = true;
  const clock = new ClockFile(path);
  followWithDate(clock);
  if (timers !== 'none') followWithTimers(clock, timers === 'all');
}

/** Whatever asks Date for the time gets the server's; a moment that is given stays what it is. */
function followWithDate(clock) {
  const RealDate = Date;
  const moment = () => clock.now();
  RealDate.now = moment;
  const FollowingDate = new Proxy(RealDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(
        target,
        args.length > 0 ? args : [moment()],
        newTarget === FollowingDate ? target : newTarget,
      ),
    apply: () => new RealDate(moment()).toString(),
  });
  RealDate.prototype.constructor = FollowingDate;
  globalThis.Date = FollowingDate;
}

module.exports = { follow };
