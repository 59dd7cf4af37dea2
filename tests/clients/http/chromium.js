// Where Chromium is, and how the tests of the page start it. Without one they say so and are skipped: CHROMIUM
// names one that is not where Debian puts it.

import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const PLACES = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

const executablePath = PLACES.find((place) => place && existsSync(place));
export const skip = !executablePath;
if (skip) console.log('*** NOT RUN: the page over the queues: there is no Chromium, and CHROMIUM names none ***');

export const launch = () => chromium.launch({ executablePath, args: FLAGS });
