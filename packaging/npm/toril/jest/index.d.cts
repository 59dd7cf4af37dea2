import type { Server } from '../index.cjs';

/** The server of this test file, for use inside of tests and hooks. */
export const server: Server;
