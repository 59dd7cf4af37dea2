// The ES module form of index.cjs.
import exported from './index.cjs';

export const { start, toril, version } = exported;
