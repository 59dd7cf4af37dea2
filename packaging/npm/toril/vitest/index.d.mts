import type { Server } from '../index.cjs';

/** The server of this test file. */
export const server: Server;
